/* partial.h: the folder that a gallery is written into before it appears under its name.
 *
 * It is "<out>.partial", beside the gallery-to-be, so that one rename publishes it. Its owner holds
 * a lock on it that ends with the process: what a killed import left is told from one that runs.
 * One thread. */
#ifndef ST_PARTIAL_H
#define ST_PARTIAL_H

#include "common/err.h"

#include <stdbool.h>

/* A claimed folder. Caller's storage; zero-initialise. */
struct st_partial {
    char *out;  /* the gallery-to-be */
    char *path; /* "<out>.partial" */
    int fd;     /* holds the lock, once claimed */
    bool claimed;
};

/* CM_OK if nothing is called `out`. Errors: CM_EEXIST, CM_EUSAGE (a name that ends in ".partial"),
 * CM_EIO. */
enum cm_err st_partial_check(const char *out, struct cm_error *e);

/* Makes the folder for `out`, or takes over what a killed import left of it, emptied. Release with
 * st_partial_drop, also after a failure. Errors: CM_EEXIST (something is in the way of the gallery
 * or of the folder), CM_EBUSY (another import into `out` runs), CM_EIO, CM_ENOSPC, CM_ENOMEM, and
 * those of st_partial_check. */
enum cm_err st_partial_claim(struct st_partial *p, const char *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Once all files in it are synced: gives it the gallery's name, for good. Errors: CM_EEXIST (the
 * name was taken meanwhile), CM_EIO, CM_ENOSPC, CM_ENOMEM. */
enum cm_err st_partial_publish(struct st_partial *p, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Removes it from disk unless it was published, ends the lock, frees. Zeroed is fine. */
void st_partial_drop(struct st_partial *p);

#endif
