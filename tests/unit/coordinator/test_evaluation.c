/* test_evaluation.c: an evaluation at the coordinator: two rounds, all or nothing. */
#include "common/checksum.h"
#include "coordinator/core.h"
#include "proto/wire/scores.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, PID = 4, CAMID = 2, QUERY = 7 };

/* "w0" holds shards 0 and 1, "w1" 2 and 3; "client" has evaluated. */
struct asked {
    struct fake_co f;
    uint64_t id; /* the coordinator's */
};

static uint64_t take_measure(struct fake_co *f, const char *node, uint32_t first)
{
    struct pr_measure m = fake_co_take_measure(f, node);
    uint64_t id = m.id.v;
    cr_assert_eq(m.pid, PID);
    cr_assert_eq(m.camid, CAMID);
    cr_assert_eq(m.shards_count, 2);
    cr_assert_eq(m.shards[0].v, first);
    pr_measure_fini(&m);
    return id;
}

static void asked_init(struct asked *a, bool want_scores)
{
    fake_co_init(&a->f);
    fake_co_join(&a->f, "w0", 0, 2);
    fake_co_join(&a->f, "w1", 2, 2);
    fake_co_evaluate(&a->f, "client", QUERY, PID, CAMID, want_scores);
    a->id = take_measure(&a->f, "w0", 0);
    cr_assert_eq(take_measure(&a->f, "w1", 2), a->id);
}

static struct pr_positives_message truth(struct asked *a, uint32_t shard, struct cm_hit *room)
{
    struct pr_positives_message m = {
        .id = {a->id}, .shard = {shard}, .images = FAKE_SHARD_IMAGES, .score_us = 100 + shard};
    m.positives =
        (struct pr_positives){.items = room,
                              .count = fake_positives(QUERY, PID, CAMID, shard * FAKE_SHARD_IMAGES,
                                                      FAKE_SHARD_IMAGES, &m.census, room)};
    return m;
}

static void say_positives(struct asked *a, const char *node, const struct pr_positives_message *m)
{
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = pr_positives_pack(m, &packed, &e);
    fake_co_get_packed(&a->f, node, rc, &packed, NULL);
}

static void tell(struct asked *a, const char *node, uint32_t shard)
{
    struct cm_hit room[FAKE_SHARD_IMAGES];
    struct pr_positives_message m = truth(a, shard, room);
    say_positives(a, node, &m);
}

static void tell_all(struct asked *a)
{
    for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++)
        tell(a, shard < 2 ? "w0" : "w1", shard);
}

/* Takes COUNT at a worker and answers it. */
static void count(struct asked *a, const char *node, uint64_t first)
{
    struct pr_count c = fake_co_take_count(&a->f, node);
    struct pr_counts counts[IMAGES];
    struct pr_buffer packed;
    cr_assert_eq(c.id.v, a->id);
    for (size_t i = 0; i < c.positives.count; i++)
        counts[i] =
            fake_counts(QUERY, PID, CAMID, first, 2 * FAKE_SHARD_IMAGES, &c.positives.items[i]);
    struct pr_counts_message m = {.id = {a->id}, .counts = {counts, c.positives.count}};
    fake_co_get_packed(&a->f, node, pr_counts_pack(&m, &packed, NULL), &packed, NULL);
    pr_count_fini(&c);
}

static struct pr_status status_now(struct fake_co *f)
{
    fake_co_control(f, "watcher", PR_STATUS_REQUEST, 1);
    return fake_co_take_status(f, "watcher");
}

static void expect_garbage(struct fake_co *f, uint64_t expected)
{
    struct pr_status status = status_now(f);
    cr_assert_eq(status.counters.garbage, expected, "garbage is %lu", status.counters.garbage);
    pr_status_fini(&status);
}

/* The reply is over the whole gallery and true. */
static void expect_truth(struct asked *a)
{
    struct cm_hit all[IMAGES];
    struct pr_census census;
    size_t positives = fake_positives(QUERY, PID, CAMID, 0, IMAGES, &census, all);
    struct pr_measured m = fake_co_take_measured(&a->f, "client");
    cr_assert_eq(m.id.v, QUERY);
    cr_assert_eq(m.missing_count, 0);
    cr_assert_eq(m.images, IMAGES);
    cr_assert_eq(m.score_us, 103);
    cr_assert_eq(memcmp(&m.census, &census, sizeof census), 0);
    cr_assert_eq(m.positives.count, positives);
    for (size_t i = 0; i < positives; i++) {
        struct pr_counts c = fake_counts(QUERY, PID, CAMID, 0, IMAGES, &all[i]);
        cr_assert_eq(m.positives.items[i].image, all[i].image);
        cr_assert_eq(memcmp(&m.counts.items[i], &c, sizeof c), 0);
    }
    cr_assert(m.worker_bytes > 0 && m.worker_bytes < 2000);
    pr_measured_fini(&m);
    cr_assert(co_idle(a->f.core));
}

/* Its images count for the worker's speed, and its second round, which scores nothing, does not. */
Test(co_evaluation, it_shows_who_is_fast)
{
    struct asked a;
    asked_init(&a, false);
    const struct co_speed *speed = &a.f.core->members.slots[0].speed;
    fake_co_sleep(&a.f, 300 * FAKE_MS);
    tell(&a, "w0", 0);
    cr_assert_float_eq(speed->busy_ns, 3e8, 1);
    cr_assert_float_eq(speed->images, FAKE_SHARD_IMAGES, 1e-9);
    tell(&a, "w0", 1);
    tell(&a, "w1", 2);
    tell(&a, "w1", 3);
    cr_assert_float_eq(speed->images, 2 * FAKE_SHARD_IMAGES, 1e-9);
    fake_co_sleep(&a.f, 300 * FAKE_MS);
    count(&a, "w0", 0);
    count(&a, "w1", 2 * FAKE_SHARD_IMAGES);
    expect_truth(&a);
    cr_assert_float_eq(speed->busy_ns, 3e8, 1);
    cr_assert_float_eq(speed->images, 2 * FAKE_SHARD_IMAGES, 1e-9);
    fake_co_fini(&a.f);
}

Test(co_evaluation, two_rounds_make_the_truth)
{
    struct asked a;
    asked_init(&a, false);
    tell_all(&a);
    count(&a, "w1", 2 * FAKE_SHARD_IMAGES);
    cr_assert_eq(test_mailbox_count(&a.f.sent, "client", 0), 0, "one worker has not counted");
    count(&a, "w0", 0);
    expect_truth(&a);
    cr_assert_eq(a.f.sent.count, 0, "nobody is told to stop");
    fake_co_fini(&a.f);
}

/* The reply names a lost worker's shards and holds no figures; the others are told to stop. */
static void expect_failure(struct asked *a, uint32_t first, size_t count, enum pr_reason reason)
{
    struct pr_measured m = fake_co_take_measured(&a->f, "client");
    cr_assert_eq(m.missing_count, count, "%zu missing", m.missing_count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(m.missing[i].shard.v, first + i);
        cr_assert_eq(m.missing[i].reason, reason);
    }
    cr_assert_eq(m.positives.count, 0);
    cr_assert_eq(m.census.valid, 0);
    pr_measured_fini(&m);
    cr_assert(co_idle(a->f.core));
}

Test(co_evaluation, a_worker_lost_in_the_first_round_ends_it)
{
    struct asked a;
    asked_init(&a, false);
    tell(&a, "w1", 2);
    fake_co_disconnect(&a.f, "w1");
    expect_failure(&a, 2, 2, PR_REASON_WORKER_LOST);
    cr_assert_eq(fake_co_take(&a.f, "w0", PR_CANCEL).id.v, a.id);
    fake_co_fini(&a.f);
}

/* Its scores are gone with it, although all its shards had closed. */
Test(co_evaluation, a_worker_lost_in_the_second_round_ends_it)
{
    struct asked a;
    asked_init(&a, false);
    tell_all(&a);
    count(&a, "w0", 0);
    fake_co_disconnect(&a.f, "w1");
    expect_failure(&a, 2, 2, PR_REASON_WORKER_LOST);
    fake_co_fini(&a.f);
}

/* One that has counted owes nothing any more. */
Test(co_evaluation, a_worker_lost_after_it_counted_costs_nothing)
{
    struct asked a;
    asked_init(&a, false);
    tell_all(&a);
    count(&a, "w0", 0);
    fake_co_disconnect(&a.f, "w0");
    count(&a, "w1", 2 * FAKE_SHARD_IMAGES);
    expect_truth(&a);
    fake_co_fini(&a.f);
}

Test(co_evaluation, a_worker_that_cannot_be_told_to_count_ends_it)
{
    struct asked a;
    asked_init(&a, false);
    a.f.deaf = test_peer("w1");
    a.f.deaf_why = CM_EUNAVAIL;
    tell_all(&a);
    expect_failure(&a, 2, 2, PR_REASON_WORKER_LOST);
    fake_co_fini(&a.f);
}

Test(co_evaluation, a_corrupt_shard_ends_it_at_once)
{
    struct asked a;
    asked_init(&a, false);
    struct pr_positives_message m = {
        .id = {a.id}, .shard = {1}, .reason = PR_REASON_CORRUPT, .images = FAKE_SHARD_IMAGES};
    say_positives(&a, "w0", &m);
    expect_failure(&a, 1, 1, PR_REASON_CORRUPT);
    fake_co_take(&a.f, "w0", PR_CANCEL);
    fake_co_take(&a.f, "w1", PR_CANCEL);
    tell(&a, "w1", 2); /* too late: it is over */
    cr_assert_eq(a.f.sent.count, 0);
    expect_garbage(&a.f, 0);
    fake_co_fini(&a.f);
}

/* Nobody is asked when some shard is nowhere. */
Test(co_evaluation, needs_the_whole_gallery)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_evaluate(&f, "client", QUERY, PID, CAMID, false);
    struct pr_measured m = fake_co_take_measured(&f, "client");
    cr_assert_eq(m.missing_count, 2);
    cr_assert_eq(m.missing[0].shard.v, 2);
    cr_assert_eq(m.missing[0].reason, PR_REASON_NO_WORKER);
    pr_measured_fini(&m);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_MEASURE), 0);
    cr_assert(co_idle(f.core));
    fake_co_fini(&f);
}

/* A query that nobody is right for needs no second round; the workers let go. */
Test(co_evaluation, without_positives_one_round_is_enough)
{
    struct asked a;
    asked_init(&a, false);
    for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++) {
        struct pr_positives_message m = {.id = {a.id},
                                         .shard = {shard},
                                         .images = FAKE_SHARD_IMAGES,
                                         .census = {.valid = FAKE_SHARD_IMAGES}};
        say_positives(&a, shard < 2 ? "w0" : "w1", &m);
    }
    struct pr_measured m = fake_co_take_measured(&a.f, "client");
    cr_assert_eq(m.missing_count, 0);
    cr_assert_eq(m.positives.count, 0);
    cr_assert_eq(m.census.valid, IMAGES);
    pr_measured_fini(&m);
    fake_co_take(&a.f, "w0", PR_CANCEL);
    fake_co_take(&a.f, "w1", PR_CANCEL);
    cr_assert_eq(a.f.sent.count, 0);
    fake_co_fini(&a.f);
}

/* What is not asked, not so, or said twice changes nothing. */
Test(co_evaluation, lies_are_told_apart)
{
    struct asked a;
    struct cm_hit room[FAKE_SHARD_IMAGES], elsewhere = {1, 35};
    struct pr_counts one = {.equal = 1};
    struct pr_buffer packed;
    asked_init(&a, false);
    struct pr_positives_message m = truth(&a, 0, room);
    say_positives(&a, "w1", &m); /* of a shard that was asked of another */
    m.shard.v = FAKE_SHARDS;
    m.positives.count = 0;
    say_positives(&a, "w0", &m); /* no such shard: garbage */
    m = truth(&a, 0, room);
    m.images++;
    m.census.valid++;
    say_positives(&a, "w0", &m); /* garbage */
    m = truth(&a, 0, room);
    m.positives = (struct pr_positives){&elsewhere, 1};
    say_positives(&a, "w0", &m); /* garbage: image 35 is not there */
    struct pr_counts_message c = {.id = {a.id}, .counts = {&one, 1}};
    fake_co_get_packed(&a.f, "w0", pr_counts_pack(&c, &packed, NULL), &packed, NULL); /* too soon */
    fake_co_decline(&a.f, "w0", a.id, 0, PR_REASON_DEADLINE); /* it is no search */
    expect_garbage(&a.f, 3);
    tell_all(&a);
    tell(&a, "w0", 0); /* twice */
    c.counts.items = &one;
    fake_co_get_packed(&a.f, "w0", pr_counts_pack(&c, &packed, NULL), &packed, NULL); /* too few */
    count(&a, "w0", 0);
    fake_co_get_packed(&a.f, "w0", pr_counts_pack(&c, &packed, NULL), &packed, NULL); /* again */
    count(&a, "w1", 2 * FAKE_SHARD_IMAGES);
    expect_truth(&a);
    expect_garbage(&a.f, 3);
    fake_co_fini(&a.f);
}

/* Counts of more images than the worker was asked for make no figure. */
Test(co_evaluation, too_high_counts_end_it)
{
    struct asked a;
    struct pr_counts counts[IMAGES] = {{.higher = 2 * FAKE_SHARD_IMAGES, .equal = 1}};
    struct pr_buffer packed;
    asked_init(&a, false);
    tell_all(&a);
    struct pr_count c = fake_co_take_count(&a.f, "w0");
    for (size_t i = 1; i < c.positives.count; i++)
        counts[i] = counts[0];
    struct pr_counts_message m = {.id = {a.id}, .counts = {counts, c.positives.count}};
    fake_co_get_packed(&a.f, "w0", pr_counts_pack(&m, &packed, NULL), &packed, NULL);
    expect_failure(&a, 0, 2, PR_REASON_INTERNAL);
    pr_count_fini(&c);
    fake_co_fini(&a.f);
}

/* More right images than a message holds: it would be so again, and the client hears why. */
Test(co_evaluation, too_many_positives_are_refused)
{
    enum { SHARD_IMAGES = 40000 };
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[2];
    static struct cm_hit hits[SHARD_IMAGES];
    fake_co_init(&f);
    f.gallery = fake_gallery(2, SHARD_IMAGES);
    fake_hello(&hello, held, "w0", &f.gallery, 0, 2);
    fake_co_hello(&f, "w0", &hello);
    fake_co_take(&f, "w0", PR_WELCOME);
    fake_co_evaluate(&f, "client", QUERY, PID, CAMID, false);
    uint64_t id = fake_co_take(&f, "w0", PR_MEASURE).id.v;
    for (uint32_t shard = 0; shard < 2; shard++) {
        struct pr_positives_message m = {.id = {id},
                                         .shard = {shard},
                                         .images = SHARD_IMAGES,
                                         .census = {.valid = SHARD_IMAGES},
                                         .positives = {hits, SHARD_IMAGES}};
        struct pr_buffer packed;
        for (uint32_t i = 0; i < SHARD_IMAGES; i++)
            hits[i] = (struct cm_hit){1, (uint64_t)shard * SHARD_IMAGES + i};
        fake_co_get_packed(&f, "w0", pr_positives_pack(&m, &packed, NULL), &packed, NULL);
    }
    struct pr_error error = fake_co_take_error(&f, "client");
    cr_assert_eq(error.code, PR_ERROR_BAD_QUERY);
    cr_assert(strstr(error.text, "more than 65536 right images") != NULL, "%s", error.text);
    fake_co_take(&f, "w0", PR_CANCEL);
    cr_assert(co_idle(f.core));
    fake_co_fini(&f);
}

/* A worker whose queue is full never hears that it may let go of the scores: it is forgotten, so
 * that it forgets. */
Test(co_evaluation, a_worker_that_cannot_be_told_to_stop_starts_anew)
{
    struct asked a;
    asked_init(&a, false);
    a.f.deaf = test_peer("w0");
    a.f.deaf_why = CM_EBUSY;
    fake_co_disconnect(&a.f, "client");
    cr_assert_eq(fake_co_take(&a.f, "w1", PR_CANCEL).id.v, a.id);
    a.f.deaf = test_peer("nobody");
    fake_co_heartbeat(&a.f, "w0");
    fake_co_take(&a.f, "w0", PR_REHELLO);
    fake_co_heartbeat(&a.f, "w1");
    fake_co_take(&a.f, "w1", PR_HEARTBEAT);
    fake_co_fini(&a.f);
}

static void say_scores(struct asked *a, const char *node, const struct pr_scores *m,
                       const float *values)
{
    struct cm_blob *payload;
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(cm_blob_copy(&payload, values, m->count * sizeof *values, &e), CM_OK);
    fake_co_get_packed(&a->f, node, pr_scores_pack(m, &packed, &e), &packed, payload);
    cm_blob_unref(&payload);
}

Test(co_evaluation, scores_are_passed_on_as_they_come)
{
    struct asked a;
    const float values[3] = {1, -2, 3};
    struct pr_scores m = {.id = {0},
                          .shard = {1},
                          .first_image = 12,
                          .count = 3,
                          .payload_crc32c = cm_crc32c(0, values, sizeof values)};
    asked_init(&a, true);
    m.id.v = a.id;
    say_scores(&a, "w0", &m, values);
    struct test_message *got = test_mailbox_take(&a.f.sent, "client", PR_SCORES);
    struct pr_scores passed;
    struct cm_error e;
    cr_assert_eq(pr_scores_unpack(got->header, &passed, &e), CM_OK, "%s", e.text);
    cr_assert_eq(passed.id.v, QUERY, "the client's number");
    cr_assert_eq(passed.first_image, 12);
    cr_assert_eq(memcmp(cm_blob_data(got->payload), values, sizeof values), 0);
    test_message_free(got);
    m.first_image = 18; /* up to 20, which is in the next shard */
    say_scores(&a, "w0", &m, values);
    m.first_image = 12;
    say_scores(&a, "w1", &m, values); /* was not asked */
    m.payload_crc32c++;
    say_scores(&a, "w0", &m, values); /* garbage */
    cr_assert_eq(test_mailbox_count(&a.f.sent, "client", 0), 0);
    expect_garbage(&a.f, 1);
    a.f.deaf = test_peer("client");
    a.f.deaf_why = CM_EBUSY;
    m.payload_crc32c--;
    say_scores(&a, "w0", &m, values); /* the client takes no more: the evaluation fails */
    cr_assert(co_idle(a.f.core));
    fake_co_fini(&a.f);
}

/* Searches go first, and find a credit although evaluations are many. */
Test(co_evaluation, leaves_room_for_searches)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 4);
    for (uint64_t i = 0; i < 5; i++)
        fake_co_evaluate(&f, "client", i, PID, CAMID, false);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_MEASURE), 3);
    fake_co_query(&f, "other", 1, 5, 1000);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_SEARCH), 1);
    struct pr_status status = status_now(&f);
    cr_assert_eq(status.queries_waiting, 2);
    cr_assert_eq(status.queries_inflight, 4);
    cr_assert_eq(status.queries_yours, 0);
    cr_assert_eq(status.memory_bytes, FAKE_MEMORY_BYTES);
    pr_status_fini(&status);
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 2);
    status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.queries_yours, 5);
    pr_status_fini(&status);
    fake_co_disconnect(&f, "client");
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_CANCEL), 3);
    fake_co_fini(&f);
}

/* A worker that leaves is not let go while it holds scores. */
Test(co_evaluation, a_leaver_counts_first)
{
    struct asked a;
    asked_init(&a, false);
    tell_all(&a);
    fake_co_control(&a.f, "w0", PR_LEAVING, 0);
    fake_co_heartbeat(&a.f, "w0");
    fake_co_take(&a.f, "w0", PR_COUNT); /* and no REHELLO */
    cr_assert_eq(test_mailbox_count(&a.f.sent, "w0", PR_REHELLO), 0);
    fake_co_fini(&a.f);
}

/* One that is open and one that waits are turned away at once; a query is still answered. */
Test(co_evaluation, a_closing_coordinator_lets_go_of_it)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_evaluate(&f, "client", 1, PID, CAMID, false);
    fake_co_evaluate(&f, "client", 2, PID, CAMID, false);
    fake_co_query(&f, "client", 3, 5, 60000);
    uint64_t id = fake_co_take(&f, "w0", PR_MEASURE).id.v;
    co_close(f.core);
    unsigned told = 0;
    for (unsigned i = 0; i < 2; i++) {
        struct pr_error error = fake_co_take_error(&f, "client");
        cr_assert_eq(error.code, PR_ERROR_BUSY);
        cr_assert_gt(error.retry_after_ms, 0);
        told |= 1u << error.id.v;
    }
    cr_assert_eq(told, 6, "one and two");
    cr_assert_eq(fake_co_take(&f, "w0", PR_CANCEL).id.v, id);
    cr_assert(!co_idle(f.core));
    struct pr_search search = fake_co_take_search(&f, "w0");
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, "w0", search.id.v, s, 3, 5);
    cr_assert(co_idle(f.core));
    pr_search_fini(&search);
    fake_co_fini(&f);
}

Test(co_evaluation, refuses_what_is_no_query)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    struct cm_blob *map = fake_map(1);
    struct pr_evaluate m = {.id = {1},
                            .pid = PID,
                            .dtype = CM_DTYPE_F32,
                            .height = 2,
                            .width = 2,
                            .channels = 1,
                            .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map))};
    struct pr_buffer packed;
    fake_co_get_packed(&f, "client", pr_evaluate_pack(&m, &packed, NULL), &packed, map);
    struct pr_error error = fake_co_take_error(&f, "client");
    cr_assert_eq(error.code, PR_ERROR_BAD_QUERY);
    m.width = 1;
    m.channels = 2;
    m.payload_crc32c++;
    fake_co_get_packed(&f, "client", pr_evaluate_pack(&m, &packed, NULL), &packed, map);
    error = fake_co_take_error(&f, "client");
    cr_assert_eq(error.code, PR_ERROR_BAD_QUERY);
    fake_co_get_packed(&f, "client", pr_evaluate_pack(&m, &packed, NULL), &packed, NULL);
    error = fake_co_take_error(&f, "client");
    cr_assert_eq(error.code, PR_ERROR_BAD_QUERY);
    cr_assert(co_idle(f.core));
    cm_blob_unref(&map);
    fake_co_fini(&f);
}
