/* links.c: see links.h. */
#include "common/io/links.h"

#include "common/io/socket_zmq.h"
#include "common/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { FDS_MAX = 1 << 20 }; /* a descriptor's number over it is not followed */

/* A connection that ended. What came on it may still wait to be read. */
struct gone_item {
    struct cm_peer peer; /* size 0: no message of it has been read yet */
    int fd;              /* -1 once another connection has the number */
    bool told;           /* its peer's next connection has told of its end */
    struct gone_item *next;
};

/* A connection that stands. */
struct link {
    struct cm_peer peer;
    bool told; /* as in gone_item */
};

struct io_links {
    void *router;
    void *monitor;       /* a PAIR */
    struct link **links; /* [room] by descriptor, once a message has come on it; or NULL */
    size_t room;
    struct gone_item *head, *tail;
};

/* --- life ------------------------------------------------------------------------------------- */

static enum cm_err open_monitor(struct io_links *l, void *zmq_context, struct cm_error *e)
{
    char address[64];
    snprintf(address, sizeof address, "inproc://monitor-%" PRIxPTR, (uintptr_t)l->router);
    /* Without a bound: ZeroMQ would wait for room, on the thread that moves everybody's bytes. */
    int no_bound = 0;
    l->monitor = zmq_socket(zmq_context, ZMQ_PAIR);
    if (!l->monitor || zmq_setsockopt(l->monitor, ZMQ_RCVHWM, &no_bound, sizeof no_bound) != 0 ||
        zmq_socket_monitor(l->router, address, ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_DISCONNECTED) != 0 ||
        zmq_connect(l->monitor, address) != 0)
        return cm_fail_errno(e, errno, "cannot monitor a ZeroMQ socket");
    return CM_OK;
}

enum cm_err io_links_new(struct io_links **out, void *zmq_context, void *zmq_router,
                         struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct io_links *l = p;
    l->router = zmq_router;
    rc = open_monitor(l, zmq_context, e);
    if (rc)
        io_links_free(l);
    else
        *out = l;
    return rc;
}

void io_links_free(struct io_links *l)
{
    if (!l)
        return;
    zmq_socket_monitor(l->router, NULL, 0); /* first: it would wait for a reader for ever */
    if (l->monitor)
        zmq_close(l->monitor);
    for (size_t fd = 0; fd < l->room; fd++)
        free(l->links[fd]);
    free(l->links);
    for (struct gone_item *next; l->head; l->head = next) {
        next = l->head->next;
        free(l->head);
    }
    free(l);
}

/* --- who is where ----------------------------------------------------------------------------- */

static bool grow(struct io_links *l, size_t fd)
{
    if (fd < l->room)
        return true;
    size_t room = cm_round_up(fd + 1, 64);
    struct link **links = fd < FDS_MAX ? realloc(l->links, room * sizeof(struct link *)) : NULL;
    if (!links)
        return false;
    for (size_t i = l->room; i < room; i++)
        links[i] = NULL;
    l->links = links;
    l->room = room;
    return true;
}

/* The latest connection on `fd`, if it has ended. */
static struct gone_item *find_gone(struct io_links *l, int fd)
{
    struct gone_item *item = l->head;
    while (item && item->fd != fd)
        item = item->next;
    return item;
}

/* The end of a peer's other connections is told by its first message on this one. True if it has
 * any whose end was not told. */
static bool supersede(struct io_links *l, const struct cm_peer *peer)
{
    bool any = false;
    for (size_t fd = 0; fd < l->room; fd++)
        if (l->links[fd] && !l->links[fd]->told && cm_peer_equal(&l->links[fd]->peer, peer))
            any = l->links[fd]->told = true;
    for (struct gone_item *item = l->head; item; item = item->next)
        if (!item->told && item->peer.size > 0 && cm_peer_equal(&item->peer, peer))
            any = item->told = true;
    return any;
}

bool io_links_note(struct io_links *l, int fd, const struct cm_peer *peer)
{
    struct gone_item *item = fd >= 0 ? find_gone(l, fd) : NULL;
    if (item) {
        item->peer = *peer;
        return false;
    }
    if (fd < 0 || !grow(l, (size_t)fd))
        return false; /* its end will not be told: the protocol's heartbeats find it out */
    struct link **slot = &l->links[fd];
    if (*slot && cm_peer_equal(&(*slot)->peer, peer))
        return false;
    bool anew = supersede(l, peer);
    if (!*slot)
        *slot = malloc(sizeof **slot);
    if (*slot)
        **slot = (struct link){.peer = *peer};
    return anew;
}

static void begin_connection(struct io_links *l, int fd)
{
    struct gone_item *former = find_gone(l, fd);
    if (former)
        former->fd = -1;
    if (fd >= 0 && (size_t)fd < l->room) {
        free(l->links[fd]);
        l->links[fd] = NULL;
    }
}

static void end_connection(struct io_links *l, int fd)
{
    struct gone_item *item = calloc(1, sizeof *item);
    struct link *link = fd >= 0 && (size_t)fd < l->room ? l->links[fd] : NULL;
    if (link)
        l->links[fd] = NULL;
    if (item) {
        item->fd = fd;
        if (link) {
            item->peer = link->peer;
            item->told = link->told;
        }
        *(l->tail ? &l->tail->next : &l->head) = item;
        l->tail = item;
    }
    free(link);
}

bool io_links_take(struct io_links *l, struct cm_peer *out)
{
    bool found = false;
    while (!found && l->head) {
        struct gone_item *item = l->head;
        *out = item->peer;
        found = !item->told;
        l->head = item->next;
        if (!l->head)
            l->tail = NULL;
        free(item);
    }
    return found;
}

/* --- the monitor ------------------------------------------------------------------------------ */

/* One event: its number and the descriptor, then a frame with an address, which nobody needs. False
 * when there is none. */
static bool take_event(struct io_links *l, uint16_t *event, int *fd)
{
    unsigned char bytes[sizeof *event + sizeof(uint32_t)], address[1];
    uint32_t value;
    int size;
    do
        size = zmq_recv(l->monitor, bytes, sizeof bytes, ZMQ_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size != sizeof bytes)
        return false;
    zmq_recv(l->monitor, address, sizeof address, ZMQ_DONTWAIT); /* a message comes whole */
    memcpy(event, bytes, sizeof *event);
    memcpy(&value, bytes + sizeof *event, sizeof value);
    *fd = (int)value;
    return true;
}

void io_links_pump(struct io_links *l)
{
    uint16_t event;
    int fd;
    while (take_event(l, &event, &fd)) {
        if (event == ZMQ_EVENT_ACCEPTED)
            begin_connection(l, fd);
        else
            end_connection(l, fd);
    }
}

int io_links_fd(struct io_links *l)
{
    return io_zmq_fd(l->monitor);
}

bool io_links_readable(struct io_links *l)
{
    return io_zmq_readable(l->monitor);
}
