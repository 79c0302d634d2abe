/* textfile.h: a text that is printed piece by piece in memory, and then becomes a file as a whole.
 */
#ifndef CLI_TEXTFILE_H
#define CLI_TEXTFILE_H

#include "common/err.h"

#include <stddef.h>
#include <stdio.h>

/* Print into `file`; the rest is for the functions below. Zero-initialise. */
struct cli_textfile {
    FILE *file;
    char *data;
    size_t size;
};

/* Begins an empty text. Close it in any case. Errors: CM_ENOMEM. */
enum cm_err cli_textfile_open(struct cli_textfile *t, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Ends the text; it is in `data` then, `size` bytes with a NUL behind them, until it is closed.
 * Errors: CM_ENOMEM, be it now or while it was printed. */
enum cm_err cli_textfile_end(struct cli_textfile *t, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Ends the text and writes it to `path`, which appears whole or not at all, in place of what had
 * that name. Errors: CM_ENOMEM, and those of proto/file/output.h. */
enum cm_err cli_textfile_save(struct cli_textfile *t, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Frees; one that is zeroed or failed to open is fine. */
void cli_textfile_close(struct cli_textfile *t);

#endif
