/* test_results.c: a RESULT over several shards, some of which have their answer already. */
#include "coordinator/core.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <string.h>

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, K = 5, QUERY = 1000, USUAL_MS = 10 };

/* What a result is about: `count` shards from `first` on, in each of which the first `scored`
 * images were scored. */
struct said {
    uint32_t first, count;
    uint64_t scored;
    enum pr_reason reason;
};

static void say(struct fake_co *f, const char *node, uint64_t id, uint64_t query, struct said s)
{
    unsigned char covered[IMAGES] = {0};
    struct cm_hit best[IMAGES];
    struct pr_hit items[IMAGES];
    char names[IMAGES][FAKE_NAME_BYTES];
    struct pr_scored shards[FAKE_SHARDS];
    for (uint32_t i = 0; i < s.count; i++) {
        shards[i] = (struct pr_scored){{s.first + i}, s.scored, FAKE_SHARD_IMAGES, 0};
        memset(covered + (s.first + i) * FAKE_SHARD_IMAGES, 1, s.scored);
    }
    struct pr_result r = {.id = {id},
                          .reason = s.reason,
                          .shards = shards,
                          .shards_count = s.count,
                          .hits = {items, fake_ranking(query, covered, IMAGES, K, best), NULL}};
    for (size_t i = 0; i < r.hits.count; i++)
        items[i] = (struct pr_hit){best[i], fake_meta(best[i].image, names[i])};
    fake_co_result(f, node, &r);
}

static const struct said all = {0, FAKE_SHARDS, FAKE_SHARD_IMAGES, PR_REASON_NONE};

/* The answer to a query must rank the best of the gallery without the last `missing` shards. */
static void expect_best(struct fake_co *f, uint64_t query, uint32_t missing, enum pr_reason reason)
{
    unsigned char covered[IMAGES] = {0};
    struct cm_hit best[K];
    memset(covered, 1, (FAKE_SHARDS - missing) * FAKE_SHARD_IMAGES);
    struct pr_answer answer = fake_co_take_answer(f, "client");
    cr_assert_eq(answer.missing_count, missing);
    for (size_t i = 0; i < missing; i++)
        cr_assert_eq(answer.missing[i].reason, reason);
    cr_assert_eq(answer.images_scored, (FAKE_SHARDS - missing) * FAKE_SHARD_IMAGES);
    cr_assert_eq(answer.hits.count, fake_ranking(query, covered, IMAGES, K, best));
    for (size_t i = 0; i < K; i++) {
        char name[FAKE_NAME_BYTES];
        fake_meta(best[i].image, name);
        cr_assert_eq(answer.hits.items[i].hit.image, best[i].image, "rank %zu", i);
        cr_assert_str_eq(answer.hits.items[i].meta.name, name);
    }
    pr_answer_fini(&answer);
}

Test(co_results, one_may_answer_all_shards)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, K, 60000);
    say(&f, "w0", fake_co_take(&f, "w0", PR_SEARCH).id.v, 1, all);
    expect_best(&f, 1, 0, PR_REASON_NONE);
    fake_co_fini(&f);
}

/* All of it is somebody's garbage, or none. */
Test(co_results, one_bad_shard_or_hit_spoils_it)
{
    struct fake_co f;
    struct pr_hit hit = {{1.0f, 3 * FAKE_SHARD_IMAGES}, {.name = "x"}};
    struct pr_scored shards[] = {{{0}, FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES, 0},
                                 {{2}, FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES, 0}};
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, K, 60000);
    struct pr_result r = {.id = fake_co_take(&f, "w0", PR_SEARCH).id,
                          .shards = shards,
                          .shards_count = 2,
                          .hits = {&hit, 1, NULL}};
    static const uint64_t outside[] = {10, 19, 30, UINT64_C(1) << 39};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        hit.hit.image = outside[i]; /* in shards 1 and 3, and in none */
        fake_co_result(&f, "w0", &r);
    }
    cr_assert_eq(fake_co_logged(&f, "image 10, which is not in shard 0 or the others"), 1);
    hit.hit.image = 0;
    shards[1].images_scored = shards[1].images = FAKE_SHARD_IMAGES + 1;
    fake_co_result(&f, "w0", &r);
    shards[1] = (struct pr_scored){{FAKE_SHARDS}, 1, 1, 0};
    fake_co_result(&f, "w0", &r);
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 9);
    struct pr_status status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.counters.garbage, 6);
    pr_status_fini(&status);
    say(&f, "w0", r.id.v, 1, all);
    expect_best(&f, 1, 0, PR_REASON_NONE);
    fake_co_fini(&f);
}

static const struct co_pace *pace_of(const struct fake_co *f, uint32_t member)
{
    return &f->core->members.slots[member].pace;
}

/* However many shards come together: a slow one would condemn a worker at once. */
Test(co_results, one_share_is_timed_once)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    for (uint64_t query = 1; query <= 3; query++) {
        fake_co_query(&f, "client", query, K, 60000);
        uint64_t id = fake_co_take(&f, "w0", PR_SEARCH).id.v;
        fake_co_sleep(&f, 10 * FAKE_MS);
        say(&f, "w0", id, query, (struct said){2, 2, FAKE_SHARD_IMAGES, PR_REASON_NONE});
        cr_assert_eq(pace_of(&f, 0)->shares, query - 1, "it owes two still");
        fake_co_sleep(&f, 10 * FAKE_MS);
        say(&f, "w0", id, query, (struct said){0, 2, FAKE_SHARD_IMAGES, PR_REASON_NONE});
        cr_assert_eq(pace_of(&f, 0)->shares, query);
        cr_assert_eq(f.core->members.slots[0].latency.total, 16 * FAKE_SHARDS * query,
                     "but each shard's answer is one");
        expect_best(&f, query, 0, PR_REASON_NONE);
    }
    fake_co_fini(&f);
}

/* --- two workers at the same shards ----------------------------------------------------------- */

/* "w0" and "w1" hold all; shards 0 and 2 of query 1000 are asked of w0, and, since they are late,
 * of w1 too. */
struct race {
    struct fake_co f;
    uint64_t of_w0, of_w1, again;
};

static uint64_t take_id(struct race *r, const char *node)
{
    return fake_co_take(&r->f, node, PR_SEARCH).id.v;
}

/* Half of each query to each; w0 gets the even shards. */
static void ask(struct race *r, uint64_t query)
{
    fake_co_query(&r->f, "client", query, K, 60000);
    r->of_w0 = take_id(r, "w0");
    r->of_w1 = take_id(r, "w1");
}

static void score_odd(struct race *r, uint64_t query)
{
    fake_co_score(&r->f, "w1", r->of_w1, 1, query, K);
    fake_co_score(&r->f, "w1", r->of_w1, 3, query, K);
}

static void race_init(struct race *r)
{
    fake_co_init(&r->f);
    fake_co_join(&r->f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&r->f, "w1", 0, FAKE_SHARDS);
    for (uint64_t query = 1; query <= 30; query++) {
        ask(r, query);
        fake_co_sleep(&r->f, USUAL_MS * FAKE_MS);
        fake_co_score(&r->f, "w0", r->of_w0, 0, query, K);
        fake_co_score(&r->f, "w0", r->of_w0, 2, query, K);
        score_odd(r, query);
        expect_best(&r->f, query, 0, PR_REASON_NONE);
    }
    ask(r, QUERY);
    score_odd(r, QUERY);
    fake_co_sleep(&r->f, 12 * FAKE_MS);
    r->again = take_id(r, "w1");
}

/* Both even shards in one RESULT, as a worker sends it. */
static void say_even(struct race *r, const char *node, uint64_t id)
{
    unsigned char covered[IMAGES] = {0};
    struct cm_hit best[K];
    struct pr_hit items[K];
    char names[K][FAKE_NAME_BYTES];
    struct pr_scored shards[] = {{{0}, FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES, 0},
                                 {{2}, FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES, 0}};
    memset(covered, 1, FAKE_SHARD_IMAGES);
    memset(covered + 2 * FAKE_SHARD_IMAGES, 1, FAKE_SHARD_IMAGES);
    struct pr_result m = {.id = {id},
                          .shards = shards,
                          .shards_count = 2,
                          .hits = {items, fake_ranking(QUERY, covered, IMAGES, K, best), NULL}};
    for (size_t i = 0; i < m.hits.count; i++)
        items[i] = (struct pr_hit){best[i], fake_meta(best[i].image, names[i])};
    fake_co_result(&r->f, node, &m);
}

/* The other was first with one of them: its images count once, and the other shard counts. */
Test(co_results, a_shard_that_has_its_answer_is_taken_out)
{
    for (uint32_t first = 0; first <= 2; first += 2) {
        struct race r;
        race_init(&r);
        fake_co_score(&r.f, "w1", r.again, first, QUERY, K);
        say_even(&r, "w0", r.of_w0);
        cr_assert_eq(fake_co_take(&r.f, "w1", PR_CANCEL).id.v, r.again);
        expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
        fake_co_fini(&r.f);
    }
}

Test(co_results, a_second_one_for_the_same_shards_changes_nothing)
{
    struct race r;
    fake_co_init(&r.f);
    fake_co_join(&r.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&r.f, "w1", 0, FAKE_SHARDS);
    ask(&r, QUERY);
    say_even(&r, "w0", r.of_w0);
    say_even(&r, "w0", r.of_w0);
    cr_assert_eq(r.f.sent.count, 0);
    score_odd(&r, QUERY);
    expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
    fake_co_fini(&r.f);
}

/* A shard that was not asked of who answers for it: nothing of it counts. */
Test(co_results, who_was_not_asked_for_all_of_it_is_not_heard)
{
    struct race r;
    race_init(&r);
    say(&r.f, "w0", r.of_w0, QUERY, all);
    cr_assert_eq(r.f.sent.count, 0);
    say_even(&r, "w0", r.of_w0);
    cr_assert_eq(fake_co_take(&r.f, "w1", PR_CANCEL).id.v, r.again);
    expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
    fake_co_fini(&r.f);
}

/* The deadline has cut w1 off at one of two shards, but w0 had it whole, and its RESULT was on its
 * way: the whole answer counts in place of the other, each image once. */
Test(co_results, a_whole_shard_counts_in_place_of_a_part)
{
    for (uint64_t scored = 0; scored < FAKE_SHARD_IMAGES; scored += 3) {
        struct race r;
        race_init(&r);
        say(&r.f, "w1", r.again, QUERY, (struct said){2, 1, scored, PR_REASON_DEADLINE});
        say_even(&r, "w0", r.of_w0);
        cr_assert_eq(test_mailbox_count(&r.f.sent, "w1", PR_CANCEL), 1);
        cr_assert_eq(fake_co_take(&r.f, "w1", PR_CANCEL).id.v, r.again);
        cr_assert_eq(r.f.core->counters.hedges_won, 0);
        expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
        fake_co_fini(&r.f);
    }
}

/* It takes its overflowed scores with it, and wins its race once. */
Test(co_results, a_whole_shard_takes_the_place_of_ones_own_part)
{
    struct race r;
    race_init(&r);
    struct pr_scored scored = {{2}, 4, FAKE_SHARD_IMAGES, 3};
    struct pr_result part = {
        .id = {r.again}, .reason = PR_REASON_DEADLINE, .shards = &scored, .shards_count = 1};
    fake_co_result(&r.f, "w1", &part);
    say_even(&r, "w1", r.again);
    cr_assert_eq(fake_co_take(&r.f, "w0", PR_CANCEL).id.v, r.of_w0);
    cr_assert_eq(r.f.core->counters.hedges_won, 2);
    struct test_message *m = test_mailbox_take(&r.f.sent, "client", PR_ANSWER);
    struct pr_answer answer;
    struct cm_error e;
    cr_assert_eq(pr_answer_unpack(m->header, &answer, &e), CM_OK, "%s", e.text);
    cr_assert_eq(answer.overflowed, 0);
    cr_assert_eq(answer.images_scored, IMAGES);
    pr_answer_fini(&answer);
    test_message_free(m);
    fake_co_fini(&r.f);
}

/* The one who was cut off is gone, and a newcomer has its number: it is neither timed nor told to
 * stop. */
Test(co_results, a_newcomer_does_not_stand_in_for_who_is_gone)
{
    struct race r;
    race_init(&r);
    say(&r.f, "w1", r.again, QUERY, (struct said){2, 1, 0, PR_REASON_DEADLINE});
    fake_co_disconnect(&r.f, "w1");
    fake_co_join(&r.f, "w9", 0, FAKE_SHARDS);
    test_mailbox_clear(&r.f.sent);
    cr_assert_str_eq(r.f.core->members.slots[1].hello.node, "w9");
    say_even(&r, "w0", r.of_w0);
    cr_assert_eq(test_mailbox_count(&r.f.sent, "w9", PR_CANCEL), 0);
    cr_assert_eq(pace_of(&r.f, 1)->shares, 0);
    cr_assert_eq(r.f.core->members.slots[1].latency.total, 0);
    expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
    fake_co_fini(&r.f);
}

/* But a part takes nothing's place. */
Test(co_results, a_part_does_not_count_in_place_of_anything)
{
    struct race r;
    race_init(&r);
    say_even(&r, "w0", r.of_w0);
    cr_assert_eq(fake_co_take(&r.f, "w1", PR_CANCEL).id.v, r.again);
    say(&r.f, "w1", r.again, QUERY, (struct said){2, 1, 4, PR_REASON_DEADLINE});
    expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
    fake_co_fini(&r.f);
}

/* --- shards that are declined together -------------------------------------------------------- */

Test(co_results, shards_declined_together_are_asked_of_another_together)
{
    struct race r;
    struct pr_scored shards[] = {{{0}, 0, FAKE_SHARD_IMAGES, 0}, {{2}, 0, FAKE_SHARD_IMAGES, 0}};
    fake_co_init(&r.f);
    fake_co_join(&r.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&r.f, "w1", 0, FAKE_SHARDS);
    ask(&r, QUERY);
    struct pr_result declined = {
        .id = {r.of_w0}, .reason = PR_REASON_OVERLOAD, .shards = shards, .shards_count = 2};
    fake_co_result(&r.f, "w0", &declined);
    struct pr_search again = fake_co_take_search(&r.f, "w1");
    cr_assert_eq(again.shards_count, 2);
    say_even(&r, "w1", again.id.v);
    score_odd(&r, QUERY);
    expect_best(&r.f, QUERY, 0, PR_REASON_NONE);
    pr_search_fini(&again);
    fake_co_fini(&r.f);
}

/* Shards of which nothing was scored by the deadline say so together. */
Test(co_results, shards_may_be_missing_together)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, K, 60000);
    uint64_t id = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    say(&f, "w0", id, 1, (struct said){2, 2, 0, PR_REASON_DEADLINE});
    say(&f, "w0", id, 1, (struct said){0, 2, FAKE_SHARD_IMAGES, PR_REASON_NONE});
    expect_best(&f, 1, 2, PR_REASON_DEADLINE);
    fake_co_fini(&f);
}
