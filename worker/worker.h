/* worker.h: a worker's decisions: who it is to the coordinator, what it scores next, what it
 * answers.
 *
 *      SEARCH + map                                    compute threads (edge)
 *          |                                                   ^      |
 *     (a) wk_on_message: a search, queued                      |      |
 *     (b) pick a job: project the query, or score a block -- start    |
 *         for every waiting query that still needs that block         |
 *     (c) wk_on_job_done: scores go into each shard's top-k  <--------+
 *     (d) a search's last block, now and then before (results.c), or the deadline: RESULT
 *
 * A block is read once for all queries that wait for it: a newcomer joins at the next block, and
 * comes back for those it missed when it is the oldest. Reading is shared, arithmetic is not: seven
 * newcomers make each block of a lone query take eight times as long. So whoever comes after a
 * query's first block is handed out may have no more scored before that query is done than the
 * query and those who were here by then had to do themselves; who has used that up waits until the
 * query has all its blocks. Newcomers thus never more than double the time of a query, lone or in
 * company. An evaluation (MEASURE) is scored the same way, after all searches, and does not mind
 * newcomers; its scores are kept until they are counted (COUNT).
 *
 * Which shards are here may change while it works, as the coordinator says (PLACE):
 *
 *      not here --PLACE, sources--> being fetched --wk_on_fetched--> held --PLACE, no sources--+
 *         ^  ^                         |                              ^                        v
 *         |  +---PLACE, no sources-----+                              +--PLACE, sources-- on its
 * way |                                                                               out: what
 *         +---- wk_io.release, once no search that began before needs it ---------------- is here
 *                                                                                       goes on
 *
 * Pure: no clock, no socket, no thread, no file. Events come in through the functions below,
 * effects go out through struct wk_io. One thread. */
#ifndef WK_WORKER_H
#define WK_WORKER_H

#include "common/blob.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/types.h"
#include "proto/wire/hello.h"
#include "proto/wire/refuse.h"
#include "proto/wire/sources.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wk_core;
struct wk_search;

/* One shard that this worker holds, as its header says. `images` 0: one that it does not. */
struct wk_held {
    uint32_t shard;
    uint64_t first_image;
    uint64_t images;
    uint64_t blocks;
    uint32_t images_per_block; /* the last block may have fewer */
};

enum wk_job_kind {
    WK_JOB_PROJECT, /* raw map -> packed query */
    WK_JOB_SCORE,   /* one block against up to CM_BATCH_QUERIES_MAX packed queries */
};

/* One piece of compute. The core owns it; a compute thread has it from wk_io.start until
 * wk_on_job_done, fills in the last group, and touches nothing else. It begins with a query only
 * before that query's `until_ns`, which the core sets back to 0 when nobody waits for it any more:
 * a job that is out when a search is cancelled, or runs out of time, ends with the block in hand.
 */
struct wk_job {
    uint32_t index; /* below wk_config.jobs: at most one job of an index is out */
    enum wk_job_kind kind;
    size_t queries_count;                             /* 1 for WK_JOB_PROJECT */
    struct wk_search *searches[CM_BATCH_QUERIES_MAX]; /* the core's own business */
    _Atomic uint64_t until_ns[CM_BATCH_QUERIES_MAX];

    const struct cm_blob *map; /* WK_JOB_PROJECT: bytes of `dtype`, any alignment, right size */
    enum cm_dtype dtype;
    void *packed; /* WK_JOB_PROJECT: room for the packed query, CM_ALIGN-aligned */

    uint32_t shard; /* WK_JOB_SCORE */
    uint64_t block;
    const void *queries[CM_BATCH_QUERIES_MAX]; /* WK_JOB_SCORE: packed */

    enum cm_err outcome; /* CM_ECORRUPT: the block must not be used; its scores are rubbish */
    uint64_t busy_ns;    /* time it took */
    uint64_t began_ns[CM_BATCH_QUERIES_MAX]; /* 0: the query's time was over, and it was left out */
    float scores[CM_BATCH_QUERIES_MAX][CM_BLOCK_IMAGES_MAX]; /* [query][image of the block] */
};

/* How the core acts on the world. */
struct wk_io {
    void *ctx;
    /* To the coordinator; the payload (may be NULL) is borrowed. Errors: CM_EBUSY (not connected).
     */
    enum cm_err (*send)(void *ctx, struct cm_bytes header, struct cm_blob *payload,
                        struct cm_error *e);
    /* Drops the connection and makes a new one, under a new transport address. */
    void (*reconnect)(void *ctx);
    /* Begins a job; wk_on_job_done comes later, never from inside this call. */
    void (*start)(void *ctx, struct wk_job *job);
    /* Labels of image number `i` of a held shard. The name lives as long as the shard. */
    struct cm_image_meta (*meta)(void *ctx, uint32_t shard, uint64_t i);
    /* Gets a shard from one of these workers: wk_on_fetched or wk_on_fetch_failed comes later,
     * never from inside this call, unless it is abandoned. At most one is on its way. */
    void (*fetch)(void *ctx, uint32_t shard, const struct pr_sources *sources);
    /* Ends the fetch that is on its way without a word. What came of the file is kept, so that it
     * can go on another time, or is forgotten: the shard is not wanted here any more. */
    void (*abandon)(void *ctx, bool forget);
    /* Nothing uses this shard any more, and it is to be here no longer. */
    void (*release)(void *ctx, uint32_t shard);
    /* Where other workers fetch from us; "": nowhere. Asked for each HELLO. */
    const char *(*endpoint)(void *ctx);
    /* The most memory that the process ever had resident. */
    uint64_t (*memory_bytes)(void *ctx);
    /* The coordinator wants no such worker, for good: the process should end. */
    void (*refused)(void *ctx, enum pr_refusal reason, const char *text);
    /* The coordinator has let us go, and wk_leave was done: the process should end once idle. */
    void (*dismissed)(void *ctx);
    /* A clock that never goes back. */
    uint64_t (*now_ns)(void *ctx);
};

struct wk_config {
    const char *node; /* name in the cluster; [A-Za-z0-9._-] */
    uint64_t incarnation;
    struct pr_gallery_info gallery;
    const char *numeric_class;
    uint32_t threads;
    uint32_t jobs;            /* out at a time: a few more than threads, so that none waits */
    uint32_t credits;         /* searches taken at a time */
    uint64_t result_every_ns; /* shards that are done wait for others, and share a RESULT: so long
                                 for the first of a search, n times as long for the n-th */
    size_t packed_bytes;
    bool placed; /* the coordinator says which shards are here; false: just these, always */
    const struct wk_held *held; /* [held_count] to begin with, ascending by shard; copied */
    uint32_t held_count;
};

/* A worker that has not said hello yet; wk_on_tick begins. Strings in `config` and `log` outlive
 * it. Errors: CM_ENOMEM. */
enum cm_err wk_new(struct wk_core **out, const struct wk_config *config, const struct wk_io *io,
                   const struct cm_log *log, struct cm_error *e)
    __attribute__((warn_unused_result));
/* No thread may be at a job any more; jobs that did not come back are forgotten. NULL is fine. */
void wk_free(struct wk_core *w);

/* One message from the coordinator, borrowed; `payload` may be NULL. */
void wk_on_message(struct wk_core *w, struct cm_bytes header, struct cm_blob *payload);
void wk_on_garbage(struct wk_core *w, const char *why);

/* A job came back. */
void wk_on_job_done(struct wk_core *w, struct wk_job *job);

/* The shard that wk_io.fetch asked for is here, whole and verified: it is served from now on. */
void wk_on_fetched(struct wk_core *w, const struct wk_held *held);
/* It cannot be had; `why` is one line for the coordinator's log. */
void wk_on_fetch_failed(struct wk_core *w, const char *why);

/* Time passed: hello, heartbeats, deadlines, a silent coordinator. Call at wk_next_wakeup_ns or
 * later. */
void wk_on_tick(struct wk_core *w);
uint64_t wk_next_wakeup_ns(const struct wk_core *w);

/* Tells the coordinator that no more searches should come; those here go on. */
void wk_leave(struct wk_core *w);
/* True when no search is here and no job is out and, after wk_leave, the coordinator knows it. */
bool wk_idle(const struct wk_core *w);

#endif
