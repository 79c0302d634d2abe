/* search.h: one query at one worker: its blocks done and to do, and for each shard a top-k or, of
 * an evaluation, a tally.
 *
 *      QUEUED --> PROJECTING --> SCORING --> over (all shards answered, deadline, cancel, link
 * lost) |          ^
 *                                   +-> TALLIED  an evaluation, until its COUNT has come
 *
 * A search that is over stays in memory until its last job is back. Pure; loop thread only. */
#ifndef WK_SEARCH_H
#define WK_SEARCH_H

#include "common/blob.h"
#include "common/topk.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "worker/tally.h"
#include "worker/worker.h"

/* See the picture above. */
enum wk_search_state {
    WK_QUEUED,
    WK_PROJECTING,
    WK_SCORING,
    WK_TALLIED,
    WK_OVER,
};

/* What a SEARCH or a MEASURE asks. */
struct wk_ask {
    struct cm_query_id id;
    bool measure;          /* a MEASURE */
    uint32_t k;            /* of a SEARCH */
    uint64_t time_left_us; /* of a SEARCH; a MEASURE ends with CANCEL or COUNT */
    int64_t pid;           /* of a MEASURE's query, as the two below */
    int32_t camid;
    bool want_scores;
    enum cm_dtype dtype;
    const struct cm_shard_id *shards; /* [shards_count] ascending; borrowed */
    size_t shards_count;
};

/* One shard of a search. */
struct wk_part {
    uint32_t shard;
    uint64_t blocks_left;  /* not yet back, taken or not */
    uint64_t next;         /* no block below it is free */
    uint8_t *taken;        /* [blocks] 1 once a job has it */
    struct cm_topk topk;   /* of a SEARCH */
    struct wk_tally tally; /* of a MEASURE */
    uint64_t images_scored;
    uint64_t overflowed; /* scores that were not finite */
    bool corrupt;        /* a block was left out for it */
    bool ready;          /* of a SEARCH: it is in the next RESULT */
    bool answered;
    bool told; /* of a MEASURE: its POSITIVES went out, so its images will be counted */
};

struct wk_search {
    struct wk_search *next, *prev; /* in order of arrival; unlinked once over */
    struct cm_query_id id;
    uint64_t number; /* of its arrival, from 1 */
    enum wk_search_state state;
    bool measure; /* what follows is as in wk_ask */
    uint32_t k;
    int64_t pid;
    int32_t camid;
    bool want_scores;
    uint64_t arrived_ns;
    uint64_t deadline_ns;
    uint64_t over_ns;  /* when it was over, and no job of it may begin any more */
    uint64_t queue_us; /* from arrival to the first scored block's start */
    uint64_t project_us;
    uint64_t scoring_ns; /* when its first block began; 0 before */
    enum cm_dtype dtype;
    struct cm_blob *map; /* until it is projected */
    void *packed;        /* the query as shards store images */
    unsigned jobs_out;   /* jobs that hold this search */
    struct wk_part *parts;
    uint32_t parts_count;
    uint32_t parts_open;       /* not answered yet */
    uint32_t parts_ready;      /* of those */
    uint64_t told_ns;          /* when the last RESULT went out; 0 before */
    uint64_t results;          /* that went out */
    struct pr_scored *telling; /* [parts_count] room for the shards of a RESULT; of a SEARCH */
    uint64_t images;           /* of all its parts */
    uint64_t images_left;      /* of blocks that no job has taken */
    uint64_t company;  /* searches up to this number were here when its first block went out;
                          UINT64_MAX before that */
    uint64_t patience; /* images that later ones may still have scored before its own */
};

/* A search for a message that was checked: every shard is one of `held`, the table by number. Takes
 * its own reference to `map`. Errors: CM_ENOMEM. */
enum cm_err wk_search_new(struct wk_search **out, const struct wk_ask *ask,
                          const struct wk_held *held, size_t packed_bytes, struct cm_blob *map,
                          uint64_t now_ns, struct cm_error *e) __attribute__((warn_unused_result));
void wk_search_free(struct wk_search *s); /* NULL is fine; no job is out */

/* The part for a shard, or NULL. */
struct wk_part *wk_search_part(struct wk_search *s, uint32_t shard);

/* The lowest block of `part` that no job has; UINT64_MAX if there is none. */
uint64_t wk_part_free_block(struct wk_part *part, uint64_t blocks);

/* Takes one block's scores into a part. `first` is the block's first image by its number in the
 * shard, which begins with the id `shard_first`. */
void wk_part_add(struct wk_part *part, bool measure, const float *scores, size_t count,
                 uint64_t shard_first, uint64_t first);

#endif
