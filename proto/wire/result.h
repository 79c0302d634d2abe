/* result.h: RESULT, a worker's answer to a SEARCH for one shard: the best hits among the images
 * that it scored, how many those were, and if not all, why. Pure; any thread. */
#ifndef PR_RESULT_H
#define PR_RESULT_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/hits.h"
#include "proto/wire/reason.h"

struct pr_result {
    struct cm_query_id id; /* the SEARCH's */
    uint64_t epoch;
    struct cm_shard_id shard;
    enum pr_reason reason;  /* NONE exactly if all images (at least one) were scored */
    uint64_t images_scored; /* at most images */
    uint64_t images;        /* of the shard; 0 if the worker does not hold it */
    uint64_t overflowed;    /* scores that were not finite, at most images_scored */
    uint64_t queue_us;      /* from arrival to the start of work */
    uint64_t project_us;    /* of the query */
    uint64_t score_us;      /* from the start of its first block on */
    struct pr_hits hits;    /* at most images_scored */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above, or names that take more
 * than the header holds), CM_ENOMEM. *out is empty then. */
enum cm_err pr_result_pack(const struct pr_result *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_result_unpack(struct cm_bytes header, struct pr_result *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_result_fini(struct pr_result *m);

#endif
