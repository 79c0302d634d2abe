/* test_overload.c: real processes that are asked more than they can do: who is answered, who is
 * refused, what is dropped, and how much memory it takes. */
#include "common/io/socket.h"
#include "ops/cli/query_map.h"
#include "proto/file/npy.h"
#include "proto/wire/answer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/error.h"
#include "proto/wire/query.h"
#include "tests/support/eval.h"
#include "tests/support/peer.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { ROUNDS = 4, SHARDS = 4, WINDOW = 16, WAIT_MS = 60000 };

/* Somebody who asks, and counts what comes of it. */
struct user {
    struct test_peer peer;
    uint64_t sent, whole, partial, busy;
    uint64_t most_us;     /* the longest that an answer took, as the coordinator says */
    uint64_t most_before; /* the most answers that another user got while this one waited for one */
};

static uint64_t replies_of(const struct user *u)
{
    return u->whole + u->partial + u->busy;
}

struct scene {
    struct test_cluster c;
    struct pr_npy *features;
    struct cm_blob *map; /* the sample's first query */
    uint32_t crc32c;
};

/* The coordinator, and workers of one thread each that share the sample, ROUNDS times over. */
static void scene_init(struct scene *s, unsigned rounds, unsigned workers)
{
    static const char *const beats[] = {"--heartbeat-ms", "100", "--dead-after-ms", "60000", NULL};
    struct cm_error e;
    char path[512];
    test_eval_init(&s->c);
    test_import(&s->c, "g", &test_labelled, rounds, SHARDS);
    test_coordinator_start(&s->c, "ipc", beats);
    for (unsigned i = 0; i < workers; i++) {
        char shards[16];
        snprintf(shards, sizeof shards, "%u-%u", i * SHARDS / workers,
                 (i + 1) * SHARDS / workers - 1);
        test_worker_start(&s->c, i, "g", shards, (const char *const[]){"--threads", "1", NULL});
    }
    test_wait_exact(&s->c, "shards_covered", SHARDS);
    test_source(test_sample.query, path, sizeof path);
    cr_assert_eq(pr_npy_open(&s->features, path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(cli_query_map(s->features, 0, &s->map, &s->crc32c, &e), CM_OK, "%s", e.text);
}

static void scene_fini(struct scene *s)
{
    cm_blob_unref(&s->map);
    pr_npy_close(s->features);
    test_eval_fini(&s->c);
}

static void ask(const struct scene *s, struct user *u, uint32_t deadline_ms)
{
    struct pr_query query = {
        .id = {u->sent++},
        .k = 1,
        .deadline_ms = deadline_ms,
        .dtype = s->features->dtype,
        .height = s->features->height,
        .width = s->features->width,
        .channels = s->features->channels,
        .payload_crc32c = s->crc32c,
    };
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_query_pack(&query, &packed, &e), CM_OK, "%s", e.text);
    const struct cm_bytes frames[] = {pr_buffer_bytes(&packed),
                                      {cm_blob_data(s->map), cm_blob_size(s->map)}};
    test_peer_send(&u->peer, frames, 2);
    pr_buffer_fini(&packed);
}

static void take_answer(struct user *u, struct cm_bytes header)
{
    struct pr_answer answer;
    struct cm_error e;
    cr_assert_eq(pr_answer_unpack(header, &answer, &e), CM_OK, "%s", e.text);
    u->whole += answer.missing_count == 0;
    u->partial += answer.missing_count > 0;
    if (answer.timings.total_us > u->most_us)
        u->most_us = answer.timings.total_us;
    pr_answer_fini(&answer);
}

static void take_error(struct user *u, struct cm_bytes header)
{
    struct pr_error error;
    struct cm_error e;
    cr_assert_eq(pr_error_unpack(header, &error, &e), CM_OK, "%s", e.text);
    cr_assert_eq(error.code, PR_ERROR_BUSY, "%s", error.text);
    cr_assert_gt(error.retry_after_ms, 0);
    u->busy++;
}

/* Takes one reply, if one comes in time. */
static bool listen_to(struct user *u, unsigned timeout_ms)
{
    struct test_message m;
    struct pr_envelope envelope;
    struct cm_error e;
    if (!test_peer_receive(&u->peer, &m, timeout_ms))
        return false;
    cr_assert_eq(pr_peek(test_message_header(&m), &envelope, &e), CM_OK, "%s", e.text);
    if (envelope.type == PR_ANSWER)
        take_answer(u, test_message_header(&m));
    else
        take_error(u, test_message_header(&m));
    test_message_fini(&m);
    return true;
}

/* Takes all replies that it is owed. */
static void hear_all(struct user *u)
{
    while (replies_of(u) < u->sent)
        cr_assert(listen_to(u, WAIT_MS), "%lu of %lu replies came", replies_of(u), u->sent);
}

/* --- deadlines and cancels -------------------------------------------------------------------- */

/* A sum over all workers of what they did. */
static json_int_t work(const struct scene *s, const char *key)
{
    json_t *status = test_status(&s->c), *worker;
    json_int_t sum = 0;
    size_t i;
    json_array_foreach(json_object_get(status, "workers"), i, worker) sum +=
        test_number(worker, key);
    json_decref(status);
    return sum;
}

static void wait_work(const struct scene *s, const char *key, json_int_t least)
{
    unsigned long long end = test_now_ms() + WAIT_MS;
    while (work(s, key) < least) {
        cr_assert(test_now_ms() < end, "%s does not come to %lld", key, (long long)least);
        test_sleep_ms(20);
    }
}

/* Three heartbeats long nothing is scored; and what was scored was scored for somebody. */
static void expect_rest(const struct scene *s)
{
    test_sleep_ms(300);
    json_int_t before = work(s, "blocks_scored");
    test_sleep_ms(300);
    cr_assert_eq(work(s, "blocks_scored"), before, "somebody is at work still");
    cr_assert_eq(work(s, "blocks_late"), 0);
}

/* WINDOW queries of which each takes a good part of a second; then their client is gone. */
Test(overload, a_cancelled_query_stops)
{
    struct scene s;
    struct user u = {0};
    scene_init(&s, 10, 1);
    test_peer_dial(&u.peer, s.c.endpoint);
    ask(&s, &u, WAIT_MS);
    hear_all(&u);
    test_sleep_ms(300); /* until a heartbeat has told of it */
    json_int_t blocks = work(&s, "blocks_scored");
    for (unsigned i = 0; i < WINDOW; i++)
        ask(&s, &u, WAIT_MS);
    wait_work(&s, "blocks_scored", blocks + 1);
    test_peer_fini(&u.peer);
    wait_work(&s, "cancelled", WINDOW);
    expect_rest(&s);
    json_int_t scored = work(&s, "blocks_scored");
    cr_assert_lt(scored, (1 + WINDOW) * blocks, "all of it was scored");
    scene_fini(&s);
}

/* The same with a deadline that comes in the middle; whatever was scored by then is an answer. */
Test(overload, a_query_past_its_deadline_stops)
{
    struct scene s;
    struct user u = {0};
    scene_init(&s, 10, 1);
    test_peer_dial(&u.peer, s.c.endpoint);
    ask(&s, &u, WAIT_MS);
    hear_all(&u);
    uint32_t once_ms = (uint32_t)(u.most_us / 1000) + 1;
    for (unsigned i = 0; i < WINDOW; i++)
        ask(&s, &u, 2 * once_ms);
    hear_all(&u);
    cr_assert_gt(u.partial, 0, "there was time for all");
    wait_work(&s, "expired", 1);
    expect_rest(&s);
    cr_assert_eq(work(&s, "cancelled"), 0, "workers stop by themselves");
    test_peer_fini(&u.peer);
    scene_fini(&s);
}

/* --- ten times too much ----------------------------------------------------------------------- */

enum { FLOOD_MS = 4000, FLOOD_DEADLINE_MS = 10000, PATIENT_DEADLINE_MS = 30000 };

/* Queries a second that the cluster answers. */
static double capacity_of(const struct scene *s)
{
    struct user u = {0};
    test_peer_dial(&u.peer, s->c.endpoint);
    unsigned long long start = test_now_ms();
    for (unsigned i = 0; i < 4 * WINDOW; i++)
        ask(s, &u, WAIT_MS);
    hear_all(&u);
    double seconds = (double)(test_now_ms() - start) / 1000;
    cr_assert_eq(u.whole, 4 * WINDOW);
    test_peer_fini(&u.peer);
    return 4 * WINDOW / seconds;
}

/* The patient one asks again when it has its answer. */
static void ask_again(const struct scene *s, struct user *patient, const struct user *greedy,
                      uint64_t *asked_at)
{
    uint64_t answered = greedy->whole + greedy->partial;
    if (patient->sent > replies_of(patient))
        return;
    if (patient->sent > 0 && answered - *asked_at > patient->most_before)
        patient->most_before = answered - *asked_at;
    *asked_at = answered;
    ask(s, patient, PATIENT_DEADLINE_MS);
}

/* One asks `rate` queries a second whatever it hears, another one query at a time. */
static void flood(const struct scene *s, double rate, struct user *greedy, struct user *patient)
{
    unsigned long long start = test_now_ms(), now = start;
    uint64_t asked_at = 0;
    for (; now < start + FLOOD_MS; now = test_now_ms()) {
        while ((double)greedy->sent < rate * (double)(now - start) / 1000)
            ask(s, greedy, FLOOD_DEADLINE_MS);
        ask_again(s, patient, greedy, &asked_at);
        while (listen_to(greedy, 0))
            ;
        listen_to(patient, 1);
    }
}

Test(overload, ten_times_too_much)
{
    struct scene s;
    struct user greedy = {0}, patient = {0};
    struct test_run eval;
    char query[512], labels[512];
    scene_init(&s, ROUNDS, 2);
    double capacity = capacity_of(&s);
    test_peer_dial(&greedy.peer, s.c.endpoint);
    test_peer_dial(&patient.peer, s.c.endpoint);
    test_source(test_labelled.query, query, sizeof query);
    test_source(test_labelled.query_labels, labels, sizeof labels);
    const struct test_ask a = {.connect = s.c.endpoint, .features = query, .meta = labels};
    test_eval_start(&eval, &a);
    flood(&s, 10 * capacity, &greedy, &patient);
    bool waits = !io_child_poll(&eval.child);
    json_int_t searched = (json_int_t)(4 * WINDOW + greedy.whole + greedy.partial + patient.whole);
    json_int_t measured = test_status_number(&s.c, "counters.answers") - searched;
    hear_all(&greedy);
    hear_all(&patient);
    cr_assert_eq(patient.whole, patient.sent, "%lu of %lu", patient.whole, patient.sent);
    cr_assert_geq(patient.whole, 2, "it was starved");
    cr_assert_leq(patient.most_before, 2 * WINDOW, "%lu answers came first", patient.most_before);
    cr_assert_gt(greedy.busy, greedy.sent / 2, "%lu of %lu", greedy.busy, greedy.sent);
    cr_assert_gt(greedy.whole, 0);
    cr_assert_leq(greedy.most_us, (FLOOD_DEADLINE_MS + 500) * 1000, "%lu us", greedy.most_us);
    cr_assert_geq(test_status_number(&s.c, "counters.busy"), (json_int_t)greedy.busy);
    cr_assert(waits && measured < 28 / 4, "the evaluation has %lld", (long long)measured);
    cr_assert_eq(test_finish(&eval, WAIT_MS), 0, "%s", eval.err);
    cr_assert_eq(work(&s, "blocks_late"), 0);
    test_run_fini(&eval);
    test_peer_fini(&greedy.peer);
    test_peer_fini(&patient.peer);
    scene_fini(&s);
}

/* --- memory ----------------------------------------------------------------------------------- */

enum { CROWD = 8, EACH = 600, SLACK_MB = 16 };

/* The address sanitizer keeps what is freed: there the process's size says nothing. */
#ifdef __SANITIZE_ADDRESS__
enum { MEMORY_IS_FREED = 0 };
#else
enum { MEMORY_IS_FREED = 1 };
#endif

/* The pools that ARCHITECTURE.md names, for so many clients and this map. */
static json_int_t pools_bytes(const struct scene *s)
{
    size_t maps = CM_QUERIES_QUEUED + CM_QUERIES_INFLIGHT + CROWD * IO_QUEUE_IN;
    return (json_int_t)(maps * cm_blob_size(s->map) + (SLACK_MB << 20));
}

/* The status, once each query is in or refused. */
static json_t *wait_until_all_are_heard(const struct scene *s)
{
    unsigned long long end = test_now_ms() + WAIT_MS;
    for (;;) {
        json_t *status = test_status(&s->c);
        json_int_t heard = test_number(status, "counters.busy") +
                           test_number(status, "queries_waiting") +
                           test_number(status, "queries_inflight");
        if (heard == CROWD * EACH)
            return status;
        json_decref(status);
        cr_assert(test_now_ms() < end, "%lld were heard", (long long)heard);
        test_sleep_ms(20);
    }
}

/* Many clients that ask at once, and wait as long as it takes: 4800 maps of 74 kB, which is 350 MB.
 * No worker is ever done: it stands still. */
Test(overload, memory_has_its_bounds)
{
    struct scene s;
    struct user crowd[CROWD] = {0};
    scene_init(&s, 1, 1);
    test_worker_signal(&s.c, 0, SIGSTOP);
    json_int_t before = test_status_number(&s.c, "memory_bytes");
    for (unsigned i = 0; i < CROWD; i++)
        test_peer_dial(&crowd[i].peer, s.c.endpoint);
    for (unsigned n = 0; n < EACH; n++)
        for (unsigned i = 0; i < CROWD; i++)
            ask(&s, &crowd[i], 10 * WAIT_MS);
    json_t *status = wait_until_all_are_heard(&s);
    json_int_t grown = test_number(status, "memory_bytes") - before;
    if (MEMORY_IS_FREED)
        cr_assert_lt(grown, pools_bytes(&s), "%lld bytes", (long long)grown);
    cr_assert_geq(test_number(status, "clients_waiting"), 2);
    cr_assert_leq(test_number(status, "queries_waiting"), CM_QUERIES_QUEUED);
    cr_assert_leq(test_number(status, "most_waiting"), CM_QUERIES_QUEUED / 2);
    json_decref(status);
    for (unsigned i = 0; i < CROWD; i++)
        test_peer_fini(&crowd[i].peer);
    test_wait_exact(&s.c, "queries_waiting", 0);
    test_worker_signal(&s.c, 0, SIGCONT);
    scene_fini(&s);
}
