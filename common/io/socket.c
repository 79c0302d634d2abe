/* socket.c: see socket.h. The one home of ZeroMQ. */
#include "common/io/socket.h"

#include "common/assert.h"
#include "common/io/endpoint.h"
#include "common/io/links.h"
#include "common/io/loop.h"
#include "common/io/socket_zmq.h"
#include "common/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

/* The lock of an ipc path. ZeroMQ removes the socket's file on a thread of its own, some time after
 * the socket was closed: the lock must outlast that, or a successor's file would go. */
struct path_lock {
    int fd;
    struct path_lock *next;
};

struct io_context {
    void *zmq;
    pthread_mutex_t mutex; /* for `locks` */
    struct path_lock *locks;
};

struct io_socket {
    void *zmq;
    bool is_router;
    struct io_links *links; /* of a ROUTER */
    char endpoint[IO_ENDPOINT_BYTES];
};

/* --- contexts --------------------------------------------------------------------------------- */

enum cm_err io_context_new(struct io_context **out, unsigned threads, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct io_context *c = p;
    pthread_mutex_init(&c->mutex, NULL);
    c->zmq = zmq_ctx_new();
    if (!c->zmq || zmq_ctx_set(c->zmq, ZMQ_IO_THREADS, (int)threads) != 0) {
        rc = cm_fail_errno(e, errno, "cannot make a ZeroMQ context with %u threads", threads);
        io_context_free(c);
        return rc;
    }
    *out = c;
    return CM_OK;
}

void io_context_free(struct io_context *c)
{
    if (!c)
        return;
    while (c->zmq && zmq_ctx_term(c->zmq) != 0 && errno == EINTR)
        ;
    while (c->locks) {
        struct path_lock *lock = c->locks;
        c->locks = lock->next;
        close(lock->fd);
        free(lock);
    }
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

static void keep_lock(struct io_context *c, struct path_lock *lock)
{
    pthread_mutex_lock(&c->mutex);
    lock->next = c->locks;
    c->locks = lock;
    pthread_mutex_unlock(&c->mutex);
}

/* --- sockets ---------------------------------------------------------------------------------- */

struct option {
    int name;
    int value;
    const char *text;
};

#define OPTION(name, value)      \
    {                            \
        ZMQ_##name, value, #name \
    }

static const struct option common_options[] = {
    /* Frames of one message are each bounded by this; a header has a bound of its own. */
    OPTION(SNDHWM, IO_QUEUE_OUT),
    OPTION(RCVHWM, IO_QUEUE_IN),
    OPTION(LINGER, 1000),
    /* A janitor for dead connections. Only whole frames count as a sign of life, so the patience
     * is that of the largest frame on the slowest link; the protocol's heartbeat is faster. */
    OPTION(HEARTBEAT_IVL, 2000),
    OPTION(HEARTBEAT_TIMEOUT, 10000),
    OPTION(HEARTBEAT_TTL, 10000),
    OPTION(TCP_MAXRT, 10000),
    OPTION(TCP_KEEPALIVE, 1),
    OPTION(TCP_KEEPALIVE_IDLE, 30),
    OPTION(TCP_KEEPALIVE_INTVL, 10),
    OPTION(TCP_KEEPALIVE_CNT, 3),
    OPTION(HANDSHAKE_IVL, 5000),
};

static const struct option router_options[] = {
    OPTION(ROUTER_MANDATORY, 1), /* an unknown or full peer is an error, not silence */
    OPTION(ROUTER_HANDOVER, 1),  /* a restarted peer is not ignored for its old self's sake */
    OPTION(BACKLOG, 512),
};

static const struct option dealer_options[] = {
    OPTION(SNDHWM, 0),    /* a worker's results are bounded by its credits and shards, not here */
    OPTION(IMMEDIATE, 1), /* no queue for a connection that is not there: no stale requests */
    OPTION(RECONNECT_IVL, 100), OPTION(RECONNECT_IVL_MAX, 500), OPTION(CONNECT_TIMEOUT, 5000),
};

#undef OPTION

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static enum cm_err set_options(void *zmq, const struct option *options, size_t count,
                               struct cm_error *e)
{
    for (size_t i = 0; i < count; i++)
        if (zmq_setsockopt(zmq, options[i].name, &options[i].value, sizeof options[i].value) != 0)
            return cm_fail_errno(e, errno, "cannot set the ZeroMQ option %s to %d", options[i].text,
                                 options[i].value);
    return CM_OK;
}

/* With IPv6 on, ZeroMQ would call 127.0.0.1 by its other name, [::ffff:127.0.0.1]. */
static enum cm_err set_family(void *zmq, const struct io_endpoint *p, struct cm_error *e)
{
    const struct option option = {ZMQ_IPV6, !io_endpoint_is_ipv4(p), "IPV6"};
    return set_options(zmq, &option, 1, e);
}

/* A domain makes ZeroMQ refuse its protocols 1 and 2, which have no handshake: over them any bytes
 * sent to the port become messages, and libzmq 4.3.4 aborts when such a connection outlives the
 * socket. As long as nobody answers for the domain it asks nothing else of a peer. */
static enum cm_err refuse_old_protocols(void *zmq, struct cm_error *e)
{
    static const char domain[] = "vitrine";
    if (zmq_setsockopt(zmq, ZMQ_ZAP_DOMAIN, domain, sizeof domain - 1) != 0)
        return cm_fail_errno(e, errno, "cannot set the ZeroMQ option ZAP_DOMAIN");
    return CM_OK;
}

static enum cm_err set_all_options(struct io_socket *s, const struct io_endpoint *p,
                                   struct cm_error *e)
{
    enum { SLACK = 64 << 10 };
    int64_t frame_bytes_max = (int64_t)CM_MAP_BYTES_MAX + SLACK;
    enum cm_err rc = set_options(s->zmq, common_options, COUNT(common_options), e);
    if (!rc)
        rc = set_family(s->zmq, p, e);
    if (!rc && s->is_router)
        rc = set_options(s->zmq, router_options, COUNT(router_options), e);
    if (!rc && s->is_router)
        rc = refuse_old_protocols(s->zmq, e);
    if (!rc && !s->is_router)
        rc = set_options(s->zmq, dealer_options, COUNT(dealer_options), e);
    if (!rc && zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &frame_bytes_max, sizeof frame_bytes_max))
        rc = cm_fail_errno(e, errno, "cannot set the ZeroMQ option MAXMSGSIZE");
    return rc;
}

/* A socket with its options, neither bound nor connected. */
static enum cm_err new_socket(struct io_socket **out, struct io_context *c, bool is_router,
                              const struct io_endpoint *p, struct cm_error *e)
{
    void *block;
    *out = NULL;
    enum cm_err rc = cm_new(&block, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct io_socket *s = block;
    s->is_router = is_router;
    s->zmq = zmq_socket(c->zmq, is_router ? ZMQ_ROUTER : ZMQ_DEALER);
    rc = s->zmq ? set_all_options(s, p, e) : cm_fail_errno(e, errno, "cannot make a ZeroMQ socket");
    if (!rc && is_router)
        rc = io_links_new(&s->links, c->zmq, s->zmq, e);
    if (rc)
        io_socket_free(s);
    else
        *out = s;
    return rc;
}

void io_socket_free(struct io_socket *s)
{
    if (!s)
        return;
    io_links_free(s->links);
    if (s->zmq)
        zmq_close(s->zmq);
    free(s);
}

const char *io_socket_endpoint(const struct io_socket *s)
{
    return s->endpoint;
}

static enum cm_err bind_socket(struct io_socket *s, const struct io_endpoint *p, struct cm_error *e)
{
    io_endpoint_text(p, s->endpoint);
    if (zmq_bind(s->zmq, s->endpoint) != 0) {
        if (errno == EADDRINUSE)
            return cm_fail(e, CM_EBUSY, "cannot listen on %s: another process does", s->endpoint);
        return cm_fail_errno(e, errno, "cannot listen on %s", s->endpoint);
    }
    size_t size = sizeof s->endpoint; /* the port may be the system's pick */
    zmq_getsockopt(s->zmq, ZMQ_LAST_ENDPOINT, s->endpoint, &size);
    return CM_OK;
}

/* Binds under the path's lock, which goes to the context. */
static enum cm_err claim_and_bind(struct io_socket *s, struct io_context *c,
                                  const struct io_endpoint *p, struct cm_error *e)
{
    void *block;
    enum cm_err rc = cm_new(&block, 1, sizeof(struct path_lock), e);
    if (rc)
        return rc;
    struct path_lock *lock = block;
    rc = io_endpoint_claim(p, &lock->fd, e);
    if (!rc)
        rc = bind_socket(s, p, e);
    if (!rc && lock->fd >= 0) {
        keep_lock(c, lock);
        return CM_OK;
    }
    if (lock->fd >= 0)
        close(lock->fd);
    free(lock);
    return rc;
}

enum cm_err io_router_bind(struct io_socket **out, struct io_context *c, const char *endpoint,
                           struct cm_error *e)
{
    struct io_endpoint p;
    *out = NULL;
    enum cm_err rc = io_endpoint_parse(&p, endpoint, e);
    if (!rc)
        rc = new_socket(out, c, true, &p, e);
    if (!rc)
        rc = claim_and_bind(*out, c, &p, e);
    if (rc) {
        io_socket_free(*out);
        *out = NULL;
    }
    return rc;
}

static enum cm_err connect_socket(struct io_socket *s, const struct io_endpoint *p,
                                  struct cm_bytes id, struct cm_error *e)
{
    io_endpoint_text(p, s->endpoint);
    if (id.size > 0 && zmq_setsockopt(s->zmq, ZMQ_ROUTING_ID, id.data, id.size) != 0)
        return cm_fail_errno(e, errno, "cannot set a routing id of %zu bytes", id.size);
    if (zmq_connect(s->zmq, s->endpoint) != 0)
        return cm_fail_errno(e, errno, "cannot connect to %s", s->endpoint);
    return CM_OK;
}

enum cm_err io_dealer_connect(struct io_socket **out, struct io_context *c, const char *endpoint,
                              struct cm_bytes routing_id, struct cm_error *e)
{
    struct io_endpoint p;
    *out = NULL;
    enum cm_err rc = io_endpoint_check(endpoint, IO_ALLOW_INSECURE | IO_ALLOW_INPROC, e);
    if (!rc)
        rc = io_endpoint_parse(&p, endpoint, e);
    if (!rc)
        rc = new_socket(out, c, false, &p, e);
    if (!rc)
        rc = connect_socket(*out, &p, routing_id, e);
    if (rc) {
        io_socket_free(*out);
        *out = NULL;
    }
    return rc;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* On one of ZeroMQ's threads. */
static void drop_reference(void *data, void *hint)
{
    (void)data;
    struct cm_blob *b = hint;
    cm_blob_unref(&b);
}

static enum cm_err fail_frame(struct cm_error *e, size_t size)
{
    return cm_fail(e, CM_ENOMEM, "cannot allocate a frame of %zu bytes", size);
}

static enum cm_err copy_frame(zmq_msg_t *frame, const void *data, size_t size, struct cm_error *e)
{
    if (zmq_msg_init_size(frame, size) != 0) {
        zmq_msg_init(frame);
        return fail_frame(e, size);
    }
    memcpy(zmq_msg_data(frame), data, size);
    return CM_OK;
}

static enum cm_err share_frame(zmq_msg_t *frame, struct cm_blob *b, struct cm_error *e)
{
    struct cm_blob *own = cm_blob_ref(b);
    void *data = (void *)(uintptr_t)cm_blob_data(b); /* ZeroMQ reads only */
    if (zmq_msg_init_data(frame, data, cm_blob_size(b), drop_reference, own) != 0) {
        zmq_msg_init(frame);
        cm_blob_unref(&own);
        return fail_frame(e, cm_blob_size(b));
    }
    return CM_OK;
}

static int send_frame(struct io_socket *s, zmq_msg_t *frame, bool more)
{
    int rc;
    do
        rc = zmq_msg_send(frame, s->zmq, ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0));
    while (rc < 0 && errno == EINTR);
    return rc;
}

static enum cm_err fail_send(struct io_socket *s, int errnum, struct cm_error *e)
{
    if (errnum == EAGAIN)
        return cm_fail(e, CM_EBUSY, "%s: %s", s->endpoint,
                       s->is_router ? "the peer's queue is full" : "not connected");
    if (errnum == EHOSTUNREACH)
        return cm_fail(e, CM_EUNAVAIL, "%s: the peer is not connected", s->endpoint);
    return cm_fail_errno(e, errnum, "%s: cannot send", s->endpoint);
}

/* Only the first frame of a message can be refused; ZeroMQ takes the rest with it. */
static enum cm_err send_frames(struct io_socket *s, zmq_msg_t *frames, size_t count,
                               struct cm_error *e)
{
    for (size_t i = 0; i < count; i++)
        if (send_frame(s, &frames[i], i + 1 < count) < 0)
            return fail_send(s, errno, e);
    return CM_OK;
}

enum cm_err io_send(struct io_socket *s, const struct cm_peer *to, struct cm_bytes header,
                    struct cm_blob *payload, struct cm_error *e)
{
    CM_ASSERT(s->is_router == (to != NULL));
    CM_ASSERT(header.size > 0);
    zmq_msg_t frames[3];
    size_t count = 0;
    enum cm_err rc = CM_OK;
    if (to)
        rc = copy_frame(&frames[count++], to->bytes, to->size, e);
    if (!rc)
        rc = copy_frame(&frames[count++], header.data, header.size, e);
    if (!rc && payload)
        rc = share_frame(&frames[count++], payload, e);
    if (!rc)
        rc = send_frames(s, frames, count, e);
    for (size_t i = 0; i < count; i++)
        zmq_msg_close(&frames[i]); /* empty where it was sent */
    return rc;
}

/* --- receiving -------------------------------------------------------------------------------- */

static int recv_frame(struct io_socket *s, zmq_msg_t *frame)
{
    int rc;
    do
        rc = zmq_msg_recv(frame, s->zmq, ZMQ_DONTWAIT);
    while (rc < 0 && errno == EINTR);
    return rc;
}

static void release_frame(void *owner)
{
    zmq_msg_close(owner);
    free(owner);
}

/* Moves a frame into a blob, without copying its bytes unless they are a handful. */
static enum cm_err blob_of_frame(struct cm_blob **out, zmq_msg_t *frame, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof(zmq_msg_t), e);
    if (rc)
        return rc;
    zmq_msg_t *own = p;
    zmq_msg_init(own);
    zmq_msg_move(own, frame);
    rc = cm_blob_new(out, zmq_msg_data(own), zmq_msg_size(own), release_frame, own, e);
    if (rc)
        release_frame(own);
    return rc;
}

/* ZMTP allows 255 bytes, but libzmq takes whatever a peer's handshake claims. */
static enum cm_err take_peer(struct cm_peer *peer, zmq_msg_t *frame, struct cm_error *e)
{
    size_t size = zmq_msg_size(frame);
    if (size > sizeof peer->bytes)
        return cm_fail(e, CM_EFORMAT,
                       "a message from an address of %zu bytes; at most %zu are right", size,
                       sizeof peer->bytes);
    peer->size = (uint8_t)size;
    memcpy(peer->bytes, zmq_msg_data(frame), size);
    return CM_OK;
}

static enum cm_err take_header(struct io_incoming *in, zmq_msg_t *frame, struct cm_error *e)
{
    size_t size = zmq_msg_size(frame);
    if (size == 0)
        return cm_fail(e, CM_EFORMAT, "a message with an empty header");
    if (size > CM_HEADER_BYTES_MAX)
        return cm_fail(e, CM_EFORMAT, "a message with a header of %zu bytes; at most %u are right",
                       size, CM_HEADER_BYTES_MAX);
    enum cm_err rc = blob_of_frame(&in->header_owner, frame, e);
    if (!rc)
        in->header = (struct cm_bytes){cm_blob_data(in->header_owner), size};
    return rc;
}

/* Frame `index` of what came, from 0. */
static enum cm_err take_frame(const struct io_socket *s, struct io_incoming *in, size_t index,
                              zmq_msg_t *frame, struct cm_error *e)
{
    if (s->is_router && index == 0)
        return take_peer(&in->peer, frame, e);
    size_t place = s->is_router ? index - 1 : index;
    if (place == 0)
        return take_header(in, frame, e);
    if (place == 1)
        return blob_of_frame(&in->payload, frame, e);
    if (place >= CM_FRAMES_MAX)
        return cm_fail(e, CM_EFORMAT, "a message of more than %u frames", CM_FRAMES_MAX);
    return CM_OK;
}

static enum cm_err fail_recv(const struct io_socket *s, int errnum, struct cm_error *e)
{
    if (errnum == EAGAIN)
        return cm_fail(e, CM_EBUSY, "%s: no message waits", s->endpoint);
    return cm_fail_errno(e, errnum, "%s: cannot receive", s->endpoint);
}

/* Notes on which connection a message came, by its first frame behind the address: on the address
 * itself, ZeroMQ does not always say. */
static void note_link(struct io_socket *s, struct io_incoming *in, zmq_msg_t *frame)
{
    io_links_pump(s->links);
    if (in->peer.size > 0)
        in->anew = io_links_note(s->links, zmq_msg_get(frame, ZMQ_SRCFD), &in->peer);
}

/* Takes all frames of one message off the queue, whatever is wrong with one of them. */
static enum cm_err recv_frames(struct io_socket *s, struct io_incoming *in, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    bool more = true;
    for (size_t index = 0; more; index++) {
        zmq_msg_t frame;
        zmq_msg_init(&frame);
        if (recv_frame(s, &frame) < 0)
            return fail_recv(s, errno, e); /* at index 0: a message comes whole */
        more = zmq_msg_more(&frame) != 0;
        if (s->is_router && index == 1)
            note_link(s, in, &frame);
        if (!rc)
            rc = take_frame(s, in, index, &frame, e);
        zmq_msg_close(&frame);
    }
    if (!rc && !in->header_owner)
        rc = cm_fail(e, CM_EFORMAT, "a message without a header");
    return rc;
}

enum cm_err io_recv(struct io_socket *s, struct io_incoming *in, struct cm_error *e)
{
    in->peer.size = 0;
    in->anew = false;
    in->header = (struct cm_bytes){NULL, 0};
    in->payload = in->header_owner = NULL;
    if (s->links)
        io_links_pump(s->links);
    enum cm_err rc = recv_frames(s, in, e);
    if (rc)
        io_incoming_fini(in);
    return rc;
}

void io_incoming_fini(struct io_incoming *in)
{
    cm_blob_unref(&in->payload);
    cm_blob_unref(&in->header_owner);
    in->header = (struct cm_bytes){NULL, 0};
}

/* --- waiting ---------------------------------------------------------------------------------- */

static enum cm_err wait_events(struct io_socket *s, short events, unsigned timeout_ms,
                               struct cm_error *e)
{
    enum { NS_PER_MS = 1000000 };
    uint64_t end_ns = io_now_ns() + (uint64_t)timeout_ms * NS_PER_MS;
    for (;;) {
        uint64_t now_ns = io_now_ns();
        uint64_t left_ns = now_ns < end_ns ? end_ns - now_ns : 0;
        zmq_pollitem_t item = {.socket = s->zmq, .events = events};
        int n = zmq_poll(&item, 1, (long)((left_ns + NS_PER_MS - 1) / NS_PER_MS));
        if (n > 0)
            return CM_OK;
        if (n < 0 && errno != EINTR)
            return cm_fail_errno(e, errno, "%s: cannot wait", s->endpoint);
        if (left_ns == 0)
            return cm_fail(e, CM_ETIMEOUT, "%s: %s within %u ms", s->endpoint,
                           events == ZMQ_POLLIN ? "no answer" : "no connection", timeout_ms);
    }
}

enum cm_err io_wait(struct io_socket *s, unsigned timeout_ms, struct cm_error *e)
{
    return wait_events(s, ZMQ_POLLIN, timeout_ms, e);
}

enum cm_err io_wait_send(struct io_socket *s, unsigned timeout_ms, struct cm_error *e)
{
    return wait_events(s, ZMQ_POLLOUT, timeout_ms, e);
}

bool io_next_gone(struct io_socket *s, struct cm_peer *out)
{
    return s->links && io_links_take(s->links, out);
}

/* --- for the watch ---------------------------------------------------------------------------- */

int io_zmq_fd(void *zmq)
{
    int fd = -1;
    size_t size = sizeof fd;
    return zmq_getsockopt(zmq, ZMQ_FD, &fd, &size) == 0 ? fd : -1;
}

bool io_zmq_readable(void *zmq)
{
    int events = 0;
    int rc;
    do {
        size_t size = sizeof events;
        rc = zmq_getsockopt(zmq, ZMQ_EVENTS, &events, &size);
    } while (rc != 0 && errno == EINTR);
    return rc == 0 && (events & ZMQ_POLLIN);
}

void *io_socket_zmq(struct io_socket *s)
{
    return s->zmq;
}

struct io_links *io_socket_links(struct io_socket *s)
{
    return s->links;
}
