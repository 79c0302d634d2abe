/* service.c: see service.h. */
#include "common/io/service.h"

#include "common/mem.h"

#include <signal.h>
#include <stdlib.h>

struct io_service {
    struct io_loop *loop;
    struct io_service_events events;
    void *ctx;
    const struct cm_log *log;
    struct io_timer *tick, *drain;
    struct io_signal *term, *interrupt;
    bool stopping;
};

void io_service_settle(struct io_service *s)
{
    uint64_t next = s->events.next_wakeup_ns(s->ctx);
    if (next == UINT64_MAX)
        io_timer_cancel(s->tick);
    else
        io_timer_set(s->tick, next);
    if (s->stopping && s->events.is_idle(s->ctx))
        io_loop_stop(s->loop);
}

static void on_tick(void *ctx)
{
    struct io_service *s = ctx;
    s->events.on_tick(s->ctx);
    io_service_settle(s);
}

static void on_drained(void *ctx)
{
    struct io_service *s = ctx;
    cm_log(s->log, CM_LOG_WARN, "drain_timeout", "msg=\"work was still open\"");
    io_loop_stop(s->loop);
}

void io_service_stop(struct io_service *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    s->events.on_stop(s->ctx);
    io_timer_set(s->drain, io_now_ns() + IO_DRAIN_MS * UINT64_C(1000000));
}

static void on_signal(void *ctx, int signum)
{
    struct io_service *s = ctx;
    cm_log(s->log, CM_LOG_INFO, "stopping", "signal=%d", signum);
    if (s->stopping) {
        io_loop_stop(s->loop);
        return;
    }
    io_service_stop(s);
    io_service_settle(s);
}

static enum cm_err open_handles(struct io_service *s, struct cm_error *e)
{
    enum cm_err rc = io_timer_new(&s->tick, s->loop, on_tick, s, e);
    if (!rc)
        rc = io_timer_new(&s->drain, s->loop, on_drained, s, e);
    if (!rc)
        rc = io_signal_new(&s->term, s->loop, SIGTERM, on_signal, s, e);
    if (!rc)
        rc = io_signal_new(&s->interrupt, s->loop, SIGINT, on_signal, s, e);
    return rc;
}

enum cm_err io_service_new(struct io_service **out, struct io_loop *l,
                           const struct io_service_events *events, void *ctx,
                           const struct cm_log *log, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct io_service *s = *out = p;
    if (rc)
        return rc;
    s->loop = l;
    s->events = *events;
    s->ctx = ctx;
    s->log = log;
    rc = open_handles(s, e);
    if (rc) {
        io_signal_close(s->interrupt);
        io_signal_close(s->term);
        io_timer_close(s->drain);
        io_timer_close(s->tick);
        io_service_free(s);
        *out = NULL;
    }
    return rc;
}

void io_service_free(struct io_service *s)
{
    free(s);
}
