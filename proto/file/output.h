/* output.h: a file that appears whole or not at all.
 *
 * Bytes go to a temporary file beside the target, which commit moves into place. One thread at a
 * time. */
#ifndef PR_OUTPUT_H
#define PR_OUTPUT_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One such file. Caller's storage. */
struct pr_output {
    int fd;
    char *path;
    char *temporary; /* NULL once there is none to remove */
    bool partial;    /* it outlives a close without a commit */
};

/* Begins what is to become `path`. Close it in any case. Errors: CM_ENOSPC, CM_EIO (also: no such
 * directory), CM_EUSAGE (`path` is a directory), CM_ENOMEM. */
enum cm_err pr_output_open(struct pr_output *o, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same, but the temporary file is "<path>.partial", which stays when it is closed without a
 * commit: with `resume` such a file is gone on with as it is, else it is emptied. Errors besides:
 * CM_ENOENT (nothing to resume), CM_EBUSY (another process has it open). */
enum cm_err pr_output_open_partial(struct pr_output *o, const char *path, bool resume,
                                   struct cm_error *e) __attribute__((warn_unused_result));

/* Reserves room for `bytes` in all, so that a full disk shows now. Errors: CM_ENOSPC, CM_EIO. */
enum cm_err pr_output_reserve(struct pr_output *o, uint64_t bytes, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Appends. Errors: CM_ENOSPC, CM_EIO; after one, only close. */
enum cm_err pr_output_write(struct pr_output *o, const void *data, size_t size, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Writes at a place, whatever was there. Errors: CM_ENOSPC, CM_EIO. */
enum cm_err pr_output_write_at(struct pr_output *o, uint64_t offset, const void *data, size_t size,
                               struct cm_error *e) __attribute__((warn_unused_result));

/* Syncs the file and gives it its name, in place of what had it. Errors: CM_ENOSPC, CM_EIO. */
enum cm_err pr_output_commit(struct pr_output *o, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Frees; removes the temporary file unless it was committed or is a partial one. One that failed to
 * open is fine. */
void pr_output_close(struct pr_output *o);

#endif
