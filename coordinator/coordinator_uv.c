/* coordinator_uv.c: see coordinator_uv.h. */
#include "coordinator/coordinator_uv.h"

#include "common/io/cpu.h"
#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "common/io/service.h"
#include "common/io/socket.h"
#include "common/io/watch.h"
#include "coordinator/state_uv.h"

struct edge {
    const struct cm_log *log;
    struct io_loop *loop;
    struct io_context *context;
    struct io_socket *socket; /* the watch's, once there is one */
    struct io_watch *watch;
    struct io_service *service;
    struct co_core *core;
    struct co_state state; /* if shards are placed */
};

static enum cm_err send(void *ctx, const struct cm_peer *to, struct cm_bytes header,
                        struct cm_blob *payload, struct cm_error *e)
{
    struct edge *edge = ctx;
    return io_send(edge->socket, to, header, payload, e);
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return io_now_ns();
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return io_memory_peak_bytes();
}

static enum cm_err save(void *ctx, const char *text, struct cm_error *e)
{
    const struct edge *edge = ctx;
    return co_state_save(&edge->state, text, e);
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct edge *edge = ctx;
    co_on_message(edge->core, &in->peer, in->header, in->payload);
    io_service_settle(edge->service);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    struct edge *edge = ctx;
    co_on_garbage(edge->core, from, e->text);
}

/* A connection on which nothing ever came is garbage: whoever belongs here speaks first. */
static void on_gone(void *ctx, const struct cm_peer *who)
{
    struct edge *edge = ctx;
    if (who->size > 0)
        co_on_disconnect(edge->core, who);
    else
        co_on_garbage(edge->core, who,
                      "a connection that ended without a message: it spoke no ZeroMQ 3, sent a "
                      "frame over the limit, or just left");
    io_service_settle(edge->service);
}

static uint64_t next_wakeup_ns(void *ctx)
{
    const struct edge *edge = ctx;
    return co_next_wakeup_ns(edge->core);
}

static void on_tick(void *ctx)
{
    struct edge *edge = ctx;
    co_on_tick(edge->core);
}

static void on_stop(void *ctx)
{
    struct edge *edge = ctx;
    co_close(edge->core);
}

static bool is_idle(void *ctx)
{
    const struct edge *edge = ctx;
    return co_idle(edge->core);
}

static enum cm_err listen_at(struct edge *edge, const struct co_edge_options *o, struct cm_error *e)
{
    unsigned allow = IO_ALLOW_ANY_PORT | (o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0);
    static const struct io_watch_events events = {on_message, on_garbage, on_gone};
    enum cm_err rc = io_endpoint_check(o->listen, allow, e);
    if (!rc)
        rc = io_context_new(&edge->context, 1, e);
    if (!rc)
        rc = io_router_bind(&edge->socket, edge->context, o->listen, e);
    if (!rc)
        rc = io_watch_new(&edge->watch, edge->loop, edge->socket, &events, edge, e);
    if (rc && edge->socket) {
        io_socket_free(edge->socket);
        edge->socket = NULL;
    }
    return rc;
}

static enum cm_err start(struct edge *edge, const struct co_edge_options *o, struct cm_error *e)
{
    static const struct io_service_events role = {next_wakeup_ns, on_tick, on_stop, is_idle};
    struct co_io io = {
        .ctx = edge, .send = send, .now_ns = now_ns, .memory_bytes = memory_bytes, .save = save};
    struct co_config config = o->config;
    enum cm_err rc = io_loop_new(&edge->loop, e);
    if (!rc && o->state)
        rc = co_state_open(&edge->state, o->state, e);
    config.places = o->state != NULL;
    config.map = edge->state.found ? &edge->state.map : NULL;
    if (!rc)
        rc = co_new(&edge->core, &config, &io, edge->log, e);
    if (!rc)
        rc = io_service_new(&edge->service, edge->loop, &role, edge, edge->log, e);
    return rc ? rc : listen_at(edge, o, e);
}

enum cm_err co_edge_run(const struct co_edge_options *o, const struct cm_log *log,
                        struct cm_error *e)
{
    struct edge edge = {.log = log, .state = {.lock = -1}};
    enum cm_err rc = start(&edge, o, e);
    if (!rc) {
        cm_log(log, CM_LOG_INFO, "listening", "endpoint=%s", io_socket_endpoint(edge.socket));
        io_loop_run(edge.loop);
        cm_log(log, CM_LOG_INFO, "stopped", "queries_open=%d", !co_idle(edge.core));
    }
    io_loop_free(edge.loop); /* and with it the watch and its socket */
    io_service_free(edge.service);
    co_free(edge.core);
    io_context_free(edge.context);
    co_state_close(&edge.state);
    return rc;
}
