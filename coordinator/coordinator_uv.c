/* coordinator_uv.c: see coordinator_uv.h. */
#include "coordinator/coordinator_uv.h"

#include "common/io/endpoint.h"
#include "common/io/loop.h"
#include "common/io/socket.h"
#include "common/io/watch.h"

#include <signal.h>

#define DRAIN_NS UINT64_C(10000000000)

struct edge {
    const struct cm_log *log;
    struct io_loop *loop;
    struct io_context *context;
    struct io_socket *socket; /* the watch's, once there is one */
    struct io_watch *watch;
    struct io_timer *tick;
    struct io_timer *drain;
    struct io_signal *term, *interrupt;
    struct co_core *core;
    bool closing;
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

/* After every event: sleep until the core's next one, or end when there is nothing left to do. */
static void settle(struct edge *edge)
{
    uint64_t next = co_next_wakeup_ns(edge->core);
    if (next == UINT64_MAX)
        io_timer_cancel(edge->tick);
    else
        io_timer_set(edge->tick, next);
    if (edge->closing && co_idle(edge->core))
        io_loop_stop(edge->loop);
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct edge *edge = ctx;
    co_on_message(edge->core, &in->peer, in->header, in->payload);
    settle(edge);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    struct edge *edge = ctx;
    co_on_garbage(edge->core, from, e->text);
}

static void on_tick(void *ctx)
{
    struct edge *edge = ctx;
    co_on_tick(edge->core);
    settle(edge);
}

static void on_drained(void *ctx)
{
    struct edge *edge = ctx;
    cm_log(edge->log, CM_LOG_WARN, "drain_timeout", "msg=\"queries were still open\"");
    io_loop_stop(edge->loop);
}

static void on_signal(void *ctx, int signum)
{
    struct edge *edge = ctx;
    cm_log(edge->log, CM_LOG_INFO, "stopping", "signal=%d", signum);
    if (edge->closing) {
        io_loop_stop(edge->loop);
        return;
    }
    edge->closing = true;
    co_close(edge->core);
    io_timer_set(edge->drain, io_now_ns() + DRAIN_NS);
    settle(edge);
}

static enum cm_err listen_at(struct edge *edge, const struct co_edge_options *o, struct cm_error *e)
{
    unsigned allow = IO_ALLOW_ANY_PORT | (o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0);
    static const struct io_watch_events events = {on_message, on_garbage};
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
    struct co_io io = {.ctx = edge, .send = send, .now_ns = now_ns};
    enum cm_err rc = io_loop_new(&edge->loop, e);
    if (!rc)
        rc = co_new(&edge->core, &o->config, &io, edge->log, e);
    if (!rc)
        rc = io_timer_new(&edge->tick, edge->loop, on_tick, edge, e);
    if (!rc)
        rc = io_timer_new(&edge->drain, edge->loop, on_drained, edge, e);
    if (!rc)
        rc = io_signal_new(&edge->term, edge->loop, SIGTERM, on_signal, edge, e);
    if (!rc)
        rc = io_signal_new(&edge->interrupt, edge->loop, SIGINT, on_signal, edge, e);
    return rc ? rc : listen_at(edge, o, e);
}

enum cm_err co_edge_run(const struct co_edge_options *o, const struct cm_log *log,
                        struct cm_error *e)
{
    struct edge edge = {.log = log};
    enum cm_err rc = start(&edge, o, e);
    if (!rc) {
        cm_log(log, CM_LOG_INFO, "listening", "endpoint=%s", io_socket_endpoint(edge.socket));
        io_loop_run(edge.loop);
        cm_log(log, CM_LOG_INFO, "stopped", "queries=finished");
    }
    io_loop_free(edge.loop); /* and with it the watch and its socket */
    co_free(edge.core);
    io_context_free(edge.context);
    return rc;
}
