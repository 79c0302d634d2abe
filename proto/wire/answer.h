/* answer.h: ANSWER, the coordinator's reply to a QUERY: one ranking over the gallery, and exactly
 * how much of the gallery it covers. A partial answer is an answer. Pure; any thread. */
#ifndef PR_ANSWER_H
#define PR_ANSWER_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/hits.h"
#include "proto/wire/missing.h"

#include <stdbool.h>

/* Where the time went, in microseconds. Of the stages that run on many workers at once: the
 * longest. */
struct pr_answer_timings {
    uint64_t queue_us;   /* from arrival to dispatch */
    uint64_t scatter_us; /* sending it to the workers */
    uint64_t project_us; /* on the workers: the query's projection */
    uint64_t score_us;   /* on the workers: the images */
    uint64_t gather_us;  /* from the last SEARCH sent to the last RESULT taken in */
    uint64_t merge_us;   /* merging the rankings */
    uint64_t total_us;   /* from arrival to this message */
};

struct pr_answer {
    struct cm_query_id id; /* the QUERY's */
    uint64_t epoch;
    uint64_t images_scored; /* at most images */
    uint64_t images;        /* of the gallery, 1..CM_IMAGES_MAX */
    uint32_t shards_scored; /* whole; shards_scored + missing_count = shards */
    uint32_t shards;        /* of the gallery, 1..CM_SHARDS_MAX */
    uint64_t overflowed;    /* scores that were not finite, at most images_scored */
    bool mixed;             /* workers of different numeric classes answered */
    struct pr_answer_timings timings;
    /* Strictly ascending by shard, below `shards`. Unpacking allocates them; a sender may point
     * where it likes. */
    struct pr_missing_shard *missing;
    size_t missing_count;
    struct pr_hits hits; /* at most images_scored */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above, or names that take more
 * than the header holds), CM_ENOMEM. *out is empty then. */
enum cm_err pr_answer_pack(const struct pr_answer *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_answer_unpack(struct cm_bytes header, struct pr_answer *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_answer_fini(struct pr_answer *m);

#endif
