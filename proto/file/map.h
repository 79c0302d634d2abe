/* map.h: the coordinator's state file: which node is to hold which shard. JSON that checks itself;
 * FORMAT.md shows one. Pure: text and struct, no file is touched here. */
#ifndef PR_MAP_H
#define PR_MAP_H

#include "common/err.h"
#include "common/limits.h"
#include "common/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The longest file: 65,536 shards of 16 replicas among 1,024 nodes have 9 MB. */
#define PR_MAP_BYTES_MAX (32u << 20)

struct pr_map_node {
    char name[CM_NODE_BYTES_MAX + 1]; /* as in HELLO; no two alike */
    bool draining;
};

struct pr_map_shard {
    uint64_t first_image;
    uint64_t images; /* 0: no worker has ever shown this shard */
    uint32_t homes_count;
    uint32_t homes[CM_REPLICAS_MAX]; /* indices into nodes; no two alike */
};

struct pr_map {
    uint64_t epoch;
    uint32_t replicas; /* wanted, 1..CM_REPLICAS_MAX */
    /* No gallery yet: the fields below are zero, and there are no nodes either. */
    bool has_gallery;
    struct cm_fingerprint gallery;
    struct cm_fingerprint model;
    uint64_t images;
    uint32_t nodes_count; /* at most CM_MEMBERS_MAX */
    struct pr_map_node *nodes;
    uint32_t shards_count; /* at most CM_SHARDS_MAX */
    struct pr_map_shard *shards;
};

/* The file's text in *text (NUL-terminated, caller frees). Errors: CM_ENOMEM. */
enum cm_err pr_map_write(const struct pr_map *m, char **text, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Reads and checks one. Release with pr_map_fini, also after a failure.
 * Errors: CM_EFORMAT, CM_EVERSION, CM_ECORRUPT, CM_ENOMEM. */
enum cm_err pr_map_read(struct pr_map *m, const char *text, size_t size, struct cm_error *e)
    __attribute__((warn_unused_result));
void pr_map_fini(struct pr_map *m); /* leaves it zeroed; a zeroed one is fine */

#endif
