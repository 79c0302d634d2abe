/* json.h: JSON, one line a value, on stdout or as a file. */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include "common/err.h"

#include <jansson.h>

/* Prints `root` (NULL counts as out of memory) on one line, and drops it. Reals are printed with
 * nine digits, so that a float32 reads back as itself. Errors: CM_ENOMEM, CM_EIO (stdout is closed
 * or full). */
enum cm_err cli_print_json(json_t *root, struct cm_error *e);

/* The same with seventeen digits, so that a double reads back as itself. */
enum cm_err cli_print_json_exact(json_t *root, struct cm_error *e);

/* The same into the file `path`, which appears whole or not at all. Errors: CM_ENOMEM, and those of
 * proto/file/output.h. */
enum cm_err cli_save_json_exact(json_t *root, const char *path, struct cm_error *e);

/* A path as a JSON text. Paths are bytes: what is not UTF-8 has its bytes above 127 replaced by
 * '?'. NULL for want of memory. */
json_t *cli_json_path(const char *path);

#endif
