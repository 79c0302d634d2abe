/* coordinator.h: admits queries, scatters them over the workers, gathers one answer each.
 *
 *   client                    coordinator                                worker(s)
 *     |                            |  <------------- HELLO (what I hold) ---- |
 *     |                            |  -------------- WELCOME or REFUSE -----> |
 *     |                            |  <============= HEARTBEAT ============>  |
 *     | -- QUERY + map ----------> |                                          |
 *     |     (a) co_on_message: checked, admitted to the waiting list          |
 *     |     (b) co_scatter: one slot a shard; a SEARCH to each holder         |
 *     |                            |  -- SEARCH + the same map, shared -----> |
 *     |                            |  <------- RESULT, of the shards done -- |
 *     |     (c) co_gather_on_result: merged as they come                      |
 *     |                            |  -- the same of a late one, elsewhere -> |
 *     |     (d) all slots closed, or the deadline: answered                   |
 *     | <---------------- ANSWER - |  -- CANCEL to whoever is still at it --> |
 *
 * Beside that it decides who is to hold which shard (placement.h), if it is told to: workers get
 * shards from each other by its word (PLACE), say what they have (HOLDS), and let go of what others
 * hold by then. That intention lasts (co_io.save); what workers have they say themselves.
 *
 * Pure: no clock, no socket. Events come in through the functions below, effects go out through
 * struct co_io. One thread. Everything from a peer is checked here or in proto/ before it is used;
 * a peer's garbage is counted, logged at a bounded rate, and survived. */
#ifndef CO_COORDINATOR_H
#define CO_COORDINATOR_H

#include "common/blob.h"
#include "common/err.h"
#include "common/log.h"
#include "common/types.h"

#include <stdbool.h>
#include <stdint.h>

/* How the core acts on the world. */
struct co_io {
    void *ctx;
    /* Sends one message; the payload (may be NULL) is borrowed. Errors: CM_EBUSY (the peer's queue
     * is full), CM_EUNAVAIL (no such peer). */
    enum cm_err (*send)(void *ctx, const struct cm_peer *to, struct cm_bytes header,
                        struct cm_blob *payload, struct cm_error *e);
    /* A clock that never goes back. */
    uint64_t (*now_ns)(void *ctx);
    /* The most memory that the process ever had resident, for STATUS. */
    uint64_t (*memory_bytes)(void *ctx);
    /* Makes the text of a map (proto/file/map.h) last; used if config.places. Any error: the map
     * that lasts is the one before, and it is tried again. */
    enum cm_err (*save)(void *ctx, const char *text, struct cm_error *e);
};

struct pr_map;

struct co_config {
    uint64_t heartbeat_ns;  /* both ways; workers are told in WELCOME */
    uint64_t dead_after_ns; /* a worker silent for so long is gone */
    uint64_t
        settle_ns;     /* after the start, queries wait so long for shards that nobody serves yet */
    bool allow_mixed;  /* admit workers of another numeric class; answers then say so */
    bool places;       /* shards are placed on workers that let it; else each keeps what it has */
    uint32_t replicas; /* wanted of each shard, if no map says; 1..CM_REPLICAS_MAX */
    uint64_t replace_after_ns; /* the shards of a worker that is away for so long are placed anew */
    const struct pr_map *map;  /* what an earlier life saved; NULL if none. Used by co_new only */
    uint32_t hedge_percent;    /* of shard requests that may be hedges; 0: none is */
    bool demotes_late;         /* queries pass over workers that are much slower than others */
    uint64_t first_id; /* where request ids start: random, so that a restart's do not collide */
};

struct co_core;

/* A coordinator without members. `log` and what `io` points to outlive it. Errors: CM_ENOMEM; if
 * it places, also those of co_io.save: nobody may see an epoch that does not last. */
enum cm_err co_new(struct co_core **out, const struct co_config *config, const struct co_io *io,
                   const struct cm_log *log, struct cm_error *e)
    __attribute__((warn_unused_result));
void co_free(struct co_core *c); /* NULL is fine; open queries are dropped */

/* One message arrived. Both are borrowed; `payload` may be NULL, and its bytes may be unaligned. */
void co_on_message(struct co_core *c, const struct cm_peer *from, struct cm_bytes header,
                   struct cm_blob *payload);

/* Something arrived that is no message; `why` says what. */
void co_on_garbage(struct co_core *c, const struct cm_peer *from, const char *why);

/* The connection of a peer from whom messages came has ended: it left, died, or sent what the
 * transport refuses. What is still on its way to or from it is lost: a worker's shards close at
 * once, a client's queries are dropped. It may come back under the same address. */
void co_on_disconnect(struct co_core *c, const struct cm_peer *who);

/* Time passed: deadlines, dead workers. Call at co_next_wakeup_ns or later. */
void co_on_tick(struct co_core *c);

/* When co_on_tick has something to do next; UINT64_MAX for never. */
uint64_t co_next_wakeup_ns(const struct co_core *c);

/* Takes no more queries (they are answered BUSY); those admitted go on. Evaluations do not, which
 * would keep it for long: they are answered BUSY too, and lose nothing by coming again. */
void co_close(struct co_core *c);
/* True when no query is waiting or open. */
bool co_idle(const struct co_core *c);

#endif
