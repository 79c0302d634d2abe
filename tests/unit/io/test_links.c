/* test_links.c: a ROUTER hears whose connection ended, and of those that were never anybody's. */
#include "common/io/socket.h"
#include "tests/support/peer.h"
#include "tests/unit/io/scratch.h"

#include <sys/socket.h>

enum { PATIENCE_MS = 5000, STEP_MS = 20, SILENCE_MS = 300 };

struct fixture {
    struct scratch scratch;
    char path[128];
    struct io_context *context;
    struct io_socket *router;
};

static void new_fixture(struct fixture *f, bool tcp)
{
    struct cm_error e;
    f->scratch = scratch_new();
    scratch_path(&f->scratch, "ipc://", "r", f->path);
    cr_assert_eq(io_context_new(&f->context, 1, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_router_bind(&f->router, f->context, tcp ? "tcp://127.0.0.1:0" : f->path, &e),
                 CM_OK, "%s", e.text);
}

static void free_fixture(struct fixture *f)
{
    io_socket_free(f->router);
    io_context_free(f->context);
    scratch_end(&f->scratch);
}

static struct io_socket *dial(struct fixture *f, const char *id)
{
    struct io_socket *s;
    struct cm_error e;
    struct cm_bytes bytes = {id, strlen(id)};
    cr_assert_eq(io_dealer_connect(&s, f->context, io_socket_endpoint(f->router), bytes, &e), CM_OK,
                 "%s", e.text);
    cr_assert_eq(io_wait_send(s, PATIENCE_MS, &e), CM_OK, "%s", e.text);
    return s;
}

static void say(struct io_socket *s, const char *text)
{
    cr_assert_eq(io_send(s, NULL, (struct cm_bytes){text, strlen(text)}, NULL, NULL), CM_OK);
}

/* Receives all that comes until a connection has ended; false if none does in time. Counts the
 * messages. */
static bool next_gone(struct fixture *f, unsigned timeout_ms, struct cm_peer *out,
                      unsigned *messages)
{
    struct io_incoming in;
    for (unsigned waited = 0; waited < timeout_ms;) {
        if (io_recv(f->router, &in, NULL) == CM_OK) {
            io_incoming_fini(&in);
            *messages += 1;
        } else if (io_next_gone(f->router, out)) {
            return true;
        } else if (io_wait(f->router, STEP_MS, NULL)) {
            waited += STEP_MS;
        }
    }
    return false;
}

static void expect_gone(struct fixture *f, const char *id, unsigned messages)
{
    struct cm_peer gone;
    unsigned received = 0;
    cr_assert(next_gone(f, PATIENCE_MS, &gone, &received), "no end was told");
    cr_assert_eq(received, messages, "%u messages before the end, not %u", received, messages);
    cr_assert_eq(gone.size, strlen(id));
    cr_assert_eq(memcmp(gone.bytes, id, gone.size), 0);
}

static void expect_silence(struct fixture *f)
{
    struct cm_peer gone;
    unsigned messages = 0;
    cr_assert(!next_gone(f, SILENCE_MS, &gone, &messages), "an end too many was told");
    cr_assert_eq(messages, 0);
}

/* Each peer's end is told once, by name, and after all its messages. */
static void peers_that_leave(bool tcp)
{
    enum { MESSAGES = 50 };
    struct fixture f;
    new_fixture(&f, tcp);
    struct io_socket *a = dial(&f, "a"), *b = dial(&f, "b");
    say(b, "here");
    for (int i = 0; i < MESSAGES; i++)
        say(a, "here");
    io_socket_free(a);
    expect_gone(&f, "a", MESSAGES + 1);
    expect_silence(&f);
    io_socket_free(b);
    expect_gone(&f, "b", 0);
    expect_silence(&f);
    free_fixture(&f);
}

Test(io_links, a_peer_that_leaves_is_named_over_ipc)
{
    peers_that_leave(false);
}

Test(io_links, a_peer_that_leaves_is_named_over_tcp)
{
    peers_that_leave(true);
}

/* A descriptor's number serves again for the next: each end is told under the right name. */
Test(io_links, connections_come_and_go)
{
    struct fixture f;
    new_fixture(&f, true);
    for (int i = 0; i < 20; i++) {
        char id[8];
        snprintf(id, sizeof id, "p%d", i);
        struct io_socket *s = dial(&f, id);
        say(s, "here");
        io_socket_free(s);
        expect_gone(&f, id, 1);
    }
    expect_silence(&f);
    free_fixture(&f);
}

/* The first message on a peer's second connection tells that the first has ended, whenever ZeroMQ
 * notices; what it sent on the first came before. */
Test(io_links, a_peer_that_dialled_again_is_anew)
{
    struct fixture f;
    unsigned messages = 0;
    struct cm_peer gone;
    new_fixture(&f, true);
    struct io_socket *first = dial(&f, "same");
    say(first, "here");
    cr_assert(!next_gone(&f, SILENCE_MS, &gone, &messages));
    struct io_socket *second = dial(&f, "same");
    say(second, "here again");
    say(second, "and again");
    for (int i = 0; i < 2; i++) {
        struct io_incoming in;
        cr_assert_eq(io_wait(f.router, PATIENCE_MS, NULL), CM_OK);
        cr_assert_eq(io_recv(f.router, &in, NULL), CM_OK);
        cr_assert_eq(in.anew, i == 0);
        io_incoming_fini(&in);
    }
    cr_assert(!next_gone(&f, SILENCE_MS, &gone, &messages), "it was told twice");
    io_socket_free(first);
    expect_silence(&f);
    io_socket_free(second);
    expect_gone(&f, "same", 0);
    free_fixture(&f);
}

static void expect_stranger(struct fixture *f)
{
    struct cm_peer gone;
    unsigned messages = 0;
    cr_assert(next_gone(f, PATIENCE_MS, &gone, &messages), "no end was told");
    cr_assert_eq(messages, 0);
    cr_assert_eq(gone.size, 0);
}

/* What is no ZeroMQ, and what leaves without a word. */
Test(io_links, strangers_are_nobody)
{
    struct fixture f;
    new_fixture(&f, true);
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd = test_tcp_dial(io_socket_endpoint(f.router));
    test_tcp_write(fd, http, sizeof http - 1);
    expect_stranger(&f);
    close(fd);
    close(test_tcp_dial(io_socket_endpoint(f.router)));
    expect_stranger(&f);
    io_socket_free(dial(&f, "mute"));
    expect_stranger(&f);
    expect_silence(&f);
    free_fixture(&f);
}

/* A claim of 2^62 bytes, by a stranger and by a peer that was heard before. */
Test(io_links, a_frame_over_the_bound_ends_the_connection)
{
    static const unsigned char claim[] = {2, 0x40, 0, 0, 0, 0, 0, 0, 0};
    struct fixture f;
    new_fixture(&f, true);
    int fd = test_zmtp_dial(io_socket_endpoint(f.router));
    test_tcp_write(fd, claim, sizeof claim);
    expect_stranger(&f);
    close(fd);
    fd = test_zmtp_dial(io_socket_endpoint(f.router));
    test_tcp_write(fd, "\0\5hello", 7);
    test_tcp_write(fd, claim, sizeof claim);
    struct cm_peer gone;
    unsigned messages = 0;
    cr_assert(next_gone(&f, PATIENCE_MS, &gone, &messages), "no end was told");
    cr_assert_eq(messages, 1);
    cr_assert_eq(gone.size, 5, "the address that ZeroMQ gave it");
    close(fd);
    expect_silence(&f);
    free_fixture(&f);
}
