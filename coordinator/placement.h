/* placement.h: which node is to hold which shard, and how often: the cluster's intention, beside
 * the shard map, which says who does. Pure; loop thread only.
 *
 * A node is a worker's name; it keeps its shards while the worker is away. After each change
 * co_placement_settle brings the intention in order again, moving as little as it can:
 *
 *   - each shard is on min(replicas, nodes that stay) different nodes, none of them draining;
 *   - loads (shards of a node) differ by one at most;
 *   - a node that came takes shards from the others, and nothing moves between those. */
#ifndef CO_PLACEMENT_H
#define CO_PLACEMENT_H

#include "common/err.h"
#include "common/limits.h"

#include <stdbool.h>
#include <stdint.h>

enum { CO_NO_NODE = UINT32_MAX };

struct co_node {
    bool used;
    bool draining; /* it hands its shards over, and goes */
    char name[CM_NODE_BYTES_MAX + 1];
    uint32_t load; /* shards that it is to hold */
};

/* One shard's nodes. */
struct co_homes {
    uint32_t count;
    uint32_t nodes[CM_REPLICAS_MAX];
};

struct co_placement {
    uint32_t replicas; /* wanted, 1..CM_REPLICAS_MAX */
    uint32_t shards_count;
    struct co_homes *homes; /* [shards_count] */
    struct co_node nodes[CM_MEMBERS_MAX];
    uint32_t end; /* used nodes are below it */
};

/* Does a node have the shard already? Where a choice is free, such a node is taken: nothing has to
 * travel then. */
typedef bool co_has_shard(const void *ctx, uint32_t shard, uint32_t node);

/* Room for the shards of a gallery; nodes and replicas stay as they are. Errors: CM_ENOMEM. */
enum cm_err co_placement_init(struct co_placement *p, uint32_t shards, struct cm_error *e)
    __attribute__((warn_unused_result));
void co_placement_fini(struct co_placement *p); /* leaves it zeroed; a zeroed one is fine */

/* CO_NO_NODE if there is none. */
uint32_t co_placement_find(const struct co_placement *p, const char *name);

/* A node without shards; settle gives it some. Errors: CM_ELIMIT (table full). */
enum cm_err co_placement_add(struct co_placement *p, const char *name, uint32_t *node,
                             struct cm_error *e) __attribute__((warn_unused_result));

/* Takes a node out of the table and out of every shard. */
void co_placement_remove(struct co_placement *p, uint32_t node);

/* Nodes that are not draining. */
uint32_t co_placement_nodes(const struct co_placement *p);

/* How often a shard can be held now: min(replicas, co_placement_nodes). */
uint32_t co_placement_replicas(const struct co_placement *p);

/* Is `shard` to be on `node`? */
bool co_placement_is_home(const struct co_placement *p, uint32_t shard, uint32_t node);

/* Puts a shard on a node, for a map that was read from a file. False if there is no room, or it is
 * there already. */
bool co_placement_put(struct co_placement *p, uint32_t shard, uint32_t node);

/* See above. Without a node that stays nothing changes: shards would have nowhere to go. `has` may
 * be NULL. */
void co_placement_settle(struct co_placement *p, co_has_shard *has, const void *ctx);

#endif
