/* weights_gen.h: a matcher's trained weights and feature maps of any sizes, made up from a seed. No
 * Criterion here: tests/cross uses them too. */
#ifndef TEST_WEIGHTS_GEN_H
#define TEST_WEIGHTS_GEN_H

#include "common/types.h"
#include "common/weights.h"
#include "tests/support/random.h"

#include <stddef.h>

/* The tensors that sc_model_fold looks for, in memory of our own. */
struct test_weights {
    struct cm_weights weights;
};

/* Makes all tensors of a model of these sizes: bn1's weight negative in even layers and positive in
 * odd ones, other BatchNorm weights of both signs, variances from 0.25 to 2, score_embed from -3 to
 * 3 and not symmetric. Stops the test when memory is short. Release with test_weights_free. */
void test_weights_init(struct test_weights *t, const struct cm_geometry *g, uint64_t seed);

/* Frees all tensors. */
void test_weights_free(struct test_weights *t);

/* One tensor's values, to be changed by a test. Stops the test if there is no such tensor. */
float *test_weights_values(struct test_weights *t, const char *name);

/* Takes one tensor away, or gives it another last dimension. Stop the test if there is none. */
void test_weights_remove(struct test_weights *t, const char *name);
void test_weights_reshape(struct test_weights *t, const char *name, uint64_t last_dim);

/* `count` new values in [-1, 1), which the caller frees. */
float *test_maps(struct test_random *r, size_t count);

#endif
