/* agreement.h: how far one matrix of scores is from another, as numbers and as rankings. Pure.
 *
 * Ranked is as `vitrine search` ranks: the higher score first, of equal ones the lower row. */
#ifndef CLI_AGREEMENT_H
#define CLI_AGREEMENT_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

enum { CLI_AGREEMENT_TOP = 20 };

/* Who is on an image, and which camera took it. */
struct cli_label {
    int64_t pid;
    int32_t camid;
};

/* What is searched. Matrices of its scores are [queries][images], in C order and finite. */
struct cli_labels {
    size_t queries, images;
    const struct cli_label *query, *gallery;
};

/* How good a ranking is. Images of a query's own pid and camid are dropped; queries without a right
 * image among the rest do not count. */
struct cli_quality {
    size_t queries; /* that count */
    double map;     /* mean over them of average precision, as a finite sum (scikit-learn's) */
    double rank1;   /* the part of them whose first image is right */
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

/* The quality of the rankings by `scores`. Errors: CM_ENOMEM; CM_EMISMATCH if no query counts. */
enum cm_err cli_quality_of(const struct cli_labels *l, const double *scores,
                           struct cli_quality *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Compares. Time grows as queries * images^2. Errors: CM_ENOMEM. */
enum cm_err cli_agreement_of(size_t queries, size_t images, const double *reference,
                             const double *scores, struct cli_agreement *out, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
