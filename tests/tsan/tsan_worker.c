/* tsan_worker.c: a worker's compute threads under ThreadSanitizer: one core, four threads, a real
 * gallery, searches that come, join, are cancelled and run out of time.
 *
 * A plain program, run from the repository's root: Criterion does not run under TSan. Beside what
 * TSan says it checks that a query's scores are the same bits whoever computes them. */
#include "common/assert.h"
#include "common/checksum.h"
#include "common/io/file.h"
#include "common/io/loop.h"
#include "common/io/pool.h"
#include "proto/wire/control.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/welcome.h"
#include "worker/compute_uv.h"
#include "worker/store/gallery.h"
#include "worker/store/import.h"
#include "worker/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CASE "tests/golden/data/tm_5x3_d20/"

enum {
    THREADS = 4,
    JOBS = 2 * THREADS,
    COPIES = 100, /* of the case's 7 images */
    IMAGES = 7 * COPIES,
    SHARDS = 16,
    QUERIES = 4, /* of the case */
    SEARCHES = 40,
    MAP_BYTES = 5 * 3 * 80 * 4,
    NPY_HEADER = 128,
    K = 5,
};

struct pool_job {
    struct io_job io; /* first: the pool hands this back */
    struct driver *driver;
    struct wk_job *job;
};

struct driver {
    char dir[64];
    struct st_gallery gallery;
    struct sc_model *model;
    struct st_shard *shards[SHARDS];
    struct wk_held held[SHARDS];
    struct wk_compute compute;
    struct io_pool *pool;
    struct pool_job jobs[JOBS];
    struct wk_core *core;
    struct cm_blob *maps[QUERIES];
    struct pr_hit best[QUERIES][SHARDS]; /* of the first result; score and image */
    unsigned results, whole;
};

/* Stops the program where something cannot fail. */
static void must(enum cm_err rc, const struct cm_error *e)
{
    if (rc)
        fprintf(stderr, "tsan_worker: %s\n", e->text);
    CM_ASSERT(rc == CM_OK);
}

/* --- the core's io ---------------------------------------------------------------------------- */

static void check_result(struct driver *d, const struct pr_result *r)
{
    d->results++;
    if (r->reason != PR_REASON_NONE)
        return;
    CM_ASSERT(r->hits.count == K);
    struct pr_hit *first = &d->best[r->id.v % QUERIES][r->shards[0].shard.v];
    if (!first->meta.name)
        *first = (struct pr_hit){r->hits.items[0].hit, {.name = "seen"}};
    CM_ASSERT(memcmp(&first->hit.score, &r->hits.items[0].hit.score, sizeof(float)) == 0);
    CM_ASSERT(first->hit.image == r->hits.items[0].hit.image);
    d->whole++;
}

static enum cm_err send(void *ctx, struct cm_bytes header, struct cm_blob *payload,
                        struct cm_error *e)
{
    (void)payload;
    struct pr_envelope envelope;
    must(pr_peek(header, &envelope, e), e);
    if (envelope.type == PR_RESULT) {
        struct pr_result r;
        must(pr_result_unpack(header, &r, e), e);
        check_result(ctx, &r);
        pr_result_fini(&r);
    }
    return CM_OK;
}

static void reconnect(void *ctx)
{
    (void)ctx;
}

static void start(void *ctx, struct wk_job *job)
{
    struct driver *d = ctx;
    d->jobs[job->index].job = job;
    io_pool_submit(d->pool, &d->jobs[job->index].io);
}

static struct cm_image_meta meta(void *ctx, uint32_t shard, uint64_t i)
{
    return st_shard_meta(((struct driver *)ctx)->shards[shard], i);
}

static const char *endpoint(void *ctx)
{
    (void)ctx;
    return "";
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return 0;
}

static void refused(void *ctx, enum pr_refusal reason, const char *text)
{
    (void)ctx;
    (void)reason;
    (void)text;
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return io_now_ns();
}

/* A pool thread. */
static void run(struct io_job *io, unsigned thread)
{
    struct pool_job *j = (struct pool_job *)io;
    wk_compute_run(&j->driver->compute, j->job, thread, NULL);
}

/* --- set-up ----------------------------------------------------------------------------------- */

static void import(struct driver *d)
{
    static const char labels[] = "name,pid,camid,timestamp\n"
                                 "a,1,1,1\nb,1,2,2\nc,2,1,3\nd,2,2,4\ne,3,1,5\nf,3,2,6\ng,4,1,7\n";
    struct cm_error e;
    char csv[96], out[96];
    const char *features[COPIES], *meta_files[COPIES];
    struct pr_manifest made;
    snprintf(d->dir, sizeof d->dir, "/tmp/vitrine-tsan-XXXXXX");
    CM_ASSERT(mkdtemp(d->dir) != NULL);
    snprintf(csv, sizeof csv, "%s/labels.csv", d->dir);
    snprintf(out, sizeof out, "%s/gallery", d->dir);
    FILE *file = fopen(csv, "w");
    CM_ASSERT(file && fputs(labels, file) >= 0 && fclose(file) == 0);
    for (size_t i = 0; i < COPIES; i++) {
        features[i] = CASE "gallery.npy";
        meta_files[i] = csv;
    }
    const struct st_import_options o = {
        .model = CASE "model.safetensors",
        .features = features,
        .meta = meta_files,
        .files = COPIES,
        .out = out,
        .shards = SHARDS,
        .threads = THREADS,
        .precision = CM_F32,
    };
    must(st_import(&o, &made, &e), &e);
    pr_manifest_fini(&made);
    must(st_gallery_open(&d->gallery, out, &e), &e);
    must(st_gallery_model(&d->gallery, &d->model, &e), &e);
}

static void open_shards(struct driver *d)
{
    struct cm_error e;
    for (uint32_t i = 0; i < SHARDS; i++) {
        must(st_shard_open(&d->shards[i], &d->gallery, i, &e), &e);
        const struct pr_shard_header *h = st_shard_header(d->shards[i]);
        d->held[i] = (struct wk_held){h->shard_index, h->first_image, h->images, h->blocks,
                                      h->images_per_block};
    }
}

static void read_maps(struct driver *d)
{
    struct cm_error e;
    unsigned char map[MAP_BYTES];
    FILE *file = fopen(CASE "query.npy", "rb");
    CM_ASSERT(file && fseek(file, NPY_HEADER, SEEK_SET) == 0);
    for (size_t q = 0; q < QUERIES; q++) {
        CM_ASSERT(fread(map, 1, sizeof map, file) == sizeof map);
        must(cm_blob_copy(&d->maps[q], map, sizeof map, &e), &e);
    }
    fclose(file);
}

static void new_core(struct driver *d)
{
    struct cm_error e;
    const struct pr_manifest *m = &d->gallery.manifest;
    const struct wk_config config = {
        .node = "tsan",
        .incarnation = 1,
        .gallery = {m->gallery, m->model, m->geometry, m->precision, m->images, m->shards_count},
        .numeric_class = "f32/tsan",
        .threads = THREADS,
        .jobs = JOBS,
        .credits = CM_WORKER_CREDITS,
        .packed_bytes = sc_packed_bytes(d->model),
        .held = d->held,
        .held_count = SHARDS,
    };
    const struct wk_io io = {.ctx = d,
                             .send = send,
                             .reconnect = reconnect,
                             .start = start,
                             .meta = meta,
                             .endpoint = endpoint,
                             .memory_bytes = memory_bytes,
                             .refused = refused,
                             .now_ns = now_ns};
    must(wk_compute_init(&d->compute, d->model, d->shards, THREADS, &e), &e);
    must(io_pool_new(&d->pool, THREADS, NULL, NULL, &e), &e);
    for (size_t i = 0; i < JOBS; i++)
        d->jobs[i] = (struct pool_job){.io = {.run = run}, .driver = d};
    must(wk_new(&d->core, &config, &io, NULL, &e), &e);
}

/* --- what happens ----------------------------------------------------------------------------- */

static void get(struct driver *d, struct pr_buffer *packed, struct cm_blob *payload)
{
    wk_on_message(d->core, pr_buffer_bytes(packed), payload);
    pr_buffer_fini(packed);
}

static void welcome(struct driver *d)
{
    struct pr_welcome message = {.heartbeat_ms = 1000, .dead_after_ms = 600000};
    struct pr_buffer packed;
    struct cm_error e;
    must(pr_welcome_pack(&message, &packed, &e), &e);
    get(d, &packed, NULL);
}

static void search(struct driver *d, uint64_t id, uint64_t time_left_us)
{
    struct cm_shard_id shards[SHARDS];
    struct cm_blob *map = d->maps[id % QUERIES];
    struct pr_buffer packed;
    struct cm_error e;
    for (uint32_t i = 0; i < SHARDS; i++)
        shards[i] = (struct cm_shard_id){i};
    struct pr_search message = {
        .id = {id},
        .k = K,
        .time_left_us = time_left_us,
        .dtype = CM_DTYPE_F32,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map)),
        .shards = shards,
        .shards_count = SHARDS,
    };
    must(pr_search_pack(&message, &packed, &e), &e);
    get(d, &packed, map);
}

static void cancel(struct driver *d, uint64_t id)
{
    struct pr_control message = {.type = PR_CANCEL, .id = {id}};
    struct pr_buffer packed;
    struct cm_error e;
    must(pr_control_pack(&message, &packed, &e), &e);
    get(d, &packed, NULL);
}

/* Waits for `count` jobs, or for all. */
static void take_jobs(struct driver *d, unsigned count)
{
    struct io_job *io;
    for (unsigned i = 0; i < count && (io = io_pool_wait_done(d->pool)) != NULL; i++) {
        wk_on_job_done(d->core, ((struct pool_job *)io)->job);
        wk_on_tick(d->core);
    }
}

static void clean_up(struct driver *d)
{
    struct cm_error e;
    io_pool_free(d->pool);
    wk_free(d->core);
    wk_compute_fini(&d->compute);
    for (size_t i = 0; i < SHARDS; i++)
        st_shard_close(d->shards[i]);
    for (size_t i = 0; i < QUERIES; i++)
        cm_blob_unref(&d->maps[i]);
    sc_model_free(d->model);
    st_gallery_close(&d->gallery);
    must(io_remove_tree(d->dir, &e), &e);
}

int main(void)
{
    struct driver driver = {.results = 0}, *d = &driver;
    import(d);
    open_shards(d);
    read_maps(d);
    new_core(d);
    wk_on_tick(d->core);
    welcome(d);
    for (uint64_t id = 0; id < SEARCHES; id++) {
        search(d, id, id % 10 == 9 ? 1 : 60000000); /* every tenth runs out of time */
        take_jobs(d, (unsigned)(id % 7) * 3);
        if (id % 5 == 4)
            cancel(d, id - 1);
    }
    take_jobs(d, UINT32_MAX);
    CM_ASSERT(wk_idle(d->core) && d->whole > 2 * SHARDS * QUERIES);
    search(d, SEARCHES, 60000000); /* and one that ends with jobs out */
    printf("tsan_worker: %u results, %u whole, on %d threads, ok\n", d->results, d->whole, THREADS);
    clean_up(d);
    return 0;
}
