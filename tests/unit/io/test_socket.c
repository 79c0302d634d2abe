/* test_socket.c: whole messages over real sockets. */
#include "common/io/socket.h"
#include "tests/unit/io/scratch.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <zmq.h>

enum { PATIENCE_MS = 5000 };

static struct cm_bytes bytes_of(const char *text)
{
    return (struct cm_bytes){text, strlen(text)};
}

static const struct cm_bytes no_id = {NULL, 0};

struct pair {
    struct scratch scratch;
    char path[128];
    struct io_context *context;
    struct io_socket *router;
    struct io_socket *dealer;
};

/* A ROUTER at `endpoint` (NULL: an ipc path) and a DEALER named "d1" that is connected to it. */
static void new_pair(struct pair *p, const char *endpoint)
{
    struct cm_error e;
    p->scratch = scratch_new();
    scratch_path(&p->scratch, "ipc://", "r", p->path);
    cr_assert_eq(io_context_new(&p->context, 1, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_router_bind(&p->router, p->context, endpoint ? endpoint : p->path, &e), CM_OK,
                 "%s", e.text);
    cr_assert_eq(io_dealer_connect(&p->dealer, p->context, io_socket_endpoint(p->router),
                                   bytes_of("d1"), &e),
                 CM_OK, "%s", e.text);
    cr_assert_eq(io_wait_send(p->dealer, PATIENCE_MS, &e), CM_OK, "%s", e.text);
}

static void free_pair(struct pair *p)
{
    io_socket_free(p->dealer);
    io_socket_free(p->router);
    io_context_free(p->context);
    scratch_end(&p->scratch);
}

static void send_text(struct io_socket *s, const struct cm_peer *to, const char *text)
{
    struct cm_error e;
    cr_assert_eq(io_send(s, to, bytes_of(text), NULL, &e), CM_OK, "%s", e.text);
}

/* The next message, whose header must be `text`; the caller ends it. */
static void expect_message(struct io_socket *s, const char *text, struct io_incoming *in)
{
    struct cm_error e;
    cr_assert_eq(io_wait(s, PATIENCE_MS, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_recv(s, in, &e), CM_OK, "%s", e.text);
    cr_assert_eq(in->header.size, strlen(text));
    cr_assert_eq(memcmp(in->header.data, text, in->header.size), 0);
}

static struct cm_peer expect_text(struct io_socket *s, const char *text)
{
    struct io_incoming in;
    expect_message(s, text, &in);
    cr_assert(in.payload == NULL);
    io_incoming_fini(&in);
    return in.peer;
}

static void exchange(const char *endpoint)
{
    struct pair p;
    struct io_incoming in;
    struct cm_blob *payload;
    new_pair(&p, endpoint);
    cr_assert_eq(cm_blob_copy(&payload, "feature map", 11, NULL), CM_OK);
    cr_assert_eq(io_send(p.dealer, NULL, bytes_of("hello"), payload, NULL), CM_OK);
    cm_blob_unref(&payload);
    expect_message(p.router, "hello", &in);
    cr_assert_eq(in.peer.size, 2);
    cr_assert_eq(memcmp(in.peer.bytes, "d1", 2), 0);
    cr_assert_eq(cm_blob_size(in.payload), 11);
    cr_assert_eq(memcmp(cm_blob_data(in.payload), "feature map", 11), 0);
    send_text(p.router, &in.peer, "welcome");
    io_incoming_fini(&in);
    struct cm_peer from = expect_text(p.dealer, "welcome");
    cr_assert_eq(from.size, 0);
    free_pair(&p);
}

Test(io_socket, both_ways_over_ipc)
{
    exchange(NULL);
}

Test(io_socket, both_ways_over_tcp)
{
    exchange("tcp://127.0.0.1:0");
    exchange("tcp://localhost:*");
    exchange("inproc://both");
}

Test(io_socket, the_port_picked_is_told)
{
    struct pair p;
    int port = 0;
    new_pair(&p, "tcp://127.0.0.1:0");
    cr_assert_eq(sscanf(io_socket_endpoint(p.router), "tcp://127.0.0.1:%d", &port), 1);
    cr_assert(port > 0);
    cr_assert_str_eq(io_socket_endpoint(p.dealer), io_socket_endpoint(p.router));
    struct io_socket *second;
    struct cm_error e;
    char expected[128];
    cr_assert_eq(io_router_bind(&second, p.context, io_socket_endpoint(p.router), &e), CM_EBUSY);
    snprintf(expected, sizeof expected, "cannot listen on tcp://127.0.0.1:%d: another process does",
             port);
    cr_assert_str_eq(e.text, expected);
    free_pair(&p);
}

Test(io_socket, nothing_waits_and_nobody_answers)
{
    struct pair p;
    struct io_incoming in;
    struct cm_error e;
    char expected[256];
    new_pair(&p, NULL);
    cr_assert_eq(io_recv(p.dealer, &in, &e), CM_EBUSY);
    io_incoming_fini(&in);
    cr_assert_eq(io_wait(p.dealer, 20, &e), CM_ETIMEOUT);
    snprintf(expected, sizeof expected, "%s: no answer within 20 ms", p.path);
    cr_assert_str_eq(e.text, expected);
    free_pair(&p);
}

Test(io_socket, without_a_connection_nothing_is_queued)
{
    struct scratch s = scratch_new();
    struct io_context *c;
    struct io_socket *dealer;
    struct cm_error e;
    char path[128], expected[256];
    cr_assert_eq(io_context_new(&c, 1, NULL), CM_OK);
    scratch_path(&s, "ipc://", "nobody", path);
    cr_assert_eq(io_dealer_connect(&dealer, c, path, no_id, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_send(dealer, NULL, bytes_of("x"), NULL, &e), CM_EBUSY);
    snprintf(expected, sizeof expected, "%s: not connected", path);
    cr_assert_str_eq(e.text, expected);
    cr_assert_eq(io_wait_send(dealer, 20, &e), CM_ETIMEOUT);
    snprintf(expected, sizeof expected, "%s: no connection within 20 ms", path);
    cr_assert_str_eq(e.text, expected);
    io_socket_free(dealer);
    io_context_free(c);
    scratch_end(&s);
}

static void count_release(void *owner)
{
    atomic_fetch_add((atomic_uint *)owner, 1);
}

Test(io_socket, one_payload_for_eight_is_released_once)
{
    enum { PEERS = 8, BYTES = 1 << 20 };
    static char bytes[BYTES];
    atomic_uint released = 0;
    struct pair p;
    struct io_socket *dealers[PEERS];
    struct cm_peer peers[PEERS];
    struct cm_blob *payload;
    memset(bytes, 'q', sizeof bytes);
    new_pair(&p, NULL);
    for (size_t i = 0; i < PEERS; i++) {
        cr_assert_eq(io_dealer_connect(&dealers[i], p.context, p.path, no_id, NULL), CM_OK);
        cr_assert_eq(io_wait_send(dealers[i], PATIENCE_MS, NULL), CM_OK);
        send_text(dealers[i], NULL, "hello");
        peers[i] = expect_text(p.router, "hello");
    }
    cr_assert_eq(cm_blob_new(&payload, bytes, sizeof bytes, count_release, &released, NULL), CM_OK);
    for (size_t i = 0; i < PEERS; i++)
        cr_assert_eq(io_send(p.router, &peers[i], bytes_of("query"), payload, NULL), CM_OK);
    for (size_t i = 0; i < PEERS; i++) {
        struct io_incoming in;
        expect_message(dealers[i], "query", &in);
        cr_assert_eq(cm_blob_size(in.payload), sizeof bytes);
        cr_assert_eq(memcmp(cm_blob_data(in.payload), bytes, sizeof bytes), 0);
        io_incoming_fini(&in);
        io_socket_free(dealers[i]);
    }
    cr_assert_eq(atomic_load(&released), 0, "the sender still holds its own");
    cm_blob_unref(&payload);
    free_pair(&p);
    cr_assert_eq(atomic_load(&released), 1);
}

Test(io_socket, a_peer_that_is_not_there)
{
    struct pair p;
    struct cm_error e;
    struct cm_blob *payload;
    char expected[256];
    atomic_uint released = 0;
    struct cm_peer nobody = {.size = 6, .bytes = "nobody"};
    new_pair(&p, NULL);
    cr_assert_eq(cm_blob_new(&payload, "x", 1, count_release, &released, NULL), CM_OK);
    cr_assert_eq(io_send(p.router, &nobody, bytes_of("x"), payload, &e), CM_EUNAVAIL);
    snprintf(expected, sizeof expected, "%s: the peer is not connected", p.path);
    cr_assert_str_eq(e.text, expected);
    cm_blob_unref(&payload);
    cr_assert_eq(atomic_load(&released), 1, "a refused message keeps no reference");
    send_text(p.dealer, NULL, "hello");
    struct cm_peer d1 = expect_text(p.router, "hello");
    send_text(p.router, &d1, "after"); /* nothing of the refused message is glued to it */
    expect_text(p.dealer, "after");
    free_pair(&p);
}

Test(io_socket, a_full_queue_is_said)
{
    struct pair p;
    struct cm_error e;
    char expected[256];
    new_pair(&p, NULL);
    send_text(p.dealer, NULL, "hello");
    struct cm_peer d1 = expect_text(p.router, "hello");
    static const char header[16 << 10];
    enum cm_err rc = CM_OK;
    int sent = 0;
    for (; !rc && sent < 10 * IO_QUEUE_OUT; sent++)
        rc = io_send(p.router, &d1, (struct cm_bytes){header, sizeof header}, NULL, &e);
    cr_assert_eq(rc, CM_EBUSY, "%d messages", sent);
    cr_assert(sent > IO_QUEUE_OUT, "%d messages", sent);
    snprintf(expected, sizeof expected, "%s: the peer's queue is full", p.path);
    cr_assert_str_eq(e.text, expected);
    free_pair(&p);
}

/* A worker with many shards answers faster than the coordinator merges. */
Test(io_socket, a_dealer_keeps_what_the_router_has_not_read)
{
    enum { MESSAGES = 20 * (IO_QUEUE_OUT + IO_QUEUE_IN) };
    struct pair p;
    struct cm_error e;
    static const char header[16 << 10];
    new_pair(&p, NULL);
    for (size_t i = 0; i < MESSAGES; i++)
        cr_assert_eq(
            io_send(p.dealer, NULL, (struct cm_bytes){header, 1 + i % sizeof header}, NULL, &e),
            CM_OK, "message %zu: %s", i, e.text);
    for (size_t i = 0; i < MESSAGES; i++) {
        struct io_incoming in;
        cr_assert_eq(io_wait(p.router, PATIENCE_MS, &e), CM_OK, "message %zu: %s", i, e.text);
        cr_assert_eq(io_recv(p.router, &in, &e), CM_OK, "message %zu: %s", i, e.text);
        cr_assert_eq(in.header.size, 1 + i % sizeof header);
        io_incoming_fini(&in);
    }
    free_pair(&p);
}

/* A DEALER of plain ZeroMQ, for messages that ours would not send. */
static void *raw_dealer(void *zmq, const char *endpoint)
{
    void *raw = zmq_socket(zmq, ZMQ_DEALER);
    cr_assert(raw != NULL);
    int linger = 0;
    zmq_setsockopt(raw, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(raw, ZMQ_ROUTING_ID, "raw", 3);
    cr_assert_eq(zmq_connect(raw, endpoint), 0);
    return raw;
}

static void raw_send(void *raw, size_t frames, const void *data, size_t size)
{
    for (size_t i = 0; i < frames; i++)
        cr_assert_eq(zmq_send(raw, data, size, i + 1 < frames ? ZMQ_SNDMORE : 0), (int)size);
}

static void expect_garbage(struct io_socket *s, const char *text)
{
    struct io_incoming in;
    struct cm_error e;
    cr_assert_eq(io_wait(s, PATIENCE_MS, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_recv(s, &in, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, text);
    cr_assert_eq(in.peer.size, 3);
    cr_assert_eq(memcmp(in.peer.bytes, "raw", 3), 0);
    cr_assert(in.payload == NULL && in.header.size == 0);
    io_incoming_fini(&in);
}

Test(io_socket, garbage_is_dropped_whole)
{
    struct pair p;
    struct io_incoming in;
    new_pair(&p, NULL);
    void *zmq = zmq_ctx_new();
    void *raw = raw_dealer(zmq, p.path);
    char *large = calloc(1, CM_HEADER_BYTES_MAX + 1);
    raw_send(raw, CM_FRAMES_MAX + 1, "f", 1);
    expect_garbage(p.router, "a message of more than 4 frames");
    raw_send(raw, 50, "f", 1);
    expect_garbage(p.router, "a message of more than 4 frames");
    raw_send(raw, 1, "", 0);
    expect_garbage(p.router, "a message with an empty header");
    raw_send(raw, 2, large, CM_HEADER_BYTES_MAX + 1);
    expect_garbage(p.router, "a message with a header of 4194305 bytes; at most 4194304 are right");
    raw_send(raw, CM_FRAMES_MAX, "f", 1);
    expect_message(p.router, "f", &in);
    cr_assert_eq(cm_blob_size(in.payload), 1);
    io_incoming_fini(&in);
    free(large);
    zmq_close(raw);
    zmq_ctx_term(zmq);
    free_pair(&p);
}

Test(io_socket, an_oversize_frame_costs_its_sender_the_connection)
{
    struct pair p;
    struct io_incoming in;
    new_pair(&p, NULL);
    void *zmq = zmq_ctx_new();
    void *raw = raw_dealer(zmq, p.path);
    size_t size = CM_MAP_BYTES_MAX + (64 << 10) + 1;
    char *large = calloc(1, size);
    raw_send(raw, 1, "first", 5);
    expect_text(p.router, "first");
    raw_send(raw, 1, large, size);
    cr_assert_eq(io_wait(p.router, 100, NULL), CM_ETIMEOUT);
    send_text(p.dealer, NULL, "undisturbed");
    expect_text(p.router, "undisturbed");
    cr_assert_eq(io_recv(p.router, &in, NULL), CM_EBUSY);
    free(large);
    zmq_close(raw);
    zmq_ctx_term(zmq);
    free_pair(&p);
}

Test(io_socket, a_newcomer_takes_over_a_routing_id)
{
    struct pair p;
    struct io_socket *second;
    new_pair(&p, NULL);
    send_text(p.dealer, NULL, "old");
    struct cm_peer old = expect_text(p.router, "old");
    cr_assert_eq(io_dealer_connect(&second, p.context, p.path, bytes_of("d1"), NULL), CM_OK);
    cr_assert_eq(io_wait_send(second, PATIENCE_MS, NULL), CM_OK);
    send_text(second, NULL, "new");
    struct cm_peer new = expect_text(p.router, "new");
    cr_assert(cm_peer_equal(&old, &new));
    send_text(p.router, &new, "for the newcomer");
    expect_text(second, "for the newcomer");
    cr_assert_eq(io_wait(p.dealer, 20, NULL), CM_ETIMEOUT);
    io_socket_free(second);
    free_pair(&p);
}

Test(io_socket, peers_compare_by_their_bytes)
{
    struct cm_peer a = {.size = 2, .bytes = "ab"}, b = {.size = 2, .bytes = "abc"};
    cr_assert(cm_peer_equal(&a, &b));
    b.size = 3;
    cr_assert_not(cm_peer_equal(&a, &b));
    a = (struct cm_peer){.size = 3, .bytes = "abd"};
    cr_assert_not(cm_peer_equal(&a, &b));
}

static int connect_raw_tcp(const char *endpoint)
{
    int port = 0;
    cr_assert_eq(sscanf(endpoint, "tcp://127.0.0.1:%d", &port), 1);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

Test(io_socket, strangers_at_the_port_disturb_nobody)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    struct pair p;
    char noise[4096];
    new_pair(&p, "tcp://127.0.0.1:0");
    unsigned seed = 1;
    for (int i = 0; i < 20; i++) {
        int fd = connect_raw_tcp(io_socket_endpoint(p.router));
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (char)rand_r(&seed);
        const void *what = i == 0 ? http : noise;
        size_t size = i == 0 ? sizeof http - 1 : sizeof noise;
        ssize_t ignored = send(fd, what, size, MSG_NOSIGNAL);
        (void)ignored;
        close(fd);
    }
    cr_assert_eq(io_wait(p.router, 50, NULL), CM_ETIMEOUT, "noise is no message");
    send_text(p.dealer, NULL, "undisturbed");
    struct cm_peer d1 = expect_text(p.router, "undisturbed");
    send_text(p.router, &d1, "nor we");
    expect_text(p.dealer, "nor we");
    free_pair(&p);
}

Test(io_socket, old_protocols_are_refused)
{
    static const char version_1[] = "\x01\x00\x06\x00hello"; /* an empty id, then a message */
    static const char version_2[] = "\xff\0\0\0\0\0\0\0\1\x7f\x01\x05" /* from a DEALER */
                                    "\0\0\0\x05hello";
    static const struct cm_bytes hellos[] = {{version_1, sizeof version_1 - 1},
                                             {version_2, sizeof version_2 - 1}};
    struct pair p;
    struct cm_error e;
    int fds[2];
    new_pair(&p, "tcp://127.0.0.1:0");
    for (int i = 0; i < 2; i++) {
        fds[i] = connect_raw_tcp(io_socket_endpoint(p.router));
        ssize_t n = send(fds[i], hellos[i].data, hellos[i].size, MSG_NOSIGNAL);
        cr_assert_eq(n, (ssize_t)hellos[i].size);
    }
    cr_assert_eq(io_wait(p.router, 100, &e), CM_ETIMEOUT);
    close(fds[0]);
    close(fds[1]);
    free_pair(&p);
}

static void send_raw(int fd, const void *data, size_t size)
{
    cr_assert_eq(send(fd, data, size, MSG_NOSIGNAL), (ssize_t)size);
}

/* A connection that says ZMTP 3.0's greeting and a READY as a DEALER whose routing id has 300
 * bytes; then "hello". */
static int connect_with_long_address(const char *endpoint)
{
    static const char greeting[64] = "\xff\0\0\0\0\0\0\0\0\x7f\x03\0NULL";
    static const char ready[] = "\x06\0\0\0\0\0\0\x01\x55" /* a command of 341 bytes */
                                "\x05READY\x0bSocket-Type\0\0\0\x06"
                                "DEALER\x08Identity\0\0\x01\x2c";
    char address[300], theirs[sizeof greeting];
    int fd = connect_raw_tcp(endpoint);
    send_raw(fd, greeting, sizeof greeting);
    cr_assert_eq(recv(fd, theirs, sizeof theirs, MSG_WAITALL), (ssize_t)sizeof theirs);
    send_raw(fd, ready, sizeof ready - 1);
    send_raw(fd, memset(address, 'A', sizeof address), sizeof address);
    send_raw(fd, "\0\x05hello", 7);
    return fd;
}

Test(io_socket, an_address_that_no_peer_can_have)
{
    struct pair p;
    struct io_incoming in;
    struct cm_error e;
    new_pair(&p, "tcp://127.0.0.1:0");
    int fd = connect_with_long_address(io_socket_endpoint(p.router));
    cr_assert_eq(io_wait(p.router, PATIENCE_MS, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_recv(p.router, &in, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "a message from an address of 300 bytes; at most 255 are right");
    cr_assert(in.peer.size == 0 && in.payload == NULL && in.header.size == 0);
    io_incoming_fini(&in);
    send_text(p.dealer, NULL, "undisturbed");
    expect_text(p.router, "undisturbed");
    close(fd);
    free_pair(&p);
}

/* libzmq 4.3.4 aborts if such a connection gets its first message while the socket closes. */
Test(io_socket, closing_under_strangers)
{
    enum { ROUNDS = 30, STRANGERS = 20 };
    for (int round = 0; round < ROUNDS; round++) {
        struct io_context *c;
        struct io_socket *router;
        int fds[STRANGERS];
        static const char rest[300] = {1};
        cr_assert_eq(io_context_new(&c, 1, NULL), CM_OK);
        cr_assert_eq(io_router_bind(&router, c, "tcp://127.0.0.1:0", NULL), CM_OK);
        for (int i = 0; i < STRANGERS; i++) {
            fds[i] = connect_raw_tcp(io_socket_endpoint(router));
            cr_assert_eq(send(fds[i], "\xc8", 1, MSG_NOSIGNAL), 1); /* 200 bytes to come */
        }
        io_socket_free(router);
        for (int i = 0; i < STRANGERS; i++) {
            ssize_t ignored = send(fds[i], rest, sizeof rest, MSG_NOSIGNAL);
            (void)ignored;
            close(fds[i]);
        }
        io_context_free(c);
    }
}

Test(io_socket, a_live_ipc_path_is_not_stolen)
{
    struct pair p;
    struct io_context *other;
    struct io_socket *thief;
    struct cm_error e;
    char expected[256];
    new_pair(&p, NULL);
    cr_assert_eq(io_context_new(&other, 1, NULL), CM_OK);
    cr_assert_eq(io_router_bind(&thief, other, p.path, &e), CM_EBUSY);
    snprintf(expected, sizeof expected, "another process listens on %s", p.path);
    cr_assert_str_eq(e.text, expected);
    cr_assert(thief == NULL);
    send_text(p.dealer, NULL, "still here");
    expect_text(p.router, "still here");
    io_socket_free(p.router);
    p.router = NULL;
    cr_assert_eq(io_router_bind(&thief, other, p.path, &e), CM_EBUSY, "until the context goes");
    io_socket_free(p.dealer);
    io_context_free(p.context);
    cr_assert_eq(io_router_bind(&thief, other, p.path, &e), CM_OK, "%s", e.text);
    io_socket_free(thief);
    io_context_free(other);
    scratch_end(&p.scratch);
}

Test(io_socket, bad_endpoints_are_refused)
{
    struct io_context *c;
    struct io_socket *s;
    struct cm_error e;
    cr_assert_eq(io_context_new(&c, 1, NULL), CM_OK);
    cr_assert_eq(io_router_bind(&s, c, "tcp:/x", &e), CM_EUSAGE);
    cr_assert(s == NULL);
    cr_assert_eq(io_router_bind(&s, c, "tcp://no-such-interface:7000", &e), CM_EIO);
    cr_assert_str_eq(e.text, "cannot listen on tcp://no-such-interface:7000: No such device");
    cr_assert_eq(io_dealer_connect(&s, c, "tcp://127.0.0.1:0", no_id, &e), CM_EUSAGE);
    cr_assert(s == NULL);
    io_context_free(c);
    io_context_free(NULL);
}
