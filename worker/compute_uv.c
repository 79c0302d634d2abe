/* compute_uv.c: see compute_uv.h. */
#include "worker/compute_uv.h"

#include "common/geometry.h"
#include "common/half.h"
#include "common/io/loop.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

enum cm_err wk_compute_init(struct wk_compute *c, const struct sc_model *model,
                            struct st_shard **shards, unsigned threads, struct cm_error *e)
{
    void *scratch = NULL, *maps = NULL;
    *c = (struct wk_compute){.model = model, .shards = shards, .threads = threads};
    enum cm_err rc = cm_new(&scratch, threads, sizeof *c->scratch, e);
    if (!rc)
        rc = cm_new(&maps, threads, sizeof *c->maps, e);
    c->scratch = scratch;
    c->maps = maps;
    for (unsigned i = 0; !rc && i < threads; i++) {
        void *map = NULL;
        rc = sc_scratch_new(&c->scratch[i], model, e);
        if (!rc)
            rc = cm_new_aligned(&map, cm_map_floats(&model->geometry), sizeof **c->maps, e);
        c->maps[i] = map;
    }
    return rc;
}

void wk_compute_fini(struct wk_compute *c)
{
    for (unsigned i = 0; c->scratch && c->maps && i < c->threads; i++) {
        sc_scratch_free(c->scratch[i]);
        free(c->maps[i]);
    }
    free(c->scratch);
    free(c->maps);
    *c = (struct wk_compute){0};
}

/* Is there time to begin with this query of a job? Then that is noted. */
static bool begin(struct wk_job *job, size_t query)
{
    uint64_t now_ns = io_now_ns();
    bool wanted = now_ns < atomic_load(&job->until_ns[query]);
    job->began_ns[query] = wanted ? now_ns : 0;
    return wanted;
}

static void project(struct wk_compute *c, struct wk_job *job, unsigned thread,
                    const struct cm_log *log)
{
    struct cm_error e;
    float *map = c->maps[thread];
    if (!begin(job, 0))
        return;
    if (job->dtype == CM_DTYPE_F16)
        cm_floats_of_halves(cm_blob_data(job->map), map, cm_map_floats(&c->model->geometry));
    else
        memcpy(map, cm_blob_data(job->map), cm_blob_size(job->map));
    job->outcome = sc_pack(c->model, c->scratch[thread], map, job->packed, &e);
    if (job->outcome)
        cm_log(log, CM_LOG_WARN, "query_unusable", "msg=\"%s\"", e.text);
}

/* The block, once there is a query to score it for. */
static enum cm_err score_all(struct wk_compute *c, struct wk_job *job, unsigned thread,
                             struct cm_error *e)
{
    struct st_block block = {.images = NULL};
    struct st_shard *shard = c->shards[job->shard];
    for (size_t q = 0; q < job->queries_count; q++) {
        if (!begin(job, q))
            continue;
        enum cm_err rc = block.images ? CM_OK : st_shard_block(shard, job->block, &block, e);
        if (rc)
            return rc;
        sc_score(c->model, c->scratch[thread], job->queries[q], block.images, block.stride,
                 block.count, job->scores[q]);
    }
    if (block.images && !st_shard_block_held(shard, job->block))
        return cm_fail(e, CM_ECORRUPT, "shard %u: block %llu went away under the scorer",
                       st_shard_header(shard)->shard_index, (unsigned long long)job->block);
    return CM_OK;
}

static void score(struct wk_compute *c, struct wk_job *job, unsigned thread,
                  const struct cm_log *log)
{
    struct cm_error e;
    job->outcome = score_all(c, job, thread, &e);
    if (job->outcome)
        cm_log(log, CM_LOG_ERROR, "corrupt", "msg=\"%s\"", e.text);
}

void wk_compute_run(struct wk_compute *c, struct wk_job *job, unsigned thread,
                    const struct cm_log *log)
{
    uint64_t start_ns = io_now_ns();
    if (job->kind == WK_JOB_PROJECT)
        project(c, job, thread, log);
    else
        score(c, job, thread, log);
    job->busy_ns = io_now_ns() - start_ns;
}
