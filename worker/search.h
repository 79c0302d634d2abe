/* search.h: one query at one worker: its blocks done and to do, and a top-k for each shard.
 *
 *      QUEUED --> PROJECTING --> SCORING --> over (all shards answered, deadline, cancel, link
 * lost)
 *
 * A search that is over stays in memory until its last job is back. Pure; loop thread only. */
#ifndef WK_SEARCH_H
#define WK_SEARCH_H

#include "common/blob.h"
#include "common/topk.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "worker/worker.h"

/* See the picture above. */
enum wk_search_state {
    WK_QUEUED,
    WK_PROJECTING,
    WK_SCORING,
    WK_OVER,
};

/* One shard of a search. */
struct wk_part {
    uint32_t held;        /* index into the worker's shards */
    uint64_t blocks_left; /* not yet back, taken or not */
    uint64_t next;        /* no block below it is free */
    uint8_t *taken;       /* [blocks] 1 once a job has it */
    struct cm_topk topk;
    uint64_t images_scored;
    uint64_t overflowed; /* scores that were not finite */
    bool corrupt;        /* a block was left out for it */
    bool answered;
};

struct wk_search {
    struct wk_search *next, *prev; /* in order of arrival; unlinked once over */
    struct cm_query_id id;
    enum wk_search_state state;
    uint32_t k;
    uint64_t arrived_ns;
    uint64_t deadline_ns;
    uint64_t queue_us; /* from arrival to the first scored block's start */
    uint64_t project_us;
    uint64_t scoring_ns; /* when its first block began; 0 before */
    enum cm_dtype dtype;
    struct cm_blob *map; /* until it is projected */
    void *packed;        /* the query as shards store images */
    unsigned jobs_out;   /* jobs that hold this search */
    struct wk_part *parts;
    uint32_t parts_count;
    uint32_t parts_open; /* not answered yet */
};

/* A search for a message that was checked: every shard is held, and `held_of[i]` says where. Takes
 * its own reference to `map`. Errors: CM_ENOMEM. */
enum cm_err wk_search_new(struct wk_search **out, const struct pr_search *message,
                          const uint32_t *held_of, const struct wk_config *config,
                          struct cm_blob *map, uint64_t now_ns, struct cm_error *e)
    __attribute__((warn_unused_result));
void wk_search_free(struct wk_search *s); /* NULL is fine; no job is out */

/* The part for a held shard, or NULL. */
struct wk_part *wk_search_part(struct wk_search *s, uint32_t held);

/* The lowest block of `part` that no job has; UINT64_MAX if there is none. */
uint64_t wk_part_free_block(struct wk_part *part, uint64_t blocks);

/* Takes one block's scores into a part. `first_image` is the id of the block's first image. */
void wk_part_add(struct wk_part *part, const float *scores, size_t count, uint64_t first_image);

#endif
