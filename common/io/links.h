/* links.h: for the files of common/io alone: the connections of a ROUTER, and who is at their ends.
 *
 * libzmq drops a connection that breaks its protocol, or claims a frame over the limit, without a
 * word to whoever reads the socket; a monitor alone hears of it, and it names connections by their
 * file descriptors. A message says on which descriptor it came. Put together: whose connection
 * ended, or that one ended on which no message ever came.
 *
 * A descriptor's number is used again for later connections. io_links_pump before io_links_note:
 * with one I/O thread, which a context here has, the monitor has then told of every connection up
 * to the message's own. Should a number be in use again before the last messages of the connection
 * before were read, those are counted to the later one: then that peer's end is told late, or as
 * nobody's. Loop thread only. */
#ifndef IO_LINKS_H
#define IO_LINKS_H

#include "common/io/socket.h"

struct io_links;

/* Begins to monitor a ROUTER that is not bound yet. Errors: CM_ENOMEM, CM_EIO. */
enum cm_err io_links_new(struct io_links **out, void *zmq_context, void *zmq_router,
                         struct cm_error *e) __attribute__((warn_unused_result));
/* Before the ROUTER is closed. NULL is fine. */
void io_links_free(struct io_links *l);

/* Takes in what the monitor has to tell. */
void io_links_pump(struct io_links *l);

/* A message of `peer` came on descriptor `fd`; -1 where libzmq does not say. True if it is the
 * first on a connection that took the place of another one of that peer, whose end is told by this.
 */
bool io_links_note(struct io_links *l, int fd, const struct cm_peer *peer);

/* Whose connection ended, the oldest end that was pumped and not taken yet: see io_next_gone. */
bool io_links_take(struct io_links *l, struct cm_peer *out);

/* As io_socket_fd and io_socket_readable, for the monitor. */
int io_links_fd(struct io_links *l);
bool io_links_readable(struct io_links *l);

#endif
