/* socket.h: ZeroMQ sockets that carry whole messages: a header frame and an optional payload frame.
 *
 * The coordinator binds a ROUTER, everybody else connects a DEALER to it. Nothing here but io_wait
 * and io_wait_send blocks. One thread at a time uses a socket; a context is for all threads.
 * Messages to a peer that goes away vanish without notice, queues differ in what they hold, and a
 * lost connection comes back by itself: requests need deadlines, memory needs credits, liveness
 * needs heartbeats, and all three are the protocol's. */
#ifndef IO_SOCKET_H
#define IO_SOCKET_H

#include "common/blob.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/types.h"

#include <stdbool.h>
#include <stdint.h>

/* Per peer, in messages; backstops above every credit, since a peer that fills its queue is taken
 * for dead by ZeroMQ's own heartbeat. IO_QUEUE_OUT is a ROUTER's: what a DEALER sends is bounded by
 * what it was asked. */
enum {
    IO_QUEUE_OUT = 512,
    IO_QUEUE_IN = 64,
};
static_assert(IO_QUEUE_OUT > CM_QUERIES_QUEUED, "one client's answers fit");
static_assert(IO_QUEUE_IN > CM_WORKER_CREDITS, "one worker's credits fit");

struct io_context;
struct io_socket;

/* The process's one context; `threads` >= 1 move bytes (one a GB/s). Errors: CM_ENOMEM, CM_EIO. */
enum cm_err io_context_new(struct io_context **out, unsigned threads, struct cm_error *e)
    __attribute__((warn_unused_result));
/* After every socket is freed; waits up to a second for messages still on their way. NULL is fine.
 */
void io_context_free(struct io_context *c);

/* A ROUTER that listens on `endpoint` (io_endpoint_parse's text, not checked for safety: see
 * io_endpoint_check). A newcomer with the id of a connected peer takes its place. An ipc path stays
 * taken until the context is freed. Errors: CM_EUSAGE
 * (bad text), CM_EBUSY (address in use), CM_EEXIST (see io_endpoint_claim), those of
 * cm_fail_errno. */
enum cm_err io_router_bind(struct io_socket **out, struct io_context *c, const char *endpoint,
                           struct cm_error *e) __attribute__((warn_unused_result));

/* A DEALER that connects, and connects again when it must, in the background. `routing_id` names it
 * to the ROUTER: up to 255 bytes, the first not 0, fresh ones for each process; size 0 lets ZeroMQ
 * pick. Errors: CM_EUSAGE (bad text), those of cm_fail_errno. */
enum cm_err io_dealer_connect(struct io_socket **out, struct io_context *c, const char *endpoint,
                              struct cm_bytes routing_id, struct cm_error *e)
    __attribute__((warn_unused_result));

/* What is queued still goes out for up to a second, if the connection holds; it does not hold where
 * the other end is sending at that moment. So who leaves says so and waits for the answer first.
 * Not for a socket that an io_watch owns. NULL is fine. */
void io_socket_free(struct io_socket *s);

/* Where it is bound or connected, with the port that the system picked. Valid as long as `s`. */
const char *io_socket_endpoint(const struct io_socket *s);

/* Queues one message, or nothing of it. `to` is NULL on a DEALER. The header (not empty) is copied;
 * the payload (may be NULL) stays the caller's and keeps a reference of its own until ZeroMQ is
 * done, dropped on a thread of ZeroMQ. Errors: CM_EBUSY (a ROUTER: the queue is full; a DEALER: not
 * connected), CM_EUNAVAIL (no such peer), CM_ENOMEM, CM_EIO. */
enum cm_err io_send(struct io_socket *s, const struct cm_peer *to, struct cm_bytes header,
                    struct cm_blob *payload, struct cm_error *e);

/* One message. Bytes of header and payload lie as they came: at ANY alignment, even odd ones. Read
 * them with memcpy or unaligned loads; never cast them to float *. */
struct io_incoming {
    struct cm_peer peer;     /* of a ROUTER: who sent it; of a DEALER: size 0 */
    bool anew;               /* of a ROUTER: the peer's connection has ended, and this is the first
                                message on another one, under the same address */
    struct cm_bytes header;  /* never empty; lives until io_incoming_fini */
    struct cm_blob *payload; /* or NULL; to keep it, take a reference */
    struct cm_blob *header_owner;
};

/* The next message, if one waits; io_incoming_fini in every case. Frames behind the payload are
 * dropped. Errors: CM_EBUSY (none waits); CM_EFORMAT (a message that none of ours can be: more than
 * CM_FRAMES_MAX frames, no header, one over CM_HEADER_BYTES_MAX, an address over 255 bytes; it is
 * dropped whole, in->peer says who sent it, size 0 where its address is what is wrong); CM_ENOMEM
 * (dropped likewise); CM_EIO. */
enum cm_err io_recv(struct io_socket *s, struct io_incoming *in, struct cm_error *e)
    __attribute__((warn_unused_result));
/* Drops what the message holds on to; its header is gone then. Twice is fine. */
void io_incoming_fini(struct io_incoming *in);

/* The next peer of a ROUTER whose connection ended, each end told once; a peer of size 0 if no
 * message ever came on it. To be asked when io_recv has found nothing: then all that came on it has
 * been received. ZeroMQ does not say why: the peer left, or died, or sent what ZeroMQ refuses (a
 * frame over the bound, another protocol). Where a message of that peer came on another connection
 * before, that message has told (io_incoming.anew). False if there is none; a DEALER has none. */
bool io_next_gone(struct io_socket *s, struct cm_peer *out);

/* Waits until a message can be received; for commands without a loop. Signals do not end it.
 * Errors: CM_ETIMEOUT, CM_EIO. */
enum cm_err io_wait(struct io_socket *s, unsigned timeout_ms, struct cm_error *e);
/* The same until a message can be sent: on a DEALER, until it is connected. */
enum cm_err io_wait_send(struct io_socket *s, unsigned timeout_ms, struct cm_error *e);

#endif
