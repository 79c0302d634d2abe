/* json.c: see json.h. */
#include "ops/cli/json.h"

#include "ops/cli/textfile.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLOAT_DIGITS = 9, DOUBLE_DIGITS = 17 }; /* FLT_DECIMAL_DIG, DBL_DECIMAL_DIG */

static enum cm_err print(json_t *root, size_t digits, struct cm_error *e)
{
    if (!root)
        return cm_fail(e, CM_ENOMEM, "cannot build the JSON");
    int failed = json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(digits));
    json_decref(root);
    if (failed || putchar('\n') == EOF || fflush(stdout) != 0)
        return cm_fail_errno(e, errno, "cannot write to stdout");
    return CM_OK;
}

enum cm_err cli_print_json(json_t *root, struct cm_error *e)
{
    return print(root, FLOAT_DIGITS, e);
}

enum cm_err cli_print_json_exact(json_t *root, struct cm_error *e)
{
    return print(root, DOUBLE_DIGITS, e);
}

enum cm_err cli_save_json_exact(json_t *root, const char *path, struct cm_error *e)
{
    struct cli_textfile text = {0};
    if (!root)
        return cm_fail(e, CM_ENOMEM, "cannot build the JSON");
    enum cm_err rc = cli_textfile_open(&text, e);
    if (!rc) {
        json_dumpf(root, text.file, JSON_COMPACT | JSON_REAL_PRECISION(DOUBLE_DIGITS));
        fputc('\n', text.file); /* a failure shows when the text ends */
        rc = cli_textfile_save(&text, path, e);
    }
    cli_textfile_close(&text);
    json_decref(root);
    return rc;
}

json_t *cli_json_path(const char *path)
{
    json_t *text = json_string(path);
    if (text)
        return text;
    char *plain = strdup(path);
    for (char *p = plain; p && *p; p++)
        if ((unsigned char)*p > 127)
            *p = '?';
    text = plain ? json_string(plain) : NULL;
    free(plain);
    return text;
}
