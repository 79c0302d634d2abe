/* missing.h: the shards that a reply does not cover, and why. Pure; any thread. */
#ifndef PR_MISSING_H
#define PR_MISSING_H

#include "common/err.h"
#include "common/types.h"
#include "proto/wire/reason.h"

#include <stddef.h>

/* A shard that was not scored whole. */
struct pr_missing_shard {
    struct cm_shard_id shard;
    enum pr_reason reason;  /* not NONE */
    uint64_t images_scored; /* less than images, or both 0 */
    uint64_t images;        /* of the shard; 0 if no worker ever said */
};

/* --- for the messages of this folder --- */

struct pr_fields;
struct pr_writer;

/* The rules above; strictly ascending by shard, below `shards`. Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_missing_check(const struct pr_missing_shard *missing, size_t count, uint32_t shards,
                             struct cm_error *e);

/* Writes the array; its key was written. */
void pr_missing_write(struct pr_writer *w, const struct pr_missing_shard *missing, size_t count);

/* Reads field `key`, at most CM_SHARDS_MAX of them; the caller frees *missing, also after a
 * failure.
 */
void pr_missing_read(struct pr_fields *f, unsigned key, struct pr_missing_shard **missing,
                     size_t *count);

#endif
