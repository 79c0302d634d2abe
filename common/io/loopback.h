/* loopback.h: what moving bytes over TCP costs on this machine, to hold other costs against. */
#ifndef IO_LOOPBACK_H
#define IO_LOOPBACK_H

#include "common/err.h"

#include <stddef.h>

struct io_loopback {
    double send_ns_per_byte; /* processor time of the thread that writes; what the kernel does to
                                deliver to the other end is in it */
    double recv_ns_per_byte; /* of the thread that reads */
};

/* Writes one message of `message_bytes` after another into `connections` TCP connections of
 * 127.0.0.1, the same bytes into each in turn and all read before the next round, for about
 * `seconds`, with a second thread that reads whatever has come; both by their own processor time.
 * A message is written in the two pieces in which ZeroMQ does. Blocks. Any thread. Errors:
 * CM_ENOMEM, CM_EIO, those of cm_fail_errno. */
enum cm_err io_loopback_measure(size_t message_bytes, unsigned connections, double seconds,
                                struct io_loopback *out, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
