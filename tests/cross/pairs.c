/* pairs.c: whole pairs through the scorer with one kernel, see cross.h.
 *
 * Packing is held against fc1 in double. A score is held against sc_reference_score of what was
 * packed: the packed tokens as raw maps, and weights whose fc1 changes nothing. So what a precision
 * rounds away is no part of the difference, and the bound is that of float32 in each. */
#include "common/assert.h"
#include "common/geometry.h"
#include "common/mem.h"
#include "tests/cross/cross.h"
#include "tests/support/bound.h"
#include "tests/support/stages.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/reference.h"
#include "worker/score/scorer.h"
#include "worker/score/tiles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More images than the head takes at a time; the last is the query too. */
enum { IMAGES = 35, QUERY = IMAGES - 1 };

static const struct cm_geometry models[] = {
    {CM_TRANSMATCHER, 1, 1, 1, 1, 1},    {CM_TRANSMATCHER, 5, 3, 20, 2, 33},
    {CM_TRANSMATCHER, 17, 1, 5, 2, 16},  {CM_TRANSMATCHER, 5, 7, 3, 1, 31},
    {CM_TRANSMATCHER, 12, 4, 18, 1, 50}, {CM_QACONV, 5, 7, 33, 1, 0},
};
enum { MODELS = sizeof models / sizeof *models };

/* A model, and maps raw and packed. */
struct pairs {
    struct test_weights weights;
    struct sc_model *model;
    struct sc_scratch *scratch;
    float *maps;  /* [IMAGES] raw */
    char *packed; /* [IMAGES], `stride` bytes each */
    size_t stride;
};

/* What fails here fails for want of memory, or there is a bug. */
static void must(enum cm_err rc)
{
    CM_ASSERT(!rc);
}

static struct sc_model *fold(struct test_weights *weights, const struct cm_geometry *g,
                             struct cm_error *e)
{
    struct sc_model *m;
    test_weights_init(weights, g, 77);
    must(sc_model_fold(&m, &weights->weights, e));
    return m;
}

static void setup(struct pairs *p, const struct cm_geometry *g, const struct sc_kernel *k)
{
    struct cm_error e;
    struct test_random random = {7};
    size_t floats = cm_map_floats(g);
    void *packed;
    p->model = fold(&p->weights, g, &e);
    must(sc_model_use(p->model, k, &e));
    must(sc_scratch_new(&p->scratch, p->model, &e));
    p->maps = test_maps(&random, IMAGES * floats);
    p->stride = cm_round_up(sc_packed_bytes(p->model), CM_ALIGN);
    must(cm_new_aligned(&packed, IMAGES, p->stride, &e));
    p->packed = packed;
    for (size_t i = 0; i < IMAGES; i++)
        must(sc_pack(p->model, p->scratch, p->maps + i * floats, p->packed + i * p->stride, &e));
}

static void teardown(struct pairs *p)
{
    test_weights_free(&p->weights);
    sc_model_free(p->model);
    sc_scratch_free(p->scratch);
    free(p->maps);
    free(p->packed);
}

static struct sc_tokens layer_of(const struct pairs *p, size_t image, uint32_t l)
{
    const struct cm_geometry *g = &p->model->geometry;
    enum cm_precision precision = p->model->kernel->precision;
    return sc_encoded(precision, cm_tokens(g), g->channels,
                      p->packed + image * p->stride + l * cm_layer_bytes(g, precision));
}

/* How far a packed value may lie from `x`, which is itself within `off`. */
static double encoding(enum cm_precision precision, double x, double off, double scale)
{
    if (precision == CM_INT8)
        return off + scale * (0.5 + 0x1p-16);
    return precision == CM_BF16 ? off + (fabs(x) + off) * 0x1p-8 : off;
}

/* One packed image, token by token. */
static void check_packed(const struct pairs *p, size_t image, struct cross_result *r)
{
    const struct cm_geometry *g = &p->model->geometry;
    enum cm_precision precision = p->model->kernel->precision;
    size_t d = g->channels;
    const float *map = p->maps + image * cm_map_floats(g);
    for (size_t i = 0; i < (size_t)g->layers * cm_tokens(g) * d; i++) {
        uint32_t l = (uint32_t)(i / d % g->layers);
        size_t t = i / d / g->layers, o = i % d;
        const struct sc_layer *layer = &p->model->layers[l];
        struct sc_tokens tokens = layer_of(p, image, l);
        double want = layer->fc1 ? (double)layer->fc1_bias[o] : (double)map[i], size = fabs(want);
        for (size_t c = 0; layer->fc1 && c < d; c++) {
            double x = (double)map[i - o + c] * (double)layer->fc1[o * d + c];
            want += x;
            size += fabs(x);
        }
        double most = encoding(precision, want, test_rounding(d + 2) * size,
                               tokens.scales ? (double)tokens.scales[t] : 0);
        cross_near(r, "packed value", d, i, test_token_value(precision, &tokens, t, o), want, most);
    }
}

/* A packed image as a raw map, in floats: for int8 rounded once more. */
static float *unpack(const struct pairs *p, size_t image)
{
    const struct cm_geometry *g = &p->model->geometry;
    size_t d = g->channels, count = cm_map_floats(g);
    float *map = malloc(count * sizeof *map);
    CM_ASSERT(map);
    for (size_t i = 0; i < count; i++) {
        struct sc_tokens tokens = layer_of(p, image, (uint32_t)(i / d % g->layers));
        map[i] =
            (float)test_token_value(p->model->kernel->precision, &tokens, i / d / g->layers, i % d);
    }
    return map;
}

/* Makes fc1 leave everything as it is. */
static void without_projection(struct test_weights *weights)
{
    const struct cm_geometry *g = &weights->weights.geometry;
    for (uint32_t l = 0; l < g->layers && g->matcher == CM_TRANSMATCHER; l++) {
        char name[64];
        snprintf(name, sizeof name, "decoder.layers.%u.fc1.weight", l);
        float *fc1 = test_weights_values(weights, name);
        snprintf(name, sizeof name, "decoder.layers.%u.fc1.bias", l);
        float *bias = test_weights_values(weights, name);
        for (size_t o = 0; o < g->channels; o++) {
            bias[o] = 0;
            for (size_t c = 0; c < g->channels; c++)
                fc1[o * g->channels + c] = o == c;
        }
    }
}

/* One score against the reference, and against the same pair scored alone. */
static void check_score(const struct pairs *p, const struct cm_weights *weights,
                        const struct sc_model *model, size_t image, float score,
                        struct cross_result *r)
{
    struct cm_error e;
    double want;
    float alone, *query = unpack(p, QUERY), *map = unpack(p, image);
    must(sc_reference_score(weights, query, map, &want, &e));
    cross_near(r, "score", cm_tokens(&model->geometry), image, (double)score, want,
               test_score_bound(model, query, map));
    sc_score(p->model, p->scratch, p->packed + QUERY * p->stride, p->packed + image * p->stride,
             p->stride, 1, &alone);
    cross_near(r, "score alone", cm_tokens(&model->geometry), image, (double)alone, (double)score,
               0);
    free(query);
    free(map);
}

/* Every image's score; the reference is slow, so some of them are held against it. */
static void score(const struct pairs *p, struct cross_result *r)
{
    struct cm_error e;
    struct test_weights weights;
    float scores[IMAGES];
    sc_score(p->model, p->scratch, p->packed + QUERY * p->stride, p->packed, p->stride, IMAGES,
             scores);
    cross_add_floats(r, scores, IMAGES);
    test_weights_init(&weights, &p->model->geometry, 77);
    without_projection(&weights);
    struct sc_model *model;
    must(sc_model_fold(&model, &weights.weights, &e));
    for (size_t i = 0; i < IMAGES; i += 17)
        check_score(p, &weights.weights, model, i, scores[i], r);
    sc_model_free(model);
    test_weights_free(&weights);
}

void cross_pairs(const struct sc_kernel *k, struct cross_result *pack, struct cross_result *scores)
{
    for (size_t m = 0; m < MODELS; m++) {
        struct pairs p;
        setup(&p, &models[m], k);
        for (size_t i = 0; i < IMAGES; i++)
            cross_add_bytes(pack, p.packed + i * p.stride, sc_packed_bytes(p.model));
        check_packed(&p, 0, pack);
        check_packed(&p, QUERY, pack);
        score(&p, scores);
        teardown(&p);
    }
}

void cross_fold(struct cross_result *r)
{
    struct cm_error e;
    for (size_t m = 0; m < MODELS; m++) {
        struct test_weights weights;
        struct sc_model *model = fold(&weights, &models[m], &e);
        float constant = (float)model->constant;
        cross_add_floats(r, &constant, 1);
        cross_add_floats(r, (const float *)model->block + CM_ALIGN / sizeof(float),
                         (model->block_bytes - CM_ALIGN) / sizeof(float));
        sc_model_free(model);
        test_weights_free(&weights);
    }
}
