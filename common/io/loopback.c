/* loopback.c: see loopback.h. */
#include "common/io/loopback.h"

#include "common/io/loop.h"
#include "common/io/pool.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_PIECE = 8192 };

/* A connection's two ends; -1 where there is none. */
struct ends {
    int write_fd, read_fd;
    size_t at; /* bytes of this message read so far */
};

/* Who reads is a job of its own. */
struct bundle {
    struct io_job job;
    struct ends *ends; /* [count] */
    unsigned count;
    char *written; /* [bytes]: a message */
    char *read;    /* [count][bytes]: as peers of a real cluster have, each connection its own */
    size_t bytes;
    int epoll_fd; /* of all that is read */
    /* the reader's, until it is done */
    unsigned whole; /* messages of this round */
    uint64_t bytes_read, read_ns;
};

static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Takes what has come on a connection. False once its other end is shut. */
static bool read_some(struct bundle *b, unsigned connection)
{
    struct ends *ends = &b->ends[connection];
    char *to = b->read + connection * b->bytes;
    ssize_t n = recv(ends->read_fd, to + ends->at, b->bytes - ends->at, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    ends->at += (size_t)n;
    b->bytes_read += (uint64_t)n;
    if (ends->at == b->bytes) {
        ends->at = 0;
        b->whole++;
    }
    return n > 0;
}

/* On a thread of the pool: reads whatever comes, a byte back for each round, until an end is shut.
 */
static void read_all(struct io_job *job, unsigned thread_index)
{
    enum { EVENTS = 64 };
    struct bundle *b = (struct bundle *)job;
    struct epoll_event events[EVENTS];
    uint64_t begin_ns = thread_ns();
    (void)thread_index;
    for (bool open = true; open;) {
        int count = epoll_wait(b->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            open &= read_some(b, events[i].data.u32);
        if (b->whole == b->count) {
            b->whole = 0;
            open &= send(b->ends[0].read_fd, "", 1, MSG_NOSIGNAL) == 1;
        }
    }
    b->read_ns = thread_ns() - begin_ns;
}

/* In two pieces, as ZeroMQ writes a large frame: what fills its buffer, then the rest. The first
 * wakes the reader, who reads on while the second is being written; that can cost twice what one
 * piece would. */
static enum cm_err write_message(const struct bundle *b, int fd, struct cm_error *e)
{
    for (size_t at = 0; at < b->bytes;) {
        size_t end = at < FIRST_PIECE && FIRST_PIECE < b->bytes ? FIRST_PIECE : b->bytes;
        ssize_t n = send(fd, b->written + at, end - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return cm_fail_errno(e, errno, "cannot write to a connection of 127.0.0.1");
        at += n > 0 ? (size_t)n : 0;
    }
    return CM_OK;
}

/* In rounds, each read before the next begins: else the buffers would be full and the kernel would
 * send on the reader's time. */
static enum cm_err write_for(const struct bundle *b, double seconds, uint64_t *bytes,
                             struct cm_error *e)
{
    uint64_t end_ns = io_now_ns() + (uint64_t)(seconds * 1e9);
    enum cm_err rc = CM_OK;
    char got;
    *bytes = 0;
    while (!rc && (*bytes == 0 || io_now_ns() < end_ns)) {
        for (unsigned i = 0; !rc && i < b->count; i++)
            rc = write_message(b, b->ends[i].write_fd, e);
        *bytes += b->count * b->bytes;
        if (!rc && recv(b->ends[0].write_fd, &got, 1, 0) != 1)
            rc = cm_fail(e, CM_EIO, "a connection of 127.0.0.1 ended");
    }
    return rc;
}

static enum cm_err connect_ends(struct bundle *b, struct cm_error *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof at) == 0 &&
              listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&at, &size) == 0;
    for (unsigned i = 0; ok && i < b->count; i++) {
        struct ends *ends = &b->ends[i];
        ends->write_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ok = ends->write_fd >= 0 && connect(ends->write_fd, (struct sockaddr *)&at, sizeof at) == 0;
        if (ok)
            ends->read_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        ok = ok && ends->read_fd >= 0 &&
             epoll_ctl(b->epoll_fd, EPOLL_CTL_ADD, ends->read_fd, &event) == 0;
    }
    enum cm_err rc = ok ? CM_OK : cm_fail_errno(e, errno, "cannot connect to 127.0.0.1");
    if (listener >= 0)
        close(listener);
    return rc;
}

static enum cm_err open_bundle(struct bundle *b, struct cm_error *e)
{
    void *written = NULL, *read = NULL, *ends = NULL;
    enum cm_err rc = cm_new(&written, b->bytes, 1, e);
    if (!rc)
        rc = cm_new(&read, b->count, b->bytes, e);
    if (!rc)
        rc = cm_new(&ends, b->count, sizeof *b->ends, e);
    b->written = written;
    b->read = read;
    b->ends = ends;
    if (rc)
        return rc;
    for (unsigned i = 0; i < b->count; i++)
        b->ends[i] = (struct ends){-1, -1, 0};
    b->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    return b->epoll_fd < 0 ? cm_fail_errno(e, errno, "cannot wait for connections")
                           : connect_ends(b, e);
}

static void close_bundle(struct bundle *b)
{
    for (unsigned i = 0; b->ends && i < b->count; i++) {
        if (b->ends[i].write_fd >= 0)
            close(b->ends[i].write_fd);
        if (b->ends[i].read_fd >= 0)
            close(b->ends[i].read_fd);
    }
    if (b->epoll_fd >= 0)
        close(b->epoll_fd);
    free(b->ends);
    free(b->written);
    free(b->read);
}

enum cm_err io_loopback_measure(size_t message_bytes, unsigned connections, double seconds,
                                struct io_loopback *out, struct cm_error *e)
{
    struct bundle b = {
        .job.run = read_all, .count = connections, .bytes = message_bytes, .epoll_fd = -1};
    struct io_pool *pool = NULL;
    uint64_t bytes = 0;
    enum cm_err rc = open_bundle(&b, e);
    if (!rc)
        rc = io_pool_new(&pool, 1, NULL, NULL, e);
    if (!rc) {
        io_pool_submit(pool, &b.job);
        uint64_t begin_ns = thread_ns();
        rc = write_for(&b, seconds, &bytes, e);
        uint64_t write_ns = thread_ns() - begin_ns;
        for (unsigned i = 0; i < b.count; i++)
            shutdown(b.ends[i].write_fd, SHUT_WR);
        io_pool_wait_done(pool);
        out->send_ns_per_byte = (double)write_ns / (double)bytes;
        out->recv_ns_per_byte = b.bytes_read ? (double)b.read_ns / (double)b.bytes_read : 0;
    }
    io_pool_free(pool);
    close_bundle(&b);
    return rc;
}
