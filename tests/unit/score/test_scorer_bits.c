/* The bits of a score depend on the pair and the model alone. */
#include "common/limits.h"
#include "common/mem.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/table.h"
#include "worker/score/scorer.h"
#include "worker/score/tiles.h"

#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { QUERIES = 3, IMAGES = CM_BLOCK_IMAGES_MAX };

static const struct cm_geometry models[] = {
    {CM_TRANSMATCHER, 5, 3, 20, 2, 33},
    {CM_TRANSMATCHER, 12, 4, 16, 1, 64},
    {CM_TRANSMATCHER, 1, 1, 1, 1, 1},
    {CM_QACONV, 5, 3, 20, 1, 0},
};
enum { MODELS = sizeof models / sizeof *models };

/* A model, QUERIES queries and a block of IMAGES images, packed, and their scores. */
struct block {
    struct sc_model *model;
    struct sc_scratch *scratch;
    char *queries;
    char *images;
    size_t stride;
    float scores[QUERIES][IMAGES];
};

static void *new_aligned(size_t count, size_t size)
{
    void *p;
    cr_assert_eq(cm_new_aligned(&p, count, size, NULL), CM_OK);
    return p;
}

static void pack_new(struct block *b, struct test_random *r, size_t count, char *out)
{
    struct cm_error e;
    for (size_t i = 0; i < count; i++) {
        float *map = test_maps(r, cm_map_floats(&b->model->geometry));
        cr_assert_eq(sc_pack(b->model, b->scratch, map, out + i * b->stride, &e), CM_OK);
        free(map);
    }
}

/* With this kernel, or the one that the processor gets for f32. */
static void setup_with(struct block *b, const struct cm_geometry *g, const struct sc_kernel *k)
{
    struct test_weights t;
    struct test_random r = {7};
    struct cm_error e;
    test_weights_init(&t, g, 77);
    cr_assert_eq(sc_model_fold(&b->model, &t.weights, &e), CM_OK, "%s", e.text);
    test_weights_free(&t);
    if (k)
        cr_assert_eq(sc_model_use(b->model, k, &e), CM_OK);
    cr_assert_eq(sc_scratch_new(&b->scratch, b->model, &e), CM_OK);
    b->stride = cm_round_up(sc_packed_bytes(b->model), CM_ALIGN);
    b->queries = new_aligned(QUERIES, b->stride);
    b->images = new_aligned(IMAGES, b->stride);
    pack_new(b, &r, QUERIES, b->queries);
    pack_new(b, &r, IMAGES, b->images);
    for (size_t q = 0; q < QUERIES; q++)
        sc_score(b->model, b->scratch, b->queries + q * b->stride, b->images, b->stride, IMAGES,
                 b->scores[q]);
}

static void setup(struct block *b, const struct cm_geometry *g)
{
    setup_with(b, g, NULL);
}

static void teardown(struct block *b)
{
    sc_model_free(b->model);
    sc_scratch_free(b->scratch);
    free(b->queries);
    free(b->images);
}

static void assert_same(const float *got, const float *want, size_t count, const char *what,
                        size_t where)
{
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(memcmp(&got[i], &want[i], sizeof *got), 0, "%s %zu, image %zu: %a is not %a",
                     what, where, i, (double)got[i], (double)want[i]);
}

/* Scores images first .. first + count - 1 with query `q` and compares with the whole block's. */
static void assert_part(struct block *b, struct sc_scratch *s, size_t q, size_t first, size_t count)
{
    float got[IMAGES];
    sc_score(b->model, s, b->queries + q * b->stride, b->images + first * b->stride, b->stride,
             count, got);
    assert_same(got, b->scores[q] + first, count, "first", first);
}

Test(scorer_bits, alone_in_parts_and_in_a_whole_block_are_the_same)
{
    for (size_t m = 0; m < MODELS; m++) {
        struct block b;
        setup(&b, &models[m]);
        cr_assert_neq(memcmp(&b.scores[0][0], &b.scores[0][1], sizeof(float)), 0, "scores differ");
        for (size_t q = 0; q < QUERIES; q++)
            for (size_t i = 0; i < IMAGES; i++)
                assert_part(&b, b.scratch, q, i, 1);
        for (size_t count = 2; count < IMAGES; count += 13)
            for (size_t first = 0; first + count <= IMAGES; first += 31)
                assert_part(&b, b.scratch, 1, first, count);
        teardown(&b);
    }
}

Test(scorer_bits, place_and_neighbours_do_not_matter)
{
    for (size_t m = 0; m < MODELS; m++) {
        struct block b;
        setup(&b, &models[m]);
        struct test_random r = {99};
        char *others = new_aligned(IMAGES, b.stride);
        pack_new(&b, &r, IMAGES, others);
        float got[IMAGES];
        for (size_t place = 0; place < 70; place += 1 + place / 4) {
            char *at = others + place * b.stride;
            memcpy(at, b.images, b.stride);
            sc_score(b.model, b.scratch, b.queries, others, b.stride, place + 3, got);
            assert_same(got + place, b.scores[0], 1, "place", place);
        }
        free(others);
        teardown(&b);
    }
}

Test(scorer_bits, a_wider_stride_and_another_scratch_do_not_matter)
{
    struct block b;
    setup(&b, &models[0]);
    size_t wide = b.stride + 3 * CM_ALIGN;
    char *spread = new_aligned(IMAGES, wide);
    for (size_t i = 0; i < IMAGES; i++)
        memcpy(spread + i * wide, b.images + i * b.stride, b.stride);
    struct sc_scratch *fresh;
    cr_assert_eq(sc_scratch_new(&fresh, b.model, NULL), CM_OK);
    float got[IMAGES];
    sc_score(b.model, fresh, b.queries, spread, wide, IMAGES, got);
    assert_same(got, b.scores[0], IMAGES, "stride", wide);
    assert_part(&b, fresh, 2, 100, 5);
    sc_scratch_free(fresh);
    free(spread);
    teardown(&b);
}

Test(scorer_bits, an_overflow_leaves_nothing_behind)
{
    struct block b;
    setup(&b, &models[0]);
    float *huge = new_aligned(QUERIES, b.stride), got[QUERIES];
    for (size_t i = 0; i < QUERIES * b.stride / sizeof *huge; i++)
        huge[i] = SC_PACKED_MAX;
    sc_score(b.model, b.scratch, huge, huge, b.stride, QUERIES, got);
    /* Its rows of the head still stand in the scratch, behind the one that is asked for now. */
    assert_part(&b, b.scratch, 0, 0, 1);
    assert_part(&b, b.scratch, 0, 30, 5);
    free(huge);
    teardown(&b);
}

Test(scorer_bits, packing_gives_the_same_bytes_every_time)
{
    for (size_t m = 0; m < MODELS; m++) {
        struct block b;
        setup(&b, &models[m]);
        struct test_random r = {7};
        struct sc_scratch *fresh;
        cr_assert_eq(sc_scratch_new(&fresh, b.model, NULL), CM_OK);
        char *again = new_aligned(1, b.stride);
        for (size_t q = 0; q < QUERIES; q++) {
            float *map = test_maps(&r, cm_map_floats(&models[m]));
            cr_assert_eq(sc_pack(b.model, fresh, map, again, NULL), CM_OK);
            cr_assert_eq(memcmp(again, b.queries + q * b.stride, sc_packed_bytes(b.model)), 0);
            free(map);
        }
        free(again);
        sc_scratch_free(fresh);
        teardown(&b);
    }
}

/* One thread's share: every query over a part of the block, again and again. */
struct share {
    struct block *block;
    size_t first, count;
    float scores[QUERIES][IMAGES];
    enum cm_err rc;
};

static void *score_share(void *p)
{
    struct share *s = p;
    struct block *b = s->block;
    struct sc_scratch *scratch;
    s->rc = sc_scratch_new(&scratch, b->model, NULL);
    for (int round = 0; !s->rc && round < 3; round++)
        for (size_t q = 0; q < QUERIES; q++)
            sc_score(b->model, scratch, b->queries + q * b->stride,
                     b->images + s->first * b->stride, b->stride, s->count, s->scores[q]);
    sc_scratch_free(scratch);
    return NULL;
}

Test(scorer_bits, two_threads_give_what_one_gives)
{
    for (size_t m = 0; m < MODELS; m++) {
        struct block b;
        setup(&b, &models[m]);
        struct share shares[2] = {{&b, 0, 101, {{0}}, CM_OK},
                                  {&b, 101, IMAGES - 101, {{0}}, CM_OK}};
        pthread_t threads[2];
        for (int i = 0; i < 2; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, score_share, &shares[i]), 0);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(shares[i].rc, CM_OK);
            for (size_t q = 0; q < QUERIES; q++)
                assert_same(shares[i].scores[q], b.scores[q] + shares[i].first, shares[i].count,
                            "thread", (size_t)i);
        }
        teardown(&b);
    }
}

/* Whole scores, from raw maps, with every kernel of every precision: one numeric class, one score.
 */
Test(scorer_bits, kernels_of_a_class_give_the_same_scores)
{
    struct cm_error e;
    for (size_t m = 0; m < MODELS; m++) {
        const struct sc_kernel *first = NULL;
        float want[IMAGES] = {0};
        for (size_t i = 0; sc_kernel_at(i); i++) {
            const struct sc_kernel *k = sc_kernel_at(i);
            struct block b;
            if (!k->supported())
                continue;
            setup_with(&b, &models[m], k);
            if (first && strcmp(first->numeric_class, k->numeric_class) == 0)
                assert_same(b.scores[1], want, IMAGES, k->name, m);
            else
                memcpy(want, b.scores[1], sizeof want);
            first = k;
            cr_assert_eq(sc_model_set_precision(b.model, k->precision, &e), CM_OK, "%s", e.text);
            teardown(&b);
        }
    }
}
