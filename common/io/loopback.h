/* loopback.h: what moving bytes over TCP costs on this machine, to hold other costs against.
 *
 * The cost differs by a factor of two from one tenth of a second to the next, where other machines
 * share the memory. So it is measured in pieces, in turns with what it is held against. */
#ifndef IO_LOOPBACK_H
#define IO_LOOPBACK_H

#include "common/err.h"

#include <stddef.h>

/* TCP connections of 127.0.0.1, who reads from them, and what was counted so far. One thread at a
 * time. */
struct io_loopback;

struct io_loopback_cost {
    double send_ns_per_byte; /* processor time of the thread that writes; what the kernel does to
                                deliver to the other end is in it */
    double recv_ns_per_byte; /* of the thread that reads */
};

/* Connects `connections` >= 1 of them, for messages of `message_bytes` >= 1, and moves a first
 * round, which is not counted. It holds `connections` + 1 messages. Errors: CM_ENOMEM, CM_EIO,
 * those of cm_fail_errno. */
enum cm_err io_loopback_open(struct io_loopback **out, size_t message_bytes, unsigned connections,
                             struct cm_error *e) __attribute__((warn_unused_result));

/* Writes rounds, the same message into each connection in turn and all read before the next round,
 * for about `seconds` and at least one, with a second thread that reads whatever has come; both are
 * counted by their own processor time. A message is written in the two pieces in which ZeroMQ does.
 * Blocks. After an error there is only io_loopback_close. Errors: CM_EIO, those of cm_fail_errno.
 */
enum cm_err io_loopback_run(struct io_loopback *l, double seconds, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Over all runs since it was opened; zeros before the first. */
struct io_loopback_cost io_loopback_cost(const struct io_loopback *l);

void io_loopback_close(struct io_loopback *l); /* NULL is fine */

#endif
