/* measured.h: MEASURED, the coordinator's reply to an EVALUATE: the query's positives and where
 * each ranks in the whole gallery; or which shards could not be counted, and then nothing else, for
 * a figure over a part of the gallery would be no figure. Pure; any thread. */
#ifndef PR_MEASURED_H
#define PR_MEASURED_H

#include "proto/wire/buffer.h"
#include "proto/wire/census.h"
#include "proto/wire/envelope.h"
#include "proto/wire/missing.h"
#include "proto/wire/ranks.h"

#include <stdbool.h>

struct pr_measured {
    struct cm_query_id id; /* the EVALUATE's */
    uint64_t epoch;
    struct cm_fingerprint gallery; /* over which it was measured */
    uint64_t images;               /* of the gallery, 1..CM_IMAGES_MAX */
    uint32_t shards;               /* of the gallery, 1..CM_SHARDS_MAX */
    /* If any is missing: census, overflowed, positives and counts are 0. Else valid + same_camera +
     * junk = images; distractors + positives <= valid. */
    struct pr_census census;
    uint64_t overflowed;   /* scores that were not finite, at most images */
    bool mixed;            /* workers of different numeric classes took part */
    uint64_t queue_us;     /* from arrival to dispatch */
    uint64_t project_us;   /* the slowest worker's projection */
    uint64_t score_us;     /* the slowest worker's scoring */
    uint64_t total_us;     /* from arrival to this message */
    uint64_t worker_bytes; /* in the headers of all POSITIVES and COUNTS of this query */
    /* Strictly ascending by shard, below `shards`; images_scored is 0. Unpacking allocates them. */
    struct pr_missing_shard *missing;
    size_t missing_count;
    /* In order, counts.items[i] of positives.items[i], over the whole gallery, in which the
     * positive itself is: equal_lower < equal. higher + equal <= valid. So the positive's place
     * among the valid images, higher + equal_lower + 1, is at most valid. */
    struct pr_positives positives;
    struct pr_counts_list counts; /* as many */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_measured_pack(const struct pr_measured *m, struct pr_buffer *out,
                             struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_measured_unpack(struct cm_bytes header, struct pr_measured *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_measured_fini(struct pr_measured *m);

#endif
