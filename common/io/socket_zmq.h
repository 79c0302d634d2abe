/* socket_zmq.h: for the files of common/io alone: what lies beneath a socket of socket.h. */
#ifndef IO_SOCKET_ZMQ_H
#define IO_SOCKET_ZMQ_H

#include "common/io/socket.h"

struct io_links;

/* The descriptor of a ZeroMQ socket that becomes readable when the socket's state may have changed,
 * or -1. */
int io_zmq_fd(void *zmq);

/* True if a message waits. Asking makes ZeroMQ look: without it the descriptor may stay silent. */
bool io_zmq_readable(void *zmq);

/* The ZeroMQ socket itself. */
void *io_socket_zmq(struct io_socket *s);

/* A ROUTER's connections; NULL for a DEALER. */
struct io_links *io_socket_links(struct io_socket *s);

#endif
