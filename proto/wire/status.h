/* status.h: STATUS, the coordinator's reply to STATUS_REQUEST: what it serves, how busy it is, and
 * who its members are. Pure; any thread. */
#ifndef PR_STATUS_H
#define PR_STATUS_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/gallery_info.h"
#include "proto/wire/member.h"

#include <stdbool.h>

/* Since the coordinator started. */
struct pr_counters {
    uint64_t queries;     /* QUERY messages taken in */
    uint64_t answers;     /* ANSWER messages sent, partial ones included */
    uint64_t partial;     /* answers that did not cover the gallery */
    uint64_t errors;      /* ERROR messages sent */
    uint64_t garbage;     /* messages that could not be read, connections without a message */
    uint64_t refused;     /* workers refused */
    uint64_t disconnects; /* connections of peers that ended, whatever the reason */
    uint64_t hedges;      /* shards that a second worker was asked for because the first was late */
    uint64_t
        hedges_won;   /* of them, those that the second answered first, and whole; at most hedges */
    uint64_t busy;    /* of the errors, those that said BUSY */
    uint64_t expired; /* queries whose time was over while they waited: answered with nothing */
};

struct pr_status {
    struct cm_query_id id; /* the STATUS_REQUEST's */
    uint64_t epoch;
    uint64_t uptime_ms;
    bool has_gallery; /* false until a first worker has joined; `gallery` is zeroed then */
    struct pr_gallery_info gallery;
    uint32_t shards_covered; /* held by a READY member; at most the gallery's shards, or 0 */
    struct pr_counters counters;
    uint32_t queries_waiting; /* evaluations counted in, here and in the two below */
    uint32_t queries_inflight;
    uint32_t queries_yours;   /* of both, those of the client that asks */
    uint64_t memory_bytes;    /* the most that the coordinator ever had resident */
    uint32_t replicas;        /* wanted of each shard; 0: this coordinator places none */
    uint32_t shards_whole;    /* held by as many READY members as that; at most the gallery's */
    uint64_t pace_us;         /* between two answers while others wait, lately; 0: not known */
    uint32_t clients_waiting; /* with queries or evaluations among those that wait */
    uint32_t most_waiting;    /* of those that wait, the most that one client has */
    /* At most CM_MEMBERS_MAX. Unpacking allocates them; a sender may point where it likes. */
    struct pr_member *members;
    size_t members_count;
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_status_pack(const struct pr_status *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_status_unpack(struct cm_bytes header, struct pr_status *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_status_fini(struct pr_status *m);

#endif
