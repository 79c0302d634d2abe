/* loop.c: see loop.h. */
#include "common/io/loop.h"

#include "common/assert.h"
#include "common/io/handles.h"
#include "common/mem.h"

#include <signal.h>
#include <stdlib.h>
#include <uv.h>

enum { NS_PER_MS = 1000000 };

struct io_loop {
    uv_loop_t uv;
};

/* --- handles ---------------------------------------------------------------------------------- */

uv_loop_t *io_loop_uv(struct io_loop *l)
{
    return &l->uv;
}

void io_handles_add(struct io_handles *h, uv_handle_t *handle)
{
    handle->data = h;
    h->open++;
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct io_handles *h = handle->data;
    if (--h->open == 0)
        h->release(h);
}

void io_handle_close(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_handle_closed);
}

enum cm_err io_fail_uv(struct cm_error *e, int code, const char *what)
{
    return cm_fail_errno(e, -code, "%s", what);
}

static void release_memory(struct io_handles *h)
{
    free(h);
}

/* Memory for an object that begins with a struct io_handles. */
static enum cm_err new_object(void **out, size_t size, struct cm_error *e)
{
    enum cm_err rc = cm_new(out, 1, size, e);
    if (!rc)
        ((struct io_handles *)*out)->release = release_memory;
    return rc;
}

/* --- the loop --------------------------------------------------------------------------------- */

uint64_t io_now_ns(void)
{
    return uv_hrtime();
}

enum cm_err io_loop_new(struct io_loop **out, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct io_loop *l = p;
    int code = uv_loop_init(&l->uv);
    if (code) {
        free(l);
        return io_fail_uv(e, code, "cannot make an event loop");
    }
    signal(SIGPIPE, SIG_IGN);
    *out = l;
    return CM_OK;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    io_handle_close(handle);
}

void io_loop_free(struct io_loop *l)
{
    if (!l)
        return;
    uv_walk(&l->uv, close_handle, NULL);
    while (uv_run(&l->uv, UV_RUN_DEFAULT) != 0)
        ; /* a stop that was still pending ends one run early */
    int code = uv_loop_close(&l->uv);
    CM_ASSERT(code == 0);
    free(l);
}

void io_loop_run(struct io_loop *l)
{
    uv_run(&l->uv, UV_RUN_DEFAULT);
}

void io_loop_stop(struct io_loop *l)
{
    uv_stop(&l->uv);
}

/* --- timers ----------------------------------------------------------------------------------- */

struct io_timer {
    struct io_handles handles;
    uv_timer_t uv;
    void (*fire)(void *ctx);
    void *ctx;
};

static void on_timer(uv_timer_t *uv)
{
    struct io_timer *t = uv->data;
    t->fire(t->ctx);
}

enum cm_err io_timer_new(struct io_timer **out, struct io_loop *l, void (*fire)(void *ctx),
                         void *ctx, struct cm_error *e)
{
    void *p;
    enum cm_err rc = new_object(&p, sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    struct io_timer *t = *out;
    t->fire = fire;
    t->ctx = ctx;
    uv_timer_init(&l->uv, &t->uv);
    io_handles_add(&t->handles, (uv_handle_t *)&t->uv);
    return CM_OK;
}

void io_timer_set(struct io_timer *t, uint64_t at_ns)
{
    /* libuv counts whole milliseconds of the same clock: rounding both ends up is never early. */
    uv_update_time(t->uv.loop);
    uint64_t at_ms = at_ns / NS_PER_MS + (at_ns % NS_PER_MS != 0);
    uint64_t now_ms = uv_now(t->uv.loop);
    /* At least one: libuv would run a timer of 0 set in its own callback again at once, for ever.
     */
    uv_timer_start(&t->uv, on_timer, at_ms > now_ms ? at_ms - now_ms : 1, 0);
}

void io_timer_cancel(struct io_timer *t)
{
    uv_timer_stop(&t->uv);
}

void io_timer_close(struct io_timer *t)
{
    if (t)
        io_handle_close((uv_handle_t *)&t->uv);
}

/* --- signals ---------------------------------------------------------------------------------- */

struct io_signal {
    struct io_handles handles;
    uv_signal_t uv;
    void (*got)(void *ctx, int signum);
    void *ctx;
};

static void on_signal(uv_signal_t *uv, int signum)
{
    struct io_signal *s = uv->data;
    s->got(s->ctx, signum);
}

enum cm_err io_signal_new(struct io_signal **out, struct io_loop *l, int signum,
                          void (*got)(void *ctx, int signum), void *ctx, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = new_object(&p, sizeof **out, e);
    if (rc)
        return rc;
    struct io_signal *s = p;
    s->got = got;
    s->ctx = ctx;
    int code = uv_signal_init(&l->uv, &s->uv);
    if (code) {
        free(s);
        return io_fail_uv(e, code, "cannot watch for signals");
    }
    io_handles_add(&s->handles, (uv_handle_t *)&s->uv);
    code = uv_signal_start(&s->uv, on_signal, signum);
    if (code) {
        io_signal_close(s);
        return cm_fail_errno(e, -code, "cannot catch signal %d", signum);
    }
    *out = s;
    return CM_OK;
}

void io_signal_close(struct io_signal *s)
{
    if (s)
        io_handle_close((uv_handle_t *)&s->uv);
}

/* --- wakes ------------------------------------------------------------------------------------ */

struct io_wake {
    struct io_handles handles;
    uv_async_t uv;
    void (*woken)(void *ctx);
    void *ctx;
};

static void on_wake(uv_async_t *uv)
{
    struct io_wake *w = uv->data;
    w->woken(w->ctx);
}

enum cm_err io_wake_new(struct io_wake **out, struct io_loop *l, void (*woken)(void *ctx),
                        void *ctx, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = new_object(&p, sizeof **out, e);
    if (rc)
        return rc;
    struct io_wake *w = p;
    w->woken = woken;
    w->ctx = ctx;
    int code = uv_async_init(&l->uv, &w->uv, on_wake);
    if (code) {
        free(w);
        return io_fail_uv(e, code, "cannot make a wake");
    }
    io_handles_add(&w->handles, (uv_handle_t *)&w->uv);
    *out = w;
    return CM_OK;
}

void io_wake_send(struct io_wake *w)
{
    uv_async_send(&w->uv);
}

void io_wake_close(struct io_wake *w)
{
    if (w)
        io_handle_close((uv_handle_t *)&w->uv);
}
