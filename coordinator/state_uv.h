/* state_uv.h: the coordinator's state file: the map as it was last saved. Main thread.
 *
 * "<path>.lock" is held while the coordinator runs, so that no second one places the same shards. A
 * save replaces the file in one step: a kill at any moment leaves the map before or the map after.
 */
#ifndef CO_STATE_UV_H
#define CO_STATE_UV_H

#include "common/err.h"
#include "proto/file/map.h"

#include <stdbool.h>

/* Caller's storage. */
struct co_state {
    const char *path;
    int lock;          /* -1 if not held */
    bool found;        /* there was a file */
    struct pr_map map; /* what it says */
};

/* Takes the lock and reads the file, if there is one. Close it in any case. Errors, which name the
 * file: CM_EBUSY (another coordinator has it), those of pr_map_read and io_read_file. */
enum cm_err co_state_open(struct co_state *s, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Makes `text` the file. Errors: CM_ENOSPC, CM_EIO, CM_ENOMEM; the file is then as it was. */
enum cm_err co_state_save(const struct co_state *s, const char *text, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Ends the lock, and frees. */
void co_state_close(struct co_state *s);

#endif
