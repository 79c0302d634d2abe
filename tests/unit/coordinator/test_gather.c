/* test_gather.c: results become one ranking, and what is missing is said. */
#include "coordinator/gather.h"
#include "tests/support/fake_co.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES };

/* One worker with all shards, and query 1 open at it. */
struct asked {
    struct fake_co f;
    uint64_t id; /* the coordinator's */
};

static void asked_init(struct asked *a, uint32_t k, uint32_t deadline_ms)
{
    fake_co_init(&a->f);
    fake_co_join(&a->f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&a->f, "client", 1, k, deadline_ms);
    a->id = fake_co_take(&a->f, "w0", PR_SEARCH).id.v;
}

static void expect_garbage(struct asked *a, uint64_t garbage)
{
    fake_co_control(&a->f, "watcher", PR_STATUS_REQUEST, 1);
    struct pr_status status = fake_co_take_status(&a->f, "watcher");
    cr_assert_eq(status.counters.garbage, garbage, "garbage is %lu", status.counters.garbage);
    pr_status_fini(&status);
    cr_assert_eq(test_mailbox_count(&a->f.sent, "client", 0), 0, "the query is still open");
}

static void expect_ranking(const struct pr_answer *answer, uint64_t query,
                           const unsigned char covered[IMAGES], size_t k)
{
    struct cm_hit expected[IMAGES];
    size_t count = fake_ranking(query, covered, IMAGES, k, expected);
    cr_assert_eq(answer->hits.count, count, "%zu hits, %zu expected", answer->hits.count, count);
    for (size_t i = 0; i < count; i++) {
        const struct pr_hit *hit = &answer->hits.items[i];
        char name[FAKE_NAME_BYTES];
        struct cm_image_meta meta = fake_meta(expected[i].image, name);
        cr_assert_eq(hit->hit.image, expected[i].image, "rank %zu", i);
        cr_assert(hit->hit.score == expected[i].score, "rank %zu", i);
        cr_assert_str_eq(hit->meta.name, name);
        cr_assert_eq(hit->meta.pid, meta.pid);
        cr_assert_eq(hit->meta.camid, meta.camid);
    }
}

/* One query over four shards that come in a random order. */
static void merge_once(struct fake_co *f, uint64_t query, struct test_random *seed)
{
    unsigned char all[IMAGES];
    memset(all, 1, sizeof all);
    uint32_t order[FAKE_SHARDS] = {0, 1, 2, 3}, k = 1 + (uint32_t)test_random_below(seed, IMAGES);
    for (uint32_t i = FAKE_SHARDS - 1; i > 0; i--) {
        uint32_t j = (uint32_t)test_random_below(seed, i + 1), keep = order[i];
        order[i] = order[j];
        order[j] = keep;
    }
    fake_co_query(f, "client", query, k, 1000);
    uint64_t id = fake_co_take(f, "w0", PR_SEARCH).id.v;
    fake_co_take(f, "w1", PR_SEARCH);
    for (uint32_t i = 0; i < FAKE_SHARDS; i++)
        fake_co_score(f, order[i] < 2 ? "w0" : "w1", id, order[i], query, k);
    struct pr_answer answer = fake_co_take_answer(f, "client");
    cr_assert_eq(answer.images_scored, IMAGES);
    cr_assert_eq(answer.shards_scored, FAKE_SHARDS);
    expect_ranking(&answer, query, all, k);
    pr_answer_fini(&answer);
}

Test(co_gather, merges_to_the_ranking_of_all_images)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 2);
    struct test_random seed = {3};
    for (uint64_t query = 1; query <= 200; query++)
        merge_once(&f, query, &seed);
    fake_co_fini(&f);
}

/* A result's hits over `images` images of shard `shard`, any split of the gallery. */
static void take_split(struct co_gather *g, uint64_t query, uint32_t shard, uint64_t first,
                       uint64_t count)
{
    unsigned char covered[IMAGES] = {0};
    struct cm_hit best[IMAGES];
    struct pr_hit items[IMAGES];
    char names[IMAGES][FAKE_NAME_BYTES];
    struct cm_error e;
    memset(covered + first, 1, count);
    struct pr_scored scored = {.shard = {shard}, .images_scored = count, .images = count};
    struct pr_result result = {
        .shards = &scored,
        .shards_count = 1,
        .hits = {items, fake_ranking(query, covered, IMAGES, g->k, best), NULL},
    };
    for (size_t i = 0; i < result.hits.count; i++)
        items[i] = (struct pr_hit){best[i], fake_meta(best[i].image, names[i])};
    cr_assert_eq(co_gather_on_result(g, "c", &result, &e), CM_OK, "%s", e.text);
}

static void split_once(struct test_random *seed)
{
    struct co_gather *g;
    struct cm_error e;
    struct cm_peer client = test_peer("client");
    struct pr_query query =
        fake_query(test_random_below(seed, 1000), 1 + (uint32_t)test_random_below(seed, 50), 9);
    struct cm_blob *map = fake_map(1);
    cr_assert_eq(co_gather_new(&g, &query, &client, map, 5, &e), CM_OK);
    uint64_t cuts[IMAGES + 1] = {0};
    uint32_t shards = 0;
    while (cuts[shards] < IMAGES) {
        cuts[shards + 1] = cuts[shards] + 1 + test_random_below(seed, IMAGES - cuts[shards]);
        shards++;
    }
    uint32_t part;
    cr_assert_eq(co_gather_open(g, shards, 5, &e), CM_OK);
    cr_assert_eq(co_gather_add_part(g, 0, &part, &e), CM_OK);
    for (uint32_t s = 0; s < shards; s++) {
        g->slots[s].images = cuts[s + 1] - cuts[s];
        co_gather_assign(g, s, part);
    }
    for (uint32_t s = 0; s < shards; s++) /* any order that visits each once */
        take_split(g, query.id.v, shards - 1 - s, cuts[shards - 1 - s],
                   cuts[shards - s] - cuts[shards - 1 - s]);
    cr_assert_eq(g->slots_open, 0);
    unsigned char all[IMAGES];
    memset(all, 1, sizeof all);
    struct pr_answer answer;
    cr_assert_eq(co_gather_answer(g, IMAGES, &answer, &e), CM_OK);
    cr_assert_eq(answer.images_scored, IMAGES);
    cr_assert_eq(answer.missing_count, 0);
    expect_ranking(&answer, query.id.v, all, query.k);
    free(answer.missing);
    co_gather_free(g);
    cm_blob_unref(&map);
}

Test(co_gather, the_ranking_does_not_depend_on_the_split)
{
    struct test_random seed = {17};
    for (int i = 0; i < 300; i++)
        split_once(&seed);
}

Test(co_gather, a_second_result_for_a_shard_is_dropped)
{
    struct asked a;
    asked_init(&a, 5, 1000);
    fake_co_score(&a.f, "w0", a.id, 0, 1, 5);
    fake_co_score(&a.f, "w0", a.id, 0, 1, 5);
    cr_assert_eq(fake_co_logged(&a.f, "shard 0 has its answer"), 1);
    expect_garbage(&a, 0);
    for (uint32_t s = 1; s < FAKE_SHARDS; s++)
        fake_co_score(&a.f, "w0", a.id, s, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&a.f, "client");
    unsigned char all[IMAGES];
    memset(all, 1, sizeof all);
    cr_assert_eq(answer.images_scored, IMAGES);
    expect_ranking(&answer, 1, all, 5);
    pr_answer_fini(&answer);
    fake_co_fini(&a.f);
}

Test(co_gather, a_worker_that_was_not_asked_is_not_heard)
{
    struct asked a;
    asked_init(&a, 5, 1000);
    fake_co_join(&a.f, "w1", 0, 1);
    fake_co_score(&a.f, "w1", a.id, 0, 2, 5);
    cr_assert_eq(fake_co_logged(&a.f, "shard 0 was asked of another worker"), 1);
    expect_garbage(&a, 0);
    fake_co_fini(&a.f);
}

Test(co_gather, a_late_result_is_dropped)
{
    struct asked a;
    asked_init(&a, 5, 1000);
    fake_co_sleep(&a.f, 1000 * FAKE_MS);
    fake_co_take(&a.f, "w0", PR_CANCEL);
    fake_co_take(&a.f, "client", PR_ANSWER);
    fake_co_score(&a.f, "w0", a.id, 0, 1, 5);
    fake_co_score(&a.f, "w0", a.id, 1, 1, 5);
    cr_assert_eq(a.f.sent.count, 0);
    cr_assert_eq(fake_co_logged(&a.f, "event=result_dropped"), 1, "one line a second");
    fake_co_fini(&a.f);
}

/* A result for shard 0 with one hit, to be spoilt. */
static void spoilt(struct asked *a, uint32_t shard, uint64_t images, uint64_t image)
{
    struct pr_hit hit = {{1.0f, image}, {.name = "x"}};
    struct pr_scored scored = {.shard = {shard}, .images_scored = images, .images = images};
    struct pr_result result = {
        .id = {a->id},
        .shards = &scored,
        .shards_count = 1,
        .hits = {.items = &hit, .count = 1},
    };
    fake_co_result(&a->f, "w0", &result);
}

Test(co_gather, results_that_cannot_be_are_garbage)
{
    struct asked a;
    asked_init(&a, 5, 1000);
    spoilt(&a, FAKE_SHARDS, FAKE_SHARD_IMAGES, 0);
    expect_garbage(&a, 1);
    spoilt(&a, 0, FAKE_SHARD_IMAGES + 1, 0);
    expect_garbage(&a, 2);
    spoilt(&a, 1, FAKE_SHARD_IMAGES, 9); /* of shard 0 */
    expect_garbage(&a, 3);
    spoilt(&a, 1, FAKE_SHARD_IMAGES, 20); /* of shard 2 */
    expect_garbage(&a, 4);
    spoilt(&a, 1, FAKE_SHARD_IMAGES, 19);
    expect_garbage(&a, 4);
    cr_assert_eq(fake_co_logged(&a.f, "event=garbage"), 1, "one line a second");
    a.f.now_ns += 1000 * FAKE_MS;
    fake_co_get(&a.f, "w0", (struct cm_bytes){"\xc1", 1}, NULL);
    cr_assert_eq(fake_co_logged(&a.f, "event=garbage"), 2);
    cr_assert_eq(fake_co_logged(&a.f, "unreported=3"), 1);
    fake_co_fini(&a.f);
}

Test(co_gather, at_the_deadline_it_answers_with_what_came)
{
    struct asked a;
    asked_init(&a, IMAGES, 1000);
    fake_co_score(&a.f, "w0", a.id, 2, 1, IMAGES);
    cr_assert_eq(co_next_wakeup_ns(a.f.core), FAKE_START_NS + 1000 * FAKE_MS);
    a.f.now_ns += 1000 * FAKE_MS - 1;
    co_on_tick(a.f.core);
    cr_assert_eq(a.f.sent.count, 0);
    a.f.now_ns += 1;
    co_on_tick(a.f.core);
    cr_assert_eq(fake_co_take(&a.f, "w0", PR_CANCEL).id.v, a.id);
    struct pr_answer answer = fake_co_take_answer(&a.f, "client");
    unsigned char covered[IMAGES] = {0};
    memset(covered + 20, 1, 10);
    expect_ranking(&answer, 1, covered, IMAGES);
    cr_assert_eq(answer.images, IMAGES);
    cr_assert_eq(answer.images_scored, 10);
    cr_assert_eq(answer.shards, FAKE_SHARDS);
    cr_assert_eq(answer.shards_scored, 1);
    cr_assert_eq(answer.missing_count, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(answer.missing[i].reason, PR_REASON_DEADLINE);
        cr_assert_eq(answer.missing[i].images, FAKE_SHARD_IMAGES);
    }
    cr_assert_eq(answer.missing[2].shard.v, 3);
    pr_answer_fini(&answer);
    cr_assert(co_idle(a.f.core));
    fake_co_fini(&a.f);
}

Test(co_gather, cancels_only_where_something_is_owed)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 2);
    fake_co_query(&f, "client", 1, 5, 1000);
    uint64_t id = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    fake_co_take(&f, "w1", PR_SEARCH);
    fake_co_score(&f, "w0", id, 0, 1, 5);
    fake_co_score(&f, "w0", id, 1, 1, 5);
    fake_co_score(&f, "w1", id, 2, 1, 5);
    fake_co_sleep(&f, 1000 * FAKE_MS);
    fake_co_take(&f, "w1", PR_CANCEL);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", 0), 0);
    fake_co_fini(&f);
}

/* A worker's own partial result: blocks done by the deadline, or one that is corrupt. */
Test(co_gather, partial_results_count_what_they_scored)
{
    struct asked a;
    asked_init(&a, 5, 1000);
    struct pr_hit hit = {{-INFINITY, 7}, {.name = "x"}};
    struct pr_scored scored = {.images_scored = 6, .images = FAKE_SHARD_IMAGES, .overflowed = 2};
    struct pr_result result = {
        .id = {a.id},
        .reason = PR_REASON_CORRUPT,
        .shards = &scored,
        .shards_count = 1,
        .hits = {.items = &hit, .count = 1},
    };
    fake_co_result(&a.f, "w0", &result);
    fake_co_decline(&a.f, "w0", a.id, 1, PR_REASON_INTERNAL);
    fake_co_score(&a.f, "w0", a.id, 2, 1, 5);
    fake_co_score(&a.f, "w0", a.id, 3, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&a.f, "client");
    cr_assert_eq(answer.images_scored, 26);
    cr_assert_eq(answer.overflowed, 2);
    cr_assert_eq(answer.shards_scored, 2);
    cr_assert_eq(answer.missing_count, 2);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_CORRUPT);
    cr_assert_eq(answer.missing[0].images_scored, 6);
    cr_assert_eq(answer.missing[1].reason, PR_REASON_INTERNAL);
    cr_assert(!answer.mixed);
    pr_answer_fini(&answer);
    fake_co_fini(&a.f);
}

Test(co_gather, a_client_that_is_gone_costs_nothing)
{
    struct asked a;
    asked_init(&a, 5, 1000);
    a.f.deaf = test_peer("client");
    a.f.deaf_why = CM_EUNAVAIL;
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&a.f, "w0", a.id, s, 1, 5);
    cr_assert(co_idle(a.f.core));
    cr_assert_eq(fake_co_logged(&a.f, "event=client_gone"), 1);
    fake_co_control(&a.f, "watcher", PR_STATUS_REQUEST, 1);
    struct pr_status status = fake_co_take_status(&a.f, "watcher");
    cr_assert_eq(status.counters.queries, 1);
    cr_assert_eq(status.counters.answers, 0);
    pr_status_fini(&status);
    fake_co_fini(&a.f);
}

static struct pr_status status_now(struct fake_co *f)
{
    fake_co_control(f, "watcher", PR_STATUS_REQUEST, 1);
    return fake_co_take_status(f, "watcher");
}

/* Whoever is at work for a client whose connection ended is told to stop, and what it waited for is
 * forgotten; other clients lose nothing. */
Test(co_gather, a_client_that_disconnects_is_worked_for_no_longer)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 2);
    fake_co_query(&f, "leaver", 1, 5, 1000);
    fake_co_query(&f, "stayer", 2, 5, 1000);
    fake_co_query(&f, "leaver", 3, 5, 1000); /* waits: no credit is left */
    uint64_t gone = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    uint64_t kept = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    fake_co_disconnect(&f, "leaver");
    cr_assert_eq(fake_co_take(&f, "w0", PR_CANCEL).id.v, gone);
    cr_assert_eq(f.sent.count, 0, "the waiting query was dispatched");
    struct pr_status status = status_now(&f);
    cr_assert_eq(status.queries_inflight, 1);
    cr_assert_eq(status.queries_waiting, 0);
    cr_assert_eq(status.counters.disconnects, 1);
    cr_assert_eq(fake_co_logged(&f, "event=disconnected queries_dropped=2"), 1);
    pr_status_fini(&status);
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, "w0", kept, s, 2, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "stayer");
    cr_assert_eq(answer.missing_count, 0);
    pr_answer_fini(&answer);
    cr_assert(co_idle(f.core));
    fake_co_fini(&f);
}

/* A worker whose connection ended owes nothing any more: the answer does not wait for it. */
Test(co_gather, a_worker_that_disconnects_is_lost_at_once)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 2);
    fake_co_query(&f, "client", 1, 5, 60000);
    uint64_t id = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    fake_co_take(&f, "w1", PR_SEARCH);
    fake_co_score(&f, "w0", id, 0, 1, 5);
    fake_co_score(&f, "w0", id, 1, 1, 5);
    fake_co_disconnect(&f, "w1");
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, 2);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_WORKER_LOST);
    pr_answer_fini(&answer);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost worker=w1 why=\"disconnected\""), 1);
    struct pr_status status = status_now(&f);
    cr_assert_eq(status.members_count, 1);
    cr_assert_eq(status.shards_covered, 2);
    pr_status_fini(&status);
    fake_co_heartbeat(&f, "w1"); /* it dialled again by itself, under the same address */
    fake_co_take(&f, "w1", PR_REHELLO);
    fake_co_fini(&f);
}

Test(co_gather, stages_are_timed)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    f.send_takes_ns = 3 * FAKE_MS;
    fake_co_query(&f, "client", 1, 5, 1000);
    uint64_t id = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    for (uint32_t s = 0; s < FAKE_SHARDS; s++) {
        f.now_ns += 10 * FAKE_MS;
        struct pr_scored scored = {.shard = {s}, .images = FAKE_SHARD_IMAGES};
        struct pr_result result = {.id = {id},
                                   .reason = PR_REASON_DEADLINE,
                                   .shards = &scored,
                                   .shards_count = 1,
                                   .project_us = 100 - s,
                                   .score_us = 1000 + s};
        fake_co_result(&f, "w0", &result);
    }
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.timings.project_us, 100);
    cr_assert_eq(answer.timings.score_us, 1003);
    cr_assert_eq(answer.timings.queue_us, 0);
    cr_assert_eq(answer.timings.scatter_us, 3000);
    cr_assert_eq(answer.timings.gather_us, 40000);
    cr_assert_eq(answer.timings.total_us, 43000);
    pr_answer_fini(&answer);
    fake_co_fini(&f);
}

/* A worker that could not take a search says so; one that does not hold a shard knows no size. */
Test(co_gather, a_worker_may_decline)
{
    struct asked a;
    asked_init(&a, 5, 60000);
    struct pr_scored scored[FAKE_SHARDS];
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        scored[s] = (struct pr_scored){.shard = {s}, .images = s < 2 ? FAKE_SHARD_IMAGES : 0};
    struct pr_result result = {
        .id = {a.id}, .reason = PR_REASON_OVERLOAD, .shards = scored, .shards_count = FAKE_SHARDS};
    fake_co_result(&a.f, "w0", &result);
    struct pr_answer answer = fake_co_take_answer(&a.f, "client");
    cr_assert_eq(answer.images_scored, 0);
    cr_assert_eq(answer.missing_count, FAKE_SHARDS);
    for (size_t i = 0; i < FAKE_SHARDS; i++) {
        cr_assert_eq(answer.missing[i].reason, PR_REASON_OVERLOAD);
        cr_assert_eq(answer.missing[i].images, FAKE_SHARD_IMAGES, "as others say");
    }
    pr_answer_fini(&answer);
    fake_co_fini(&a.f);
}
