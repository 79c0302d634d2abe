/* shardmap.h: which members hold which shard. Pure; loop thread only.
 *
 * A shard's place in the gallery (first image, images) is learnt from the first worker that holds
 * it and kept when that worker leaves: answers then still say how much is missing. */
#ifndef CO_SHARDMAP_H
#define CO_SHARDMAP_H

#include "common/err.h"
#include "proto/wire/hello.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct co_shard {
    uint64_t first_image;
    uint64_t images;   /* 0: no worker has ever shown this shard */
    uint32_t *holders; /* members, in the order in which they came */
    uint32_t holders_count;
    uint32_t holders_room;
};

struct co_shardmap {
    uint32_t shards_count; /* of the gallery; 0 before a gallery is known */
    uint32_t covered;      /* shards that somebody holds */
    struct co_shard *shards;
};

/* Room for the shards of a gallery. Errors: CM_ENOMEM. */
enum cm_err co_shardmap_init(struct co_shardmap *map, uint32_t shards, struct cm_error *e)
    __attribute__((warn_unused_result));
void co_shardmap_fini(struct co_shardmap *map); /* leaves it zeroed; a zeroed one is fine */

/* Checks what a worker says it holds against what is known, changing nothing: a shard lies where
 * others saw it, and no image is in two shards. `map` may be one without shards. Errors:
 * CM_EMISMATCH names the shard and both places. */
enum cm_err co_shardmap_check(const struct co_shardmap *map, const struct pr_hello *hello,
                              struct cm_error *e) __attribute__((warn_unused_result));

/* Adds a member's shards, which co_shardmap_check accepted; undone on failure. Errors: CM_ENOMEM.
 */
enum cm_err co_shardmap_add(struct co_shardmap *map, uint32_t member, const struct pr_hello *hello,
                            struct cm_error *e) __attribute__((warn_unused_result));

/* Adds a member to one shard that was checked and that it is not a holder of. Errors: CM_ENOMEM. */
enum cm_err co_shardmap_put(struct co_shardmap *map, uint32_t member,
                            const struct pr_held_shard *held, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Takes a member out of one shard. */
void co_shardmap_take(struct co_shardmap *map, uint32_t member, uint32_t shard);

/* Takes a member out of every shard. */
void co_shardmap_remove(struct co_shardmap *map, uint32_t member);

#endif
