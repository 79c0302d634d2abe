/* test_hedge.c: a shard whose answer is late is asked of a second worker, and the first answer
 * counts. What happens to a worker that is slow as a whole stands in test_lateness.c. */
#include "coordinator/core.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, USUAL_MS = 10, WARM_UP = 30 };

/* "w0" and "w1" both hold the whole gallery, and took USUAL_MS each for a while; the p95 of that is
 * less than a millisecond more. Then two shards of query 1000 are asked of each. */
struct scene {
    struct fake_co f;
    struct pr_search of_w0, of_w1;
};

static void score(struct scene *s, const char *node, const struct pr_search *search, uint64_t query)
{
    for (size_t i = 0; i < search->shards_count; i++)
        fake_co_score(&s->f, node, search->id.v, search->shards[i].v, query, 5);
}

static void take_answer(struct scene *s, uint64_t query)
{
    unsigned char all[IMAGES];
    struct cm_hit best[5];
    for (size_t i = 0; i < IMAGES; i++)
        all[i] = 1;
    struct pr_answer answer = fake_co_take_answer(&s->f, "client");
    cr_assert_eq(answer.id.v, query);
    cr_assert_eq(answer.missing_count, 0);
    cr_assert_eq(answer.images_scored, IMAGES);
    cr_assert_eq(answer.hits.count, fake_ranking(query, all, IMAGES, 5, best));
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(answer.hits.items[i].hit.image, best[i].image);
    pr_answer_fini(&answer);
}

/* A query is dispatched: half of it to each. */
static void ask(struct scene *s, uint64_t query)
{
    fake_co_query(&s->f, "client", query, 5, 60000);
    s->of_w0 = fake_co_take_search(&s->f, "w0");
    s->of_w1 = fake_co_take_search(&s->f, "w1");
    cr_assert_eq(s->of_w0.shards_count, 2);
    cr_assert_eq(s->of_w1.shards_count, 2);
}

static void forget(struct scene *s)
{
    pr_search_fini(&s->of_w0);
    pr_search_fini(&s->of_w1);
}

static void warm_up(struct scene *s)
{
    for (uint64_t query = 1; query <= WARM_UP; query++) {
        ask(s, query);
        fake_co_sleep(&s->f, USUAL_MS * FAKE_MS);
        score(s, "w0", &s->of_w0, query);
        score(s, "w1", &s->of_w1, query);
        take_answer(s, query);
        forget(s);
    }
    cr_assert_eq(s->f.sent.count, 0);
}

static void scene_init(struct scene *s)
{
    fake_co_init(&s->f);
    fake_co_join(&s->f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&s->f, "w1", 0, FAKE_SHARDS);
    warm_up(s);
    ask(s, 1000);
}

/* w1 answers in time, and w0 does not; w1 has been asked for its shards. */
static struct pr_search scene_hedge(struct scene *s)
{
    scene_init(s);
    fake_co_sleep(&s->f, USUAL_MS * FAKE_MS);
    score(s, "w1", &s->of_w1, 1000);
    cr_assert_eq(s->f.sent.count, 0, "asked before it was late");
    fake_co_sleep(&s->f, 2 * FAKE_MS);
    struct pr_search again = fake_co_take_search(&s->f, "w1");
    cr_assert_neq(again.id.v, s->of_w1.id.v, "one search id, two searches at one worker");
    cr_assert_eq(again.shards_count, 2);
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(again.shards[i].v, s->of_w0.shards[i].v);
    cr_assert_eq(s->f.sent.count, 0);
    return again;
}

static void expect_hedges(struct scene *s, uint64_t hedges, uint64_t won)
{
    fake_co_control(&s->f, "watcher", PR_STATUS_REQUEST, 1);
    struct pr_status status = fake_co_take_status(&s->f, "watcher");
    cr_assert_eq(status.counters.hedges, hedges, "%lu hedges", status.counters.hedges);
    cr_assert_eq(status.counters.hedges_won, won, "%lu won", status.counters.hedges_won);
    pr_status_fini(&status);
}

static void scene_fini(struct scene *s, struct pr_search *again)
{
    cr_assert(co_idle(s->f.core));
    cr_assert_eq(s->f.sent.count, 0);
    forget(s);
    if (again)
        pr_search_fini(again);
    fake_co_fini(&s->f);
}

static uint64_t take_cancel(struct scene *s, const char *node)
{
    return fake_co_take(&s->f, node, PR_CANCEL).id.v;
}

Test(co_hedge, the_second_workers_answer_counts_if_it_is_first)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    score(&s, "w1", &again, 1000);
    cr_assert_eq(take_cancel(&s, "w0"), s.of_w0.id.v);
    take_answer(&s, 1000);
    score(&s, "w0", &s.of_w0, 1000); /* too late */
    expect_hedges(&s, 2, 2);
    scene_fini(&s, &again);
}

Test(co_hedge, the_first_workers_answer_counts_if_it_is_first)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    score(&s, "w0", &s.of_w0, 1000);
    cr_assert_eq(take_cancel(&s, "w1"), again.id.v);
    take_answer(&s, 1000);
    score(&s, "w1", &again, 1000);
    expect_hedges(&s, 2, 0);
    scene_fini(&s, &again);
}

/* Each worker has one of the two shards first. Who owes another one is not told to stop before that
 * has come, and then it is, since it may be at the first one still; what it says of the shard that
 * is answered is refused. */
Test(co_hedge, each_shard_has_its_own_first_answer)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    fake_co_score(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[0].v, 1000, 5);
    fake_co_score(&s.f, "w1", again.id.v, again.shards[0].v, 1000, 5);
    cr_assert_eq(s.f.sent.count, 0);
    cr_assert_eq(fake_co_logged(&s.f, "event=result_dropped"), 1);
    fake_co_score(&s.f, "w1", again.id.v, again.shards[1].v, 1000, 5);
    cr_assert_eq(take_cancel(&s, "w0"), s.of_w0.id.v);
    cr_assert_eq(take_cancel(&s, "w1"), again.id.v);
    take_answer(&s, 1000);
    expect_hedges(&s, 2, 1);
    scene_fini(&s, &again);
}

/* Under its first id the second worker was asked for other shards. */
Test(co_hedge, an_answer_under_another_id_is_refused)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    fake_co_score(&s.f, "w1", s.of_w1.id.v, again.shards[0].v, 1000, 5);
    fake_co_score(&s.f, "w0", again.id.v, again.shards[0].v, 1000, 5);
    cr_assert_eq(s.f.sent.count, 0);
    score(&s, "w1", &again, 1000);
    take_cancel(&s, "w0");
    take_answer(&s, 1000);
    scene_fini(&s, &again);
}

Test(co_hedge, a_lost_first_worker_leaves_the_shard_to_the_second)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    fake_co_disconnect(&s.f, "w0");
    cr_assert_eq(s.f.sent.count, 0, "asked a third time");
    score(&s, "w1", &again, 1000);
    take_answer(&s, 1000);
    scene_fini(&s, &again);
}

Test(co_hedge, a_lost_second_worker_leaves_the_shard_to_the_first)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    fake_co_disconnect(&s.f, "w1");
    fake_co_sleep(&s.f, 100 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0);
    score(&s, "w0", &s.of_w0, 1000);
    take_answer(&s, 1000);
    scene_fini(&s, &again);
}

/* Lost one after the other: then nobody has it, and the answer says so. */
Test(co_hedge, both_workers_lost_lose_the_shard_once)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    fake_co_disconnect(&s.f, "w1");
    fake_co_disconnect(&s.f, "w0");
    struct pr_answer answer = fake_co_take_answer(&s.f, "client");
    cr_assert_eq(answer.missing_count, 2);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_WORKER_LOST);
    cr_assert_eq(answer.images_scored, IMAGES / 2);
    pr_answer_fini(&answer);
    scene_fini(&s, &again);
}

/* One who cannot is no answer while the other may. */
Test(co_hedge, a_second_worker_that_declines_changes_nothing)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    for (size_t i = 0; i < 2; i++) {
        fake_co_decline(&s.f, "w1", again.id.v, again.shards[i].v, PR_REASON_OVERLOAD);
    }
    fake_co_sleep(&s.f, 500 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0, "asked of the one that declined");
    score(&s, "w0", &s.of_w0, 1000);
    take_answer(&s, 1000);
    scene_fini(&s, &again);
}

/* The second one was first with one shard, and the first one declines the other: it may be at the
 * one that was answered still. */
Test(co_hedge, one_that_declines_its_last_shard_is_told_to_stop)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    fake_co_score(&s.f, "w1", again.id.v, again.shards[0].v, 1000, 5);
    cr_assert_eq(s.f.sent.count, 0);
    fake_co_decline(&s.f, "w0", s.of_w0.id.v, again.shards[1].v, PR_REASON_OVERLOAD);
    cr_assert_eq(take_cancel(&s, "w0"), s.of_w0.id.v);
    fake_co_score(&s.f, "w1", again.id.v, again.shards[1].v, 1000, 5);
    take_answer(&s, 1000);
    scene_fini(&s, &again);
}

/* A query's search ids are spent: the next one would be another query's. */
Test(co_hedge, nobody_is_asked_without_a_search_id)
{
    struct scene s;
    scene_init(&s);
    s.f.core->open.head->attempts = CO_ATTEMPTS_MAX;
    fake_co_sleep(&s.f, FAKE_HEARTBEAT_NS * 19 / 10);
    fake_co_heartbeat(&s.f, "w1");
    fake_co_take(&s.f, "w1", PR_HEARTBEAT);
    fake_co_sleep(&s.f, FAKE_HEARTBEAT_NS * 4 / 10);
    cr_assert_eq(fake_co_logged(&s.f, "event=worker_demoted worker=w0 why=\"silent\""), 1);
    cr_assert_eq(s.f.sent.count, 0);
    expect_hedges(&s, 0, 0);
    score(&s, "w0", &s.of_w0, 1000);
    score(&s, "w1", &s.of_w1, 1000);
    take_answer(&s, 1000);
    scene_fini(&s, NULL);
}

/* At the deadline all who were asked are told to stop, and what there is, is answered. */
Test(co_hedge, the_deadline_ends_both)
{
    struct scene s;
    struct pr_search again = scene_hedge(&s);
    for (int i = 0; i < 60; i++) {
        fake_co_heartbeat(&s.f, "w0");
        fake_co_heartbeat(&s.f, "w1");
        fake_co_take(&s.f, "w0", PR_HEARTBEAT);
        fake_co_take(&s.f, "w1", PR_HEARTBEAT);
        fake_co_sleep(&s.f, 1000 * FAKE_MS);
    }
    cr_assert_eq(take_cancel(&s, "w0"), s.of_w0.id.v);
    cr_assert_eq(take_cancel(&s, "w1"), again.id.v);
    struct pr_answer answer = fake_co_take_answer(&s.f, "client");
    cr_assert_eq(answer.missing_count, 2);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_DEADLINE);
    pr_answer_fini(&answer);
    scene_fini(&s, &again);
}

/* Evaluations count each shard where they first asked for it, however long that takes. */
Test(co_hedge, evaluations_are_not_hedged)
{
    struct scene s;
    scene_init(&s);
    fake_co_evaluate(&s.f, "client", 1001, 4, 2, false);
    fake_co_take(&s.f, "w0", PR_MEASURE);
    fake_co_take(&s.f, "w1", PR_MEASURE);
    score(&s, "w0", &s.of_w0, 1000);
    score(&s, "w1", &s.of_w1, 1000);
    take_answer(&s, 1000);
    fake_co_sleep(&s.f, 1900 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0);
    fake_co_disconnect(&s.f, "client");
    take_cancel(&s, "w0");
    take_cancel(&s, "w1");
    scene_fini(&s, NULL);
}

/* With too few answers known nobody can say what is late. */
Test(co_hedge, nothing_is_late_before_the_usual_is_known)
{
    struct scene s;
    fake_co_init(&s.f);
    fake_co_join(&s.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&s.f, "w1", 0, FAKE_SHARDS);
    ask(&s, 1);
    fake_co_sleep(&s.f, 1900 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0);
    score(&s, "w0", &s.of_w0, 1);
    score(&s, "w1", &s.of_w1, 1);
    take_answer(&s, 1);
    scene_fini(&s, NULL);
}

Test(co_hedge, can_be_turned_off)
{
    struct scene s;
    fake_co_init_unhedged(&s.f);
    fake_co_join(&s.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&s.f, "w1", 0, FAKE_SHARDS);
    warm_up(&s);
    ask(&s, 1000);
    fake_co_sleep(&s.f, 1900 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0);
    score(&s, "w0", &s.of_w0, 1000);
    score(&s, "w1", &s.of_w1, 1000);
    take_answer(&s, 1000);
    scene_fini(&s, NULL);
}

/* The second worker has no credit: it is asked when it has, if that still helps. */
Test(co_hedge, waits_for_credit)
{
    struct scene s;
    fake_co_init(&s.f);
    fake_co_join_with_credits(&s.f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_join_with_credits(&s.f, "w1", 0, FAKE_SHARDS, 1);
    warm_up(&s);
    ask(&s, 1000);
    fake_co_sleep(&s.f, 15 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0, "w1 is full");
    score(&s, "w1", &s.of_w1, 1000);
    fake_co_sleep(&s.f, 30 * FAKE_MS);
    struct pr_search again = fake_co_take_search(&s.f, "w1");
    score(&s, "w1", &again, 1000);
    take_cancel(&s, "w0");
    take_answer(&s, 1000);
    scene_fini(&s, &again);
}

/* One shard waits for credit because a worker declined it, another is late, and nobody has credit
 * for it either: both wait, and nothing goes round in circles. */
Test(co_hedge, a_late_shard_and_a_homeless_one_wait_together)
{
    struct scene s;
    fake_co_init(&s.f);
    fake_co_join_with_credits(&s.f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_join_with_credits(&s.f, "w1", 0, FAKE_SHARDS, 1);
    warm_up(&s);
    ask(&s, 1000);
    fake_co_decline(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[0].v, PR_REASON_OVERLOAD);
    fake_co_sleep(&s.f, 15 * FAKE_MS);
    cr_assert_eq(s.f.sent.count, 0, "w1 is full");
    score(&s, "w1", &s.of_w1, 1000);
    struct pr_search again = fake_co_take_search(&s.f, "w1");
    cr_assert_eq(again.shards_count, 1);
    score(&s, "w1", &again, 1000);
    fake_co_score(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[1].v, 1000, 5);
    test_mailbox_clear(&s.f.sent);
    pr_search_fini(&again);
    cr_assert(co_idle(s.f.core));
    scene_fini(&s, NULL);
}

/* One more query. Nine in a row are late as a whole, and then none for a while: so few that their
 * times do not become the usual ones, so many that twice as much would be asked as may be. */
static void ask_one_more(struct scene *s, uint64_t query)
{
    bool is_late = query % 200 >= 100 && query % 200 < 109;
    ask(s, query);
    fake_co_sleep(&s->f, (is_late ? 2u : 1u) * USUAL_MS * FAKE_MS);
    score(s, "w0", &s->of_w0, query);
    score(s, "w1", &s->of_w1, query);
    take_answer(s, query);
    test_mailbox_clear(&s->f.sent); /* hedges, and their CANCELs */
    forget(s);
}

Test(co_hedge, at_most_one_in_twenty_over_ten_thousand_shard_requests)
{
    struct scene s;
    uint64_t hedges = 0;
    fake_co_init(&s.f);
    fake_co_join(&s.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&s.f, "w1", 0, FAKE_SHARDS);
    for (uint64_t query = 1; query <= 2500; query++) {
        ask_one_more(&s, query);
        fake_co_control(&s.f, "watcher", PR_STATUS_REQUEST, 1);
        struct pr_status status = fake_co_take_status(&s.f, "watcher");
        hedges = status.counters.hedges;
        pr_status_fini(&status);
        cr_assert(20 * hedges <= 4 * query, "%lu hedges after %lu queries", hedges, query);
    }
    cr_assert(hedges >= 40, "only %lu hedges", hedges);
    cr_assert_eq(fake_co_logged(&s.f, "event=worker_demoted"), 0);
    s.of_w0 = s.of_w1 = (struct pr_search){.k = 0};
    scene_fini(&s, NULL);
}
