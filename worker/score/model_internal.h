/* model_internal.h: what model.c, fold.c and scorer.c share and nobody else needs. */
#ifndef SC_MODEL_INTERNAL_H
#define SC_MODEL_INTERNAL_H

#include "worker/score/model.h"

/* A model of these sizes with all weights 0 and `layers` pointing into a writable block. */
enum cm_err sc_model_new(struct sc_model **out, const struct cm_geometry *g, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Makes a model whose block is filled ready for use: reads `constant`, refuses what is not finite,
 * chooses the kernel and lays the weights out for it. Errors: CM_EFORMAT, CM_ENOMEM. */
enum cm_err sc_model_finish(struct sc_model *m, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
