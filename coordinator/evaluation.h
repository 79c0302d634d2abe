/* evaluation.h: what a gather that is an evaluation holds besides its slots. Two rounds:
 *
 *      slots open --all closed--> COUNTING --every part has counted--> over
 *          |                         |            (no positives: over at once)
 *          +--- a slot closed badly, a part lost ---> failed, and over
 *
 * In the first round the workers' positives come together, in the second what they count against
 * them is added up. Memory grows with the positives of the query and with the shards, not with the
 * gallery's images. Pure; loop thread only. */
#ifndef CO_EVALUATION_H
#define CO_EVALUATION_H

#include "coordinator/gather.h"
#include "proto/wire/count.h"
#include "proto/wire/measured.h"
#include "proto/wire/positives.h"

struct co_evaluation {
    int64_t pid; /* of the query */
    int32_t camid;
    bool want_scores;
    bool failed;                   /* a shard cannot be counted */
    bool counting;                 /* the second round has begun */
    uint32_t parts_owing;          /* of them, those whose counts have not come */
    struct pr_census census;       /* of the slots that closed well */
    struct pr_positives positives; /* owned; sorted once counting */
    size_t positives_room;
    struct pr_counts *counts; /* [positives.count] once counting */
    uint64_t worker_bytes;    /* in the headers that brought all this */
};

/* Errors: CM_ENOMEM. */
enum cm_err co_evaluation_new(struct co_evaluation **out, const struct pr_evaluate *evaluate,
                              struct cm_error *e) __attribute__((warn_unused_result));
void co_evaluation_free(struct co_evaluation *v); /* NULL is fine */

/* See the picture. */
bool co_evaluation_is_over(const struct co_gather *g);
/* All slots are closed well, and the workers' counts are what is wanted next. */
bool co_evaluation_may_count(const struct co_gather *g);

/* Takes a member's POSITIVES for a shard; the message's numbers were checked against the shard map.
 * Errors: those of co_gather_check_sender; CM_ELIMIT (more than CM_POSITIVES_MAX) and CM_ENOMEM:
 * the slot closes as PR_REASON_INTERNAL. */
enum cm_err co_evaluation_on_positives(struct co_gather *g, uint32_t member,
                                       const char *numeric_class,
                                       const struct pr_positives_message *message,
                                       struct cm_error *e) __attribute__((warn_unused_result));

/* Begins the second round: the positives are sorted, every part owes its counts. Errors: CM_ENOMEM.
 */
enum cm_err co_evaluation_begin_count(struct co_gather *g, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Takes a member's COUNTS. Errors: CM_EMISMATCH (not asked, not so many), CM_EEXIST (it has). */
enum cm_err co_evaluation_on_counts(struct co_gather *g, uint32_t member,
                                    const struct pr_counts_message *message, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The reply, over a gallery of `images`. `out` borrows from the gather, but for out->missing, which
 * the caller frees. Errors: CM_ENOMEM. */
enum cm_err co_evaluation_measured(const struct co_gather *g, uint64_t images,
                                   struct pr_measured *out, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
