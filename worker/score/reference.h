/* reference.h: the matcher in plain loops and double arithmetic, straight from the unfolded
 * weights.
 *
 * The truth that tests and benchmarks hold every fast kernel against. Never optimised: it mirrors
 * the reference code line by line (transmatcher.py, qaconv.py) and shares nothing with fold.c. */
#ifndef SC_REFERENCE_H
#define SC_REFERENCE_H

#include "common/err.h"
#include "common/weights.h"

/* The score of one pair of raw maps [tokens][layers * channels]. The weights were accepted by
 * sc_model_fold. Errors: CM_ENOMEM. */
enum cm_err sc_reference_score(const struct cm_weights *w, const float *query, const float *gallery,
                               double *score, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
