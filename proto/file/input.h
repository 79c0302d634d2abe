/* input.h: a file that a user brought, open for reading.
 *
 * A regular file is read with pread alone: any number of threads may read one input at once, at any
 * place. A stream (a pipe, a socket, standard input) is read once, in order, by one thread. Errors
 * do not name the file: the caller's do, once. */
#ifndef PR_INPUT_H
#define PR_INPUT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pr_input {
    int fd;
    bool stream;
    uint64_t size; /* bytes, at least 1; 0 for a stream, which does not say */
    uint64_t at;   /* where pr_input_next reads on */
    char *path;    /* for the caller's errors */
};

/* Opens a regular file, and waits for nobody. Errors: CM_ENOENT, CM_EIO; CM_EFORMAT (no
 * regular file, or an empty one); CM_ENOMEM. */
enum cm_err pr_input_open(struct pr_input *in, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Opens a regular file or a stream; "-" is standard input, always as a stream. Waits until a named
 * pipe has a writer. Errors: as pr_input_open; CM_EFORMAT for a terminal too. */
enum cm_err pr_input_open_any(struct pr_input *in, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Exactly `size` bytes from byte `offset` on; no stream. Errors: CM_EIO; CM_EFORMAT if the file
 * ends first, which means that it became shorter since it was opened, as callers stay within
 * in->size. */
enum cm_err pr_input_read(const struct pr_input *in, uint64_t offset, void *out, size_t size,
                          struct cm_error *e) __attribute__((warn_unused_result));

/* The next `size` bytes of either kind, from the first on; *got is less only at the end. Waits for
 * a stream's writer. One thread. Errors: CM_EIO. */
enum cm_err pr_input_next(struct pr_input *in, void *out, size_t size, size_t *got,
                          struct cm_error *e) __attribute__((warn_unused_result));

/* Closes it; one that is zeroed, closed or failed to open is fine. */
void pr_input_close(struct pr_input *in);

#endif
