/* test_garbage.c: a coordinator among strangers: bytes that are no ZeroMQ, frames that are no
 * message, messages cut, bent and out of place. It counts them, stays, and answers the next query
 * right. */
#include "proto/wire/control.h"
#include "proto/wire/error.h"
#include "proto/wire/status.h"
#include "tests/support/cluster.h"
#include "tests/support/files.h"
#include "tests/support/peer.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const messages[] = {
    "hello",    "welcome", "refuse",    "rehello", "heartbeat", "leaving",        "search",
    "cancel",   "result",  "query",     "answer",  "error",     "status_request", "status",
    "evaluate", "measure", "positives", "count",   "counts",    "scores",         "measured",
};

/* A cluster in which a right answer is known. */
struct scene {
    struct test_cluster c;
    char *hits;
};

static char *hits_now(struct scene *s)
{
    struct test_run r;
    cr_assert_eq(test_search(&s->c, &r, &test_small,
                             (const char *const[]){"-k", "9", "--min-coverage", "1", NULL}),
                 0, "%s", r.err);
    char *hits = test_hits_text(&r);
    test_run_fini(&r);
    return hits;
}

static void scene_init(struct scene *s, const char *scheme)
{
    test_cluster_init(&s->c);
    test_import(&s->c, "g", &test_small, 1, 3);
    test_coordinator_start(&s->c, scheme, NULL);
    test_worker_start(&s->c, 0, "g", NULL, NULL);
    test_wait_exact(&s->c, "shards_covered", 3);
    s->hits = hits_now(s);
}

/* Is all as it was? */
static void scene_fini(struct scene *s)
{
    char *hits = hits_now(s);
    cr_assert_str_eq(hits, s->hits);
    cr_assert(!io_child_poll(&s->c.coordinator.child), "the coordinator ended");
    cr_assert(!io_child_poll(&s->c.workers[0].run.child), "the worker ended");
    free(hits);
    free(s->hits);
    test_cluster_fini(&s->c);
}

/* Asks for the status; so all that was sent before has been read when it comes. Returns the count
 * of garbage. */
static uint64_t ask_garbage(struct test_peer *p)
{
    struct pr_control request = {.type = PR_STATUS_REQUEST, .id = {4711}};
    struct pr_buffer packed;
    struct pr_status status;
    struct test_message m;
    struct cm_error e;
    cr_assert_eq(pr_control_pack(&request, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(p, &packed);
    uint64_t id, garbage;
    do { /* a mangled request was answered too, perhaps */
        test_peer_expect(p, PR_STATUS, &m);
        cr_assert_eq(pr_status_unpack(test_message_header(&m), &status, &e), CM_OK, "%s", e.text);
        id = status.id.v;
        garbage = status.counters.garbage;
        test_message_fini(&m);
        pr_status_fini(&status);
    } while (id != 4711);
    return garbage;
}

/* A golden message; the caller frees it. */
static unsigned char *golden(const char *name, size_t *size)
{
    char file[64], path[512];
    snprintf(file, sizeof file, "tests/golden/wire/v1/%s.bin", name);
    return (unsigned char *)test_read(test_source(file, path, sizeof path), size);
}

/* Every beginning of every message is garbage, each counted once. */
Test(garbage, cut_messages)
{
    struct scene s;
    struct test_peer p;
    scene_init(&s, "ipc");
    test_peer_dial(&p, s.c.endpoint);
    uint64_t expected = ask_garbage(&p);
    cr_assert_eq(expected, 0);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        size_t size;
        unsigned char *bytes = golden(messages[i], &size);
        for (size_t cut = 1; cut < size; cut++)
            test_peer_say(&p, (struct cm_bytes){bytes, cut});
        expected += size - 1;
        cr_assert_eq(ask_garbage(&p), expected, "%s", messages[i]);
        free(bytes);
    }
    test_peer_fini(&p);
    scene_fini(&s);
}

/* Every message with every bit flipped once: whatever it then says, nobody dies of it, and it does
 * not become a member with shards. */
Test(garbage, bent_messages)
{
    struct scene s;
    struct test_peer p;
    scene_init(&s, "ipc");
    test_peer_dial(&p, s.c.endpoint);
    for (size_t i = 0; i < sizeof messages / sizeof *messages; i++) {
        size_t size;
        unsigned char *bytes = golden(messages[i], &size);
        for (size_t bit = 0; bit < 8 * size; bit++) {
            bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
            test_peer_say(&p, (struct cm_bytes){bytes, size});
            bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        }
        ask_garbage(&p);
        free(bytes);
    }
    cr_assert_gt(ask_garbage(&p), 1000);
    json_t *status = test_status(&s.c);
    cr_assert_eq(json_array_size(json_object_get(status, "workers")), 1);
    json_decref(status);
    test_peer_fini(&p);
    scene_fini(&s);
}

/* Frames of the wrong number and size, and noise. */
Test(garbage, frames)
{
    enum { NOISE = 500, BIG = 5 << 20 };
    struct scene s;
    struct test_peer p;
    struct test_random random = {1};
    static unsigned char big[BIG], noise[4096];
    const struct cm_bytes empty = {"", 0}, some = {"some", 4}, huge = {big, BIG};
    scene_init(&s, "ipc");
    test_peer_dial(&p, s.c.endpoint);
    test_peer_send(&p, (const struct cm_bytes[]){empty}, 1);
    test_peer_send(&p, (const struct cm_bytes[]){empty, some}, 2);
    test_peer_send(&p, (const struct cm_bytes[]){some, some, some, some, some, some, some}, 7);
    test_peer_send(&p, (const struct cm_bytes[]){huge}, 1); /* over CM_HEADER_BYTES_MAX */
    test_peer_send(&p, (const struct cm_bytes[]){some, huge}, 2);
    cr_assert_eq(ask_garbage(&p), 5);
    for (size_t i = 0; i < NOISE; i++) {
        size_t size = 1 + test_random_below(&random, sizeof noise);
        for (size_t j = 0; j < size; j++)
            noise[j] = (unsigned char)test_random_bits(&random);
        test_peer_say(&p, (struct cm_bytes){noise, size});
    }
    cr_assert_eq(ask_garbage(&p), 5 + NOISE);
    test_peer_fini(&p);
    scene_fini(&s);
}

/* Sound messages in the wrong place. */
Test(garbage, strangers)
{
    struct scene s;
    struct test_peer p;
    struct test_message m;
    struct pr_error refusal;
    struct cm_error e;
    size_t size;
    scene_init(&s, "ipc");
    test_peer_dial(&p, s.c.endpoint);
    static const char *const of_workers[] = {"result", "heartbeat", "leaving"};
    for (size_t i = 0; i < 3; i++) { /* from nobody that is known: who are you? */
        unsigned char *bytes = golden(of_workers[i], &size);
        test_peer_say(&p, (struct cm_bytes){bytes, size});
        test_peer_expect(&p, PR_REHELLO, &m);
        test_message_fini(&m);
        free(bytes);
    }
    unsigned char *bytes = golden("hello", &size); /* of another gallery */
    test_peer_say(&p, (struct cm_bytes){bytes, size});
    test_peer_expect(&p, PR_REFUSE, &m);
    test_message_fini(&m);
    free(bytes);
    cr_assert_eq(ask_garbage(&p), 0);
    static const char *const of_coordinators[] = {"welcome", "refuse", "rehello", "search",
                                                  "cancel",  "answer", "error",   "status"};
    for (size_t i = 0; i < 8; i++) {
        bytes = golden(of_coordinators[i], &size);
        test_peer_say(&p, (struct cm_bytes){bytes, size});
        free(bytes);
    }
    cr_assert_eq(ask_garbage(&p), 8);
    bytes = golden("status_request", &size);
    bytes[2] = 7; /* the version */
    test_peer_say(&p, (struct cm_bytes){bytes, size});
    test_peer_expect(&p, PR_ERROR, &m);
    cr_assert_eq(pr_error_unpack(test_message_header(&m), &refusal, &e), CM_OK, "%s", e.text);
    cr_assert_eq(refusal.code, PR_ERROR_VERSION);
    cr_assert_str_eq(refusal.text, "the peer speaks protocol version 7; this is version 1");
    test_message_fini(&m);
    free(bytes);
    test_peer_fini(&p);
    scene_fini(&s);
}

/* A peer that is known, and then claims a frame over the bound: its connection's end is counted. */
Test(garbage, an_oversize_frame_of_a_peer)
{
    static const unsigned char claim[] = {2, 0x40, 0, 0, 0, 0, 0, 0, 0};
    struct scene s;
    scene_init(&s, "tcp");
    json_int_t before = test_status_number(&s.c, "counters.disconnects");
    int fd = test_zmtp_dial(s.c.endpoint);
    test_tcp_write(fd, "\0\5hello", 7);
    test_wait_least(&s.c, "counters.garbage", 1);
    test_tcp_write(fd, claim, sizeof claim);
    unsigned char rest[64];
    while (recv(fd, rest, sizeof rest, 0) > 0) /* until it hangs up */
        ;
    close(fd);
    /* Each status asked leaves by itself: one more end than those is ours. */
    test_wait_least(&s.c, "counters.disconnects", before + 1);
    char *log = test_run_err(&s.c.coordinator);
    cr_assert(strstr(log, "event=disconnected") != NULL, "%s", log);
    free(log);
    scene_fini(&s);
}

/* What is no ZeroMQ at all, and ZeroMQ that claims what it does not send. */
Test(garbage, raw_tcp)
{
    struct scene s;
    struct test_random random = {2};
    static unsigned char noise[65536];
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    /* flags (2: the length has 8 bytes), a length of 2^62, and nothing */
    static const unsigned char claims[] = {2, 0x40, 0, 0, 0, 0, 0, 0, 0};
    /* 1 GiB, of which some comes */
    static const unsigned char part[] = {2, 0, 0, 0, 0, 0x40, 0, 0, 0, 'x', 'x'};
    scene_init(&s, "tcp");
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (unsigned char)test_random_bits(&random);
    int open[6];
    for (size_t i = 0; i < 3; i++)
        open[i] = test_tcp_dial(s.c.endpoint);
    for (size_t i = 3; i < 6; i++)
        open[i] = test_zmtp_dial(s.c.endpoint);
    test_tcp_write(open[0], noise, sizeof noise);
    test_tcp_write(open[1], http, sizeof http - 1);
    test_tcp_write(open[2], "\xff\0\0", 3); /* a greeting's beginning, and then silence */
    test_tcp_write(open[3], claims, sizeof claims);
    test_tcp_write(open[4], part, sizeof part);
    test_tcp_write(open[5], "\0\5hello", 7); /* a whole message, and no MessagePack */
    /* Noise, HTTP, the claim over the bound, what is no MessagePack; libzmq waits for the others.
     */
    test_wait_least(&s.c, "counters.garbage", 4);
    char *hits = hits_now(&s); /* while they are all still there */
    cr_assert_str_eq(hits, s.hits);
    free(hits);
    for (size_t i = 0; i < 6; i++)
        close(open[i]);
    test_wait_exact(&s.c, "counters.garbage", 6);
    char *log = test_run_err(&s.c.coordinator);
    cr_assert(strstr(log, "event=garbage") != NULL, "%s", log);
    free(log);
    scene_fini(&s);
}
