/* cli.c: what the commands share, see cli.h. */
#include "ops/cli/cli.h"

#include <stdio.h>

int cli_report(const char *command, const struct cm_error *e)
{
    fprintf(stderr, "%s: %s\n", command, e->text);
    return cm_exit_of(e->code);
}

bool cli_parse(const struct cm_command *c, int argc, char **argv, int *exit_code)
{
    struct cm_error e;
    switch (cm_options_parse(c, argc, argv, &e)) {
    case CM_PARSED_RUN:
        return true;
    case CM_PARSED_HELP:
        *exit_code = CM_EXIT_OK;
        break;
    case CM_PARSED_BAD:
        *exit_code = cli_report(c->name, &e);
        break;
    }
    cm_options_free(c);
    return false;
}
