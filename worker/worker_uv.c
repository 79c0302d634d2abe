/* worker_uv.c: see worker_uv.h. */
#include "worker/worker_uv.h"

#include "common/checksum.h"
#include "common/io/cpu.h"
#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "common/io/pool.h"
#include "common/io/service.h"
#include "common/io/socket.h"
#include "common/io/watch.h"
#include "common/mem.h"
#include "common/ranges.h"
#include "proto/file/manifest.h"
#include "worker/compute_uv.h"
#include "worker/disk_uv.h"
#include "worker/getter_uv.h"
#include "worker/giver_uv.h"
#include "worker/join_uv.h"
#include "worker/store/folder.h"
#include "worker/store/verify.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { ROUTING_ID_BYTES = 16 };

struct edge;

/* A core's job on its way through the pool. */
struct edge_job {
    struct io_job io; /* first: the pool hands this back */
    struct edge *edge;
    struct wk_job *job;
};

struct edge {
    const struct wk_edge_options *o;
    const struct cm_log *log;
    struct st_folder folder; /* unless --shards says what is served */
    struct st_gallery gallery;
    struct sc_model *model;
    struct st_shard **shards; /* [shards of the gallery] NULL: not here */
    struct wk_held *held;     /* [held_count] to begin with, ascending */
    uint32_t held_count;
    struct st_shard *incoming; /* got and checked; the disk's thread's till then */
    struct wk_disk *disk;
    struct wk_getter *getter;
    bool opening;           /* a shard that is here is being opened again */
    uint64_t openings;      /* number of that, or of the last */
    struct wk_giver *giver; /* NULL: others get nothing here */
    struct wk_compute compute;
    struct io_loop *loop;
    struct io_context *context;
    struct io_socket *socket; /* the watch's */
    struct io_watch *watch;
    struct io_pool *pool;
    struct io_wake *job_done;
    struct io_service *service;
    struct edge_job *jobs; /* [jobs_count] */
    uint32_t jobs_count;
    struct wk_core *core;
    char numeric_class[CM_CLASS_BYTES_MAX + 1]; /* lives as long as the core */
    struct cm_error refusal; /* why the coordinator did not want us; code CM_OK if it did */
};

/* --- effects: what the core asks for -------------------------------------------------------------
 */

static enum cm_err send(void *ctx, struct cm_bytes header, struct cm_blob *payload,
                        struct cm_error *e)
{
    struct edge *edge = ctx;
    return io_send(edge->socket, NULL, header, payload, e);
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return io_now_ns();
}

static void start_job(void *ctx, struct wk_job *job)
{
    struct edge *edge = ctx;
    edge->jobs[job->index].job = job;
    io_pool_submit(edge->pool, &edge->jobs[job->index].io);
}

static struct cm_image_meta meta(void *ctx, uint32_t shard, uint64_t i)
{
    struct edge *edge = ctx;
    return st_shard_meta(edge->shards[shard], i);
}

static const char *endpoint(void *ctx)
{
    struct edge *edge = ctx;
    return edge->giver ? wk_giver_endpoint(edge->giver) : "";
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return io_memory_peak_bytes();
}

static void dismissed(void *ctx)
{
    struct edge *edge = ctx;
    io_service_stop(edge->service);
}

static void refused(void *ctx, enum pr_refusal reason, const char *text)
{
    struct edge *edge = ctx;
    (void)reason;
    cm_fail(&edge->refusal, CM_EREFUSED, "the coordinator refused this worker: %s", text);
    io_loop_stop(edge->loop);
}

/* --- shards that come and go
 * --------------------------------------------------------------------------------------------- */

static struct wk_held held_of(const struct st_shard *shard)
{
    const struct pr_shard_header *h = st_shard_header(shard);
    return (struct wk_held){h->shard_index, h->first_image, h->images, h->blocks,
                            h->images_per_block};
}

/* On the disk's thread: opens a shard from this file of the folder, and verifies all of it. */
static enum cm_err open_checked(struct edge *edge, uint32_t shard, const char *file,
                                struct st_shard **out, struct cm_error *e)
{
    *out = NULL;
    enum cm_err rc = st_shard_open_file(out, &edge->gallery, shard, file, e);
    if (!rc)
        rc = st_verify_shard(*out, e);
    if (rc) {
        st_shard_close(*out);
        *out = NULL;
    }
    return rc;
}

/* Likewise, of a shard that came. */
static enum cm_err check_shard(void *ctx, uint32_t shard, const char *part, struct cm_error *e)
{
    struct edge *edge = ctx;
    st_shard_close(edge->incoming); /* of a fetch that was abandoned, or bad */
    return open_checked(edge, shard, part, &edge->incoming, e);
}

/* The shard is here, or not. */
static void take_shard(struct edge *edge, enum cm_err outcome, const char *why,
                       struct st_shard *shard)
{
    if (outcome) {
        wk_on_fetch_failed(edge->core, why);
    } else {
        struct wk_held held = held_of(shard);
        edge->shards[held.shard] = shard;
        wk_on_fetched(edge->core, &held);
    }
    io_service_settle(edge->service);
}

static void on_got(void *ctx, enum cm_err outcome, const char *why)
{
    struct edge *edge = ctx;
    struct st_shard *shard = outcome ? NULL : edge->incoming;
    if (!outcome)
        edge->incoming = NULL; /* else a check that was abandoned may be at it */
    take_shard(edge, outcome, why, shard);
}

/* A job on a file of the folder. */
struct edge_disk_job {
    struct wk_disk_job disk;
    struct edge *edge;
    uint32_t shard;
    uint64_t opening;        /* of an opening: its number */
    struct st_shard *opened; /* likewise: what came of it, unless it was taken */
    enum cm_err rc;
    struct cm_error e;
};

static void free_disk_job(struct wk_disk_job *disk)
{
    st_shard_close(((struct edge_disk_job *)disk)->opened);
    free(disk);
}

static bool submit_disk_job(struct edge *edge, uint32_t shard, const struct wk_disk_job *how,
                            struct cm_error *e)
{
    void *p;
    if (cm_new(&p, 1, sizeof(struct edge_disk_job), e))
        return false;
    struct edge_disk_job *job = p;
    *job = (struct edge_disk_job){
        .disk = *how, .edge = edge, .shard = shard, .opening = edge->openings};
    wk_disk_submit(edge->disk, &job->disk);
    return true;
}

static void work_open(struct wk_disk_job *disk)
{
    struct edge_disk_job *job = (struct edge_disk_job *)disk;
    char file[PR_SHARD_FILE_BYTES];
    job->rc =
        open_checked(job->edge, job->shard, pr_shard_file(job->shard, file), &job->opened, &job->e);
}

/* One that was abandoned comes to nothing, although another may be on its way by now. */
static void on_opened(struct wk_disk_job *disk)
{
    struct edge_disk_job *job = (struct edge_disk_job *)disk;
    struct edge *edge = job->edge;
    if (edge->opening && edge->openings == job->opening) {
        struct st_shard *opened = job->opened;
        job->opened = NULL;
        edge->opening = false;
        take_shard(edge, job->rc, job->e.text, opened);
    }
    free_disk_job(disk);
}

/* A gallery that was imported has every shard in its folder: it only has to be opened again. */
static void open_again(struct edge *edge, uint32_t shard)
{
    const struct wk_disk_job how = {.work = work_open, .done = on_opened, .drop = free_disk_job};
    struct cm_error e;
    edge->openings++;
    edge->opening = submit_disk_job(edge, shard, &how, &e);
    if (!edge->opening)
        cm_log(edge->log, CM_LOG_ERROR, "fetch_failed", "shard=%u msg=\"%s\"", shard, e.text);
}

static void fetch(void *ctx, uint32_t shard, const struct pr_sources *sources)
{
    struct edge *edge = ctx;
    char file[PR_SHARD_FILE_BYTES];
    const struct pr_manifest *m = &edge->gallery.manifest;
    if (!edge->folder.own) {
        open_again(edge, shard);
        return;
    }
    const struct wk_get get = {
        .plan = {.gallery = m->gallery,
                 .file = PR_FILE_SHARD,
                 .shard = shard,
                 .file_bytes = m->shards[shard].bytes,
                 .most_bytes = m->shards[shard].bytes,
                 .bytes_per_s = edge->o->transfer_bytes_per_s,
                 .sources = *sources},
        .name = pr_shard_file(shard, file),
        .publish = true,
        .ctx = edge,
        .check = check_shard,
        .end = on_got,
    };
    st_remove_parts(edge->folder.dir, file); /* of shards that were wanted once */
    wk_getter_start(edge->getter, &get);
}

static void abandon(void *ctx, bool forget)
{
    struct edge *edge = ctx;
    edge->opening = false;
    wk_getter_abandon(edge->getter, forget);
}

static void work_remove(struct wk_disk_job *disk)
{
    struct edge_disk_job *job = (struct edge_disk_job *)disk;
    char file[PR_SHARD_FILE_BYTES];
    job->rc = st_remove(job->edge->folder.dir, pr_shard_file(job->shard, file), &job->e);
}

static void on_removed(struct wk_disk_job *disk)
{
    const struct edge_disk_job *job = (struct edge_disk_job *)disk;
    if (job->rc)
        cm_log(job->edge->log, CM_LOG_WARN, "shard_kept", "shard=%u msg=\"%s\"", job->shard,
               job->e.text);
    free(disk);
}

/* The worker ends, maybe since its shards are with others now: what was let go of goes all the
 * same.
 */
static void drop_removal(struct wk_disk_job *disk)
{
    work_remove(disk);
    on_removed(disk);
}

/* What an import made is never removed, only no longer served. */
static void release_shard(void *ctx, uint32_t shard)
{
    const struct wk_disk_job how = {.work = work_remove, .done = on_removed, .drop = drop_removal};
    struct edge *edge = ctx;
    struct cm_error e;
    st_shard_close(edge->shards[shard]);
    edge->shards[shard] = NULL;
    if (edge->folder.own && !submit_disk_job(edge, shard, &how, &e))
        cm_log(edge->log, CM_LOG_WARN, "shard_kept", "shard=%u msg=\"%s\"", shard, e.text);
}

/* --- events
 * ---------------------------------------------------------------------------------------- */

static void on_message(void *ctx, struct io_incoming *in)
{
    struct edge *edge = ctx;
    wk_on_message(edge->core, in->header, in->payload);
    io_service_settle(edge->service);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    struct edge *edge = ctx;
    (void)from;
    wk_on_garbage(edge->core, e->text);
}

static uint64_t next_wakeup_ns(void *ctx)
{
    const struct edge *edge = ctx;
    return wk_next_wakeup_ns(edge->core);
}

static void on_tick(void *ctx)
{
    struct edge *edge = ctx;
    wk_on_tick(edge->core);
}

static void on_stop(void *ctx)
{
    struct edge *edge = ctx;
    wk_leave(edge->core);
}

static bool is_idle(void *ctx)
{
    const struct edge *edge = ctx;
    return wk_idle(edge->core);
}

static void on_jobs_done(void *ctx)
{
    struct edge *edge = ctx;
    for (struct io_job *io; (io = io_pool_take_done(edge->pool)) != NULL;)
        wk_on_job_done(edge->core, ((struct edge_job *)io)->job);
    io_service_settle(edge->service);
}

/* Pool threads. */
static void run_job(struct io_job *io, unsigned thread)
{
    struct edge_job *j = (struct edge_job *)io;
    wk_compute_run(&j->edge->compute, j->job, thread, j->edge->log);
}

static void wake(void *ctx)
{
    struct edge *edge = ctx;
    io_wake_send(edge->job_done);
}

/* --- the connection
 * -------------------------------------------------------------------------------- */

/* Dials under a fresh random address: a ROUTER that still knows the old one must not mix us up. */
static enum cm_err dial(struct edge *edge, struct cm_error *e)
{
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    uint8_t id[ROUTING_ID_BYTES];
    if (getrandom(id, sizeof id, 0) != (ssize_t)sizeof id)
        return cm_fail_errno(e, errno, "cannot get random bytes");
    id[0] |= 1; /* the first byte of an address must not be 0 */
    struct cm_bytes routing_id = {id, sizeof id};
    enum cm_err rc =
        io_dealer_connect(&edge->socket, edge->context, edge->o->connect, routing_id, e);
    if (rc)
        return rc;
    rc = io_watch_new(&edge->watch, edge->loop, edge->socket, &events, edge, e);
    if (rc)
        io_socket_free(edge->socket);
    return rc;
}

static void reconnect(void *ctx)
{
    struct edge *edge = ctx;
    struct cm_error e;
    io_watch_close(edge->watch);
    edge->watch = NULL;
    if (dial(edge, &e)) {
        cm_fail(&edge->refusal, CM_EIO, "cannot dial again: %s", e.text);
        io_loop_stop(edge->loop);
    }
}

/* --- set-up and clean-up
 * ---------------------------------------------------------------------------- */

/* Opens one shard, to be served from the start. In a store one that is bad, or not what its name
 * says, is thrown away: it can be got again. */
static enum cm_err open_shard(struct edge *edge, uint32_t index, struct cm_error *e)
{
    char file[PR_SHARD_FILE_BYTES];
    enum cm_err rc = st_shard_open(&edge->shards[index], &edge->gallery, index, e);
    if (!rc)
        edge->held[edge->held_count++] = held_of(edge->shards[index]);
    if (!rc || !edge->folder.own)
        return rc;
    edge->shards[index] = NULL;
    if (rc == CM_ENOENT)
        return CM_OK;
    if (rc == CM_ENOMEM || rc == CM_EIO)
        return rc;
    cm_log(edge->log, CM_LOG_WARN, "shard_thrown_away", "shard=%u msg=\"%s\"", index, e->text);
    return st_remove(edge->folder.dir, pr_shard_file(index, file), e);
}

static enum cm_err open_shards(struct edge *edge, struct cm_error *e)
{
    uint32_t *wanted, count, total = edge->gallery.manifest.shards_count;
    void *shards = NULL, *held = NULL;
    char all[32];
    snprintf(all, sizeof all, "0-%u", total - 1);
    enum cm_err rc =
        cm_ranges_parse(edge->o->shards ? edge->o->shards : all, total, &wanted, &count, e);
    if (rc)
        return cm_wrap(e, rc, "--shards");
    rc = cm_new(&shards, total, sizeof *edge->shards, e);
    if (!rc)
        rc = cm_new(&held, count, sizeof *edge->held, e);
    edge->shards = shards;
    edge->held = held;
    for (uint32_t i = 0; !rc && i < count; i++)
        rc = open_shard(edge, wanted[i], e);
    free(wanted);
    return rc;
}

static enum cm_err open_gallery(struct edge *edge, struct cm_error *e)
{
    enum cm_err rc = st_gallery_open(&edge->gallery, edge->o->gallery, e);
    if (!rc)
        rc = st_gallery_model(&edge->gallery, &edge->model, e);
    return rc ? rc : open_shards(edge, e);
}

/* Both endpoints, before anything is made or joined. */
static enum cm_err check_endpoints(const struct wk_edge_options *o, struct cm_error *e)
{
    unsigned allow = o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0;
    enum cm_err rc = io_endpoint_check(o->connect, allow, e);
    if (rc || !o->listen)
        return rc;
    rc = io_endpoint_check(o->listen, allow | IO_ALLOW_ANY_PORT, e);
    return rc ? cm_wrap(e, rc, "--listen") : CM_OK;
}

/* Gives to other workers, unless --shards alone says what happens here. */
static enum cm_err open_giver(struct edge *edge, struct cm_error *e)
{
    const struct wk_giver_options o = {
        .listen = edge->o->listen,
        .connect = edge->o->connect,
        .node = edge->o->node,
        .dir = edge->o->gallery,
        .gallery = edge->gallery.manifest.gallery,
        .shards = edge->gallery.manifest.shards_count,
    };
    if (!edge->o->listen && edge->o->shards)
        return CM_OK;
    return wk_giver_new(&edge->giver, &o, edge->loop, edge->context, edge->log, e);
}

static enum cm_err new_jobs(struct edge *edge, struct cm_error *e)
{
    void *p;
    edge->jobs_count = 2 * edge->o->threads;
    enum cm_err rc = cm_new(&p, edge->jobs_count, sizeof *edge->jobs, e);
    edge->jobs = p;
    for (uint32_t i = 0; !rc && i < edge->jobs_count; i++)
        edge->jobs[i] = (struct edge_job){.io = {.run = run_job}, .edge = edge};
    return rc;
}

static enum cm_err new_core(struct edge *edge, struct cm_error *e)
{
    const struct pr_manifest *m = &edge->gallery.manifest;
    struct wk_config config = {
        .node = edge->o->node,
        .gallery = {.gallery = m->gallery,
                    .model = m->model,
                    .geometry = m->geometry,
                    .precision = m->precision,
                    .images = m->images,
                    .shards = m->shards_count},
        .numeric_class =
            sc_numeric_class(edge->model, edge->numeric_class, sizeof edge->numeric_class),
        .threads = edge->o->threads,
        .jobs = edge->jobs_count,
        .credits = edge->o->credits,
        .result_every_ns = CM_RESULT_EVERY_NS,
        .packed_bytes = sc_packed_bytes(edge->model),
        .placed = edge->o->shards == NULL,
        .held = edge->held,
        .held_count = edge->held_count,
    };
    struct wk_io io = {
        .ctx = edge,
        .send = send,
        .reconnect = reconnect,
        .start = start_job,
        .meta = meta,
        .fetch = fetch,
        .abandon = abandon,
        .release = release_shard,
        .endpoint = endpoint,
        .memory_bytes = memory_bytes,
        .refused = refused,
        .dismissed = dismissed,
        .now_ns = now_ns,
    };
    if (getrandom(&config.incarnation, sizeof config.incarnation, 0) < 0)
        return cm_fail_errno(e, errno, "cannot get random bytes");
    cm_log(edge->log, CM_LOG_INFO, "serving",
           "gallery=%s shards=%u threads=%u class=%s kernel=%s giving=%s", edge->o->gallery,
           edge->held_count, edge->o->threads, edge->numeric_class, sc_kernel_name(edge->model),
           edge->giver ? wk_giver_endpoint(edge->giver) : "-");
    return wk_new(&edge->core, &config, &io, edge->log, e);
}

static enum cm_err start_world(struct edge *edge, struct cm_error *e)
{
    static const struct io_service_events role = {next_wakeup_ns, on_tick, on_stop, is_idle};
    enum cm_err rc = io_loop_new(&edge->loop, e);
    if (!rc)
        rc = io_service_new(&edge->service, edge->loop, &role, edge, edge->log, e);
    if (!rc)
        rc = io_wake_new(&edge->job_done, edge->loop, on_jobs_done, edge, e);
    if (!rc)
        rc = io_pool_new(&edge->pool, edge->o->threads, wake, edge, e);
    if (!rc)
        rc = io_context_new(&edge->context, 1, e);
    if (!rc)
        rc = wk_disk_new(&edge->disk, edge->loop, e);
    if (!rc)
        rc = wk_getter_new(&edge->getter, edge->o->gallery,
                           edge->o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0, edge->loop,
                           edge->context, edge->disk, edge->log, e);
    if (!rc)
        rc = open_giver(edge, e);
    return rc ? rc : dial(edge, e);
}

/* The folder, with a gallery in it. *stopped: a signal came before that. */
static enum cm_err open_folder(struct edge *edge, bool *stopped, struct cm_error *e)
{
    *stopped = false;
    edge->folder.fd = -1;
    if (edge->o->shards)
        return CM_OK;
    enum cm_err rc = st_folder_open(&edge->folder, edge->o->gallery, e);
    if (!rc && !edge->folder.joined)
        rc = wk_join(edge->o, edge->log, stopped, e);
    return rc;
}

static enum cm_err start(struct edge *edge, struct cm_error *e)
{
    enum cm_err rc = open_gallery(edge, e);
    if (!rc)
        rc = wk_compute_init(&edge->compute, edge->model, edge->shards, edge->o->threads, e);
    if (!rc)
        rc = new_jobs(edge, e);
    if (!rc)
        rc = start_world(edge, e);
    return rc ? rc : new_core(edge, e);
}

static void serve(struct edge *edge, struct cm_error *e)
{
    wk_on_tick(edge->core);
    io_service_settle(edge->service);
    io_loop_run(edge->loop);
    if (edge->refusal.code)
        *e = edge->refusal;
    else
        cm_log(edge->log, CM_LOG_INFO, "stopped", "searches_open=%d", !wk_idle(edge->core));
}

static void clean_up(struct edge *edge)
{
    io_pool_free(edge->pool); /* first: its threads use the rest, as the disk's does */
    wk_disk_free(edge->disk);
    wk_giver_stop(edge->giver);
    io_loop_free(edge->loop); /* and with it the watches and their sockets */
    wk_getter_free(edge->getter);
    io_service_free(edge->service);
    wk_free(edge->core);
    io_context_free(edge->context);
    wk_giver_free(edge->giver); /* now that its blocks are out of ZeroMQ's hands */
    wk_compute_fini(&edge->compute);
    for (uint32_t i = 0; edge->shards && i < edge->gallery.manifest.shards_count; i++)
        st_shard_close(edge->shards[i]);
    st_shard_close(edge->incoming);
    free(edge->shards);
    free(edge->held);
    free(edge->jobs);
    sc_model_free(edge->model);
    st_gallery_close(&edge->gallery);
    st_folder_close(&edge->folder);
}

void wk_default_node(char *out, size_t room, const char *gallery)
{
    char host[32] = "worker", cwd[4096] = "", where[8192], store[4096];
    gethostname(host, sizeof host - 1);
    snprintf(store, sizeof store, "%s/" ST_STORE_FILE, gallery);
    snprintf(where, sizeof where, "%s/" PR_MANIFEST_FILE, gallery);
    if (access(where, F_OK) == 0 && access(store, F_OK) != 0) {
        snprintf(out, room, "%s-%d", host, (int)getpid());
        return;
    }
    if (gallery[0] != '/' && !getcwd(cwd, sizeof cwd))
        cwd[0] = '\0';
    snprintf(where, sizeof where, "%s/%s", cwd, gallery);
    struct cm_fingerprint of = cm_fingerprint_of(where, strlen(where));
    snprintf(out, room, "%s-%02x%02x%02x%02x", host, of.bytes[0], of.bytes[1], of.bytes[2],
             of.bytes[3]);
}

enum cm_err wk_edge_run(const struct wk_edge_options *o, const struct cm_log *log,
                        struct cm_error *e)
{
    struct edge edge = {.o = o, .log = log};
    bool stopped = false;
    enum cm_err rc = check_endpoints(o, e);
    edge.folder.fd = -1;
    if (!rc)
        rc = open_folder(&edge, &stopped, e);
    if (!rc && stopped)
        cm_log(log, CM_LOG_INFO, "stopped", "searches_open=0");
    else if (!rc)
        rc = start(&edge, e);
    if (!rc && !stopped) {
        serve(&edge, e);
        rc = edge.refusal.code;
    }
    clean_up(&edge);
    return rc;
}
