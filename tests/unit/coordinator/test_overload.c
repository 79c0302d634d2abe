/* test_overload.c: more than the cluster can do: who waits, in which order, who is refused, and
 * what a query's deadline means meanwhile. */
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

enum { LONG_MS = 3600000, SHARE = CM_QUERIES_QUEUED / 2, PACE_MS = 40 };

/* One worker that takes one search at a time, so that all but the first query wait. */
static void with_narrow_worker(struct fake_co *f)
{
    fake_co_init(f);
    fake_co_join_with_credits(f, "w0", 0, FAKE_SHARDS, 1);
}

/* The worker answers the search that it has, so long after the last. Its k tells queries apart, and
 * is returned. */
static uint32_t serve_after(struct fake_co *f, uint64_t ms)
{
    struct pr_search s = fake_co_take_search(f, "w0");
    uint32_t k = s.k;
    for (; ms > 1000; ms -= 1000) {
        fake_co_sleep(f, 1000 * FAKE_MS);
        fake_co_heartbeat(f, "w0");
        fake_co_take(f, "w0", PR_HEARTBEAT);
    }
    fake_co_sleep(f, ms * FAKE_MS);
    for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++)
        fake_co_score(f, "w0", s.id.v, shard, 1, k);
    pr_search_fini(&s);
    return k;
}

static uint32_t serve(struct fake_co *f)
{
    return serve_after(f, PACE_MS);
}

static struct pr_status status_of(struct fake_co *f)
{
    fake_co_control(f, "watcher", PR_STATUS_REQUEST, 1);
    return fake_co_take_status(f, "watcher");
}

/* The next word for `client` is BUSY; returns when it may come again. */
static uint32_t expect_busy(struct fake_co *f, const char *client, uint64_t id, const char *word)
{
    struct pr_error error = fake_co_take_error(f, client);
    cr_assert_eq(error.id.v, id);
    cr_assert_eq(error.code, PR_ERROR_BUSY, "%s", error.text);
    cr_assert(strstr(error.text, word) != NULL, "\"%s\" has no \"%s\"", error.text, word);
    cr_assert_gt(error.retry_after_ms, 0);
    return error.retry_after_ms;
}

/* A thousand queries of one client, of which one is dispatched; as many errors as did not fit. */
static void flood(struct fake_co *f, uint64_t first)
{
    for (uint64_t q = 0; q < 1000; q++)
        fake_co_query(f, "flood", first + q, 5, LONG_MS);
}

Test(co_overload, one_client_fills_half_of_the_queue)
{
    struct fake_co f;
    with_narrow_worker(&f);
    flood(&f, 0);
    cr_assert_eq(test_mailbox_count(&f.sent, "flood", PR_ERROR), 1000 - 1 - SHARE);
    struct pr_search s = fake_co_take_search(&f, "w0");
    pr_search_fini(&s);
    expect_busy(&f, "flood", SHARE + 1, "128 queries wait, 128 of them this client's");
    test_mailbox_clear(&f.sent);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.queries_waiting, SHARE);
    cr_assert_eq(status.clients_waiting, 1);
    cr_assert_eq(status.most_waiting, SHARE);
    cr_assert_eq(status.counters.busy, 1000 - 1 - SHARE);
    cr_assert_eq(status.counters.queries, 1 + SHARE);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

/* However many are greedy, whoever comes next finds room; and the sum has its bound. */
Test(co_overload, there_is_room_for_whoever_comes_next)
{
    struct fake_co f;
    char name[16];
    uint32_t before = 0, clients = 0;
    with_narrow_worker(&f);
    for (; before < CM_QUERIES_QUEUED; clients++) {
        snprintf(name, sizeof name, "greedy-%u", clients);
        for (uint64_t q = 0; q < CM_QUERIES_QUEUED; q++)
            fake_co_query(&f, name, q, 5, LONG_MS);
        test_mailbox_clear(&f.sent);
        struct pr_status status = status_of(&f);
        cr_assert_gt(status.queries_waiting, before, "%s found no room", name);
        cr_assert_leq(status.queries_waiting, CM_QUERIES_QUEUED);
        before = status.queries_waiting;
        pr_status_fini(&status);
    }
    cr_assert_eq(clients, 9, "each takes half of what is left");
    fake_co_fini(&f);
}

/* Evaluations have their share of the same room. */
Test(co_overload, evaluations_count)
{
    struct fake_co f;
    with_narrow_worker(&f);
    fake_co_query(&f, "other", 0, 5, LONG_MS);
    for (uint64_t q = 0; q < SHARE; q++)
        fake_co_evaluate(&f, "eval", q, 7, 0, false);
    fake_co_take(&f, "w0", PR_SEARCH);
    cr_assert_eq(f.sent.count, 0);
    fake_co_evaluate(&f, "eval", SHARE, 7, 0, false);
    expect_busy(&f, "eval", SHARE, "128 of them this client's");
    fake_co_query(&f, "eval", SHARE + 1, 5, LONG_MS);
    expect_busy(&f, "eval", SHARE + 1, "128 of them this client's");
    fake_co_query(&f, "other", 1, 5, LONG_MS);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.queries_waiting, SHARE + 1);
    cr_assert_eq(status.clients_waiting, 2);
    cr_assert_eq(status.most_waiting, SHARE);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

/* In whatever order they come, and of whatever kind. */
Test(co_overload, status_tells_clients_apart)
{
    struct fake_co f;
    char name[16];
    with_narrow_worker(&f);
    fake_co_query(&f, "other", 0, 5, LONG_MS); /* it is dispatched */
    for (uint64_t q = 1; q <= 7; q++)
        for (uint64_t client = 0; client < q; client++) { /* client 0 has seven, client 6 one */
            snprintf(name, sizeof name, "client-%u", (unsigned)client);
            if ((q + client) % 3)
                fake_co_query(&f, name, q, 5, LONG_MS);
            else
                fake_co_evaluate(&f, name, q, 7, 0, false);
        }
    fake_co_take(&f, "w0", PR_SEARCH);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.queries_waiting, 28);
    cr_assert_eq(status.clients_waiting, 7);
    cr_assert_eq(status.most_waiting, 7);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

/* A second client's queries take turns with those of the first, whenever they come. */
Test(co_overload, clients_take_turns)
{
    struct fake_co f;
    static const uint32_t right[] = {1, 2, 3, 21, 4, 22, 5, 31, 6, 7, 8};
    with_narrow_worker(&f);
    for (uint32_t k = 1; k <= 8; k++)
        fake_co_query(&f, "first", k, k, LONG_MS);
    cr_assert_eq(serve(&f), right[0]);
    fake_co_query(&f, "second", 21, 21, LONG_MS);
    fake_co_query(&f, "second", 22, 22, LONG_MS);
    for (size_t i = 1; i < 5; i++)
        cr_assert_eq(serve(&f), right[i], "in place %zu", i);
    fake_co_query(&f, "third", 31, 31, LONG_MS);
    for (size_t i = 5; i < sizeof right / sizeof *right; i++)
        cr_assert_eq(serve(&f), right[i], "in place %zu", i);
    fake_co_fini(&f);
}

/* One query at a time beside a flood that never ends: each waits for two others at the most. */
Test(co_overload, a_flood_starves_nobody)
{
    struct fake_co f;
    with_narrow_worker(&f);
    flood(&f, 1000);
    for (uint64_t q = 0; q < 50; q++) {
        unsigned served = 0;
        fake_co_query(&f, "patient", q, 9, LONG_MS);
        while (serve(&f) != 9) {
            cr_assert_lt(++served, 3, "query %lu waits behind the flood", q);
            flood(&f, 1000);
        }
        cr_assert_eq(test_mailbox_count(&f.sent, "patient", PR_ANSWER), 1);
        fake_co_take(&f, "patient", PR_ANSWER);
    }
    fake_co_fini(&f);
}

/* How long a refused client shall wait follows from what waits and how fast it goes. */
Test(co_overload, retry_after_follows_the_pace)
{
    struct fake_co f;
    with_narrow_worker(&f);
    flood(&f, 0);
    struct pr_search s = fake_co_take_search(&f, "w0");
    cr_assert_eq(expect_busy(&f, "flood", SHARE + 1, "wait"), 250, "no pace is known yet");
    test_mailbox_clear(&f.sent);
    for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++)
        fake_co_score(&f, "w0", s.id.v, shard, 1, 5);
    pr_search_fini(&s);
    for (unsigned i = 0; i < 40; i++)
        serve(&f);
    test_mailbox_clear(&f.sent);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.pace_us, PACE_MS * 1000);
    cr_assert_eq(status.queries_waiting, SHARE - 41);
    pr_status_fini(&status);
    for (uint64_t q = 0; q < 41; q++)
        fake_co_query(&f, "flood", q, 5, LONG_MS);
    cr_assert_eq(f.sent.count, 0);
    fake_co_query(&f, "flood", 99, 5, LONG_MS);
    cr_assert_eq(expect_busy(&f, "flood", 99, "wait"), SHARE / 2 * PACE_MS);
    cr_assert_eq(fake_co_logged(&f, "event=busy"), 2, "one line a second");
    fake_co_fini(&f);
}

/* Ten wait, at a known pace: 10 x 40 ms. */
static void with_ten_waiting(struct fake_co *f)
{
    with_narrow_worker(f);
    for (uint64_t q = 0; q < 51; q++)
        fake_co_query(f, "flood", q, 5, LONG_MS);
    for (unsigned i = 0; i < 40; i++)
        serve(f);
    fake_co_take(f, "w0", PR_SEARCH);
    test_mailbox_clear(&f->sent);
}

Test(co_overload, what_would_wait_too_long_is_refused_at_once)
{
    struct fake_co f;
    with_ten_waiting(&f);
    fake_co_query(&f, "flood", 90, 5, 700);
    uint32_t after_ms = expect_busy(&f, "flood", 90, "10 queries go before this one");
    cr_assert_eq(after_ms, 100, "400 ms to wait, 350 for it, and an eighth of the wait");
    fake_co_query(&f, "flood", 91, 5, 800);
    cr_assert_eq(f.sent.count, 0, "just enough");
    fake_co_query(&f, "other", 92, 5, 100);
    cr_assert_eq(f.sent.count, 0, "its turn comes after one of the flood's");
    fake_co_query(&f, "other", 93, 5, 100);
    expect_busy(&f, "other", 93, "3 queries go before this one");
    fake_co_fini(&f);
}

/* A pace of another time refuses nobody for long: it is measured again as soon as queries wait. */
Test(co_overload, an_old_pace_is_forgotten)
{
    struct fake_co f;
    with_narrow_worker(&f);
    for (uint64_t q = 0; q < 3; q++)
        fake_co_query(&f, "client", q, 5, LONG_MS);
    serve(&f);
    serve_after(&f, 100000); /* the worker stood still */
    serve(&f);
    test_mailbox_clear(&f.sent);
    uint64_t refused = 0, most = 0;
    for (uint64_t q = 0; q < 400; q++) {
        fake_co_query(&f, "client", q, 5, 1000);
        fake_co_query(&f, "client", q + 1000, 5, 1000);
        fake_co_query(&f, "client", q + 2000, 5, 1000);
        fake_co_query(&f, "client", q + 3000, 5, 1000);
        refused = test_mailbox_count(&f.sent, "client", PR_ERROR);
        most = refused > most ? refused : most;
        while (test_mailbox_count(&f.sent, "w0", PR_SEARCH) > 0)
            serve(&f);
        test_mailbox_clear(&f.sent);
    }
    cr_assert_gt(most, 0, "it was never in the way");
    cr_assert_eq(refused, 0, "%lu are refused still", refused);
    fake_co_fini(&f);
}

/* What a deadline cut off says nothing of how fast answers come. */
Test(co_overload, no_pace_comes_of_what_was_cut_off)
{
    struct fake_co f;
    with_narrow_worker(&f);
    for (uint32_t i = 1; i <= 8; i++)
        fake_co_query(&f, "client", i, 5, i * 500);
    fake_co_sleep(&f, 4000 * FAKE_MS);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_CANCEL), 8);
    test_mailbox_clear(&f.sent);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.counters.partial, 8);
    cr_assert_eq(status.pace_us, 0, "%lu us", status.pace_us);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

static uint32_t status_waiting(struct fake_co *f)
{
    struct pr_status status = status_of(f);
    uint32_t waiting = status.queries_waiting;
    pr_status_fini(&status);
    return waiting;
}

static void expect_pace_us(struct fake_co *f, uint64_t least, uint64_t most)
{
    struct pr_status status = status_of(f);
    cr_assert(status.pace_us >= least && status.pace_us <= most, "%lu us", status.pace_us);
    pr_status_fini(&status);
}

/* The pace is known, those who wait go away, and half an hour passes in which nobody does. */
Test(co_overload, an_idle_time_is_no_pace)
{
    struct fake_co f;
    with_narrow_worker(&f);
    for (uint64_t round = 0; round < 2; round++) {
        for (uint64_t q = 0; q < 20; q++)
            fake_co_query(&f, "client", q, 5, LONG_MS);
        for (unsigned i = 0; i < 10; i++)
            serve(&f);
        fake_co_disconnect(&f, "client");
        test_mailbox_clear(&f.sent);
        expect_pace_us(&f, PACE_MS * 1000, PACE_MS * 1000);
        for (unsigned s = 0; s < 1800; s++) {
            fake_co_sleep(&f, 1000 * FAKE_MS);
            fake_co_heartbeat(&f, "w0");
            test_mailbox_clear(&f.sent);
        }
    }
    fake_co_fini(&f);
}

/* One pass over the shards answers sixteen queries at once. */
Test(co_overload, answers_that_come_together_have_a_pace)
{
    enum { TOGETHER = 16, PASSES = 30 };
    struct fake_co f;
    struct pr_search searches[TOGETHER];
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, TOGETHER);
    for (uint64_t pass = 0; pass < PASSES; pass++) {
        while (status_waiting(&f) < 2 * TOGETHER)
            fake_co_query(&f, "client", 1, 5, LONG_MS);
        for (unsigned i = 0; i < TOGETHER; i++)
            searches[i] = fake_co_take_search(&f, "w0");
        fake_co_sleep(&f, TOGETHER * PACE_MS * FAKE_MS);
        fake_co_heartbeat(&f, "w0");
        fake_co_take(&f, "w0", PR_HEARTBEAT);
        for (unsigned i = 0; i < TOGETHER; i++) {
            for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++)
                fake_co_score(&f, "w0", searches[i].id.v, shard, 1, 5);
            pr_search_fini(&searches[i]);
        }
    }
    expect_pace_us(&f, PACE_MS * 600, PACE_MS * 1600);
    fake_co_fini(&f);
}

/* It waited in vain: no worker is ever asked for it, and its client hears in time. */
Test(co_overload, expired_while_it_waits_it_is_never_sent)
{
    struct fake_co f;
    with_narrow_worker(&f);
    fake_co_query(&f, "a", 1, 5, LONG_MS);
    fake_co_query(&f, "a", 3, 7, LONG_MS);
    fake_co_query(&f, "b", 2, 6, 1000);
    fake_co_take(&f, "w0", PR_SEARCH);
    cr_assert_eq(co_next_wakeup_ns(f.core), f.now_ns + 950 * FAKE_MS);
    fake_co_heartbeat(&f, "w0");
    fake_co_sleep(&f, 949 * FAKE_MS);
    cr_assert_eq(test_mailbox_count(&f.sent, "b", 0), 0);
    fake_co_sleep(&f, FAKE_MS);
    struct pr_answer answer = fake_co_take_answer(&f, "b");
    cr_assert_eq(answer.images_scored, 0);
    cr_assert_eq(answer.images, FAKE_SHARDS * FAKE_SHARD_IMAGES);
    cr_assert_eq(answer.missing_count, FAKE_SHARDS);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_DEADLINE);
    cr_assert_eq(answer.missing[0].images, FAKE_SHARD_IMAGES);
    cr_assert_eq(answer.timings.queue_us, 950000);
    pr_answer_fini(&answer);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.counters.expired, 1);
    cr_assert_eq(status.counters.partial, 1);
    cr_assert_eq(status.queries_waiting, 1);
    cr_assert_eq(status.queries_inflight, 1);
    pr_status_fini(&status);
    fake_co_disconnect(&f, "a"); /* there is credit */
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_SEARCH), 0);
    fake_co_fini(&f);
}

/* Those of its client that waited behind it come a turn earlier each. */
Test(co_overload, the_others_of_its_client_move_up)
{
    struct fake_co f;
    static const uint32_t right[] = {1, 2, 13, 3, 14, 4};
    with_narrow_worker(&f);
    for (uint32_t k = 1; k <= 4; k++)
        fake_co_query(&f, "first", k, k, LONG_MS);
    for (uint32_t k = 11; k <= 14; k++)
        fake_co_query(&f, "second", k, k, k <= 12 ? 20 : LONG_MS);
    fake_co_sleep(&f, 20 * FAKE_MS);
    cr_assert_eq(test_mailbox_count(&f.sent, "second", PR_ANSWER), 2);
    for (size_t i = 0; i < sizeof right / sizeof *right; i++)
        cr_assert_eq(serve(&f), right[i], "in place %zu", i);
    fake_co_fini(&f);
}

/* Credit comes back in the very moment in which the time of the next is over. */
Test(co_overload, expired_at_its_turn_it_is_not_sent)
{
    struct fake_co f;
    with_narrow_worker(&f);
    fake_co_query(&f, "a", 1, 5, LONG_MS);
    fake_co_query(&f, "b", 2, 6, 1000);
    fake_co_query(&f, "c", 3, 7, LONG_MS);
    fake_co_take(&f, "w0", PR_SEARCH);
    f.now_ns += 950 * FAKE_MS; /* no tick */
    fake_co_disconnect(&f, "a");
    fake_co_take(&f, "w0", PR_CANCEL);
    fake_co_take(&f, "b", PR_ANSWER);
    struct pr_search s = fake_co_take_search(&f, "w0");
    cr_assert_eq(s.k, 7);
    pr_search_fini(&s);
    fake_co_fini(&f);
}

/* An evaluation is dispatched when no query waits, not before. */
Test(co_overload, evaluations_yield)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 4);
    for (uint32_t k = 1; k <= 10; k++)
        fake_co_query(&f, "search", k, k, LONG_MS);
    fake_co_evaluate(&f, "eval", 1, 7, 0, false);
    for (uint32_t k = 1; k <= 7; k++) {
        serve(&f);
        cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_MEASURE), 0, "%u queries wait", 6 - k);
    }
    serve(&f);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_MEASURE), 1);
    fake_co_fini(&f);
}
