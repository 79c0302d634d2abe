/* worker_uv.c: see worker_uv.h. */
#include "worker/worker_uv.h"

#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "common/io/pool.h"
#include "common/io/service.h"
#include "common/io/socket.h"
#include "common/io/watch.h"
#include "common/mem.h"
#include "common/ranges.h"
#include "worker/compute_uv.h"
#include "worker/worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

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
    struct st_gallery gallery;
    struct sc_model *model;
    struct st_shard **shards; /* [shards_count] those held, ascending */
    struct wk_held *held;     /* [shards_count] */
    uint32_t shards_count;
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

static struct cm_image_meta meta(void *ctx, uint32_t held, uint64_t i)
{
    struct edge *edge = ctx;
    return st_shard_meta(edge->shards[held], i);
}

static void refused(void *ctx, enum pr_refusal reason, const char *text)
{
    struct edge *edge = ctx;
    (void)reason;
    cm_fail(&edge->refusal, CM_EREFUSED, "the coordinator refused this worker: %s", text);
    io_loop_stop(edge->loop);
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

static enum cm_err open_shards(struct edge *edge, const uint32_t *wanted, uint32_t count,
                               struct cm_error *e)
{
    void *shards = NULL, *held = NULL;
    enum cm_err rc = cm_new(&shards, count, sizeof *edge->shards, e);
    if (!rc)
        rc = cm_new(&held, count, sizeof *edge->held, e);
    edge->shards = shards;
    edge->held = held;
    for (uint32_t i = 0; !rc && i < count; i++) {
        rc = st_shard_open(&edge->shards[i], &edge->gallery, wanted[i], e);
        if (rc)
            return rc;
        const struct pr_shard_header *h = st_shard_header(edge->shards[i]);
        edge->held[i] = (struct wk_held){h->shard_index, h->first_image, h->images, h->blocks,
                                         h->images_per_block};
        edge->shards_count = i + 1;
    }
    return rc;
}

static enum cm_err open_gallery(struct edge *edge, struct cm_error *e)
{
    uint32_t *wanted, count;
    enum cm_err rc = st_gallery_open(&edge->gallery, edge->o->gallery, e);
    if (!rc)
        rc = st_gallery_model(&edge->gallery, &edge->model, e);
    if (rc)
        return rc;
    char all[32];
    uint32_t total = edge->gallery.manifest.shards_count;
    snprintf(all, sizeof all, "0-%u", total - 1);
    rc = cm_ranges_parse(edge->o->shards ? edge->o->shards : all, total, &wanted, &count, e);
    if (rc)
        return cm_wrap(e, rc, "--shards");
    rc = open_shards(edge, wanted, count, e);
    free(wanted);
    return rc;
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
        .packed_bytes = sc_packed_bytes(edge->model),
        .held = edge->held,
        .held_count = edge->shards_count,
    };
    struct wk_io io = {edge, send, reconnect, start_job, meta, refused, now_ns};
    if (getrandom(&config.incarnation, sizeof config.incarnation, 0) < 0)
        return cm_fail_errno(e, errno, "cannot get random bytes");
    cm_log(edge->log, CM_LOG_INFO, "serving", "gallery=%s shards=%u threads=%u class=%s kernel=%s",
           edge->o->gallery, edge->shards_count, edge->o->threads, edge->numeric_class,
           sc_kernel_name(edge->model));
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
    return rc ? rc : dial(edge, e);
}

static enum cm_err start(struct edge *edge, struct cm_error *e)
{
    unsigned allow = edge->o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0;
    enum cm_err rc = io_endpoint_check(edge->o->connect, allow, e);
    if (!rc)
        rc = open_gallery(edge, e);
    if (!rc)
        rc = wk_compute_init(&edge->compute, edge->model, edge->shards, edge->o->threads, e);
    if (!rc)
        rc = new_jobs(edge, e);
    if (!rc)
        rc = start_world(edge, e);
    return rc ? rc : new_core(edge, e);
}

static void clean_up(struct edge *edge)
{
    io_pool_free(edge->pool); /* first: its threads use the rest */
    io_loop_free(edge->loop); /* and with it the watch and its socket */
    io_service_free(edge->service);
    wk_free(edge->core);
    io_context_free(edge->context);
    wk_compute_fini(&edge->compute);
    for (uint32_t i = 0; i < edge->shards_count; i++)
        st_shard_close(edge->shards[i]);
    free(edge->shards);
    free(edge->held);
    free(edge->jobs);
    sc_model_free(edge->model);
    st_gallery_close(&edge->gallery);
}

enum cm_err wk_edge_run(const struct wk_edge_options *o, const struct cm_log *log,
                        struct cm_error *e)
{
    struct edge edge = {.o = o, .log = log};
    enum cm_err rc = start(&edge, e);
    if (!rc) {
        wk_on_tick(edge.core);
        io_service_settle(edge.service);
        io_loop_run(edge.loop);
        if (edge.refusal.code) {
            *e = edge.refusal;
            rc = e->code;
        } else {
            cm_log(log, CM_LOG_INFO, "stopped", "searches_open=%d", !wk_idle(edge.core));
        }
    }
    clean_up(&edge);
    return rc;
}
