/* positives.h: POSITIVES, a worker's answer to a MEASURE for one shard: it has scored the shard, or
 * says why not; who the query's positives in it are; and how its other images count. Pure; any
 * thread. */
#ifndef PR_POSITIVES_H
#define PR_POSITIVES_H

#include "proto/wire/buffer.h"
#include "proto/wire/census.h"
#include "proto/wire/envelope.h"
#include "proto/wire/ranks.h"
#include "proto/wire/reason.h"

struct pr_positives_message {
    struct cm_query_id id; /* the MEASURE's */
    uint64_t epoch;
    struct cm_shard_id shard;
    enum pr_reason reason; /* NONE exactly if the shard was scored whole; else no more is said of
                              it: census, overflowed and positives are 0 */
    uint64_t images;       /* of the shard; 0 if the worker does not hold it */
    /* If it was scored: valid + same_camera + junk = images; distractors + positives <= valid. */
    struct pr_census census;
    uint64_t overflowed; /* scores that were not finite, at most images */
    uint64_t queue_us;   /* from arrival to the start of work */
    uint64_t project_us; /* of the query */
    uint64_t score_us;   /* from the start of its first block on */
    struct pr_positives positives;
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_positives_pack(const struct pr_positives_message *m, struct pr_buffer *out,
                              struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_positives_unpack(struct cm_bytes header, struct pr_positives_message *out,
                                struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_positives_message_fini(struct pr_positives_message *m);

#endif
