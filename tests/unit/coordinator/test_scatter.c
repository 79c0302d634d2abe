/* test_scatter.c: who is asked for which shard, when, and what holds a query back. */
#include "coordinator/core.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_shards(struct pr_search *s, const uint32_t *shards, size_t count)
{
    cr_assert_eq(s->shards_count, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(s->shards[i].v, shards[i], "shard %zu is %u", i, s->shards[i].v);
    pr_search_fini(s);
}

/* `node` answers for all shards from `first` on. */
static void score_all(struct fake_co *f, const char *node, uint64_t id, uint64_t query,
                      uint32_t first, uint32_t count)
{
    for (uint32_t s = first; s < first + count; s++)
        fake_co_score(f, node, id, s, query, 5);
}

Test(co_scatter, asks_each_worker_once_for_its_shards)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 3);
    fake_co_join(&f, "w1", 3, 1);
    fake_co_query(&f, "client", 1, 7, 1000);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_SEARCH), 2);
    struct test_message *first = f.sent.head, *second = f.sent.head->next;
    cr_assert(first->payload != NULL);
    cr_assert_eq(first->payload, second->payload, "one map, shared");
    struct pr_search a = fake_co_take_search(&f, "w0"), b = fake_co_take_search(&f, "w1");
    cr_assert_eq(a.id.v, b.id.v);
    cr_assert_eq(a.k, 7);
    cr_assert_eq(a.dtype, CM_DTYPE_F32);
    cr_assert_eq(a.payload_crc32c, fake_query(1, 7, 1000).payload_crc32c);
    cr_assert_eq(a.time_left_us, 950000, "50 ms less than the deadline: %lu", a.time_left_us);
    expect_shards(&a, (const uint32_t[]){0, 1, 2}, 3);
    expect_shards(&b, (const uint32_t[]){3}, 1);
    fake_co_fini(&f);
}

Test(co_scatter, leaves_a_tenth_of_a_short_deadline_for_the_way_back)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 7, 100);
    struct pr_search search = fake_co_take_search(&f, "w0");
    cr_assert_eq(search.time_left_us, 90000);
    pr_search_fini(&search);
    fake_co_query(&f, "client", 2, 7, CM_DEADLINE_MS_MAX);
    search = fake_co_take_search(&f, "w0");
    cr_assert_eq(search.time_left_us, CM_DEADLINE_MS_MAX * UINT64_C(1000) - 50000);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

Test(co_scatter, asks_the_replica_with_less_to_do)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 1000); /* one search, but of all images */
    fake_co_take(&f, "w0", PR_SEARCH);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 2, 5, 1000);
    struct pr_search b = fake_co_take_search(&f, "w1");
    expect_shards(&b, (const uint32_t[]){0, 1, 2, 3}, 4);
    cr_assert_eq(f.sent.count, 0);
    fake_co_fini(&f);
}

Test(co_scatter, what_is_answered_is_not_to_do)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search a = fake_co_take_search(&f, "w0");
    score_all(&f, "w0", a.id.v, 1, 0, 2);
    pr_search_fini(&a);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 2, 5, 1000); /* w0 has two shards to score, w1 none */
    a = fake_co_take_search(&f, "w0");
    struct pr_search b = fake_co_take_search(&f, "w1");
    expect_shards(&a, (const uint32_t[]){2}, 1);
    expect_shards(&b, (const uint32_t[]){0, 1, 3}, 3);
    fake_co_fini(&f);
}

Test(co_scatter, one_query_spreads_over_replicas)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search first = fake_co_take_search(&f, "w0");
    struct pr_search second = fake_co_take_search(&f, "w1");
    cr_assert_eq(first.shards_count, FAKE_SHARDS / 2);
    cr_assert_eq(second.shards_count, FAKE_SHARDS / 2);
    pr_search_fini(&first);
    pr_search_fini(&second);
    fake_co_fini(&f);
}

/* The first shards are chosen for before it shows who has to do with the others. */
Test(co_scatter, who_has_other_shards_too_gets_fewer_of_these)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&f, "w1", 0, 2);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search a = fake_co_take_search(&f, "w0"), b = fake_co_take_search(&f, "w1");
    expect_shards(&a, (const uint32_t[]){2, 3}, 2);
    expect_shards(&b, (const uint32_t[]){0, 1}, 2);
    fake_co_fini(&f);
}

/* One query: w0 takes so long for its shards, w1 for its. */
static void ask_and_answer(struct fake_co *f, uint64_t query, uint64_t w0_ms, uint64_t w1_ms)
{
    fake_co_query(f, "client", query, 5, 60000);
    struct pr_search a = fake_co_take_search(f, "w0"), b = fake_co_take_search(f, "w1");
    fake_co_sleep(f, w1_ms * FAKE_MS);
    for (size_t i = 0; i < b.shards_count; i++)
        fake_co_score(f, "w1", b.id.v, b.shards[i].v, query, 5);
    fake_co_sleep(f, (w0_ms - w1_ms) * FAKE_MS);
    for (size_t i = 0; i < a.shards_count; i++)
        fake_co_score(f, "w0", a.id.v, a.shards[i].v, query, 5);
    struct pr_answer answer = fake_co_take_answer(f, "client");
    cr_assert_eq(answer.missing_count, 0);
    pr_answer_fini(&answer);
    pr_search_fini(&a);
    pr_search_fini(&b);
}

Test(co_scatter, who_is_faster_gets_more)
{
    struct fake_co f;
    fake_co_init_unhedged(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    ask_and_answer(&f, 1, 400, 200);
    ask_and_answer(&f, 2, 400, 200);
    fake_co_query(&f, "client", 3, 5, 1000);
    struct pr_search a = fake_co_take_search(&f, "w0"), b = fake_co_take_search(&f, "w1");
    cr_assert_eq(a.shards_count, 1);
    cr_assert_eq(b.shards_count, 3);
    pr_search_fini(&a);
    pr_search_fini(&b);
    fake_co_fini(&f);
}

/* The clock began long before it came. */
Test(co_scatter, who_was_never_asked_has_not_been_slow)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_score(&f, "w0", 12345, 0, 1, 5); /* nobody asked for that */
    cr_assert_eq(f.core->members.slots[0].speed.busy_ns, 0);
    fake_co_fini(&f);
}

Test(co_scatter, credits_hold_queries_back_in_order)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 2);
    for (uint64_t q = 1; q <= 4; q++)
        fake_co_query(&f, "client", q, 5, 60000);
    struct pr_search one = fake_co_take_search(&f, "w0"), two = fake_co_take_search(&f, "w0");
    cr_assert_eq(f.sent.count, 0, "two more wait");
    fake_co_score(&f, "w0", two.id.v, 0, 2, 5);
    cr_assert_eq(f.sent.count, 0, "the second is not finished by one shard");
    score_all(&f, "w0", two.id.v, 2, 1, 3);
    cr_assert_eq(fake_co_take(&f, "client", PR_ANSWER).id.v, 2);
    struct pr_search three = fake_co_take_search(&f, "w0");
    cr_assert_eq(three.payload_crc32c, fake_query(3, 5, 1).payload_crc32c, "the oldest goes first");
    cr_assert_eq(f.sent.count, 0);
    score_all(&f, "w0", one.id.v, 1, 0, 4);
    fake_co_take(&f, "client", PR_ANSWER);
    struct pr_search four = fake_co_take_search(&f, "w0");
    cr_assert_eq(four.payload_crc32c, fake_query(4, 5, 1).payload_crc32c);
    pr_search_fini(&one);
    pr_search_fini(&two);
    pr_search_fini(&three);
    pr_search_fini(&four);
    fake_co_fini(&f);
}

/* The deadline runs from arrival: what a query waited is not left to its workers. */
Test(co_scatter, a_waiting_query_has_what_is_left_of_its_deadline)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_query(&f, "client", 1, 5, 3000);
    fake_co_query(&f, "client", 2, 5, 4000);
    fake_co_take(&f, "w0", PR_SEARCH);
    fake_co_sleep(&f, 2999 * FAKE_MS);
    cr_assert_eq(f.sent.count, 0);
    fake_co_sleep(&f, 1 * FAKE_MS);
    fake_co_take(&f, "w0", PR_CANCEL);
    fake_co_take(&f, "client", PR_ANSWER);
    struct pr_search two = fake_co_take_search(&f, "w0");
    cr_assert_eq(two.time_left_us, 950000);
    cr_assert_eq(co_next_wakeup_ns(f.core), f.now_ns + 1000 * FAKE_MS);
    score_all(&f, "w0", two.id.v, 2, 0, 4);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.timings.queue_us, 3000000);
    cr_assert_eq(answer.timings.total_us, 3000000);
    pr_answer_fini(&answer);
    pr_search_fini(&two);
    fake_co_fini(&f);
}

Test(co_scatter, no_more_queries_are_open_than_the_bound)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1000);
    for (uint64_t q = 1; q <= CM_QUERIES_INFLIGHT + 3; q++)
        fake_co_query(&f, "client", q, 5, 60000);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_SEARCH), CM_QUERIES_INFLIGHT);
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 9);
    struct pr_status status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.queries_inflight, CM_QUERIES_INFLIGHT);
    cr_assert_eq(status.queries_waiting, 3);
    cr_assert_eq(status.members[0].inflight, CM_QUERIES_INFLIGHT);
    pr_status_fini(&status);
    struct pr_search first = fake_co_take_search(&f, "w0");
    score_all(&f, "w0", first.id.v, 1, 0, 4);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_SEARCH), CM_QUERIES_INFLIGHT);
    pr_search_fini(&first);
    fake_co_fini(&f);
}

static void expect_reason(struct fake_co *f, uint32_t shard, enum pr_reason reason)
{
    struct pr_answer answer = fake_co_take_answer(f, "client");
    bool found = false;
    for (size_t i = 0; i < answer.missing_count; i++)
        if (answer.missing[i].shard.v == shard) {
            found = true;
            cr_assert_eq(answer.missing[i].reason, reason, "%s",
                         pr_reason_name(answer.missing[i].reason));
        }
    cr_assert(found, "shard %u is not missing", shard);
    pr_answer_fini(&answer);
}

Test(co_scatter, a_shard_that_nobody_holds_is_missing_at_once)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 3);
    fake_co_query(&f, "client", 1, 5, 60000);
    struct pr_search search = fake_co_take_search(&f, "w0");
    cr_assert_eq(search.shards_count, 3);
    score_all(&f, "w0", search.id.v, 1, 0, 3);
    expect_reason(&f, 3, PR_REASON_NO_WORKER);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

Test(co_scatter, a_full_queue_is_overload_and_the_others_go_on)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 2);
    f.deaf = test_peer("w1");
    f.deaf_why = CM_EBUSY;
    fake_co_query(&f, "client", 1, 5, 60000);
    struct pr_search search = fake_co_take_search(&f, "w0");
    score_all(&f, "w0", search.id.v, 1, 0, 2);
    expect_reason(&f, 2, PR_REASON_OVERLOAD);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_CANCEL), 0);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost"), 0);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

Test(co_scatter, a_worker_that_is_not_connected_is_lost_at_once)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 60000);
    struct pr_search one = fake_co_take_search(&f, "w0");
    score_all(&f, "w0", one.id.v, 1, 1, 3);
    f.deaf = test_peer("w0");
    f.deaf_why = CM_EUNAVAIL;
    fake_co_join(&f, "w1", 0, 3);
    fake_co_query(&f, "client", 2, 5, 60000); /* 0 and 2 of w1, the others of w0 */
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost worker=w0 why=\"not connected\""), 1);
    struct pr_search two = fake_co_take_search(&f, "w1");
    fake_co_score(&f, "w1", two.id.v, 0, 2, 5);
    fake_co_score(&f, "w1", two.id.v, 2, 2, 5);
    expect_shards(&two, (const uint32_t[]){0, 2}, 2);
    two = fake_co_take_search(&f, "w1"); /* what w0 had of query 1, and w1 holds */
    fake_co_score(&f, "w1", two.id.v, 0, 1, 5);
    expect_shards(&two, (const uint32_t[]){0}, 1);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, 0);
    pr_answer_fini(&answer);
    two = fake_co_take_search(&f, "w1"); /* and of query 2 */
    fake_co_score(&f, "w1", two.id.v, 1, 2, 5);
    expect_shards(&two, (const uint32_t[]){1}, 1);
    expect_reason(&f, 3, PR_REASON_WORKER_LOST);
    fake_co_query(&f, "client", 3, 5, 60000); /* the other is not asked any more */
    fake_co_take(&f, "w1", PR_SEARCH);
    cr_assert_eq(f.sent.count, 0);
    pr_search_fini(&one);
    fake_co_fini(&f);
}

Test(co_scatter, all_workers_may_be_gone)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    f.deaf = test_peer("w0");
    f.deaf_why = CM_EUNAVAIL;
    fake_co_query(&f, "client", 1, 5, 60000);
    expect_reason(&f, 3, PR_REASON_WORKER_LOST);
    fake_co_query(&f, "client", 2, 5, 60000);
    expect_reason(&f, 3, PR_REASON_NO_WORKER);
    cr_assert(co_idle(f.core));
    fake_co_fini(&f);
}

Test(co_scatter, a_lost_workers_credits_come_back)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_query(&f, "client", 1, 5, 60000);
    fake_co_query(&f, "client", 2, 5, 60000);
    fake_co_take(&f, "w0", PR_SEARCH);
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS);
    expect_reason(&f, 0, PR_REASON_WORKER_LOST);
    expect_reason(&f, 0, PR_REASON_NO_WORKER);
    cr_assert(co_idle(f.core));
    cr_assert_eq(co_next_wakeup_ns(f.core), UINT64_MAX);
    fake_co_fini(&f);
}
