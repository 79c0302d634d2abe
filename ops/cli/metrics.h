/* metrics.h: the figures of re-identification, from where each query's right images rank. Pure; any
 * thread.
 *
 * What counts: an image of the query's own pid and camid is dropped, and so is one of pid -1; of
 * the others, the valid ones, those of the query's pid are right. A query without a right image
 * does not count. AP is defined in two ways: as a finite sum over thresholds, as scikit-learn's
 * average_precision_score has it, which does not depend on the order of equal scores; and by the
 * trapezoids of the Market-1501 evaluation code, with equal scores in the order of their ids. */
#ifndef CLI_METRICS_H
#define CLI_METRICS_H

#include "common/err.h"
#include "proto/wire/positives.h"

#include <stddef.h>
#include <stdint.h>

enum { CLI_CMC_RANKS = 50 };

/* Who is on an image, and which camera took it. */
struct cli_label {
    int64_t pid;
    int32_t camid;
};

/* What an image is to a query. */
enum cli_relation {
    CLI_RIGHT,
    CLI_WRONG,       /* a distractor (pid 0) too */
    CLI_SAME_CAMERA, /* dropped: the query's own pid and camid */
    CLI_JUNK,        /* dropped: pid -1 */
};

/* By the rules above. To a query of pid 0 or -1 nothing is right. */
enum cli_relation cli_relation_of(const struct cli_label *query, const struct cli_label *image);

/* One query's figures. All zero: it was not measured, as one of pid 0 or -1 is not. */
struct cli_query_figures {
    struct pr_census census;
    uint64_t positives;  /* its right images; 0: it does not count, and what follows is 0 */
    uint64_t first_rank; /* of the best right image among the valid ones, from 1 */
    uint64_t last_rank;  /* of the worst */
    double ap;           /* the finite sum */
    double ap_trapezoid;
    double inp; /* positives / last_rank */
};

/* The figures of a query whose positives, best first (cm_hit_before), have these counts.
 * Errors: CM_EFORMAT for counts that no ranking has; *out is zero then. */
enum cm_err cli_figures_of(const struct pr_census *census, const struct pr_counts_list *counts,
                           struct cli_query_figures *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The figures of a whole set. Means are over valid_queries. */
struct cli_summary {
    uint64_t queries;
    uint64_t valid_queries;      /* that have a right image */
    uint64_t gallery;            /* images, those of pid -1 not counted */
    uint64_t junk_pairs;         /* query and image of one pid and camid */
    uint64_t queries_with_junk;  /* that have such an image */
    uint64_t pid_minus1_dropped; /* images of the gallery */
    uint64_t distractors_pid0;   /* images of the gallery */
    double map, map_trapezoid, minp;
    double cmc[CLI_CMC_RANKS]; /* [r]: the part whose first right image has rank r + 1 or better */
};

/* Sums up `queries` of them. Sums run in the order of the array, so what is put there in whatever
 * order gives the same bits. Errors: CM_EMISMATCH if two queries saw another gallery, or if no
 * query counts; all but the means is right then in the second case. */
enum cm_err cli_summary_of(const struct cli_query_figures *figures, size_t queries,
                           struct cli_summary *out, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
