/* Folding weights, storing them, and what is refused. */
#include "common/geometry.h"
#include "common/mem.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/table.h"
#include "worker/score/scorer.h"
#include "worker/score/tiles.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct cm_geometry small = {CM_TRANSMATCHER, 5, 3, 20, 2, 33};
static const struct cm_geometry plain = {CM_QACONV, 5, 3, 20, 1, 0};
static struct cm_error e;

/* Folds, releases the weights. */
static struct sc_model *fold(struct test_weights *t)
{
    struct sc_model *m;
    cr_assert_eq(sc_model_fold(&m, &t->weights, &e), CM_OK, "%s", e.text);
    test_weights_free(t);
    return m;
}

static struct sc_model *new_model(const struct cm_geometry *g, uint64_t seed)
{
    struct test_weights t;
    test_weights_init(&t, g, seed);
    return fold(&t);
}

static void assert_fold_refused(struct test_weights *t, const char *text)
{
    struct sc_model *m;
    cr_assert_eq(sc_model_fold(&m, &t->weights, &e), CM_EFORMAT, "%s", text);
    cr_assert_str_eq(e.text, text, "expected \"%s\", got: %s", text, e.text);
    cr_assert_null(m);
    test_weights_free(t);
}

/* The score of two fixed maps. */
static float score_of(const struct sc_model *m)
{
    struct test_random r = {5};
    struct sc_scratch *s;
    void *packed;
    float score;
    size_t stride = cm_round_up(sc_packed_bytes(m), CM_ALIGN), floats = cm_map_floats(&m->geometry);
    float *maps = test_maps(&r, 2 * floats);
    cr_assert_eq(sc_scratch_new(&s, m, &e), CM_OK);
    cr_assert_eq(cm_new_aligned(&packed, 2, stride, &e), CM_OK);
    char *image = (char *)packed + stride;
    cr_assert_eq(sc_pack(m, s, maps, packed, &e), CM_OK);
    cr_assert_eq(sc_pack(m, s, maps + floats, image, &e), CM_OK);
    sc_score(m, s, packed, image, stride, 1, &score);
    free(packed);
    free(maps);
    sc_scratch_free(s);
    return score;
}

static struct cm_fingerprint fingerprint_of(const struct sc_model *m)
{
    struct cm_fingerprint f;
    cr_assert_eq(sc_model_fingerprint(m, &f, &e), CM_OK);
    return f;
}

Test(model, a_stored_model_is_the_same_model)
{
    const struct cm_geometry *sizes[] = {&small, &plain};
    for (size_t i = 0; i < 2; i++) {
        struct sc_model *m = new_model(sizes[i], 3), *loaded;
        cr_assert_eq(m->block_bytes, sc_model_block_bytes(sizes[i]));
        cr_assert_eq(sc_model_load(&loaded, sizes[i], m->block, m->block_bytes, &e), CM_OK, "%s",
                     e.text);
        cr_assert(cm_geometry_equal(&loaded->geometry, sizes[i]));
        cr_assert_eq(memcmp(loaded->block, m->block, m->block_bytes), 0);
        float was = score_of(m), is = score_of(loaded);
        cr_assert_eq(memcmp(&was, &is, sizeof is), 0, "%a is not %a", (double)is, (double)was);
        struct cm_fingerprint a = fingerprint_of(m), b = fingerprint_of(loaded);
        cr_assert(cm_fingerprint_equal(&a, &b));
        sc_model_free(m);
        sc_model_free(loaded);
    }
    sc_model_free(NULL);
}

Test(model, the_same_weights_fold_to_the_same_bytes)
{
    struct sc_model *a = new_model(&small, 3), *b = new_model(&small, 3), *c = new_model(&small, 4);
    cr_assert_eq(memcmp(a->block, b->block, a->block_bytes), 0);
    struct cm_fingerprint fa = fingerprint_of(a), fc = fingerprint_of(c);
    cr_assert(!cm_fingerprint_equal(&fa, &fc));
    sc_model_free(a);
    sc_model_free(b);
    sc_model_free(c);
}

Test(model, the_fingerprint_sees_every_weight_and_size)
{
    struct sc_model *m = new_model(&small, 3);
    struct cm_fingerprint clean = fingerprint_of(m), now;
    for (size_t i = 0; i < m->block_bytes; i += 61) {
        ((char *)m->block)[i] ^= 1;
        now = fingerprint_of(m);
        cr_assert(!cm_fingerprint_equal(&now, &clean), "byte %zu", i);
        ((char *)m->block)[i] ^= 1;
    }
    m->geometry.height = small.width; /* the same block, another shape */
    m->geometry.width = small.height;
    now = fingerprint_of(m);
    cr_assert(!cm_fingerprint_equal(&now, &clean));
    sc_model_free(m);
}

Test(model, the_stored_layout_is_pinned)
{
    /* A double in 64 bytes; fc1, fc1_bias, mask, hidden, bias, out, each padded to 64 bytes. */
    size_t layer = 1600 + 128 + 960 + 2048 + 192 + 192;
    cr_assert_eq(cm_round_up(15 * 15 * 4, 64), 960);
    cr_assert_eq(cm_round_up(33 * 15 * 4, 64), 1984);
    layer -= 64;
    cr_assert_eq(sc_model_block_bytes(&small), 64 + 2 * layer);
    cr_assert_eq(sc_model_block_bytes(&plain), 64 + 64);
    struct test_weights t;
    test_weights_init(&t, &small, 3);
    float first = test_weights_values(&t, "decoder.layers.0.fc1.weight")[0];
    float bias = test_weights_values(&t, "decoder.layers.1.fc1.bias")[7];
    double embed = (double)test_weights_values(&t, "decoder.layers.0.score_embed")[2 * 15 + 4];
    struct sc_model *m = fold(&t);
    const char *block = m->block;
    float stored;
    double constant;
    memcpy(&stored, block + 64, sizeof stored);
    cr_assert(stored == first);
    memcpy(&stored, block + 64 + layer + 1600 + 7 * sizeof stored, sizeof stored);
    cr_assert(stored == bias);
    memcpy(&stored, block + 64 + 1600 + 128 + (2 * 15 + 4) * sizeof stored, sizeof stored);
    cr_assert(stored == (float)(1.0 / (1.0 + exp(-embed))));
    memcpy(&constant, block, sizeof constant);
    cr_assert(constant == m->constant);
    sc_model_free(m);
}

Test(model, load_refuses_another_size)
{
    struct sc_model *m = new_model(&small, 3), *loaded;
    cr_assert_eq(sc_model_load(&loaded, &small, m->block, m->block_bytes - 64, &e), CM_EFORMAT);
    cr_assert_null(loaded);
    char want[80];
    snprintf(want, sizeof want, "folded weights take %zu bytes; this model's take %zu",
             m->block_bytes - 64, m->block_bytes);
    cr_assert_str_eq(e.text, want);
    cr_assert_eq(sc_model_load(&loaded, &plain, m->block, m->block_bytes, &e), CM_EFORMAT);
    sc_model_free(m);
}

Test(model, load_refuses_what_is_not_finite)
{
    struct sc_model *m = new_model(&small, 3), *loaded;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        float *at = (float *)(uintptr_t)&m->layers[1].hidden[33 * 15 - 1], keep = *at;
        *at = bad[i];
        cr_assert_eq(sc_model_load(&loaded, &small, m->block, m->block_bytes, &e), CM_EFORMAT);
        cr_assert_null(loaded);
        cr_assert_str_eq(e.text, "tensor 'decoder.layers.1.fc2.weight' folded with its BatchNorms "
                                 "is not finite in float32");
        *at = keep;
    }
    double nan = NAN;
    memcpy(m->block, &nan, sizeof nan);
    cr_assert_eq(sc_model_load(&loaded, &small, m->block, m->block_bytes, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "the folded weights' constant is not finite");
    sc_model_free(m);
}

/* Every tensor is needed, in its shape. */
static void assert_needs_every_tensor(const struct cm_geometry *g)
{
    struct test_weights t;
    test_weights_init(&t, g, 3);
    size_t count = t.weights.tensors_count;
    test_weights_free(&t);
    for (size_t i = 0; i < 2 * count; i++) {
        struct sc_model *m;
        char name[80], want[120];
        test_weights_init(&t, g, 3);
        snprintf(name, sizeof name, "%s", t.weights.tensors[i / 2].name);
        if (i % 2)
            test_weights_remove(&t, name);
        else
            test_weights_reshape(&t, name, 7);
        cr_assert_eq(sc_model_fold(&m, &t.weights, &e), CM_EFORMAT, "%s", name);
        cr_assert_null(m);
        snprintf(want, sizeof want, "tensor '%s' %s", name, i % 2 ? "of shape [" : "has shape [");
        cr_assert(strncmp(e.text, want, strlen(want)) == 0, "expected \"%s\" in: %s", want, e.text);
        test_weights_free(&t);
    }
}

Test(model, fold_needs_every_tensor_in_its_shape)
{
    assert_needs_every_tensor(&small);
    assert_needs_every_tensor(&plain);
    struct test_weights t;
    test_weights_init(&t, &small, 3);
    test_weights_reshape(&t, "decoder.layers.1.score_embed", 16);
    assert_fold_refused(&t,
                        "tensor 'decoder.layers.1.score_embed' has shape [1,1,15,16]; the sizes "
                        "in __metadata__ ask [1,1,15,15]");
    test_weights_init(&t, &plain, 3);
    test_weights_remove(&t, "logit_bn.running_var");
    assert_fold_refused(&t, "tensor 'logit_bn.running_var' of shape [1] is missing; a qaconv of "
                            "these sizes needs it");
}

Test(model, fold_refuses_a_negative_variance)
{
    struct test_weights t;
    test_weights_init(&t, &small, 3);
    test_weights_values(&t, "decoder.layers.1.bn2.running_var")[32] = -0.5f;
    assert_fold_refused(&t, "tensor 'decoder.layers.1.bn2.running_var' holds a negative variance "
                            "(-0.5)");
    test_weights_init(&t, &plain, 3);
    test_weights_values(&t, "bn.running_var")[0] = -1e-5f;
    assert_fold_refused(&t, "tensor 'bn.running_var' holds a negative variance (-1e-05)");
}

Test(model, fold_names_what_does_not_fold_to_finite_numbers)
{
    static const struct {
        const char *set, *named;
        float value;
    } rows[] = {
        {"layers.1.bn1.running_var", "layers.1.fc2.weight", 0.0f},
        {"layers.0.bn2.running_var", "layers.0.fc2.weight", 0.0f},
        {"layers.1.bn2.bias", "layers.1.fc2.bias", NAN},
        {"layers.1.fc2.bias", "layers.1.fc2.bias", 3e38f},
        {"layers.0.bn3.running_var", "layers.0.fc3.weight", 0.0f},
        {"norm.running_var", "layers.0.fc3.weight", 0.0f},
        {"layers.0.score_embed", "layers.0.score_embed", NAN},
        {"layers.1.fc1.weight", "layers.1.fc1.weight", INFINITY},
        {"layers.1.fc1.bias", "layers.1.fc1.bias", NAN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct test_weights t;
        char name[80], want[160];
        test_weights_init(&t, &small, 3);
        t.weights.bn_eps = 0;
        test_weights_values(&t, "decoder.layers.1.bn2.weight")[0] = 4.0f;
        snprintf(name, sizeof name, "decoder.%s", rows[i].set);
        test_weights_values(&t, name)[0] = rows[i].value;
        snprintf(want, sizeof want,
                 "tensor 'decoder.%s' folded with its BatchNorms is not finite in float32",
                 rows[i].named);
        assert_fold_refused(&t, want);
    }
    struct test_weights t;
    test_weights_init(&t, &plain, 3);
    t.weights.bn_eps = 0;
    test_weights_values(&t, "bn.running_var")[0] = 0;
    assert_fold_refused(&t,
                        "tensor 'fc.weight' folded with its BatchNorms is not finite in float32");
}

Test(model, an_extreme_mask_folds_to_0_and_1)
{
    struct test_weights t;
    test_weights_init(&t, &small, 3);
    test_weights_values(&t, "decoder.layers.0.score_embed")[0] = -FLT_MAX;
    test_weights_values(&t, "decoder.layers.0.score_embed")[1] = FLT_MAX;
    struct sc_model *m = fold(&t);
    cr_assert(m->layers[0].mask[0] == 0.0f && m->layers[0].mask[1] == 1.0f);
    sc_model_free(m);
}

Test(model, pack_refuses_what_would_overflow)
{
    struct sc_model *m = new_model(&plain, 3);
    struct sc_scratch *s;
    void *packed;
    cr_assert_eq(sc_scratch_new(&s, m, &e), CM_OK);
    cr_assert_eq(cm_new_aligned(&packed, sc_packed_bytes(m), 1, &e), CM_OK);
    size_t floats = cm_map_floats(&plain);
    float *map = calloc(floats, sizeof *map);
    for (size_t i = 0; i < floats; i += floats - 1) {
        map[i] = -SC_PACKED_MAX;
        cr_assert_eq(sc_pack(m, s, map, packed, &e), CM_OK, "%s", e.text);
        map[i] = nextafterf(-SC_PACKED_MAX, -INFINITY);
        cr_assert_eq(sc_pack(m, s, map, packed, &e), CM_EFORMAT);
        cr_assert_str_eq(e.text, "a projected feature is -1.44115e+17; scores of values beyond "
                                 "1.44115e+17 would overflow");
        map[i] = NAN;
        cr_assert_eq(sc_pack(m, s, map, packed, &e), CM_EFORMAT);
        map[i] = 0;
    }
    free(map);
    free(packed);
    sc_scratch_free(s);
    sc_model_free(m);
}

/* The score of all-SC_PACKED_MAX maps of a model with one hidden unit and 8192 times these fc2
 * weights. */
static float score_of_huge(const struct cm_geometry *g, const float *fc2)
{
    struct test_weights t;
    struct sc_scratch *s;
    void *packed;
    float score;
    size_t tokens = cm_tokens(g);
    test_weights_init(&t, g, 3);
    for (size_t i = 0; i < tokens; i++)
        test_weights_values(&t, "decoder.layers.0.fc2.weight")[i] = 8192.0f * fc2[i];
    test_weights_values(&t, "decoder.layers.0.bn1.weight")[0] = 1.0f;
    test_weights_values(&t, "decoder.layers.0.bn1.running_var")[0] = 1.0f;
    test_weights_values(&t, "decoder.layers.0.bn2.weight")[0] = 1.0f;
    test_weights_values(&t, "decoder.layers.0.bn2.running_var")[0] = 1.0f;
    for (size_t i = 0; i < tokens * tokens; i++)
        test_weights_values(&t, "decoder.layers.0.score_embed")[i] = 100.0f;
    struct sc_model *m = fold(&t);
    cr_assert_eq(sc_scratch_new(&s, m, &e), CM_OK);
    cr_assert_eq(cm_new_aligned(&packed, sc_packed_bytes(m), 1, &e), CM_OK);
    for (size_t i = 0; i < cm_map_floats(g); i++)
        ((float *)packed)[i] = SC_PACKED_MAX;
    sc_score(m, s, packed, packed, cm_round_up(sc_packed_bytes(m), CM_ALIGN), 1, &score);
    free(packed);
    sc_scratch_free(s);
    sc_model_free(m);
    return score;
}

Test(model, an_overflow_is_seen_in_the_score)
{
    /* A maximum here is 2^114, times 8192 it is 2^127. Four of them times these add up to more than
     * a float holds, upwards, downwards, or on the way to a sum that would have fitted. */
    static const struct cm_geometry narrow = {CM_TRANSMATCHER, 4, 1, 1, 1, 1};
    static const float fc2[][4] = {
        {1, 1, 1, 1}, {-1, -1, -1, -1}, {4, 4, -4, -4}, {-4, -4, 4, 4.5f}, {4, -4, 4, -4},
    };
    for (size_t i = 0; i < sizeof fc2 / sizeof *fc2; i++) {
        float score = score_of_huge(&narrow, fc2[i]);
        cr_assert(!isfinite(score), "fc2 %zu scores %g", i, (double)score);
    }
    static const float tiny[4] = {1e-10f, 1e-10f, 1e-10f, 1e-10f};
    float score = score_of_huge(&narrow, tiny);
    cr_assert(isfinite(score), "a sum that fits is no overflow, but scores %g", (double)score);
}

Test(model, the_numeric_class_is_that_of_its_kernel)
{
    struct sc_model *m = new_model(&small, 3);
    char text[96];
    unsetenv(SC_KERNEL_VARIABLE);
    for (size_t i = 0; sc_kernel_at(i); i++) {
        cr_assert_eq(sc_model_use(m, sc_kernel_at(i), &e), CM_OK);
        cr_assert_eq(sc_numeric_class(m, text, sizeof text), text);
        cr_assert_str_eq(text, sc_kernel_at(i)->numeric_class);
        cr_assert_str_eq(sc_kernel_name(m), sc_kernel_at(i)->name);
    }
    sc_model_free(m);
}
