/* shards.h: which shards a worker is to score: the list in SEARCH and MEASURE. For the messages of
 * this folder only. Pure; any thread. */
#ifndef PR_SHARDS_H
#define PR_SHARDS_H

#include "common/err.h"
#include "common/types.h"

#include <stddef.h>

struct pr_fields;
struct pr_writer;

/* At least one, strictly ascending, below CM_SHARDS_MAX. Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_shards_check(const struct cm_shard_id *shards, size_t count, struct cm_error *e);

/* Writes the array; its key was written. */
void pr_shards_write(struct pr_writer *w, const struct cm_shard_id *shards, size_t count);

/* Reads field `key`, at most CM_SHARDS_MAX of them; the caller frees *shards, also after a failure.
 */
void pr_shards_read(struct pr_fields *f, unsigned key, struct cm_shard_id **shards, size_t *count);

#endif
