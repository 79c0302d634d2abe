/* import.c: see import.h.
 *
 * The importing thread walks the shards in order. For each it keeps a block job or two a thread in
 * flight (read, project, pack, checksum, write: all on the pool), and reads that shard's labels
 * itself meanwhile. What comes through a pipe it reads itself too, a block ahead of its job. */
#include "worker/store/import.h"

#include "common/checksum.h"
#include "common/io/file.h"
#include "common/io/pool.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/file/shard_format.h"
#include "worker/score/scorer.h"
#include "worker/store/gallery.h"
#include "worker/store/partial.h"
#include "worker/store/sources.h"
#include "worker/store/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct import;

/* One block's way through a pool thread. Reused for block after block. */
struct block_job {
    struct io_job job; /* first: the pool hands this back */
    struct import *import;
    struct st_writer *writer;
    uint64_t block;
    void *packed; /* room for a full block */
    char *taken;  /* room for a block's raw maps from streams, as stored */
    float *map;   /* room for one raw map */
    enum cm_err rc;
    struct cm_error error;
};

struct import {
    const struct st_import_options *o;
    struct sc_model *model;
    struct st_sources sources;
    struct io_pool *pool;
    struct sc_scratch **scratch; /* [threads] */
    struct block_job *jobs;      /* [jobs_count] */
    struct block_job **idle;     /* [idle_count]: those not on the pool */
    size_t jobs_count, idle_count;
    struct st_partial partial; /* where it is written */
    struct pr_manifest manifest;
    uint64_t images_done;
};

uint32_t st_plan_shards(uint64_t images, uint64_t total_bytes)
{
    uint64_t by_bytes = (total_bytes + CM_SHARD_BYTES_GOAL - 1) / CM_SHARD_BYTES_GOAL;
    uint64_t by_images = images / CM_BLOCK_IMAGES_MIN;
    uint64_t spread = by_images < CM_SHARDS_GOAL ? by_images : CM_SHARDS_GOAL;
    uint64_t shards = by_bytes > spread ? by_bytes : spread;
    if (shards > images)
        shards = images;
    return shards ? (uint32_t)shards : 1;
}

/* --- one block, on a pool thread ----------------------------------------------------------------
 */

static enum cm_err pack_block(struct block_job *b, struct sc_scratch *scratch)
{
    struct import *im = b->import;
    const struct pr_shard_header *h = st_writer_header(b->writer);
    uint64_t first = h->first_image + b->block * h->images_per_block;
    uint64_t count = pr_block_images(h, b->block);
    memset(b->packed, 0, pr_block_bytes(h, b->block));
    for (uint64_t i = 0; i < count; i++) {
        const char *taken = b->taken + i * im->sources.taken_bytes;
        enum cm_err rc = st_sources_read(&im->sources, first + i, taken, b->map, &b->error);
        if (rc)
            return rc;
        rc =
            sc_pack(im->model, scratch, b->map, (char *)b->packed + i * h->image_stride, &b->error);
        char place[CM_ERROR_TEXT_BYTES];
        if (rc)
            return cm_wrap(&b->error, rc, "%s",
                           st_sources_place(&im->sources, first + i, place, sizeof place));
    }
    return st_writer_block(b->writer, b->block, b->packed, &b->error);
}

static void run_block(struct io_job *job, unsigned thread)
{
    struct block_job *b = (struct block_job *)job;
    b->rc = pack_block(b, b->import->scratch[thread]);
}

/* --- the importing thread ------------------------------------------------------------------------
 */

/* Waits for one job; its failure, if it has one, becomes ours. */
static enum cm_err collect(struct import *im, struct cm_error *e)
{
    struct block_job *b = (struct block_job *)io_pool_wait_done(im->pool);
    im->idle[im->idle_count++] = b;
    if (b->rc) {
        *e = b->error;
        return b->rc;
    }
    im->images_done += pr_block_images(st_writer_header(b->writer), b->block);
    if (im->o->progress)
        im->o->progress(im->o->progress_ctx, im->images_done, im->sources.images,
                        im->sources.bytes / im->sources.images * im->images_done);
    return CM_OK;
}

/* Waits until no job is out, whatever they bring: the first failure counts. */
static enum cm_err collect_all(struct import *im, enum cm_err rc, struct cm_error *e)
{
    struct cm_error later;
    while (im->idle_count < im->jobs_count) {
        enum cm_err more = collect(im, rc ? &later : e);
        rc = rc ? rc : more;
    }
    return rc;
}

/* What of the job's block comes from streams. */
static enum cm_err take_block(struct import *im, struct block_job *b, struct cm_error *e)
{
    const struct pr_shard_header *h = st_writer_header(b->writer);
    uint64_t first = h->first_image + b->block * h->images_per_block;
    uint64_t count = pr_block_images(h, b->block);
    enum cm_err rc = CM_OK;
    for (uint64_t i = 0; !rc && i < count; i++)
        rc = st_sources_take(&im->sources, first + i, b->taken + i * im->sources.taken_bytes, e);
    return rc;
}

static enum cm_err submit(struct import *im, struct st_writer *w, uint64_t block,
                          struct cm_error *e)
{
    enum cm_err rc = im->idle_count ? CM_OK : collect(im, e);
    if (rc)
        return rc;
    struct block_job *b = im->idle[im->idle_count - 1];
    b->writer = w;
    b->block = block;
    rc = take_block(im, b, e);
    if (rc)
        return rc;
    im->idle_count--;
    io_pool_submit(im->pool, &b->job);
    return CM_OK;
}

/* The labels of one block's images. */
static enum cm_err copy_meta(struct import *im, struct st_writer *w, uint64_t count,
                             struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (uint64_t i = 0; !rc && i < count; i++) {
        struct cm_image_meta meta;
        rc = st_sources_next_meta(&im->sources, &meta, e);
        if (!rc)
            rc = st_writer_meta(w, &meta, e);
    }
    return rc;
}

static enum cm_err fill_shard(struct import *im, struct st_writer *w, uint32_t index,
                              struct cm_error *e)
{
    const struct pr_shard_header *h = st_writer_header(w);
    enum cm_err rc = CM_OK;
    for (uint64_t b = 0; !rc && b < h->blocks; b++) {
        rc = submit(im, w, b, e);
        if (!rc)
            rc = copy_meta(im, w, pr_block_images(h, b), e);
    }
    rc = collect_all(im, rc, e); /* no job may outlive the writer */
    return rc ? rc : st_writer_commit(w, &im->manifest.model, &im->manifest.shards[index], e);
}

static enum cm_err make_shard(struct import *im, uint32_t index, struct cm_error *e)
{
    const struct pr_manifest *m = &im->manifest;
    uint64_t first = (uint64_t)((__uint128_t)m->images * index / m->shards_count);
    uint64_t end = (uint64_t)((__uint128_t)m->images * (index + 1) / m->shards_count);
    struct pr_shard_shape shape = {
        .geometry = m->geometry,
        .precision = m->precision,
        .shard_index = index,
        .shards = m->shards_count,
        .images_per_block = m->images_per_block,
        .first_image = first,
        .images = end - first,
    };
    char file[PR_SHARD_FILE_BYTES], *path;
    struct st_writer *w = NULL;
    enum cm_err rc = st_path(&path, im->partial.path, pr_shard_file(index, file), e);
    if (!rc)
        rc = st_writer_open(&w, path, &shape, e);
    if (!rc)
        rc = fill_shard(im, w, index, e);
    st_writer_close(w);
    free(path);
    return rc;
}

/* A small file of the gallery, synced. */
static enum cm_err write_file(const struct import *im, const char *file, const void *head,
                              size_t head_bytes, const void *body, size_t body_bytes,
                              struct cm_error *e)
{
    char *path;
    enum cm_err rc = st_path(&path, im->partial.path, file, e);
    if (rc)
        return rc;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        rc = cm_fail_errno(e, errno, "cannot create %s", path);
    if (!rc)
        rc = io_file_write_all(fd, path, 0, head, head_bytes, e);
    if (!rc)
        rc = io_file_write_all(fd, path, head_bytes, body, body_bytes, e);
    if (!rc && fsync(fd) != 0)
        rc = cm_fail_errno(e, errno, "cannot sync %s", path);
    if (fd >= 0)
        close(fd);
    free(path);
    return rc;
}

static enum cm_err write_weights(const struct import *im, struct cm_error *e)
{
    const struct sc_model *m = im->model;
    struct pr_weights_header h;
    pr_weights_header_init(&h, &m->geometry, m->block, m->block_bytes, &im->manifest.model);
    return write_file(im, PR_WEIGHTS_FILE, &h, sizeof h, m->block, m->block_bytes, e);
}

static enum cm_err write_manifest(struct import *im, struct cm_error *e)
{
    char *text;
    enum cm_err rc = pr_manifest_fingerprint(&im->manifest, &im->manifest.gallery, e);
    if (!rc)
        rc = pr_manifest_write(&im->manifest, &text, e);
    if (rc)
        return rc;
    rc = write_file(im, PR_MANIFEST_FILE, text, strlen(text), NULL, 0, e);
    free(text);
    return rc;
}

static enum cm_err write_gallery(struct import *im, struct cm_error *e)
{
    enum cm_err rc = write_weights(im, e);
    for (uint32_t i = 0; !rc && i < im->manifest.shards_count; i++)
        rc = make_shard(im, i, e);
    return rc ? rc : write_manifest(im, e);
}

/* --- set-up and clean-up
 * ---------------------------------------------------------------------------- */

static enum cm_err load_model(struct import *im, struct cm_error *e)
{
    enum cm_err rc = st_read_model(im->o->model, &im->model, e);
    return rc ? rc : sc_model_set_precision(im->model, im->o->precision, e);
}

static enum cm_err plan(struct import *im, struct cm_error *e)
{
    const struct st_import_options *o = im->o;
    struct pr_manifest *m = &im->manifest;
    uint64_t stride = pr_image_stride(&im->model->geometry, o->precision);
    m->geometry = im->model->geometry;
    m->precision = o->precision;
    m->images = im->sources.images;
    m->images_per_block = pr_images_per_block(stride);
    uint64_t total = m->images * (stride + PR_META_RECORD_BYTES) + im->sources.names_bytes;
    uint64_t shards = o->shards ? o->shards : st_plan_shards(m->images, total);
    if (shards > m->images || shards > CM_SHARDS_MAX)
        return cm_fail(e, CM_EUSAGE, "--shards is %llu; %llu images make at most %llu shards",
                       (unsigned long long)shards, (unsigned long long)m->images,
                       (unsigned long long)(m->images < CM_SHARDS_MAX ? m->images : CM_SHARDS_MAX));
    void *p;
    enum cm_err rc = cm_new(&p, shards, sizeof *m->shards, e);
    m->shards = p;
    m->shards_count = (uint32_t)shards;
    return rc ? rc : sc_model_fingerprint(im->model, &m->model, e);
}

static enum cm_err new_job(struct import *im, struct block_job *b, struct cm_error *e)
{
    const struct pr_manifest *m = &im->manifest;
    uint64_t stride = pr_image_stride(&m->geometry, m->precision);
    void *p = NULL;
    b->job.run = run_block;
    b->import = im;
    enum cm_err rc =
        cm_new_aligned(&b->packed, cm_round_up(m->images_per_block * stride, PR_PAGE_BYTES), 1, e);
    if (!rc)
        rc = cm_new_aligned(&p, cm_map_floats(&m->geometry), sizeof *b->map, e);
    b->map = p;
    p = NULL;
    if (!rc)
        rc = cm_new_aligned(&p, m->images_per_block, im->sources.taken_bytes, e);
    b->taken = p;
    if (!rc)
        im->idle[im->idle_count++] = b;
    return rc;
}

static enum cm_err start_threads(struct import *im, struct cm_error *e)
{
    unsigned threads = im->o->threads;
    void *scratch = NULL, *jobs = NULL, *idle = NULL;
    enum cm_err rc = cm_new(&scratch, threads, sizeof *im->scratch, e);
    im->scratch = scratch;
    for (unsigned i = 0; !rc && i < threads; i++)
        rc = sc_scratch_new(&im->scratch[i], im->model, e);
    size_t jobs_count = threads + 1; /* one more, so that no thread waits for us */
    if (!rc)
        rc = cm_new(&jobs, jobs_count, sizeof *im->jobs, e);
    im->jobs = jobs;
    if (!rc)
        rc = cm_new(&idle, jobs_count, sizeof *im->idle, e);
    im->idle = idle;
    for (size_t i = 0; !rc && i < jobs_count; i++) {
        im->jobs_count++;
        rc = new_job(im, &im->jobs[i], e);
    }
    return rc ? rc : io_pool_new(&im->pool, threads, NULL, NULL, e);
}

static void clean_up(struct import *im)
{
    io_pool_free(im->pool);
    for (size_t i = 0; i < im->jobs_count; i++) {
        free(im->jobs[i].packed);
        free(im->jobs[i].taken);
        free(im->jobs[i].map);
    }
    for (unsigned i = 0; im->scratch && i < im->o->threads; i++)
        sc_scratch_free(im->scratch[i]);
    free(im->scratch);
    free(im->jobs);
    free(im->idle);
    st_sources_close(&im->sources);
    sc_model_free(im->model);
    st_partial_drop(&im->partial);
}

static enum cm_err prepare(struct import *im, struct cm_error *e)
{
    const struct st_import_options *o = im->o;
    enum cm_err rc = st_partial_check(o->out, e);
    if (!rc)
        rc = load_model(im, e);
    if (!rc)
        rc = st_sources_open(&im->sources, &im->model->geometry, o->features, o->meta, o->files,
                             o->names, e);
    if (!rc)
        rc = plan(im, e);
    if (!rc)
        rc = start_threads(im, e);
    return rc;
}

static enum cm_err write_and_publish(struct import *im, struct cm_error *e)
{
    enum cm_err rc = st_partial_claim(&im->partial, im->o->out, e);
    if (!rc)
        rc = write_gallery(im, e);
    return rc ? rc : st_partial_publish(&im->partial, e);
}

enum cm_err st_import(const struct st_import_options *o, struct pr_manifest *made,
                      struct cm_error *e)
{
    struct import im = {.o = o};
    enum cm_err rc = prepare(&im, e);
    if (!rc)
        rc = write_and_publish(&im, e);
    if (rc)
        pr_manifest_fini(&im.manifest);
    *made = im.manifest;
    clean_up(&im);
    return rc;
}
