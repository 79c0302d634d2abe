/* operate.h: what an operator asks for: DRAIN, a node hands its shards over and goes; REPLICAS, how
 * often each shard is held; and the answer to both, PLACED. An ERROR says why not. Pure; any
 * thread.
 */
#ifndef PR_OPERATE_H
#define PR_OPERATE_H

#include "common/limits.h"
#include "common/types.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

#include <stdbool.h>

struct pr_drain {
    struct cm_query_id id;
    char node[CM_NODE_BYTES_MAX + 1];
    bool force; /* also if fewer replicas than wanted can be held without it */
};

struct pr_replicas {
    struct cm_query_id id;
    uint32_t replicas; /* 1..CM_REPLICAS_MAX */
};

struct pr_placed {
    struct cm_query_id id; /* of the message that it answers */
    uint64_t epoch;
    uint32_t replicas; /* wanted */
    uint32_t nodes;    /* among which shards are placed, those that are drained not counted in */
    uint32_t moves;    /* shard replicas that have to be made now */
};

/* Errors: as for the last two of this file. */
enum cm_err pr_drain_pack(const struct pr_drain *m, struct pr_buffer *out, struct cm_error *e);
/* Likewise. */
enum cm_err pr_drain_unpack(struct cm_bytes header, struct pr_drain *out, struct cm_error *e);
/* Errors: as for the last two of this file. */
enum cm_err pr_replicas_pack(const struct pr_replicas *m, struct pr_buffer *out,
                             struct cm_error *e);
/* Likewise. */
enum cm_err pr_replicas_unpack(struct cm_bytes header, struct pr_replicas *out, struct cm_error *e);

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_placed_pack(const struct pr_placed *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_placed_unpack(struct cm_bytes header, struct pr_placed *out, struct cm_error *e);

#endif
