/* test_retry.c: what one worker cannot answer, another that holds the shard is asked for. */
#include "proto/wire/positives.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, PID = 4, CAMID = 2 };

/* "w0" and "w1" both hold the whole gallery; two shards of query 1 are asked of each. */
struct scene {
    struct fake_co f;
    struct pr_search of_w0, of_w1;
};

static void scene_init(struct scene *s, uint32_t deadline_ms)
{
    fake_co_init(&s->f);
    fake_co_join(&s->f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&s->f, "w1", 0, FAKE_SHARDS);
    fake_co_query(&s->f, "client", 1, 5, deadline_ms);
    s->of_w0 = fake_co_take_search(&s->f, "w0");
    s->of_w1 = fake_co_take_search(&s->f, "w1");
    cr_assert_eq(s->of_w0.shards_count, 2);
    cr_assert_eq(s->of_w1.shards_count, 2);
}

static void score(struct scene *s, const char *node, const struct pr_search *search)
{
    for (size_t i = 0; i < search->shards_count; i++)
        fake_co_score(&s->f, node, search->id.v, search->shards[i].v, 1, 5);
}

/* The one answer is whole and right. */
static void expect_whole(struct scene *s)
{
    unsigned char all[IMAGES];
    struct cm_hit best[5];
    for (size_t i = 0; i < IMAGES; i++)
        all[i] = 1;
    struct pr_answer answer = fake_co_take_answer(&s->f, "client");
    cr_assert_eq(answer.missing_count, 0);
    cr_assert_eq(answer.images_scored, IMAGES);
    cr_assert_eq(answer.hits.count, fake_ranking(1, all, IMAGES, 5, best));
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(answer.hits.items[i].hit.image, best[i].image);
    pr_answer_fini(&answer);
    cr_assert(co_idle(s->f.core));
}

static void scene_fini(struct scene *s)
{
    cr_assert_eq(test_mailbox_count(&s->f.sent, "client", 0), 0);
    pr_search_fini(&s->of_w0);
    pr_search_fini(&s->of_w1);
    fake_co_fini(&s->f);
}

/* The survivor is asked for what the lost one still owed, and nothing else. */
Test(co_retry, a_lost_workers_shards_are_asked_of_another)
{
    struct scene s;
    scene_init(&s, 60000);
    fake_co_score(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[0].v, 1, 5);
    fake_co_disconnect(&s.f, "w0");
    struct pr_search again = fake_co_take_search(&s.f, "w1");
    cr_assert_eq(again.shards_count, 1);
    cr_assert_eq(again.shards[0].v, s.of_w0.shards[1].v);
    cr_assert_neq(again.id.v, s.of_w1.id.v, "one search id, two searches at one worker");
    score(&s, "w1", &again);
    score(&s, "w1", &s.of_w1);
    expect_whole(&s);
    pr_search_fini(&again);
    scene_fini(&s);
}

/* The lost one was only slow: back under its name it answers what it was once asked. That is late,
 * be the other done or not. */
Test(co_retry, the_former_workers_answer_does_not_count)
{
    struct scene s;
    scene_init(&s, 60000);
    fake_co_disconnect(&s.f, "w0");
    struct pr_search again = fake_co_take_search(&s.f, "w1");
    fake_co_join(&s.f, "w0", 0, FAKE_SHARDS);
    fake_co_score(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[0].v, 1, 5);
    fake_co_score(&s.f, "w0", again.id.v, again.shards[0].v, 1, 5);   /* it was not asked this */
    fake_co_score(&s.f, "w1", s.of_w0.id.v, again.shards[0].v, 1, 5); /* nor it that */
    score(&s, "w1", &s.of_w1);
    cr_assert_eq(test_mailbox_count(&s.f.sent, "client", 0), 0);
    score(&s, "w1", &again);
    expect_whole(&s);
    pr_search_fini(&again);
    scene_fini(&s);
}

Test(co_retry, a_declined_shard_is_asked_of_another)
{
    struct scene s;
    scene_init(&s, 60000);
    for (size_t i = 0; i < 2; i++) {
        fake_co_decline(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[i].v,
                        i ? PR_REASON_CORRUPT : PR_REASON_OVERLOAD);
        struct pr_search again = fake_co_take_search(&s.f, "w1");
        cr_assert_eq(again.shards_count, 1);
        score(&s, "w1", &again);
        pr_search_fini(&again);
    }
    score(&s, "w1", &s.of_w1);
    expect_whole(&s);
    scene_fini(&s);
}

/* Two workers that decline for ever do not keep a query for ever. */
Test(co_retry, tries_are_counted)
{
    struct scene s;
    struct pr_search search;
    unsigned tries = 0;
    scene_init(&s, 60000);
    score(&s, "w1", &s.of_w1);
    fake_co_score(&s.f, "w0", s.of_w0.id.v, s.of_w0.shards[0].v, 1, 5);
    uint64_t id = s.of_w0.id.v;
    for (const char *node = "w0"; !test_mailbox_count(&s.f.sent, "client", 0); tries++) {
        fake_co_decline(&s.f, node, id, s.of_w0.shards[1].v, PR_REASON_INTERNAL);
        node = node[1] == '0' ? "w1" : "w0";
        if (!test_mailbox_count(&s.f.sent, node, PR_SEARCH))
            continue;
        search = fake_co_take_search(&s.f, node);
        id = search.id.v;
        pr_search_fini(&search);
    }
    cr_assert(tries > 2 && tries <= 16, "%u tries", tries);
    struct pr_answer answer = fake_co_take_answer(&s.f, "client");
    cr_assert_eq(answer.missing_count, 1);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_INTERNAL);
    pr_answer_fini(&answer);
    scene_fini(&s);
}

/* The other has no credit left: the shards wait for it, until the deadline at most. */
Test(co_retry, waits_for_credit)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_join_with_credits(&f, "w1", 0, 3, 1);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search of_w0 = fake_co_take_search(&f, "w0");
    struct pr_search of_w1 = fake_co_take_search(&f, "w1");
    cr_assert_eq(of_w1.shards_count, 2);
    fake_co_disconnect(&f, "w0");
    cr_assert_eq(f.sent.count, 0, "w1 is full, and holds one of the two");
    for (size_t i = 0; i < 2; i++)
        fake_co_score(&f, "w1", of_w1.id.v, of_w1.shards[i].v, 1, 5);
    struct pr_search again = fake_co_take_search(&f, "w1");
    cr_assert_eq(again.shards_count, 1);
    cr_assert_eq(again.shards[0].v, 2);
    pr_search_fini(&again);
    fake_co_sleep(&f, 990 * FAKE_MS);
    fake_co_heartbeat(&f, "w1");
    fake_co_take(&f, "w1", PR_HEARTBEAT);
    fake_co_sleep(&f, 20 * FAKE_MS);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, 2);
    static const enum pr_reason reasons[] = {PR_REASON_DEADLINE, PR_REASON_WORKER_LOST};
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(answer.missing[i].reason, reasons[i], "%zu: %s", i,
                     pr_reason_name(answer.missing[i].reason));
    pr_answer_fini(&answer);
    fake_co_take(&f, "w1", PR_CANCEL);
    pr_search_fini(&of_w0);
    pr_search_fini(&of_w1);
    fake_co_fini(&f);
}

/* Waiting is no attempt: whatever happens meanwhile, the shards are asked for when there is credit.
 */
Test(co_retry, waiting_uses_up_no_tries)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_join_with_credits(&f, "w1", 0, FAKE_SHARDS, 1);
    fake_co_query(&f, "client", 1, 5, 60000);
    fake_co_take(&f, "w0", PR_SEARCH);
    struct pr_search of_w1 = fake_co_take_search(&f, "w1");
    fake_co_disconnect(&f, "w0");
    for (uint64_t i = 0; i < 40; i++)
        fake_co_query(&f, "other", i, 5, 60000); /* they wait, too */
    fake_co_disconnect(&f, "other");
    for (size_t i = 0; i < of_w1.shards_count; i++)
        fake_co_score(&f, "w1", of_w1.id.v, of_w1.shards[i].v, 1, 5);
    struct pr_search again = fake_co_take_search(&f, "w1");
    for (size_t i = 0; i < again.shards_count; i++)
        fake_co_score(&f, "w1", again.id.v, again.shards[i].v, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, 0);
    pr_answer_fini(&answer);
    pr_search_fini(&of_w1);
    pr_search_fini(&again);
    fake_co_fini(&f);
}

/* --- evaluations -------------------------------------------------------------------------------
 */

static void tell(struct fake_co *f, const char *node, const struct pr_measure *m, size_t i)
{
    struct cm_hit room[FAKE_SHARD_IMAGES];
    struct pr_buffer packed;
    struct pr_positives_message p = {
        .id = m->id, .shard = m->shards[i], .images = FAKE_SHARD_IMAGES};
    p.positives = (struct pr_positives){
        .items = room,
        .count = fake_positives(1, PID, CAMID, m->shards[i].v * FAKE_SHARD_IMAGES,
                                FAKE_SHARD_IMAGES, &p.census, room)};
    fake_co_get_packed(f, node, pr_positives_pack(&p, &packed, NULL), &packed, NULL);
}

/* Answers COUNT for these images of the shards `first` to `first + count - 1`. */
static void count(struct fake_co *f, const char *node, const struct pr_measure *m)
{
    struct pr_count c = fake_co_take_count(f, node);
    struct pr_counts sums[IMAGES] = {{0}};
    struct pr_buffer packed;
    cr_assert_eq(c.id.v, m->id.v);
    for (size_t i = 0; i < c.positives.count; i++)
        for (size_t s = 0; s < m->shards_count; s++) {
            struct pr_counts one = fake_counts(1, PID, CAMID, m->shards[s].v * FAKE_SHARD_IMAGES,
                                               FAKE_SHARD_IMAGES, &c.positives.items[i]);
            sums[i].higher += one.higher;
            sums[i].equal += one.equal;
            sums[i].equal_lower += one.equal_lower;
        }
    struct pr_counts_message message = {.id = m->id, .counts = {sums, c.positives.count}};
    fake_co_get_packed(f, node, pr_counts_pack(&message, &packed, NULL), &packed, NULL);
    pr_count_fini(&c);
}

/* Lost before it told of anything, a worker is replaced; the survivor counts for both searches. */
Test(co_retry, an_evaluation_goes_on_elsewhere)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    fake_co_evaluate(&f, "client", 1, PID, CAMID, false);
    struct pr_measure of_w0 = fake_co_take_measure(&f, "w0");
    struct pr_measure of_w1 = fake_co_take_measure(&f, "w1");
    tell(&f, "w1", &of_w1, 0);
    fake_co_disconnect(&f, "w0");
    struct pr_measure again = fake_co_take_measure(&f, "w1");
    cr_assert_eq(again.shards_count, 2);
    tell(&f, "w1", &again, 0);
    tell(&f, "w1", &again, 1);
    tell(&f, "w1", &of_w1, 1);
    count(&f, "w1", &of_w1);
    count(&f, "w1", &again);
    struct cm_hit all[IMAGES];
    struct pr_census census;
    size_t positives = fake_positives(1, PID, CAMID, 0, IMAGES, &census, all);
    struct pr_measured m = fake_co_take_measured(&f, "client");
    cr_assert_eq(m.missing_count, 0);
    cr_assert_eq(m.positives.count, positives);
    for (size_t i = 0; i < positives; i++) {
        struct pr_counts c = fake_counts(1, PID, CAMID, 0, IMAGES, &all[i]);
        cr_assert_eq(m.counts.items[i].higher, c.higher);
        cr_assert_eq(m.counts.items[i].equal, c.equal);
    }
    cr_assert(co_idle(f.core));
    pr_measured_fini(&m);
    pr_measure_fini(&of_w0);
    pr_measure_fini(&of_w1);
    pr_measure_fini(&again);
    fake_co_fini(&f);
}

/* One that had told of a shard takes its scores with it: then the client has to ask again. */
Test(co_retry, an_evaluation_does_not_go_on_without_scores)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    fake_co_evaluate(&f, "client", 1, PID, CAMID, false);
    struct pr_measure of_w0 = fake_co_take_measure(&f, "w0");
    fake_co_take(&f, "w1", PR_MEASURE);
    tell(&f, "w0", &of_w0, 0);
    fake_co_disconnect(&f, "w0");
    struct pr_measured m = fake_co_take_measured(&f, "client");
    cr_assert_eq(m.missing_count, 2);
    cr_assert_eq(m.missing[0].reason, PR_REASON_WORKER_LOST);
    fake_co_take(&f, "w1", PR_CANCEL);
    pr_measured_fini(&m);
    pr_measure_fini(&of_w0);
    fake_co_fini(&f);
}

/* Evaluations hold their credits until they are counted: one that would need another one of the
 * survivor's ends, or all would wait for each other for ever. */
Test(co_retry, evaluations_do_not_wait_for_credit)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 2);
    fake_co_join_with_credits(&f, "w1", 0, FAKE_SHARDS, 2);
    for (uint64_t i = 0; i < 2; i++)
        fake_co_evaluate(&f, "client", i, PID, CAMID, false);
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_MEASURE), 2);
    fake_co_disconnect(&f, "w0");
    struct pr_measured m = fake_co_take_measured(&f, "client");
    cr_assert_eq(m.id.v, 0);
    cr_assert_eq(m.missing_count, 2);
    cr_assert_eq(m.missing[0].reason, PR_REASON_OVERLOAD);
    pr_measured_fini(&m);
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_CANCEL), 1);
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_MEASURE), 3, "its credit serves the other");
    fake_co_fini(&f);
}

/* A worker that declined all that it was asked owes no counts, and is told to forget what it has.
 */
Test(co_retry, a_worker_without_shards_is_not_asked_to_count)
{
    struct fake_co f;
    struct pr_buffer packed;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&f, "w1", 0, FAKE_SHARDS);
    fake_co_evaluate(&f, "client", 1, PID, CAMID, false);
    struct pr_measure of_w0 = fake_co_take_measure(&f, "w0");
    struct pr_measure of_w1 = fake_co_take_measure(&f, "w1");
    for (size_t i = 0; i < 2; i++) {
        struct pr_positives_message p = {.id = of_w0.id,
                                         .shard = of_w0.shards[i],
                                         .reason = PR_REASON_CORRUPT,
                                         .images = FAKE_SHARD_IMAGES};
        fake_co_get_packed(&f, "w0", pr_positives_pack(&p, &packed, NULL), &packed, NULL);
        struct pr_measure again = fake_co_take_measure(&f, "w1");
        tell(&f, "w1", &again, 0);
        pr_measure_fini(&again);
    }
    cr_assert_eq(fake_co_take(&f, "w0", PR_CANCEL).id.v, of_w0.id.v);
    tell(&f, "w1", &of_w1, 0);
    tell(&f, "w1", &of_w1, 1);
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_COUNT), 3, "one for each search");
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", 0), 0);
    pr_measure_fini(&of_w0);
    pr_measure_fini(&of_w1);
    fake_co_fini(&f);
}
