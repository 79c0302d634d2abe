/* peer.c: see peer.h. */
#include "tests/support/peer.h"

#include "proto/wire/envelope.h"
#include "tests/support/run.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <zmq.h>

static void open_socket(struct test_peer *p, int kind)
{
    int none = 0;
    *p = (struct test_peer){.context = zmq_ctx_new()};
    cr_assert(p->context != NULL);
    p->socket = zmq_socket(p->context, kind);
    cr_assert(p->socket != NULL);
    cr_assert_eq(zmq_setsockopt(p->socket, ZMQ_LINGER, &none, sizeof none), 0);
    /* A ROUTER with a bound drops what goes beyond it. */
    cr_assert_eq(zmq_setsockopt(p->socket, ZMQ_SNDHWM, &none, sizeof none), 0);
}

void test_peer_dial(struct test_peer *p, const char *endpoint)
{
    open_socket(p, ZMQ_DEALER);
    cr_assert_eq(zmq_connect(p->socket, endpoint), 0, "cannot dial %s", endpoint);
}

void test_peer_listen(struct test_peer *p, const char *endpoint)
{
    open_socket(p, ZMQ_ROUTER);
    cr_assert_eq(zmq_bind(p->socket, endpoint), 0, "cannot listen at %s", endpoint);
}

void test_peer_fini(struct test_peer *p)
{
    zmq_close(p->socket);
    zmq_ctx_term(p->context);
    *p = (struct test_peer){0};
}

void test_peer_send(struct test_peer *p, const struct cm_bytes *frames, size_t count)
{
    if (p->other.size)
        cr_assert(zmq_send(p->socket, p->other.bytes, p->other.size, ZMQ_SNDMORE) >= 0);
    for (size_t i = 0; i < count; i++)
        cr_assert(zmq_send(p->socket, frames[i].data, frames[i].size,
                           i + 1 < count ? ZMQ_SNDMORE : 0) >= 0);
}

void test_peer_say(struct test_peer *p, struct cm_bytes header)
{
    test_peer_send(p, &header, 1);
}

void test_peer_say_packed(struct test_peer *p, struct pr_buffer *packed)
{
    test_peer_say(p, pr_buffer_bytes(packed));
    pr_buffer_fini(packed);
}

/* The rest of a message whose first frame is `frame`. */
static void take_frames(struct test_peer *p, zmq_msg_t *frame, struct test_message *out)
{
    int kind;
    size_t size = sizeof kind;
    cr_assert_eq(zmq_getsockopt(p->socket, ZMQ_TYPE, &kind, &size), 0);
    for (bool address = kind == ZMQ_ROUTER, more = true; more; address = false) {
        if (address) {
            p->other.size = (uint8_t)zmq_msg_size(frame);
            memcpy(p->other.bytes, zmq_msg_data(frame), p->other.size);
        } else if (out->count < TEST_FRAMES_MAX) {
            struct pr_buffer *to = &out->frames[out->count++];
            to->size = zmq_msg_size(frame);
            to->data = malloc(to->size + 1);
            cr_assert(to->data != NULL);
            memcpy(to->data, zmq_msg_data(frame), to->size);
        }
        more = zmq_msg_more(frame);
        if (more)
            cr_assert(zmq_msg_recv(frame, p->socket, 0) >= 0);
    }
}

bool test_peer_receive(struct test_peer *p, struct test_message *out, unsigned timeout_ms)
{
    int timeout = (int)timeout_ms;
    zmq_msg_t frame;
    *out = (struct test_message){0};
    cr_assert_eq(zmq_setsockopt(p->socket, ZMQ_RCVTIMEO, &timeout, sizeof timeout), 0);
    zmq_msg_init(&frame);
    bool came = zmq_msg_recv(&frame, p->socket, 0) >= 0;
    if (came)
        take_frames(p, &frame, out);
    zmq_msg_close(&frame);
    return came;
}

void test_peer_expect(struct test_peer *p, uint32_t type, struct test_message *out)
{
    struct pr_envelope envelope = {0};
    struct cm_error e;
    for (unsigned long long end = test_now_ms() + TEST_PEER_MS; test_now_ms() < end;) {
        if (!test_peer_receive(p, out, TEST_PEER_MS))
            break;
        cr_assert_eq(pr_peek(test_message_header(out), &envelope, &e), CM_OK, "%s", e.text);
        if (envelope.type == type)
            return;
        test_message_fini(out);
    }
    cr_assert_fail("no %s came", pr_type_name(type));
}

void test_message_fini(struct test_message *m)
{
    for (size_t i = 0; i < m->count; i++)
        pr_buffer_fini(&m->frames[i]);
    *m = (struct test_message){0};
}

int test_tcp_dial(const char *endpoint)
{
    const char *port = strrchr(endpoint, ':');
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    cr_assert(port != NULL);
    to.sin_port = htons((uint16_t)strtoul(port + 1, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(fd >= 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0, "cannot dial %s", endpoint);
    return fd;
}

void test_tcp_write(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t n = send(fd, at, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* hung up: what garbage deserves */
        at += n;
        size -= (size_t)n;
    }
}

int test_zmtp_dial(const char *endpoint)
{
    static const char ready[] = "\4\x1c\5READY\xbSocket-Type\0\0\0\6DEALER";
    unsigned char greeting[64] = {0xff, [9] = 0x7f, 3, 0, 'N', 'U', 'L', 'L'}, reply[64];
    int fd = test_tcp_dial(endpoint);
    test_tcp_write(fd, greeting, 10);
    cr_assert_eq(recv(fd, reply, 10, MSG_WAITALL), 10);
    test_tcp_write(fd, greeting + 10, 54);
    cr_assert_eq(recv(fd, reply, 54, MSG_WAITALL), 54);
    test_tcp_write(fd, ready, sizeof ready - 1);
    cr_assert_eq(recv(fd, reply, 8, MSG_WAITALL), 8);
    cr_assert_eq(memcmp(reply + 3, "READY", 5), 0);
    return fd;
}
