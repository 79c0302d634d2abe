/* socket_zmq.h: for the files of common/io alone: what a watch must ask of a socket. */
#ifndef IO_SOCKET_ZMQ_H
#define IO_SOCKET_ZMQ_H

#include "common/io/socket.h"

/* The descriptor that becomes readable when the socket's state may have changed, or -1. */
int io_socket_fd(struct io_socket *s);

/* True if a message waits. Asking makes ZeroMQ look: without it the descriptor may stay silent. */
bool io_socket_readable(struct io_socket *s);

#endif
