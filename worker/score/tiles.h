/* tiles.h: a model's weights laid out for one kernel's tiles. Made once, when a model is made. */
#ifndef SC_TILES_H
#define SC_TILES_H

#include "worker/score/kernels/kernel.h"
#include "worker/score/model.h"

/* One layer's arrays as kernel.h describes them; all NULL for QAConv. */
struct sc_tiles {
    struct sc_panels fc1;
    const float *fc1_bias;
    const float *mask;
    struct sc_panels hidden;
    const float *bias;
    const float *out;
};

/* Lays the weights out for `kernel`, which the model then scores with; what it had before goes.
 * Nobody may be scoring with the model. Errors: CM_ENOMEM, and the model is as it was. */
enum cm_err sc_model_use(struct sc_model *m, const struct sc_kernel *kernel, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Frees the layers' tiles; NULL is fine. */
void sc_tiles_free(struct sc_tiles *tiles);

#endif
