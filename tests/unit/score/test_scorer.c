/* Scores against the reference in double, within a bound on what float32 rounding can do (bound.h).
 */
#include "common/mem.h"
#include "tests/support/bound.h"
#include "tests/support/weights_gen.h"
#include "worker/score/reference.h"
#include "worker/score/scorer.h"
#include "worker/score/tiles.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 3, SEEDS = 2 };

/* T of 1, 2, 15 to 18 and 35: around the 16 lanes of a panel. */
static const struct cm_geometry models[] = {
    {CM_TRANSMATCHER, 1, 1, 1, 1, 1},   {CM_TRANSMATCHER, 1, 1, 20, 3, 33},
    {CM_TRANSMATCHER, 2, 1, 3, 1, 1},   {CM_TRANSMATCHER, 5, 3, 20, 4, 33},
    {CM_TRANSMATCHER, 4, 4, 20, 2, 33}, {CM_TRANSMATCHER, 17, 1, 1, 2, 16},
    {CM_TRANSMATCHER, 6, 3, 3, 4, 31},  {CM_TRANSMATCHER, 5, 7, 1, 1, 1},
};

static const struct cm_geometry qaconvs[] = {
    {CM_QACONV, 1, 1, 1, 1, 0},  {CM_QACONV, 5, 3, 20, 1, 0},  {CM_QACONV, 4, 4, 3, 1, 0},
    {CM_QACONV, 5, 7, 33, 1, 0}, {CM_QACONV, 12, 4, 64, 1, 0},
};

/* A model, and maps raw and packed. */
struct bench {
    struct test_weights weights;
    struct sc_model *model;
    struct sc_scratch *scratch;
    float *maps;  /* [IMAGES] raw */
    char *packed; /* [IMAGES], `stride` bytes each */
    size_t stride;
};

static void setup(struct bench *b, const struct cm_geometry *g, uint64_t seed)
{
    struct cm_error e;
    struct test_random r = {seed};
    void *p;
    size_t floats = cm_map_floats(g);
    test_weights_init(&b->weights, g, seed + 1000);
    cr_assert_eq(sc_model_fold(&b->model, &b->weights.weights, &e), CM_OK, "%s", e.text);
    cr_assert_eq(sc_scratch_new(&b->scratch, b->model, &e), CM_OK);
    b->maps = test_maps(&r, IMAGES * floats);
    b->stride = cm_round_up(sc_packed_bytes(b->model), CM_ALIGN);
    cr_assert_eq(cm_new_aligned(&p, IMAGES, b->stride, &e), CM_OK);
    b->packed = p;
    for (size_t i = 0; i < IMAGES; i++)
        cr_assert_eq(
            sc_pack(b->model, b->scratch, b->maps + i * floats, b->packed + i * b->stride, &e),
            CM_OK, "%s", e.text);
}

static void teardown(struct bench *b)
{
    test_weights_free(&b->weights);
    sc_model_free(b->model);
    sc_scratch_free(b->scratch);
    free(b->maps);
    free(b->packed);
}

static double score(const struct bench *b, size_t query, size_t image)
{
    float s;
    sc_score(b->model, b->scratch, b->packed + query * b->stride, b->packed + image * b->stride,
             b->stride, 1, &s);
    return (double)s;
}

static double reference(const struct bench *b, size_t query, size_t image)
{
    size_t floats = cm_map_floats(&b->weights.weights.geometry);
    double s;
    struct cm_error e;
    cr_assert_eq(sc_reference_score(&b->weights.weights, b->maps + query * floats,
                                    b->maps + image * floats, &s, &e),
                 CM_OK);
    return s;
}

/* The most by which float32 rounding can move the score of this pair. */
static double bound(const struct bench *b, size_t query, size_t image)
{
    size_t floats = cm_map_floats(&b->model->geometry);
    return test_score_bound(b->model, b->maps + query * floats, b->maps + image * floats);
}

static void assert_within_bound(const struct cm_geometry *g, uint64_t seed)
{
    struct bench b;
    setup(&b, g, seed);
    for (size_t q = 0; q < IMAGES; q++)
        for (size_t i = 0; i < IMAGES; i++) {
            double want = reference(&b, q, i), got = score(&b, q, i), most = bound(&b, q, i);
            cr_assert(fabs(got - want) <= most,
                      "T %u, d %u, N %u, ff %u, pair %zu,%zu: %.9g, in double %.9g, bound %.3g",
                      cm_tokens(g), g->channels, g->layers, g->ff, q, i, got, want, most);
        }
    teardown(&b);
}

Test(scorer, transmatcher_lies_within_the_bound)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (uint64_t seed = 0; seed < SEEDS; seed++)
            assert_within_bound(&models[i], seed);
}

Test(scorer, qaconv_lies_within_the_bound)
{
    for (size_t i = 0; i < sizeof qaconvs / sizeof *qaconvs; i++)
        for (uint64_t seed = 0; seed < SEEDS; seed++)
            assert_within_bound(&qaconvs[i], seed);
}

/* The largest difference to the reference over all pairs of two images, in bounds. With `swapped`
 * the query goes in as the gallery image and the other way round. */
static double worst_in_bounds(const struct bench *b, bool swapped)
{
    double worst = 0;
    for (size_t q = 0; q < IMAGES; q++)
        for (size_t i = 0; i < IMAGES; i++) {
            double got = swapped ? score(b, i, q) : score(b, q, i);
            if (q != i)
                worst = fmax(worst, fabs(got - reference(b, q, i)) / bound(b, q, i));
        }
    return worst;
}

/* The tests above are worth something only while the bound is far below what a mistake does. */
Test(scorer, the_bound_notices_swapped_roles)
{
    struct bench b;
    setup(&b, &models[3], 31);
    double right = worst_in_bounds(&b, false), wrong = worst_in_bounds(&b, true);
    cr_assert(right < 0.1 && wrong > 20, "%g bounds, swapped %g", right, wrong);
    teardown(&b);
}

Test(scorer, the_bound_notices_a_transposed_mask)
{
    struct bench b;
    setup(&b, &models[3], 32);
    size_t tokens = cm_tokens(&models[3]);
    float *mask = (float *)(uintptr_t)b.model->layers[0].mask;
    for (size_t s = 0; s < tokens; s++)
        for (size_t t = 0; t < s; t++) {
            float keep = mask[s * tokens + t];
            mask[s * tokens + t] = mask[t * tokens + s];
            mask[t * tokens + s] = keep;
        }
    cr_assert_eq(sc_model_use(b.model, b.model->kernel, NULL), CM_OK);
    double wrong = worst_in_bounds(&b, false);
    cr_assert(wrong > 20, "%g bounds", wrong);
    teardown(&b);
}

Test(scorer, the_reference_of_one_token_can_be_done_by_hand)
{
    /* One token, one channel, one hidden unit: every step is a number. */
    struct test_weights t;
    test_weights_init(&t, &models[0], 1);
    static const struct {
        const char *name;
        float value;
    } set[] = {
        {"score_embed", 0.0f}, /* sigmoid 1/2 */
        {"fc1.weight", 2.0f},       {"fc1.bias", 1.0f},          {"fc2.weight", 3.0f},
        {"fc2.bias", -1.0f},        {"fc3.weight", 0.5f},        {"fc3.bias", 0.25f},
        {"bn1.weight", -1.0f},      {"bn1.bias", 0.5f},          {"bn1.running_mean", 1.0f},
        {"bn1.running_var", 4.0f},  {"bn2.weight", -2.0f},       {"bn2.bias", 1.0f},
        {"bn2.running_mean", 2.0f}, {"bn2.running_var", 1.0f},   {"bn3.weight", 3.0f},
        {"bn3.bias", 1.0f},         {"bn3.running_mean", -1.0f}, {"bn3.running_var", 9.0f},
    };
    for (size_t i = 0; i < sizeof set / sizeof *set; i++) {
        char name[80];
        snprintf(name, sizeof name, "decoder.layers.0.%s", set[i].name);
        test_weights_values(&t, name)[0] = set[i].value;
    }
    test_weights_values(&t, "decoder.norm.weight")[0] = -2.0f;
    test_weights_values(&t, "decoder.norm.bias")[0] = 10.0f;
    test_weights_values(&t, "decoder.norm.running_mean")[0] = 1.0f;
    test_weights_values(&t, "decoder.norm.running_var")[0] = 4.0f;
    t.weights.bn_eps = 0;
    /* Q = 2 * 1 + 1 = 3, K = 2 * 2 + 1 = 5, S = 15 / 2. BN1: -(7.5 - 1) / 2 + 0.5 = -2.75.
     * fc2: 3 * -2.75 - 1 = -9.25. BN2: -2 (-9.25 - 2) + 1 = 23.5. fc3: 0.5 * 23.5 + 0.25 = 12.
     * BN3 of twice that: 3 (24 + 1) / 3 + 1 = 26. decoder.norm: -2 (26 - 1) / 2 + 10 = -15. */
    double got;
    float query = 1.0f, image = 2.0f;
    cr_assert_eq(sc_reference_score(&t.weights, &query, &image, &got, NULL), CM_OK);
    cr_assert(got == -15.0, "%.17g", got);
    test_weights_free(&t);
}
