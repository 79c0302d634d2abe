/* bare.c: one bare kernel on a part of a gallery: what a worker could do with nothing around it.
 *
 * The same shards as a worker maps, scored as a worker scores them (each block for BATCH queries
 * while it is in the cache), with no queue, no socket and no ranking. Several of them, on a
 * processor each, take turns with something else: each says "ready" once its blocks are verified
 * and its queries packed, scores from a line on stdin to the next, and ends with it. */
#include "common/mem.h"
#include "common/options.h"
#include "ops/bench/support.h"
#include "worker/score/scorer.h"
#include "worker/store/gallery.h"
#include "worker/store/shard.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { BATCH = 8, PARTS_MAX = 1024 };

struct args {
    const char *gallery, *features;
    uint64_t part, parts;
};

struct bare {
    struct st_gallery gallery;
    struct sc_model *model;
    struct sc_scratch *scratch;
    void *queries[BATCH]; /* packed */
    struct st_shard **shards;
    size_t shards_count;
    float scores[CM_BLOCK_IMAGES_MAX];
};

static void open_shards(struct bare *b, const struct args *a)
{
    void *p;
    struct cm_error e;
    uint64_t all = b->gallery.manifest.shards_count;
    uint32_t begin = (uint32_t)(all * a->part / a->parts),
             end = (uint32_t)(all * (a->part + 1) / a->parts);
    if (begin == end)
        bench_fail("a part of a shard: %" PRIu64 " shards, %" PRIu64 " parts", all, a->parts);
    b->shards_count = end - begin;
    bench_check(cm_new(&p, b->shards_count, sizeof(struct st_shard *), &e), &e);
    b->shards = p;
    for (uint32_t i = begin; i < end; i++)
        bench_check(st_shard_open(&b->shards[i - begin], &b->gallery, i, &e), &e);
}

static void pack_queries(struct bare *b, const char *features)
{
    void *p;
    struct cm_error e;
    struct pr_npy *maps;
    bench_check(pr_npy_open(&maps, features, &e), &e);
    bench_check(cm_new_aligned(&p, maps->image_floats, sizeof(float), &e), &e);
    float *map = p;
    for (uint64_t i = 0; i < BATCH; i++) {
        bench_check(pr_npy_read(maps, i % maps->images, 1, map, &e), &e);
        bench_check(cm_new_aligned(&b->queries[i], sc_packed_bytes(b->model), 1, &e), &e);
        bench_check(sc_pack(b->model, b->scratch, map, b->queries[i], &e), &e);
    }
    free(map);
    pr_npy_close(maps);
}

static void start(struct bare *b, const struct args *a)
{
    struct cm_error e;
    bench_check(st_gallery_open(&b->gallery, a->gallery, &e), &e);
    bench_check(st_gallery_model(&b->gallery, &b->model, &e), &e);
    bench_check(sc_scratch_new(&b->scratch, b->model, &e), &e);
    pack_queries(b, a->features);
    open_shards(b, a);
}

static void stop(struct bare *b)
{
    for (size_t i = 0; i < b->shards_count; i++)
        st_shard_close(b->shards[i]);
    for (size_t i = 0; i < BATCH; i++)
        free(b->queries[i]);
    free(b->shards);
    sc_scratch_free(b->scratch);
    sc_model_free(b->model);
    st_gallery_close(&b->gallery);
}

/* One pass over the part with so many queries, until a line comes; false if one did. */
static bool pass(struct bare *b, size_t queries, uint64_t *pairs)
{
    struct cm_error e;
    for (size_t s = 0; s < b->shards_count; s++) {
        uint64_t blocks = st_shard_header(b->shards[s])->blocks;
        for (uint64_t i = 0; i < blocks; i++) {
            struct st_block block;
            struct pollfd line = {.fd = STDIN_FILENO, .events = POLLIN};
            if (poll(&line, 1, 0) > 0)
                return false;
            bench_check(st_shard_block(b->shards[s], i, &block, &e), &e);
            for (size_t q = 0; q < queries; q++)
                sc_score(b->model, b->scratch, b->queries[q], block.images, block.stride,
                         block.count, b->scores);
            *pairs += block.count * queries;
        }
    }
    return true;
}

static void turn(struct bare *b, const struct args *a)
{
    uint64_t pairs = 0;
    double begin_cpu_s = bench_cpu_s();
    while (pass(b, BATCH, &pairs))
        continue;
    printf("{\"bench\":\"bare\",\"part\":%" PRIu64 ",\"parts\":%" PRIu64 ",\"kernel\":\"%s\","
           "\"pairs\":%" PRIu64 ",\"cpu_s\":%.6f}\n",
           a->part, a->parts, sc_kernel_name(b->model), pairs, bench_cpu_s() - begin_cpu_s);
    fflush(stdout);
}

static void run(struct bare *b, const struct args *a)
{
    char line[16];
    uint64_t pairs = 0;
    setvbuf(stdin, NULL, _IONBF, 0); /* what is read ahead is nothing that poll() sees */
    pass(b, 1, &pairs);              /* verifies the blocks, maps the pages */
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        turn(b, a);
        if (!fgets(line, sizeof line, stdin))
            break;
    }
}

int main(int argc, char **argv)
{
    struct args a = {.parts = 1};
    const struct cm_option options[] = {
        {"gallery", 'g', CM_OPTION_TEXT, true, "DIR", "the gallery", 0, 0, &a.gallery},
        {"features", 'f', CM_OPTION_TEXT, true, "FILE", "the queries' maps: the first eight", 0, 0,
         &a.features},
        {"part", 0, CM_OPTION_COUNT, false, "N", "which part of its shards (default 0)", 0,
         PARTS_MAX - 1, &a.part},
        {"parts", 0, CM_OPTION_COUNT, false, "N", "of how many (default 1)", 1, PARTS_MAX,
         &a.parts},
    };
    const struct cm_command command = {
        .name = "bench/bare",
        .usage = "--gallery DIR --features FILE [options]",
        .about = "What one thread that only scores does from a line on stdin to the next, as JSON.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    struct bare b = {.shards_count = 0};
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    if (a.part >= a.parts)
        bench_fail("there is no part %" PRIu64 " of %" PRIu64, a.part, a.parts);
    start(&b, &a);
    run(&b, &a);
    stop(&b);
    return 0;
}
