/* test_measure.c: an evaluation at a worker: MEASURE, POSITIVES a shard, COUNT, COUNTS. */
#include "proto/wire/scores.h"
#include "tests/support/fake_wk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MS UINT64_C(1000000)

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, PID = 4, CAMID = 2, LONG_US = 60000000 };

static void ready(struct fake_wk *f, uint32_t jobs)
{
    struct fake_wk_options o = fake_wk_defaults();
    o.jobs = jobs;
    fake_wk_init_ready(f, &o);
}

/* Takes the next POSITIVES, which must tell the truth about its shard. */
static void expect_positives(struct fake_wk *f, uint64_t query, uint32_t shard)
{
    struct cm_hit expected[IMAGES];
    struct pr_census census;
    size_t count = fake_positives(query, PID, CAMID, shard * FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES,
                                  &census, expected);
    struct pr_positives_message m = fake_wk_take_positives(f);
    cr_assert_eq(m.id.v, query);
    cr_assert_eq(m.shard.v, shard);
    cr_assert_eq(m.reason, PR_REASON_NONE);
    cr_assert_eq(m.images, FAKE_SHARD_IMAGES);
    cr_assert_eq(memcmp(&m.census, &census, sizeof census), 0);
    cr_assert_eq(m.positives.count, count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(m.positives.items[i].image, expected[i].image);
        cr_assert(m.positives.items[i].score == expected[i].score);
    }
    pr_positives_message_fini(&m);
}

/* Sends COUNT with all positives of the gallery, and checks what comes back for the images
 * first .. first + count - 1. */
static void count_and_check(struct fake_wk *f, uint64_t query, uint64_t first, uint64_t count)
{
    struct cm_hit all[IMAGES];
    struct pr_census census;
    struct pr_positives positives = {
        .items = all, .count = fake_positives(query, PID, CAMID, 0, IMAGES, &census, all)};
    cr_assert_gt(positives.count, 1);
    fake_wk_count(f, query, &positives);
    struct pr_counts_message m = fake_wk_take_counts(f);
    cr_assert_eq(m.id.v, query);
    cr_assert_eq(m.counts.count, positives.count);
    for (size_t i = 0; i < positives.count; i++) {
        struct pr_counts c = fake_counts(query, PID, CAMID, first, count, &all[i]);
        cr_assert_eq(memcmp(&m.counts.items[i], &c, sizeof c), 0, "positive %zu", i);
    }
    pr_counts_fini(&m);
}

Test(wk_measure, tells_positives_and_then_counts)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_measure(&f, 7, PID, CAMID, false, 1, 3);
    fake_wk_finish_all(&f);
    for (uint32_t shard = 1; shard <= 3; shard++)
        expect_positives(&f, 7, shard);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(!wk_idle(f.core), "it keeps the scores");
    count_and_check(&f, 7, FAKE_SHARD_IMAGES, 3 * FAKE_SHARD_IMAGES);
    cr_assert(wk_idle(f.core), "they are gone");
    fake_wk_count(&f, 7, &(struct pr_positives){&(struct cm_hit){1, 1}, 1});
    cr_assert_eq(f.sent.count, 0, "counted twice");
    fake_wk_fini(&f);
}

Test(wk_measure, sends_the_scores_when_they_are_wanted)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_measure(&f, 7, PID, CAMID, true, 2, 1);
    fake_wk_finish_all(&f);
    struct test_message *m = test_mailbox_take(&f.sent, "", PR_SCORES);
    struct pr_scores scores;
    float values[FAKE_SHARD_IMAGES];
    struct cm_error e;
    cr_assert_eq(pr_scores_unpack(m->header, &scores, &e), CM_OK, "%s", e.text);
    struct cm_bytes bytes = {cm_blob_data(m->payload), cm_blob_size(m->payload)};
    cr_assert_eq(pr_scores_check_payload(&scores, bytes, &e), CM_OK, "%s", e.text);
    cr_assert_eq(scores.shard.v, 2);
    cr_assert_eq(scores.first_image, 20);
    cr_assert_eq(scores.count, FAKE_SHARD_IMAGES);
    memcpy(values, bytes.data, sizeof values);
    for (uint64_t i = 0; i < FAKE_SHARD_IMAGES; i++) { /* junk and right images alike */
        float expected = fake_score(7, 20 + i);
        cr_assert(values[i] == (isinf(expected) ? -INFINITY : expected));
    }
    test_message_free(m);
    expect_positives(&f, 7, 2);
    fake_wk_fini(&f);
}

/* The scores go with a CANCEL, with the link, and with a worker that leaves. */
Test(wk_measure, lets_go_when_nobody_will_count)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_measure(&f, 7, PID, CAMID, false, 0, 2);
    fake_wk_finish_all(&f);
    fake_wk_control(&f, PR_CANCEL, 7);
    cr_assert(wk_idle(f.core));
    fake_wk_measure(&f, 8, PID, CAMID, false, 0, 2);
    fake_wk_finish_all(&f);
    fake_wk_control(&f, PR_REHELLO, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_welcome(&f, 1000, 5000);
    fake_wk_measure(&f, 9, PID, CAMID, false, 0, 2);
    fake_wk_finish_all(&f);
    wk_leave(f.core);
    cr_assert(!wk_idle(f.core));
    fake_wk_control(&f, PR_REHELLO, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_measure, a_corrupt_block_spoils_its_shard_alone)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_measure(&f, 7, PID, CAMID, false, 0, 2);
    fake_wk_finish_projection(&f);
    fake_wk_finish_block(&f, 0, 0);
    fake_wk_fail(&f, 0, CM_ECORRUPT);
    fake_wk_finish_all(&f);
    struct pr_positives_message m = fake_wk_take_positives(&f);
    cr_assert_eq(m.shard.v, 0);
    cr_assert_eq(m.reason, PR_REASON_CORRUPT);
    cr_assert_eq(m.positives.count, 0);
    pr_positives_message_fini(&m);
    expect_positives(&f, 7, 1);
    count_and_check(&f, 7, FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES); /* another counts the other */
    fake_wk_fini(&f);
}

Test(wk_measure, declines_what_it_cannot_take)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.shards = 2;
    o.credits = 1;
    fake_wk_init_ready(&f, &o);
    fake_wk_measure(&f, 1, PID, CAMID, false, 1, 2); /* shard 2 is not here */
    fake_wk_measure(&f, 2, PID, CAMID, false, 0, 1);
    fake_wk_measure(&f, 3, PID, CAMID, false, 0, 1); /* no credit left */
    static const uint64_t ids[] = {1, 1, 3}, images[] = {FAKE_SHARD_IMAGES, 0, FAKE_SHARD_IMAGES};
    static const enum pr_reason reasons[] = {PR_REASON_INTERNAL, PR_REASON_INTERNAL,
                                             PR_REASON_OVERLOAD};
    for (size_t i = 0; i < 3; i++) {
        struct pr_positives_message m = fake_wk_take_positives(&f);
        cr_assert_eq(m.id.v, ids[i]);
        cr_assert_eq(m.images, images[i]);
        cr_assert_eq(m.reason, reasons[i]);
        pr_positives_message_fini(&m);
    }
    cr_assert_eq(f.sent.count, 0);
    fake_wk_fini(&f);
}

/* Declined the second time, its shards would be asked of others, and counted here all the same. */
Test(wk_measure, what_comes_twice_counts_once)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.credits = 1;
    fake_wk_init_ready(&f, &o);
    fake_wk_measure(&f, 1, PID, CAMID, false, 0, 2);
    fake_wk_measure(&f, 1, PID, CAMID, false, 0, 2);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_finish_all(&f);
    for (size_t i = 0; i < 2; i++) {
        struct pr_positives_message m = fake_wk_take_positives(&f);
        cr_assert_eq(m.reason, PR_REASON_NONE);
        pr_positives_message_fini(&m);
    }
    cr_assert_eq(f.sent.count, 0);
    fake_wk_fini(&f);
}

/* Blocks of a search come before those of evaluations that were there first, and are not shared
 * with them. */
Test(wk_measure, yields_to_searches)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_measure(&f, 1, PID, CAMID, false, 0, 1);
    fake_wk_measure(&f, 2, PID, CAMID, false, 0, 1);
    fake_wk_finish_projection(&f);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs[0]->queries_count, 2, "evaluations share a pass");
    fake_wk_search(&f, 3, 5, LONG_US, 0, 1);
    fake_wk_finish_block(&f, 0, 0);
    fake_wk_finish_projection(&f);
    for (uint64_t block = 1; block < 3; block++) {
        cr_assert_eq(f.jobs[0]->queries_count, 1);
        cr_assert_eq(f.sent.count, 0);
        fake_wk_finish_block(&f, 0, block);
    }
    cr_assert_eq(f.jobs[0]->queries_count, 1);
    fake_wk_finish_block(&f, 0, 0);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.id.v, 3);
    pr_result_fini(&r);
    fake_wk_finish_all(&f);
    expect_positives(&f, 1, 0);
    expect_positives(&f, 2, 0);
    fake_wk_fini(&f);
}

Test(wk_measure, survives_a_map_that_is_not_as_said)
{
    struct fake_wk f;
    struct cm_shard_id shard = {0};
    ready(&f, 1);
    struct cm_blob *map = fake_map(1);
    struct pr_measure m = {.id = {1},
                           .pid = PID,
                           .dtype = CM_DTYPE_F32,
                           .payload_crc32c = 1,
                           .shards = &shard,
                           .shards_count = 1};
    fake_wk_measure_as(&f, &m, map);
    fake_wk_measure_as(&f, &m, NULL);
    for (int i = 0; i < 2; i++) {
        struct pr_positives_message p = fake_wk_take_positives(&f);
        cr_assert_eq(p.reason, PR_REASON_INTERNAL);
        pr_positives_message_fini(&p);
    }
    cr_assert(wk_idle(f.core));
    cm_blob_unref(&map);
    fake_wk_fini(&f);
}
