/* score.c: what one worker thread scores in a second, against OpenBLAS's sgemm in the same run.
 *
 * Everything goes through the scorer's own door (sc_score) on whole blocks, as a worker calls it.
 * What a part of it costs is the difference between two such measurements, or the same BLAS calls
 * made alone; the measurements take turns, so that a slow moment of the machine hits all of them.
 *
 * Counted as useful, per pair and layer: 2 T T d for the token product, and for the head of both
 * directions 2 * 2 (T ff + ff); QAConv's head has 2 * 2 T. Mask and maxima count as nothing. */
#include "common/limits.h"
#include "common/mem.h"
#include "common/options.h"
#include "ops/bench/support.h"
#include "proto/file/shard_format.h"
#include "worker/score/blas.h"
#include "worker/score/scorer.h"

#include <stdlib.h>
#include <string.h>

enum {
    ROUNDS_MAX = 1000,
    IMAGES_BYTES = 160 << 20, /* of gallery images to walk: more than a last-level cache holds */
    SAMPLE_FLOP_MILLIONS = 4000,
};

/* What takes turns. */
enum stage {
    STAGE_PAIR,    /* sc_score, all of it */
    STAGE_NO_HEAD, /* sc_score with a model whose head is one unit wide */
    STAGE_SGEMM,   /* one token product again and again: what sgemm can do at this shape */
    STAGES,
};

struct bench {
    const struct bench_size *size;
    struct sc_model *model, *no_head;
    struct sc_scratch *scratch, *no_head_scratch;
    float *query, *images, *product;
    float scores[CM_BLOCK_IMAGES_MAX];
    size_t stride, block_images, blocks, next_block;
    size_t sample_blocks; /* that make one sample of about SAMPLE_FLOP_MILLIONS */
};

static double product_flop(const struct cm_geometry *g)
{
    double tokens = cm_tokens(g);
    return 2 * tokens * tokens * g->channels * g->layers;
}

static double head_flop(const struct cm_geometry *g)
{
    double tokens = cm_tokens(g);
    return g->matcher == CM_QACONV ? 4 * tokens : 4 * (tokens + 1) * g->ff * g->layers;
}

static float *random_floats(size_t count, float scale, uint64_t seed)
{
    void *p;
    struct cm_error e;
    uint64_t state = seed;
    bench_check(cm_new_aligned(&p, count, sizeof(float), &e), &e);
    for (size_t i = 0; i < count; i++)
        ((float *)p)[i] = bench_random(&state) * scale;
    return p;
}

/* Folded weights that are numbers like any other: what they are does not change what they cost. */
static struct sc_model *random_model(const struct cm_geometry *g, struct sc_scratch **scratch)
{
    struct sc_model *model;
    struct cm_error e;
    size_t bytes = sc_model_block_bytes(g);
    float *block = random_floats(bytes / sizeof *block, 0.1f, 1);
    memset(block, 0, CM_ALIGN); /* the constant */
    bench_check(sc_model_load(&model, g, block, bytes, &e), &e);
    bench_check(sc_scratch_new(scratch, model, &e), &e);
    free(block);
    return model;
}

static void start(struct bench *b, const char *name)
{
    b->size = bench_size_of(name);
    struct cm_geometry g = b->size->geometry, no_head = g;
    if (g.matcher == CM_TRANSMATCHER)
        no_head.ff = 1;
    b->model = random_model(&g, &b->scratch);
    b->no_head = random_model(&no_head, &b->no_head_scratch);
    b->stride = pr_image_stride(&g, CM_F32);
    b->block_images = pr_images_per_block(b->stride);
    b->blocks = IMAGES_BYTES / (b->stride * b->block_images);
    b->query = random_floats(b->stride / sizeof(float), 1, 2);
    b->images = random_floats(b->blocks * b->block_images * b->stride / sizeof(float), 1, 3);
    b->product = random_floats((size_t)cm_tokens(&g) * cm_tokens(&g), 0, 4);
    double block_flop = (double)b->block_images * (product_flop(&g) + head_flop(&g));
    b->sample_blocks = 1 + (size_t)(SAMPLE_FLOP_MILLIONS * 1e6 / block_flop);
}

static void stop(struct bench *b)
{
    sc_scratch_free(b->scratch);
    sc_scratch_free(b->no_head_scratch);
    sc_model_free(b->model);
    sc_model_free(b->no_head);
    free(b->query);
    free(b->images);
    free(b->product);
}

/* As many products of a layer's shape as a block has, all on one image, which stays in the cache.
 */
static void products(struct bench *b, const float *image)
{
    const struct cm_geometry *g = &b->size->geometry;
    size_t tokens = cm_tokens(g), d = g->channels;
    for (size_t i = 0; i < g->layers * b->block_images; i++)
        sc_gemm_nt(tokens, tokens, d, image, d, b->query, d, b->product);
}

static void run_stage(struct bench *b, enum stage stage, const float *images)
{
    if (stage == STAGE_PAIR)
        sc_score(b->model, b->scratch, b->query, images, b->stride, b->block_images, b->scores);
    else if (stage == STAGE_NO_HEAD)
        sc_score(b->no_head, b->no_head_scratch, b->query, images, b->stride, b->block_images,
                 b->scores);
    else
        products(b, images);
}

/* Seconds of this thread for one pair in this stage. */
static double sample(struct bench *b, enum stage stage)
{
    size_t block_floats = b->block_images * b->stride / sizeof(float);
    double begin = bench_cpu_s();
    for (size_t i = 0; i < b->sample_blocks; i++) {
        run_stage(b, stage, b->images + b->next_block * block_floats);
        b->next_block = (b->next_block + 1) % b->blocks;
    }
    return (bench_cpu_s() - begin) / (double)(b->sample_blocks * b->block_images);
}

/* Seconds of one pair when `count` images are scored in a call. */
static double sample_chunk(struct bench *b, size_t count)
{
    size_t calls = 1 + b->block_images / count;
    double begin = bench_cpu_s();
    for (size_t i = 0; i < calls; i++)
        sc_score(b->model, b->scratch, b->query, b->images, b->stride, count, b->scores);
    return (bench_cpu_s() - begin) / (double)(calls * count);
}

static void print_stages(const struct bench *b, double (*seconds)[ROUNDS_MAX], size_t rounds,
                         FILE *json)
{
    const struct cm_geometry *g = &b->size->geometry;
    double t[STAGES];
    for (size_t s = 0; s < STAGES; s++)
        t[s] = bench_quantile(seconds[s], rounds, 0.5);
    double flop = product_flop(g) + head_flop(g),
           spread = bench_spread(seconds[STAGE_PAIR], rounds);
    double gflops = flop / t[STAGE_PAIR] / 1e9, sgemm = product_flop(g) / t[STAGE_SGEMM] / 1e9;
    double fused = t[STAGE_NO_HEAD] / t[STAGE_PAIR], head = 1 - fused;
    printf("%-8s %9.1f %10.1f %10.1f %6.3f   %6.3f %6.3f   %4.1f %%\n", b->size->name,
           1 / t[STAGE_PAIR], gflops, sgemm, gflops / sgemm, fused, head, 100 * spread);
    fprintf(json,
            "{\"bench\":\"score\",\"size\":\"%s\",\"precision\":\"f32\",\"pairs_per_s\":%.1f,"
            "\"gflops\":%.2f,\"sgemm_gflops\":%.2f,\"of_sgemm\":%.4f,"
            "\"product_and_maxima\":%.4f,\"head\":%.4f,\"spread\":%.4f,\"rounds\":%zu}\n",
            b->size->name, 1 / t[STAGE_PAIR], gflops, sgemm, gflops / sgemm, fused, head, spread,
            rounds);
}

static void measure(const char *name, size_t rounds, FILE *json)
{
    struct bench b = {0};
    static double seconds[STAGES][ROUNDS_MAX];
    start(&b, name);
    for (int stage = 0; stage < STAGES; stage++)
        sample(&b, (enum stage)stage); /* pages, caches and clock settle */
    for (size_t r = 0; r < rounds; r++)
        for (int stage = 0; stage < STAGES; stage++)
            seconds[stage][r] = sample(&b, (enum stage)stage);
    print_stages(&b, seconds, rounds, json);
    stop(&b);
}

/* What a call with fewer images than a block pays: the query is laid out, the head's weights are
 * read, for few pairs. */
static void measure_chunks(const char *name, size_t rounds, FILE *json)
{
    static const size_t counts[] = {1, 4, 8, 16, 24, 32};
    enum { COUNTS = sizeof counts / sizeof *counts };
    static double seconds[COUNTS][ROUNDS_MAX];
    struct bench b = {0};
    start(&b, name);
    for (size_t r = 0; r < rounds; r++)
        for (size_t c = 0; c < COUNTS; c++)
            seconds[c][r] = sample_chunk(&b, counts[c]);
    double full = bench_quantile(seconds[COUNTS - 1], rounds, 0.5);
    printf("%-8s", name);
    for (size_t c = 0; c < COUNTS; c++) {
        double times = bench_quantile(seconds[c], rounds, 0.5) / full;
        printf(" %9.2f", times);
        fprintf(json, "{\"bench\":\"chunk\",\"size\":\"%s\",\"images\":%zu,\"cost\":%.3f}\n", name,
                counts[c], times);
    }
    printf("\n");
    stop(&b);
}

int main(int argc, char **argv)
{
    uint64_t rounds = 21;
    const char *json_path = NULL;
    const struct cm_option options[] = {
        {"rounds", 'r', CM_OPTION_COUNT, false, "N", "samples of each stage (default 21)", 3,
         ROUNDS_MAX, &rounds},
        {"json", 0, CM_OPTION_TEXT, false, "FILE", "append JSON lines to it", 0, 0, &json_path},
    };
    const struct cm_command command = {
        .name = "bench/score",
        .usage = "[--rounds N] [--json FILE]",
        .about = "Pairs a second of one pinned worker thread, and where its time goes.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    char core[80];
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    sc_blas_single_thread();
    bench_pin();
    FILE *json = bench_json(json_path);
    printf("score: one thread, %s, medians of %zu rounds\n", sc_blas_core(core, sizeof core),
           (size_t)rounds);
    printf("size       pairs/s    GFLOP/s sgemm GF/s  ratio   fused   head   spread\n");
    measure("paper", rounds, json);
    measure("small", rounds, json);
    measure("qaconv", rounds, json);
    printf("cost of a pair in calls of so many images (32 is 1):\n");
    printf("images           1         4         8        16        24        32\n");
    measure_chunks("paper", rounds, json);
    measure_chunks("small", rounds, json);
    fclose(json);
    return 0;
}
