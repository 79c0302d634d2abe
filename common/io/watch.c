/* watch.c: see watch.h.
 *
 * The descriptor of a ZeroMQ socket is edge-triggered, for both directions at once: a send may
 * swallow the edge of a message that came in. So it only wakes the loop; whether there is something
 * to read is asked once a turn, before the loop would sleep (prepare). If there is, an idle handle
 * keeps it from sleeping, and the messages are taken after its look at the other descriptors
 * (check), a bounded number so that timers and signals get their turn. A ROUTER has a second
 * descriptor, of its monitor, which is treated alike. */
#include "common/io/watch.h"

#include "common/io/handles.h"
#include "common/io/links.h"
#include "common/io/socket_zmq.h"
#include "common/mem.h"

#include <stdlib.h>
#include <uv.h>

enum { MESSAGES_A_TURN = 64 };

struct io_watch {
    struct io_handles handles;
    uv_poll_t poll;
    uv_poll_t links_poll; /* of a ROUTER */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    struct io_socket *socket;
    struct io_watch_events events;
    void *ctx;
};

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)poll, (void)status, (void)events;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct io_watch *w = prepare->data;
    struct io_links *links = io_socket_links(w->socket);
    if (io_zmq_readable(io_socket_zmq(w->socket)) || (links && io_links_readable(links)))
        uv_idle_start(&w->idle, on_idle);
}

static bool is_closing(const struct io_watch *w)
{
    return uv_is_closing((const uv_handle_t *)&w->prepare);
}

/* False when no message waits. */
static bool pass_one(struct io_watch *w)
{
    struct io_incoming in;
    struct cm_error error;
    enum cm_err rc = io_recv(w->socket, &in, &error);
    if (in.anew && w->events.on_gone)
        w->events.on_gone(w->ctx, &in.peer);
    if (!rc && !is_closing(w))
        w->events.on_message(w->ctx, &in);
    if (!rc) {
        io_incoming_fini(&in);
    } else if (rc == CM_EFORMAT || rc == CM_ENOMEM) {
        w->events.on_garbage(w->ctx, &in.peer, &error);
    }
    return rc != CM_EBUSY;
}

/* Tells of the connections that ended. No message of theirs waits any more. */
static void pass_gone(struct io_watch *w)
{
    struct cm_peer who;
    while (!is_closing(w) && io_next_gone(w->socket, &who))
        if (w->events.on_gone)
            w->events.on_gone(w->ctx, &who);
}

static void on_check(uv_check_t *check)
{
    struct io_watch *w = check->data;
    uv_idle_stop(&w->idle);
    for (int i = 0; i < MESSAGES_A_TURN && !is_closing(w); i++)
        if (!pass_one(w)) {
            pass_gone(w);
            return;
        }
}

static void release_watch(struct io_handles *h)
{
    struct io_watch *w = (struct io_watch *)h;
    io_socket_free(w->socket); /* NULL where io_watch_new failed */
    free(w);
}

/* libuv promises that none of these fails. */
static void start_turns(struct io_watch *w, uv_loop_t *uv)
{
    uv_prepare_init(uv, &w->prepare);
    io_handles_add(&w->handles, (uv_handle_t *)&w->prepare);
    uv_prepare_start(&w->prepare, on_prepare);
    uv_check_init(uv, &w->check);
    io_handles_add(&w->handles, (uv_handle_t *)&w->check);
    uv_check_start(&w->check, on_check);
    uv_idle_init(uv, &w->idle);
    io_handles_add(&w->handles, (uv_handle_t *)&w->idle);
}

static enum cm_err start_poll(struct io_watch *w, uv_loop_t *uv, uv_poll_t *poll, int fd,
                              struct cm_error *e)
{
    int code = uv_poll_init(uv, poll, fd);
    if (!code) {
        io_handles_add(&w->handles, (uv_handle_t *)poll);
        code = uv_poll_start(poll, UV_READABLE, on_poll);
    }
    return code ? io_fail_uv(e, code, "cannot watch a socket") : CM_OK;
}

enum cm_err io_watch_new(struct io_watch **out, struct io_loop *l, struct io_socket *s,
                         const struct io_watch_events *events, void *ctx, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct io_watch *w = p;
    w->handles.release = release_watch;
    w->events = *events;
    w->ctx = ctx;
    start_turns(w, io_loop_uv(l));
    struct io_links *links = io_socket_links(s);
    rc = start_poll(w, io_loop_uv(l), &w->poll, io_zmq_fd(io_socket_zmq(s)), e);
    if (!rc && links)
        rc = start_poll(w, io_loop_uv(l), &w->links_poll, io_links_fd(links), e);
    if (rc) {
        io_watch_close(w);
        return rc;
    }
    w->socket = s;
    *out = w;
    return CM_OK;
}

void io_watch_close(struct io_watch *w)
{
    if (!w)
        return;
    if (w->poll.data) /* else io_watch_new failed before it */
        io_handle_close((uv_handle_t *)&w->poll);
    if (w->links_poll.data) /* a ROUTER's */
        io_handle_close((uv_handle_t *)&w->links_poll);
    io_handle_close((uv_handle_t *)&w->prepare);
    io_handle_close((uv_handle_t *)&w->check);
    io_handle_close((uv_handle_t *)&w->idle);
}
