/* input.h: a regular file that a user brought, open for reading at any place.
 *
 * Reading is pread alone: any number of threads may read one input at once. Errors do not name the
 * file: the caller's do, once. */
#ifndef PR_INPUT_H
#define PR_INPUT_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

struct pr_input {
    int fd;
    uint64_t size; /* bytes, at least 1 */
    char *path;    /* for the caller's errors */
};

/* Opens `path`. Errors: CM_ENOENT, CM_EIO; CM_EFORMAT (no
 * regular file, or an empty one); CM_ENOMEM. */
enum cm_err pr_input_open(struct pr_input *in, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Exactly `size` bytes from byte `offset` on. Errors: CM_EIO; CM_EFORMAT if the file ends first,
 * which means that it became shorter since it was opened, as callers stay within in->size. */
enum cm_err pr_input_read(const struct pr_input *in, uint64_t offset, void *out, size_t size,
                          struct cm_error *e) __attribute__((warn_unused_result));

/* Closes it; one that is zeroed, closed or failed to open is fine. */
void pr_input_close(struct pr_input *in);

#endif
