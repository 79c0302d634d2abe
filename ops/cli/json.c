/* json.c: see json.h. */
#include "ops/cli/json.h"

#include <errno.h>
#include <stdio.h>

enum { FLOAT_DIGITS = 9 }; /* FLT_DECIMAL_DIG */

enum cm_err cli_print_json(json_t *root, struct cm_error *e)
{
    if (!root)
        return cm_fail(e, CM_ENOMEM, "cannot build the JSON");
    int failed = json_dumpf(root, stdout, JSON_COMPACT | JSON_REAL_PRECISION(FLOAT_DIGITS));
    json_decref(root);
    if (failed || putchar('\n') == EOF || fflush(stdout) != 0)
        return cm_fail_errno(e, errno, "cannot write to stdout");
    return CM_OK;
}
