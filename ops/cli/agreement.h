/* agreement.h: how far one matrix of scores is from another, as numbers and as rankings. Pure.
 *
 * Ranked is as `vitrine search` ranks: the higher score first, of equal ones the lower row. */
#ifndef CLI_AGREEMENT_H
#define CLI_AGREEMENT_H

#include "ops/cli/metrics.h"

enum { CLI_AGREEMENT_TOP = 20 };

/* What is searched. Matrices of its scores are [queries][images], in C order and finite. */
struct cli_labels {
    size_t queries, images;
    const struct cli_label *query, *gallery;
};

/* Scores against a reference. Rankings are compared whole, with nothing dropped. */
struct cli_agreement {
    double error_max, error_mean, error_p99; /* of the absolute differences */
    size_t first_changed;                    /* queries with another image in the first place */
    double top_overlap;   /* mean part of the CLI_AGREEMENT_TOP first that are among them in both */
    uint64_t swaps;       /* pairs of images of one query whose order changed */
    double swap_margin;   /* the largest difference in the reference of such a pair */
    double bound;         /* 2 * error_max: what differs by more cannot change its order */
    uint64_t swaps_above; /* swaps of a larger margin than the bound */
};

/* The figures (metrics.h) of the rankings by `scores`. Errors: CM_ENOMEM, and those of
 * cli_summary_of. */
enum cm_err cli_quality_of(const struct cli_labels *l, const double *scores,
                           struct cli_summary *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Compares. Time grows as queries * images^2. Errors: CM_ENOMEM. */
enum cm_err cli_agreement_of(size_t queries, size_t images, const double *reference,
                             const double *scores, struct cli_agreement *out, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
