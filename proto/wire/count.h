/* count.h: the second round of an evaluation. COUNT: the coordinator tells a worker all positives
 * of the gallery, merged. COUNTS: over all the shards of its MEASURE, how many valid images stand
 * before each. The worker then lets go of the scores. Pure; any thread. */
#ifndef PR_COUNT_H
#define PR_COUNT_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/ranks.h"

struct pr_count {
    struct cm_query_id id; /* the MEASURE's */
    uint64_t epoch;
    struct pr_positives positives; /* at least one */
};

struct pr_counts_message {
    struct cm_query_id id; /* the MEASURE's */
    uint64_t epoch;
    struct pr_counts_list counts; /* at least one */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_count_pack(const struct pr_count *m, struct pr_buffer *out, struct cm_error *e);
enum cm_err pr_counts_pack(const struct pr_counts_message *m, struct pr_buffer *out,
                           struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_count_unpack(struct cm_bytes header, struct pr_count *out, struct cm_error *e);
enum cm_err pr_counts_unpack(struct cm_bytes header, struct pr_counts_message *out,
                             struct cm_error *e);

/* Free what unpacking allocated. */
void pr_count_fini(struct pr_count *m);
void pr_counts_fini(struct pr_counts_message *m);

#endif
