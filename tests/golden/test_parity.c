/* Our scores against the authors' own, in every case that they were asked for.
 *
 * scores64.npy is their code in double arithmetic, scores.npy the same in float32. Ours may be off
 * by four times what theirs is in that case, or by 1e-5, whichever is larger. The small cases stand
 * in tests/golden/data; the paper's sizes and a real gallery are too large for the repository and
 * are looked for in $VITRINE_SHARED, or in ../shared beside it. */
#include "common/mem.h"
#include "common/topk.h"
#include "proto/file/npy.h"
#include "proto/file/safetensors.h"
#include "tests/support/matrix.h"
#include "tests/support/run.h"
#include "worker/score/reference.h"
#include "worker/score/scorer.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512, BEST = 20 };

/* Where scoring is slow, every so many queries of the real set will do. */
#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
enum { QUERY_STEP = 16 };
#else
enum { QUERY_STEP = 1 };
#endif

/* The files of one case. */
struct files {
    char model[PATH_BYTES];
    char maps[PATH_BYTES]; /* the folder of query.npy, gallery.npy, scores.npy, scores64.npy */
};

/* What stands in them, and our scores. */
struct parity {
    struct pr_safetensors *weights;
    struct sc_model *model;
    struct sc_scratch *scratch;
    struct pr_npy *query, *gallery;
    float *query_map, *gallery_map; /* one each, raw */
    size_t stride;
    void *packed_query, *packed_gallery; /* one query, all of the gallery */
    struct test_matrix scores64;
    float *ours;   /* one query's */
    double theirs; /* largest error of the authors' float32 */
    double allowed;
    double worst; /* largest error of ours so far */
};

static struct cm_error e;

/* A folder that comes with the repository, or lies beside it. */
static void small_case(struct files *f, const char *name)
{
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "tests/golden/data/%.64s", name);
    test_source(folder, f->maps, sizeof f->maps);
    strncat(folder, "/model.safetensors", sizeof folder - strlen(folder) - 1);
    test_source(folder, f->model, sizeof f->model);
}

/* False, and says so, where the large files are not. */
static bool large_case(struct files *f, const char *model, const char *maps)
{
    return test_shared(model, f->model, sizeof f->model) &&
           test_shared(maps, f->maps, sizeof f->maps);
}

static struct pr_npy *open_maps(const struct files *f, const char *name)
{
    char path[PATH_BYTES + 32];
    struct pr_npy *n;
    snprintf(path, sizeof path, "%s/%s", f->maps, name);
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    return n;
}

static void read_matrix(struct test_matrix *m, const struct files *f, const char *name)
{
    char path[PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/%s", f->maps, name);
    cr_assert_eq(test_matrix_read(m, path, &e), CM_OK, "%s", e.text);
}

static void *new_aligned(size_t count, size_t size)
{
    void *p;
    cr_assert_eq(cm_new_aligned(&p, count, size, &e), CM_OK, "%s", e.text);
    return p;
}

/* The authors' float32 error in this case, and what follows from it for us. */
static void read_scores(struct parity *p, const struct files *f)
{
    struct test_matrix scores;
    read_matrix(&p->scores64, f, "scores64.npy");
    read_matrix(&scores, f, "scores.npy");
    cr_assert(scores.rows == p->query->images && scores.columns == p->gallery->images);
    cr_assert(p->scores64.rows == scores.rows && p->scores64.columns == scores.columns);
    for (size_t i = 0; i < scores.rows * scores.columns; i++)
        p->theirs = fmax(p->theirs, fabs(scores.values[i] - p->scores64.values[i]));
    p->allowed = fmax(4 * p->theirs, 1e-5);
    test_matrix_free(&scores);
}

static void pack_gallery(struct parity *p)
{
    for (uint64_t i = 0; i < p->gallery->images; i++) {
        cr_assert_eq(pr_npy_read(p->gallery, i, 1, p->gallery_map, &e), CM_OK, "%s", e.text);
        cr_assert_eq(sc_pack(p->model, p->scratch, p->gallery_map,
                             (char *)p->packed_gallery + i * p->stride, &e),
                     CM_OK, "%s", e.text);
    }
}

static void open_case(struct parity *p, const struct files *f)
{
    *p = (struct parity){0};
    cr_assert_eq(pr_safetensors_read(&p->weights, f->model, &e), CM_OK, "%s", e.text);
    cr_assert_eq(sc_model_fold(&p->model, pr_safetensors_weights(p->weights), &e), CM_OK, "%s",
                 e.text);
    cr_assert_eq(sc_scratch_new(&p->scratch, p->model, &e), CM_OK);
    p->query = open_maps(f, "query.npy");
    p->gallery = open_maps(f, "gallery.npy");
    cr_assert_eq(p->query->image_floats, cm_map_floats(&p->model->geometry));
    cr_assert_eq(p->gallery->image_floats, cm_map_floats(&p->model->geometry));
    p->stride = cm_round_up(sc_packed_bytes(p->model), CM_ALIGN);
    p->query_map = new_aligned(p->query->image_floats, sizeof(float));
    p->gallery_map = new_aligned(p->gallery->image_floats, sizeof(float));
    p->packed_query = new_aligned(1, p->stride);
    p->packed_gallery = new_aligned(p->gallery->images, p->stride);
    p->ours = new_aligned(p->gallery->images, sizeof(float));
    read_scores(p, f);
    pack_gallery(p);
}

static void close_case(struct parity *p, const char *name)
{
    fprintf(stderr, "golden: %-18s largest error %.2e, the authors' float32 %.2e, allowed %.2e\n",
            name, p->worst, p->theirs, p->allowed);
    pr_safetensors_free(p->weights);
    sc_model_free(p->model);
    sc_scratch_free(p->scratch);
    pr_npy_close(p->query);
    pr_npy_close(p->gallery);
    free(p->query_map);
    free(p->gallery_map);
    free(p->packed_query);
    free(p->packed_gallery);
    free(p->ours);
    test_matrix_free(&p->scores64);
}

/* Scores one query against the whole gallery and holds each score against the truth. */
static void score_query(struct parity *p, size_t q)
{
    cr_assert_eq(pr_npy_read(p->query, q, 1, p->query_map, &e), CM_OK, "%s", e.text);
    cr_assert_eq(sc_pack(p->model, p->scratch, p->query_map, p->packed_query, &e), CM_OK);
    sc_score(p->model, p->scratch, p->packed_query, p->packed_gallery, p->stride,
             p->gallery->images, p->ours);
    for (size_t i = 0; i < p->gallery->images; i++) {
        double error = fabs((double)p->ours[i] - test_matrix_at(&p->scores64, q, i));
        cr_assert(error <= p->allowed, "pair %zu,%zu: %.9g is not %.9g: off by %.3g, allowed %.3g",
                  q, i, (double)p->ours[i], test_matrix_at(&p->scores64, q, i), error, p->allowed);
        p->worst = fmax(p->worst, error);
    }
}

/* The reference in double agrees with the authors' double, whose sums have another order. */
static void check_reference(struct parity *p, size_t q)
{
    double worst = 0;
    for (size_t i = 0; i < p->gallery->images; i++) {
        double score;
        cr_assert_eq(pr_npy_read(p->gallery, i, 1, p->gallery_map, &e), CM_OK, "%s", e.text);
        cr_assert_eq(sc_reference_score(pr_safetensors_weights(p->weights), p->query_map,
                                        p->gallery_map, &score, &e),
                     CM_OK);
        worst = fmax(worst, fabs(score - test_matrix_at(&p->scores64, q, i)));
    }
    cr_assert(worst <= 1e-9, "query %zu: the reference is off by %.3g", q, worst);
}

static void check_small_case(const char *name)
{
    struct files f;
    struct parity p;
    small_case(&f, name);
    open_case(&p, &f);
    for (size_t q = 0; q < p.query->images; q++) {
        score_query(&p, q);
        check_reference(&p, q);
    }
    close_case(&p, name);
}

Test(parity, tm_12x4_d64)
{
    check_small_case("tm_12x4_d64");
}

Test(parity, tm_5x3_d20)
{
    check_small_case("tm_5x3_d20");
}

Test(parity, qaconv_12x4_c64)
{
    check_small_case("qaconv_12x4_c64");
}

Test(parity, paper)
{
    struct files f;
    struct parity p;
    if (!large_case(&f, "data/golden/paper/model.safetensors", "data/golden/paper"))
        return;
    open_case(&p, &f);
    for (size_t q = 0; q < p.query->images; q++)
        score_query(&p, q);
    close_case(&p, "paper");
}

/* All of the gallery in our order. */
static void rank(struct cm_topk *t, const struct parity *p)
{
    cr_assert_eq(cm_topk_init(t, p->gallery->images, &e), CM_OK);
    for (size_t i = 0; i < p->gallery->images; i++)
        cm_topk_push(t, (struct cm_hit){p->ours[i], i});
    cm_topk_sort(t);
}

/* Wherever two neighbours in the true order lie further apart than both errors, ours has the same
 * order; so no image stands in our list before one that is truly better by more than that. */
static void check_order(const struct parity *p, size_t q)
{
    const double *truth = p->scores64.values + q * p->scores64.columns;
    struct cm_topk ours;
    rank(&ours, p);
    double least = INFINITY;
    for (size_t i = 0; i < ours.count; i++) {
        double score = truth[ours.hits[i].image];
        cr_assert(score <= least + 2 * p->allowed, "query %zu, rank %zu: %.9g after %.9g", q, i + 1,
                  score, least);
        least = fmin(least, score);
    }
    cm_topk_fini(&ours);
}

/* The authors' best 20: the same images in the same places, but for neighbours closer than both
 * errors. */
static void check_best(const struct parity *p, const struct test_matrix *top, size_t q)
{
    const double *truth = p->scores64.values + q * p->scores64.columns;
    struct cm_topk ours;
    rank(&ours, p);
    for (size_t i = 0; i < BEST; i++) {
        size_t theirs = (size_t)test_matrix_at(top, q, i);
        double gap = fabs(truth[theirs] - truth[ours.hits[i].image]);
        cr_assert(ours.hits[i].image == theirs || gap <= 2 * p->allowed,
                  "query %zu, rank %zu: image %zu, theirs is %zu, %.3g apart", q, i + 1,
                  (size_t)ours.hits[i].image, theirs, gap);
    }
    cm_topk_fini(&ours);
}

Test(parity, grocery)
{
    struct files f;
    struct parity p;
    struct test_matrix top;
    if (!large_case(&f, "data/model/model.safetensors", "data/grocery"))
        return;
    open_case(&p, &f);
    read_matrix(&top, &f, "top20.npy");
    cr_assert(top.rows == p.query->images && top.columns == BEST);
    for (size_t q = 0; q < p.query->images; q += QUERY_STEP) {
        score_query(&p, q);
        check_order(&p, q);
        check_best(&p, &top, q);
    }
    test_matrix_free(&top);
    close_case(&p, QUERY_STEP > 1 ? "grocery (a part)" : "grocery");
}
