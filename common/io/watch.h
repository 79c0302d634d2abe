/* watch.h: a socket on the loop. ZeroMQ signals edges, and any call on a socket may swallow one;
 * this is the one place that knows. The loop's thread only. */
#ifndef IO_WATCH_H
#define IO_WATCH_H

#include "common/err.h"
#include "common/io/loop.h"
#include "common/io/socket.h"

struct io_watch;

/* on_message gets each message; what it holds is gone after the call, unless a reference to the
 * payload was taken. on_garbage gets what io_recv refused, with CM_EFORMAT or CM_ENOMEM in the
 * error. on_gone (may be NULL) gets what io_next_gone tells of a ROUTER, and the former self of
 * whoever sent a message anew, before that message. All may send, and may
 * close the watch. */
struct io_watch_events {
    void (*on_message)(void *ctx, struct io_incoming *in);
    void (*on_garbage)(void *ctx, const struct cm_peer *from, const struct cm_error *e);
    void (*on_gone)(void *ctx, const struct cm_peer *who);
};

/* Watches the socket and takes it over: it stays usable for io_send until io_watch_close. On
 * failure it stays the caller's. Free the loop before the context. Errors: CM_ENOMEM, CM_EIO. */
enum cm_err io_watch_new(struct io_watch **out, struct io_loop *l, struct io_socket *s,
                         const struct io_watch_events *events, void *ctx, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Ends it and closes the socket, a turn of the loop later: libuv must let go of its descriptor
 * first. NULL is fine. */
void io_watch_close(struct io_watch *w);

#endif
