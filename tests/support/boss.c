/* boss.c: see boss.h. */
#include "tests/support/boss.h"

#include "common/checksum.h"
#include "proto/wire/control.h"
#include "proto/wire/join.h"
#include "proto/wire/welcome.h"
#include "tests/support/files.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <zmq.h>

/* --- the coordinator -------------------------------------------------------------------------- */

void test_boss_init(struct test_boss *b, const char *endpoint)
{
    *b = (struct test_boss){.epoch = 1};
    size_t size = sizeof b->endpoint;
    test_peer_listen(&b->peer, endpoint);
    cr_assert_eq(zmq_getsockopt(b->peer.socket, ZMQ_LAST_ENDPOINT, b->endpoint, &size), 0);
}

void test_boss_fini(struct test_boss *b)
{
    test_peer_fini(&b->peer);
}

void test_boss_greet(struct test_boss *b, struct pr_hello *hello)
{
    struct pr_welcome welcome = {.heartbeat_ms = 1000, .dead_after_ms = 600000};
    struct test_message m;
    struct pr_buffer packed;
    struct cm_error e;
    test_peer_expect(&b->peer, PR_HELLO, &m);
    cr_assert_eq(pr_hello_unpack(test_message_header(&m), hello, &e), CM_OK, "%s", e.text);
    test_message_fini(&m);
    cr_assert_eq(pr_welcome_pack(&welcome, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(&b->peer, &packed);
}

static void fill(struct pr_sources *out, const char *const sources[])
{
    for (out->count = 0; sources[out->count]; out->count++)
        snprintf(out->endpoints[out->count], sizeof out->endpoints[0], "%s", sources[out->count]);
}

void test_boss_give(struct test_boss *b, const struct cm_fingerprint *gallery,
                    const char *const sources[])
{
    struct pr_givers givers = {.epoch = b->epoch, .gallery = *gallery};
    struct test_message m;
    struct pr_buffer packed;
    struct cm_error e;
    test_peer_expect(&b->peer, PR_JOIN, &m);
    test_message_fini(&m);
    fill(&givers.sources, sources);
    cr_assert_eq(pr_givers_pack(&givers, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(&b->peer, &packed);
}

void test_boss_place(struct test_boss *b, uint32_t shard, const char *const sources[])
{
    struct pr_place place = {.epoch = b->epoch, .shard = {shard}};
    struct pr_buffer packed;
    struct cm_error e;
    fill(&place.sources, sources);
    cr_assert_eq(pr_place_pack(&place, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(&b->peer, &packed);
}

void test_boss_dismiss(struct test_boss *b)
{
    struct pr_control m = {.type = PR_DISMISS, .epoch = b->epoch};
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_control_pack(&m, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(&b->peer, &packed);
}

bool test_boss_poll_holds(struct test_boss *b, struct pr_holds *out, unsigned timeout_ms)
{
    struct test_message m;
    struct pr_envelope envelope;
    struct cm_error e;
    bool found = false;
    while (!found && test_peer_receive(&b->peer, &m, timeout_ms)) {
        cr_assert_eq(pr_peek(test_message_header(&m), &envelope, &e), CM_OK, "%s", e.text);
        found = envelope.type == PR_HOLDS;
        if (found)
            cr_assert_eq(pr_holds_unpack(test_message_header(&m), out, &e), CM_OK, "%s", e.text);
        test_message_fini(&m);
    }
    return found;
}

struct pr_holds test_boss_holds(struct test_boss *b)
{
    struct pr_holds holds;
    unsigned long long end_ms = test_now_ms() + TEST_PEER_MS;
    while (!test_boss_poll_holds(b, &holds, 100))
        cr_assert(test_now_ms() < end_ms, "no HOLDS came");
    return holds;
}

/* --- the giver -------------------------------------------------------------------------------- */

void test_giver_init(struct test_giver *g, const char *endpoint, const char *path)
{
    *g = (struct test_giver){.least_offset = UINT64_MAX};
    test_peer_listen(&g->peer, endpoint);
    g->bytes = test_read(path, &g->size);
}

void test_giver_fini(struct test_giver *g)
{
    test_peer_fini(&g->peer);
    free(g->bytes);
}

bool test_giver_serve(struct test_giver *g, unsigned timeout_ms)
{
    struct test_message m;
    struct pr_read read;
    struct pr_buffer packed;
    struct cm_error e;
    if (!test_peer_receive(&g->peer, &m, timeout_ms))
        return false;
    cr_assert_eq(pr_read_unpack(test_message_header(&m), &read, &e), CM_OK, "%s", e.text);
    test_message_fini(&m);
    cr_assert_lt(read.offset, g->size);
    g->reads++;
    g->last_offset = read.offset;
    if (read.offset < g->least_offset)
        g->least_offset = read.offset;
    size_t left = g->size - read.offset;
    struct cm_bytes payload = {g->bytes + read.offset, left < read.bytes ? left : read.bytes};
    struct pr_block block = {.id = read.id, .offset = read.offset, .file_bytes = g->size};
    block.payload_crc32c = cm_crc32c(0, payload.data, payload.size);
    if (g->lie && !g->lie(g->ctx, &block, &payload))
        return true;
    cr_assert_eq(pr_block_pack(&block, &packed, &e), CM_OK, "%s", e.text);
    test_peer_send(&g->peer, (const struct cm_bytes[]){pr_buffer_bytes(&packed), payload},
                   payload.data ? 2 : 1);
    pr_buffer_fini(&packed);
    return true;
}

struct pr_holds test_giver_serve_all(struct test_giver *g, struct test_boss *b)
{
    struct pr_holds holds;
    unsigned long long end_ms = test_now_ms() + TEST_PEER_MS;
    while (!test_boss_poll_holds(b, &holds, 0)) {
        cr_assert(test_now_ms() < end_ms, "no HOLDS came");
        while (test_giver_serve(g, 5))
            ;
    }
    return holds;
}

struct pr_block test_read_block(struct test_peer *p, const struct pr_read *read,
                                struct test_message *out)
{
    struct pr_block block;
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_read_pack(read, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(p, &packed);
    test_peer_expect(p, PR_BLOCK, out);
    cr_assert_eq(pr_block_unpack(test_message_header(out), &block, &e), CM_OK, "%s", e.text);
    return block;
}
