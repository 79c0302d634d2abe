/* weights.h: a trained model's named tensors, as read from outside and not yet folded. */
#ifndef CM_WEIGHTS_H
#define CM_WEIGHTS_H

#include "common/types.h"

#include <stddef.h>
#include <stdint.h>

enum { CM_TENSOR_RANK_MAX = 8 };

/* One float32 tensor in C order. `data` has dims[0] * ... * dims[rank-1] finite floats, any
 * alignment that float has. */
struct cm_tensor {
    char *name;
    uint32_t rank;
    uint64_t dims[CM_TENSOR_RANK_MAX];
    uint64_t count; /* product of dims */
    const float *data;
};

/* All of them, with the sizes that the file states. Whoever fills it documents how it is freed. */
struct cm_weights {
    struct cm_geometry geometry; /* checked by cm_geometry_check */
    double bn_eps;               /* added to every variance; the reference's 1e-5 */
    struct cm_tensor *tensors;
    size_t tensors_count;
};

/* The tensor of that name, which `w` keeps; NULL if there is none. Pure; any thread. */
const struct cm_tensor *cm_tensor_find(const struct cm_weights *w, const char *name);

#endif
