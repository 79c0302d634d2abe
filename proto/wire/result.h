/* result.h: RESULT, a worker's answer to a SEARCH for some of its shards: the best hits among the
 * images that it scored in them, how many those were, and if not all, why. Pure; any thread.
 *
 * Shards share a ranking where each was scored whole: a hit that is not in it is then no loss,
 * whichever of them it is from. */
#ifndef PR_RESULT_H
#define PR_RESULT_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/hits.h"
#include "proto/wire/reason.h"

/* One shard of a result. */
struct pr_scored {
    struct cm_shard_id shard;
    uint64_t images_scored; /* at most images */
    uint64_t images;        /* of the shard; 0 if the worker does not hold it */
    uint64_t overflowed;    /* scores that were not finite, at most images_scored */
};

struct pr_result {
    struct cm_query_id id; /* the SEARCH's */
    uint64_t epoch;
    enum pr_reason reason;    /* of each shard; NONE exactly if all its images (at least one) were
                                 scored */
    struct pr_scored *shards; /* [shards_count], at least one, strictly ascending; more than one
                                 only if reason is NONE, or nothing was scored */
    size_t shards_count;
    uint64_t queue_us;   /* from arrival to the start of work */
    uint64_t project_us; /* of the query */
    uint64_t score_us;   /* from the start of its first block on */
    struct pr_hits hits; /* over all these shards; at most as many as images were scored */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above, or names that take more
 * than the header holds), CM_ENOMEM. *out is empty then. */
enum cm_err pr_result_pack(const struct pr_result *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_result_unpack(struct cm_bytes header, struct pr_result *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_result_fini(struct pr_result *m);

#endif
