/* loopback.c: see loopback.h. */
#include "common/io/loopback.h"

#include "common/io/loop.h"
#include "common/io/pool.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
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

struct io_loopback {
    struct io_job job; /* who reads, for one run */
    struct io_pool *pool;
    struct ends *ends; /* [count] */
    unsigned count;
    char *written; /* [bytes]: a message */
    char *read;    /* [count][bytes]: as peers of a real cluster have, each connection its own */
    size_t bytes;
    int epoll_fd;     /* of all that is read */
    atomic_bool last; /* no round follows the one that is being written */
    unsigned whole;   /* messages read of this round */
    uint64_t bytes_moved, write_ns, read_ns;
};

static uint64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* Takes what has come on a connection. False once its other end is shut. */
static bool read_some(struct io_loopback *l, unsigned connection)
{
    struct ends *ends = &l->ends[connection];
    char *to = l->read + connection * l->bytes;
    ssize_t n = recv(ends->read_fd, to + ends->at, l->bytes - ends->at, MSG_DONTWAIT);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    ends->at += (size_t)n;
    if (ends->at == l->bytes) {
        ends->at = 0;
        l->whole++;
    }
    return n > 0;
}

/* On the pool's thread: reads whatever comes, a byte back for each round, until the last round is
 * read or an end is shut. A connection that fails ends all, or who writes would wait for ever. */
static void read_rounds(struct io_job *job, unsigned thread_index)
{
    enum { EVENTS = 64 };
    struct io_loopback *l = (struct io_loopback *)job;
    struct epoll_event events[EVENTS];
    uint64_t begin_ns = thread_ns();
    (void)thread_index;
    bool open = true, last = false;
    while (open && !last) {
        int count = epoll_wait(l->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++)
            open &= read_some(l, events[i].data.u32);
        if (l->whole == l->count) {
            l->whole = 0;
            last = atomic_load(&l->last); /* before the byte, which lets the next round begin */
            open &= send(l->ends[0].read_fd, "", 1, MSG_NOSIGNAL) == 1;
        }
    }
    for (unsigned i = 0; !open && i < l->count; i++)
        shutdown(l->ends[i].read_fd, SHUT_RDWR);
    l->read_ns += thread_ns() - begin_ns;
}

/* In two pieces, as ZeroMQ writes a large frame: what fills its buffer, then the rest. The first
 * wakes the reader, who reads on while the second is being written; that can cost twice what one
 * piece would. */
static enum cm_err write_message(const struct io_loopback *l, int fd, struct cm_error *e)
{
    for (size_t at = 0; at < l->bytes;) {
        size_t end = at < FIRST_PIECE && FIRST_PIECE < l->bytes ? FIRST_PIECE : l->bytes;
        ssize_t n = send(fd, l->written + at, end - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return cm_fail_errno(e, errno, "cannot write to a connection of 127.0.0.1");
        at += n > 0 ? (size_t)n : 0;
    }
    return CM_OK;
}

static enum cm_err write_round(struct io_loopback *l, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    char got;
    for (unsigned i = 0; !rc && i < l->count; i++)
        rc = write_message(l, l->ends[i].write_fd, e);
    if (!rc && recv(l->ends[0].write_fd, &got, 1, 0) != 1)
        rc = cm_fail(e, CM_EIO, "a connection of 127.0.0.1 ended");
    l->bytes_moved += l->count * l->bytes;
    return rc;
}

/* In rounds, each read before the next begins: else the buffers would be full and the kernel would
 * send on the reader's time. */
enum cm_err io_loopback_run(struct io_loopback *l, double seconds, struct cm_error *e)
{
    uint64_t begin_ns = thread_ns(), end_ns = io_now_ns() + (uint64_t)(seconds * 1e9);
    enum cm_err rc = CM_OK;
    bool last = false;
    atomic_store(&l->last, false);
    io_pool_submit(l->pool, &l->job);
    while (!rc && !last) {
        last = io_now_ns() >= end_ns;
        atomic_store(&l->last, last);
        rc = write_round(l, e);
    }
    l->write_ns += thread_ns() - begin_ns;
    for (unsigned i = 0; rc && i < l->count; i++)
        shutdown(l->ends[i].write_fd, SHUT_WR); /* which ends the reader */
    io_pool_wait_done(l->pool);
    return rc;
}

struct io_loopback_cost io_loopback_cost(const struct io_loopback *l)
{
    double bytes = (double)l->bytes_moved;
    if (l->bytes_moved == 0)
        return (struct io_loopback_cost){0};
    return (struct io_loopback_cost){(double)l->write_ns / bytes, (double)l->read_ns / bytes};
}

/* --- its life --------------------------------------------------------------------------------- */

static enum cm_err connect_ends(struct io_loopback *l, struct cm_error *e)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = listener >= 0 && bind(listener, (struct sockaddr *)&at, sizeof at) == 0 &&
              listen(listener, 1) == 0 && getsockname(listener, (struct sockaddr *)&at, &size) == 0;
    for (unsigned i = 0; ok && i < l->count; i++) {
        struct ends *ends = &l->ends[i];
        ends->write_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ok = ends->write_fd >= 0 && connect(ends->write_fd, (struct sockaddr *)&at, sizeof at) == 0;
        if (ok)
            ends->read_fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        ok = ok && ends->read_fd >= 0 &&
             epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, ends->read_fd, &event) == 0;
    }
    enum cm_err rc = ok ? CM_OK : cm_fail_errno(e, errno, "cannot connect to 127.0.0.1");
    if (listener >= 0)
        close(listener);
    return rc;
}

static enum cm_err open_all(struct io_loopback *l, struct cm_error *e)
{
    void *written = NULL, *read = NULL, *ends = NULL;
    enum cm_err rc = cm_new(&written, l->bytes, 1, e);
    if (!rc)
        rc = cm_new(&read, l->count, l->bytes, e);
    if (!rc)
        rc = cm_new(&ends, l->count, sizeof *l->ends, e);
    l->written = written;
    l->read = read;
    l->ends = ends;
    if (rc)
        return rc;
    memset(l->written, 1, l->bytes); /* untouched, all of it would be one page of zeros */
    for (unsigned i = 0; i < l->count; i++)
        l->ends[i] = (struct ends){-1, -1, 0};
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    rc = l->epoll_fd < 0 ? cm_fail_errno(e, errno, "cannot wait for connections")
                         : connect_ends(l, e);
    return rc ? rc : io_pool_new(&l->pool, 1, NULL, NULL, e);
}

enum cm_err io_loopback_open(struct io_loopback **out, size_t message_bytes, unsigned connections,
                             struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct io_loopback *l = p;
    l->job.run = read_rounds;
    l->count = connections;
    l->bytes = message_bytes;
    l->epoll_fd = -1;
    rc = open_all(l, e);
    if (!rc)
        rc = io_loopback_run(l, 0, e);
    l->bytes_moved = l->write_ns = l->read_ns = 0;
    if (rc)
        io_loopback_close(l);
    else
        *out = l;
    return rc;
}

void io_loopback_close(struct io_loopback *l)
{
    if (!l)
        return;
    io_pool_free(l->pool);
    for (unsigned i = 0; l->ends && i < l->count; i++) {
        if (l->ends[i].write_fd >= 0)
            close(l->ends[i].write_fd);
        if (l->ends[i].read_fd >= 0)
            close(l->ends[i].read_fd);
    }
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    free(l->ends);
    free(l->written);
    free(l->read);
    free(l);
}
