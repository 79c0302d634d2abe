/* bench_kernel.c: the scoring kernels against the processor's peak.
 *
 * A sample is peak, case, peak, so that a change of clock hits both. Time is the thread's own: a
 * busy machine then costs cache, but no time. Counted as useful, a pair and layer: 2 T T d for the
 * token product, and 4 (T + 1) ff for the head of both directions; QAConv's head is 4 T. */
#include "common/geometry.h"
#include "common/mem.h"
#include "ops/cli/bench.h"
#include "ops/cli/json.h"
#include "proto/file/shard_format.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/layout.h"
#include "worker/score/kernels/table.h"
#include "worker/score/scorer.h"
#include "worker/score/tiles.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PRECISIONS = CM_INT8, /* numbered from 1 */
    PEAK_STEPS = 100000,
    IMAGES_BYTES = 96 << 20, /* walked through: more than a last-level cache holds of one core */
    DISTINCT = 8,            /* images that differ; the rest repeats them */
};

static const double sample_s = 0.008; /* of one sample, at the peak */

static const struct {
    const char *name;
    struct cm_geometry geometry;
} sizes[] = {
    {"paper", {CM_TRANSMATCHER, 24, 8, 512, 3, 2048}},
    {"small", {CM_TRANSMATCHER, 18, 8, 128, 2, 512}},
    {"qaconv", {CM_QACONV, 24, 8, 64, 1, 0}},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

enum stage { STAGE_PRODUCT, STAGE_PAIR, STAGES };
static const char *const stage_names[STAGES] = {"product", "pair"};

/* What is measured: a model, a query, and images in blocks as a shard has them. */
struct rig {
    struct sc_model *model;
    struct sc_scratch *scratch;
    void *query, *laid_out; /* packed; its first layer as the kernel wants it */
    char *images;
    float *maxima, *scores;
    size_t stride, block, count; /* bytes an image; images a block; images in all */
    size_t next;                 /* the image that the next sample begins with */
};

struct figures {
    double gops, of_peak, pairs_per_s;
};

struct bench {
    uint32_t rounds;
    bool json;
    const struct sc_kernel *meters[PRECISIONS + 1]; /* whose peak counts; NULL: none here */
    double *peaks, *ratios, *gops;                  /* [rounds] */
    json_t *cases;
};

static double thread_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, ascending);
    return samples[count / 2];
}

/* Wandering between processors would cost caches. Where it cannot be had, it is not had. */
static void pin(void)
{
    int cpu = sched_getcpu();
    cpu_set_t one;
    CPU_ZERO(&one);
    if (cpu >= 0) {
        CPU_SET((size_t)cpu, &one);
        (void)sched_setaffinity(0, sizeof one, &one);
    }
}

/* --- the rig -----------------------------------------------------------------------------------
 */

static float number(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-23f - 1;
}

/* Folded weights that are numbers like any other: their values do not change the cost. */
static enum cm_err random_model(const struct cm_geometry *g, struct sc_model **out,
                                struct cm_error *e)
{
    void *p;
    size_t bytes = sc_model_block_bytes(g);
    uint64_t state = 1;
    enum cm_err rc = cm_new_aligned(&p, bytes, 1, e);
    if (rc)
        return rc;
    float *block = p;
    for (size_t i = 0; i < bytes / sizeof *block; i++)
        block[i] = i < CM_ALIGN / sizeof *block ? 0 : 0.05f * number(&state);
    rc = sc_model_load(out, g, block, bytes, e);
    free(block);
    return rc;
}

static enum cm_err fill_images(struct rig *r, struct cm_error *e)
{
    size_t floats = cm_map_floats(&r->model->geometry);
    void *p;
    uint64_t state = 2;
    enum cm_err rc = cm_new_aligned(&p, floats, sizeof(float), e);
    float *map = p;
    for (size_t i = 0; !rc && i < r->count; i++) {
        for (size_t n = 0; i < DISTINCT && n < floats; n++)
            map[n] = number(&state);
        if (i < DISTINCT)
            rc = sc_pack(r->model, r->scratch, map, r->images + i * r->stride, e);
        else
            memcpy(r->images + i * r->stride, r->images + i % DISTINCT * r->stride, r->stride);
    }
    free(map);
    return rc;
}

static void rig_free(struct rig *r)
{
    sc_model_free(r->model);
    sc_scratch_free(r->scratch);
    free(r->query);
    free(r->laid_out);
    free(r->images);
    free(r->maxima);
    free(r->scores);
}

static struct sc_tokens first_layer(const struct rig *r, const void *image)
{
    const struct cm_geometry *g = &r->model->geometry;
    return sc_encoded(r->model->kernel->precision, cm_tokens(g), g->channels, image);
}

static enum cm_err rig_fill(struct rig *r, struct cm_error *e)
{
    const struct cm_geometry *g = &r->model->geometry;
    size_t tokens = cm_tokens(g);
    void *images = NULL, *maxima = NULL, *scores = NULL;
    enum cm_err rc = sc_scratch_new(&r->scratch, r->model, e);
    if (!rc)
        rc = cm_new_aligned(&images, r->count, r->stride, e);
    r->images = images;
    if (!rc)
        rc = cm_new_aligned(&r->query, 1, r->stride, e);
    if (!rc)
        rc = cm_new_aligned(&r->laid_out, sc_query_bytes(tokens, g->channels), 1, e);
    if (!rc)
        rc = cm_new_aligned(&maxima, 2 * cm_round_up(tokens, SC_LANES), sizeof(float), e);
    r->maxima = maxima;
    if (!rc)
        rc = cm_new_aligned(&scores, r->block, sizeof(float), e);
    r->scores = scores;
    if (!rc)
        rc = fill_images(r, e);
    if (rc)
        return rc;
    memcpy(r->query, r->images + r->stride, r->stride);
    r->model->kernel->query(r->model->kernel, first_layer(r, r->query), r->laid_out);
    return CM_OK;
}

static enum cm_err rig_new(struct rig *r, const struct cm_geometry *g, enum cm_precision precision,
                           struct cm_error *e)
{
    *r = (struct rig){0};
    enum cm_err rc = random_model(g, &r->model, e);
    if (!rc)
        rc = sc_model_set_precision(r->model, precision, e);
    if (rc)
        return rc;
    r->stride = pr_image_stride(g, precision);
    r->block = pr_images_per_block(r->stride);
    r->count = IMAGES_BYTES / r->stride / r->block * r->block;
    return rig_fill(r, e);
}

/* --- samples -----------------------------------------------------------------------------------
 */

static double useful_ops(const struct cm_geometry *g, enum stage stage)
{
    double tokens = cm_tokens(g), ff = g->ff, product = 2 * tokens * tokens * g->channels;
    double head = g->matcher == CM_QACONV ? 4 * tokens : 4 * (tokens + 1) * ff;
    return stage == STAGE_PRODUCT ? product : g->layers * (product + head);
}

/* Some products with the next images, each from memory. */
static void run_products(struct rig *r, size_t count)
{
    const struct cm_geometry *g = &r->model->geometry;
    float *row_max = r->maxima + cm_round_up(cm_tokens(g), SC_LANES);
    for (size_t i = 0; i < count; i++) {
        struct sc_tokens image = first_layer(r, r->images + r->next * r->stride);
        r->next = (r->next + 1) % r->count;
        image.next = r->images + r->next * r->stride;
        r->model->kernel->product(image, r->laid_out, r->model->tiles[0].mask, r->maxima, row_max);
    }
}

static void run_blocks(struct rig *r, size_t count)
{
    for (size_t i = 0; i < count; i += r->block) {
        sc_score(r->model, r->scratch, r->query, r->images + r->next * r->stride, r->stride,
                 r->block, r->scores);
        r->next = (r->next + r->block) % r->count;
    }
}

/* Operations a second in registers, in thousands of millions. */
static double peak_gops(const struct sc_kernel *meter)
{
    double start = thread_s();
    uint64_t ops = meter->peak(PEAK_STEPS);
    return (double)ops / (thread_s() - start) * 1e-9;
}

static double case_gops(struct rig *r, enum stage stage, size_t count)
{
    double ops = useful_ops(&r->model->geometry, stage) * (double)count, start = thread_s();
    if (stage == STAGE_PRODUCT)
        run_products(r, count);
    else
        run_blocks(r, count);
    return ops / (thread_s() - start) * 1e-9;
}

static struct figures measure(struct bench *b, struct rig *r, enum stage stage)
{
    enum cm_precision precision = r->model->kernel->precision;
    const struct sc_kernel *meter = b->meters[precision];
    double ops = useful_ops(&r->model->geometry, stage), guess = 100e9 * (double)precision;
    size_t count = (size_t)(sample_s * guess / ops) + 1;
    count = (count + r->block - 1) / r->block * r->block;
    for (uint32_t i = 0; i < b->rounds; i++) {
        double before = meter ? peak_gops(meter) : 0;
        b->gops[i] = case_gops(r, stage, count);
        b->peaks[i] = meter ? (before + peak_gops(meter)) / 2 : 0;
        b->ratios[i] = meter ? b->gops[i] / b->peaks[i] : 0;
    }
    double gops = median(b->gops, b->rounds);
    return (struct figures){gops, median(b->ratios, b->rounds), gops * 1e9 / ops};
}

/* --- what is printed ----------------------------------------------------------------------------
 */

static void report(struct bench *b, const char *size, const struct sc_kernel *k, enum stage stage,
                   const struct figures *f)
{
    const char *precision = cm_precision_name(k->precision);
    bool metered = b->meters[k->precision] != NULL;
    json_t *case_json =
        json_pack("{s:s, s:s, s:s, s:s, s:f, s:o}", "size", size, "precision", precision, "kernel",
                  k->name, "stage", stage_names[stage], "gops", f->gops, "of_peak",
                  metered ? json_real(f->of_peak) : json_null());
    if (stage == STAGE_PAIR)
        json_object_set_new(case_json, "pairs_per_s", json_real(f->pairs_per_s));
    json_array_append_new(b->cases, case_json);
    if (b->json)
        return;
    printf("%-7s %-5s %-11s %-8s %8.1f", size, precision, k->name, stage_names[stage], f->gops);
    if (metered)
        printf(" %8.3f", f->of_peak);
    else
        printf(" %8s", "-");
    if (stage == STAGE_PAIR)
        printf(" %10.0f", f->pairs_per_s);
    printf("\n");
    fflush(stdout);
}

/* The peak of each precision: that of the fastest instruction that this processor has for it. */
static json_t *measure_peaks(struct bench *b)
{
    json_t *peaks = json_object();
    for (int p = 1; p <= PRECISIONS; p++) {
        for (size_t i = 0; sc_kernel_at(i) && !b->meters[p]; i++) {
            const struct sc_kernel *k = sc_kernel_at(i);
            if ((int)k->precision == p && k->peak && k->supported())
                b->meters[p] = k;
        }
        const char *name = cm_precision_name((enum cm_precision)p);
        for (uint32_t i = 0; b->meters[p] && i < b->rounds; i++)
            b->peaks[i] = peak_gops(b->meters[p]);
        double peak = b->meters[p] ? median(b->peaks, b->rounds) : 0;
        json_object_set_new(peaks, name, b->meters[p] ? json_real(peak) : json_null());
        if (!b->json && b->meters[p])
            printf("peak %-5s %8.1f GOP/s\n", name, peak);
    }
    return peaks;
}

static enum cm_err measure_case(struct bench *b, size_t size, enum cm_precision precision,
                                struct cm_error *e)
{
    struct rig r;
    enum cm_err rc = rig_new(&r, &sizes[size].geometry, precision, e);
    for (int stage = 0; !rc && stage < STAGES; stage++) {
        struct figures f = measure(b, &r, (enum stage)stage);
        report(b, sizes[size].name, r.model->kernel, (enum stage)stage, &f);
    }
    rig_free(&r);
    return rc;
}

/* Is there a kernel for it? With VITRINE_KERNEL there may be none, and then nothing is measured. */
static bool has_kernel(enum cm_precision precision)
{
    const struct sc_kernel *k;
    struct cm_error e;
    return sc_kernel_choose(&k, precision, &e) == CM_OK;
}

static enum cm_err measure_all(struct bench *b, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    const struct sc_kernel *k;
    if (!has_kernel(CM_F32) && !has_kernel(CM_BF16) && !has_kernel(CM_INT8))
        return sc_kernel_choose(&k, CM_F32, e);
    b->cases = json_array();
    json_t *peaks = measure_peaks(b);
    if (!b->json)
        printf("\n%-7s %-5s %-11s %-8s %8s %8s %10s\n", "size", "prec.", "kernel", "stage", "GOP/s",
               "of peak", "pairs/s");
    for (size_t s = 0; s < SIZES; s++)
        for (int p = 1; !rc && p <= PRECISIONS; p++)
            if (has_kernel((enum cm_precision)p))
                rc = measure_case(b, s, (enum cm_precision)p, e);
    json_t *all = json_pack("{s:o, s:o}", "peak", peaks, "cases", b->cases);
    if (!rc && b->json)
        return cli_print_json(all, e);
    json_decref(all);
    return rc;
}

enum cm_err cli_bench_kernel(uint32_t rounds, bool json, struct cm_error *e)
{
    struct bench b = {.rounds = rounds, .json = json};
    void *p = NULL;
    enum cm_err rc = cm_new(&p, 3 * (size_t)rounds, sizeof *b.peaks, e);
    if (rc)
        return rc;
    b.peaks = p;
    b.ratios = b.peaks + rounds;
    b.gops = b.ratios + rounds;
    pin();
    rc = measure_all(&b, e);
    free(b.peaks);
    return rc;
}
