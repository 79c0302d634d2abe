/* endpoint.h: what people type after --bind and --connect: "tcp://HOST:PORT" or "ipc://PATH".
 *
 * Parsing and checking are pure; any thread. */
#ifndef IO_ENDPOINT_H
#define IO_ENDPOINT_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    IO_HOST_BYTES = 256,
    IO_IPC_PATH_BYTES = 108, /* sun_path: 107 and a NUL */
    IO_ENDPOINT_BYTES = IO_HOST_BYTES + 16,
};

enum io_scheme {
    IO_TCP,
    IO_IPC,
    IO_INPROC, /* for tests */
};

struct io_endpoint {
    enum io_scheme scheme;
    char host[IO_HOST_BYTES];     /* tcp: a name, an address ("[::1]" with brackets), or "*" */
    uint16_t port;                /* tcp: 0 where the text says 0 or "*" */
    char path[IO_IPC_PATH_BYTES]; /* ipc: a file; inproc: a name */
};

/* Errors: CM_EUSAGE, with the text and what a right one looks like. */
enum cm_err io_endpoint_parse(struct io_endpoint *out, const char *text, struct cm_error *e);

/* True if only this machine can reach it: 127.0.0.0/8, [::1], "localhost", ipc, inproc. */
bool io_endpoint_is_local(const struct io_endpoint *p);

/* True for tcp on an IPv4 address, or "localhost". */
bool io_endpoint_is_ipv4(const struct io_endpoint *p);

/* The endpoint as ZeroMQ takes it. "localhost" becomes 127.0.0.1: ZeroMQ binds to no names, and
 * would connect to ::1, where nobody listens. Returns `out`. */
char *io_endpoint_text(const struct io_endpoint *p, char out[IO_ENDPOINT_BYTES]);

/* What io_endpoint_check lets pass. */
enum {
    IO_ALLOW_INSECURE = 1, /* an endpoint that other machines reach */
    IO_ALLOW_ANY_PORT = 2, /* port 0 or "*": the system picks one; for binding */
    IO_ALLOW_INPROC = 4,
};

/* CM_OK if the text is an endpoint, and nothing in it needs an allowance that is not in `allow`.
 * Errors: CM_EUSAGE. */
enum cm_err io_endpoint_check(const char *text, unsigned allow, struct cm_error *e);

/* Before binding to an ipc path: takes the lock "PATH.lock" (ZeroMQ would silently take the path
 * away from a process that listens there) and makes sure that the path is free or a socket left
 * behind by a dead one (ZeroMQ would remove any file). *lock_fd holds the lock until closed; -1 on
 * failure, and for other schemes. Errors: CM_EBUSY (somebody listens), CM_EEXIST (another kind of
 * file), those of cm_fail_errno. */
enum cm_err io_endpoint_claim(const struct io_endpoint *p, int *lock_fd, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
