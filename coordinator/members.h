/* members.h: the workers that the coordinator knows. Pure; loop thread only. */
#ifndef CO_MEMBERS_H
#define CO_MEMBERS_H

#include "common/err.h"
#include "common/limits.h"
#include "common/types.h"
#include "coordinator/latency.h"
#include "coordinator/speed.h"
#include "proto/wire/hello.h"
#include "proto/wire/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a member has of a shard. */
enum co_holding {
    CO_HELD_NOT,
    CO_HELD,
    CO_HELD_GOING, /* it was told to let go, and is asked no more; it has not said that it did */
};

/* A share of a query that a member in disgrace is sent beside those who answer it: its answers do
 * not count, but are timed. */
struct co_probe {
    struct cm_query_id id;
    uint32_t left;    /* shards that it has not answered; 0: none is out */
    uint64_t sent_ns; /* when */
    uint64_t images;  /* that its answers scored so far */
    uint64_t next_ns; /* the next one not before; while one is out, when it is given up */
};

/* One worker process. A slot of the table is used or free; a member is its slot's index, and its
 * incarnation tells it from whoever had the slot before. */
struct co_member {
    bool used;
    struct cm_peer peer;
    enum pr_member_state state;
    bool estranged;         /* an evaluation could not be stopped there: it has to be forgotten */
    uint64_t heard_ns;      /* when anything last came from it */
    uint64_t doubted_ns;    /* when it was first found silent since then; 0: it was not */
    bool silent;            /* it was found so twice: demoted until something comes */
    bool late;              /* demoted until it keeps up again */
    uint64_t replaced;      /* incarnation of the process whose name it took; its own if of none */
    uint64_t searches_done; /* as its heartbeats say */
    uint64_t pairs_scored;
    uint32_t queued;
    uint64_t memory_bytes;
    struct pr_work work;
    uint8_t *holds;      /* [shards of the gallery] enum co_holding; owned */
    uint32_t shards;     /* of them, those held */
    uint64_t images;     /* in those */
    uint32_t node;       /* in the placement; CO_NO_NODE if it keeps what it has */
    uint32_t order;      /* shard that it was told to get, and has not yet; CO_NO_SHARD for none */
    uint32_t giver;      /* the member that was named first as its source */
    uint64_t ordered_ns; /* when */
    uint64_t next_order_ns;    /* after a failure: not before */
    struct co_latency latency; /* of its answers, a shard each; since it was last restored */
    struct co_pace pace;       /* of its shares of queries; since it was last demoted */
    struct co_speed speed;     /* of its scoring, whatever for */
    struct co_probe probe;
    struct pr_hello hello; /* owned: node, incarnation, class, threads, credits, endpoint */
};

struct co_members {
    struct co_member slots[CM_MEMBERS_MAX];
    uint32_t count; /* used slots */
    uint32_t end;   /* all of them are below it: a walk need not touch half a megabyte */
};

/* In place of a member, and of a shard. */
enum { CO_NO_MEMBER = UINT32_MAX, CO_NO_SHARD = UINT32_MAX };

/* Is it passed over where another can be asked? */
static inline bool co_member_is_demoted(const struct co_member *m)
{
    return m->silent || m->late;
}

/* The member with this transport address, or CO_NO_MEMBER. O(members). */
uint32_t co_members_find(const struct co_members *m, const struct cm_peer *peer);

/* The member with this node name, or CO_NO_MEMBER. */
uint32_t co_members_find_node(const struct co_members *m, const char *node);

/* Takes a free slot for a worker, holding what its HELLO says of `shards`, and consumes *hello
 * (zeroes it) unless it fails. Errors: CM_ELIMIT (table full), CM_ENOMEM. */
enum cm_err co_members_add(struct co_members *m, const struct cm_peer *peer, struct pr_hello *hello,
                           uint32_t shards, uint64_t now_ns, uint32_t *out, struct cm_error *e)
    __attribute__((warn_unused_result));
/* Frees what the slot, which is used, owns, and the slot; and all of them. */
void co_members_remove(struct co_members *m, uint32_t member);
void co_members_fini(struct co_members *m);

/* Notes that it holds a shard of so many images, which it did not, or that it no longer does. */
void co_member_gain(struct co_member *m, uint32_t shard, uint64_t images);
void co_member_drop(struct co_member *m, uint32_t shard, uint64_t images, enum co_holding now);

#endif
