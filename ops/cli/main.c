/* main.c: vitrine: finds the command and runs it. */
#include "ops/cli/cli.h"
#include "worker/score/blas.h"

#include <stdio.h>
#include <string.h>

/* A command by its name. */
struct entry {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static const struct entry entries[] = {
    {"score", "score every query against every gallery image: the whole matrix", cli_score},
};

static void print_help(FILE *out)
{
    fprintf(out,
            "usage: vitrine COMMAND [flags]\n\n"
            "Searches large galleries of images with a learned pairwise matcher (TransMatcher,\n"
            "QAConv), exactly, over as many workers as you start.\n\ncommands:\n");
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        fprintf(out, "  %-10s %s\n", entries[i].name, entries[i].summary);
    fprintf(out, "\n'vitrine COMMAND --help' explains one command.\n");
}

int main(int argc, char **argv)
{
    sc_blas_single_thread();
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help(stdout);
        return CM_EXIT_OK;
    }
    for (size_t i = 0; argc >= 2 && i < sizeof entries / sizeof *entries; i++)
        if (strcmp(argv[1], entries[i].name) == 0)
            return entries[i].run(argc - 1, argv + 1);
    if (argc >= 2)
        fprintf(stderr, "vitrine: '%s' is no command; see 'vitrine --help'\n", argv[1]);
    else
        print_help(stderr);
    return CM_EXIT_USAGE;
}
