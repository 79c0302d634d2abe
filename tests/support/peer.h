/* peer.h: a peer that says what it likes: any frames over ZeroMQ, or any bytes over TCP. Failures
 * stop the test. One thread. */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include "common/types.h"
#include "proto/wire/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for the longest. */
enum { TEST_FRAMES_MAX = 8, TEST_PEER_MS = 60000 };

/* One end of a conversation. */
struct test_peer {
    void *context, *socket;
    struct cm_peer other; /* of one that listens: who was heard last, and will be spoken to */
};

/* A message as it came; the caller's test_message_fini. */
struct test_message {
    size_t count; /* of frames; a listener's do not count the address */
    struct pr_buffer frames[TEST_FRAMES_MAX];
};

/* A DEALER that dials, as workers and clients do; a ROUTER that listens, as the coordinator does.
 */
void test_peer_dial(struct test_peer *p, const char *endpoint);
void test_peer_listen(struct test_peer *p, const char *endpoint);
/* Closes it; what is not sent by then is dropped. */
void test_peer_fini(struct test_peer *p);

/* Sends these frames, which may be empty. */
void test_peer_send(struct test_peer *p, const struct cm_bytes *frames, size_t count);
/* Sends a message of one frame. */
void test_peer_say(struct test_peer *p, struct cm_bytes header);
/* Sends what one of the pr_..._pack functions made, and frees it. */
void test_peer_say_packed(struct test_peer *p, struct pr_buffer *packed);

/* The next message; false if none comes within timeout_ms. */
bool test_peer_receive(struct test_peer *p, struct test_message *out, unsigned timeout_ms);
/* The next message of this type (enum pr_type), others being passed over; waits a minute. */
void test_peer_expect(struct test_peer *p, uint32_t type, struct test_message *out);
/* Frees the frames. */
void test_message_fini(struct test_message *m);

/* The first frame. */
static inline struct cm_bytes test_message_header(const struct test_message *m)
{
    return pr_buffer_bytes(&m->frames[0]);
}

/* Connects to tcp://127.0.0.1:PORT with a plain socket. Returns it; the caller's close(). */
int test_tcp_dial(const char *endpoint);
/* Connects and goes through ZMTP 3.0's greeting by hand, so that any frames can follow. Returns it;
 * the caller's close(). */
int test_zmtp_dial(const char *endpoint);
/* Writes as much of it as the other end takes before it hangs up. */
void test_tcp_write(int fd, const void *data, size_t size);

#endif
