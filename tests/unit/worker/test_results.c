/* test_results.c: shards that are done share a RESULT. */
#include "tests/support/fake_wk.h"

#include <criterion/criterion.h>
#include <string.h>

#define MS    UINT64_C(1000000)
#define EVERY (50 * MS)

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, LONG_US = 60000000, BLOCKS = 3 };

static void ready(struct fake_wk *f)
{
    struct fake_wk_options o = fake_wk_defaults();
    o.jobs = 1;
    o.result_every_ns = EVERY;
    fake_wk_init_ready(f, &o);
}

static void finish_shard(struct fake_wk *f, uint32_t shard)
{
    for (uint64_t block = 0; block < BLOCKS; block++)
        fake_wk_finish_block(f, shard, block);
}

/* Takes the next RESULT, which must be over these whole shards, with the best k of all of them. */
static void expect_whole(struct fake_wk *f, uint64_t query, const uint32_t shards[], size_t count,
                         size_t k)
{
    unsigned char covered[IMAGES] = {0};
    struct cm_hit best[IMAGES];
    struct pr_result r = fake_wk_take_result(f);
    cr_assert_eq(r.id.v, query);
    cr_assert_eq(r.reason, PR_REASON_NONE, "%s", pr_reason_name(r.reason));
    cr_assert_eq(r.shards_count, count, "%zu shards", r.shards_count);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(r.shards[i].shard.v, shards[i]);
        cr_assert_eq(r.shards[i].images_scored, FAKE_SHARD_IMAGES);
        cr_assert_eq(r.shards[i].images, FAKE_SHARD_IMAGES);
        memset(covered + shards[i] * FAKE_SHARD_IMAGES, 1, FAKE_SHARD_IMAGES);
    }
    cr_assert_eq(r.hits.count, fake_ranking(query, covered, IMAGES, k, best));
    for (size_t i = 0; i < r.hits.count; i++) {
        char name[FAKE_NAME_BYTES];
        struct cm_image_meta meta = fake_meta(best[i].image, name);
        cr_assert_eq(r.hits.items[i].hit.image, best[i].image, "rank %zu", i);
        cr_assert_eq(r.hits.items[i].meta.pid, meta.pid, "rank %zu", i);
        cr_assert_str_eq(r.hits.items[i].meta.name, name);
    }
    pr_result_fini(&r);
}

Test(wk_results, a_search_that_is_over_soon_sends_one)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 7, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    for (uint32_t shard = 0; shard < FAKE_SHARDS; shard++) {
        cr_assert_eq(f.sent.count, 0);
        finish_shard(&f, shard);
    }
    expect_whole(&f, 7, (const uint32_t[]){0, 1, 2, 3}, FAKE_SHARDS, 5);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* More hits are wanted than a shard has. */
Test(wk_results, a_large_k_takes_from_all_shards)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 3, 27, LONG_US, 1, 3);
    fake_wk_finish_all(&f);
    expect_whole(&f, 3, (const uint32_t[]){1, 2, 3}, 3, 27);
    fake_wk_search(&f, 4, CM_K_MAX, LONG_US, 1, 3);
    fake_wk_finish_all(&f);
    expect_whole(&f, 4, (const uint32_t[]){1, 2, 3}, 3, CM_K_MAX);
    fake_wk_fini(&f);
}

/* Little is lost with a worker: what is done goes out while the rest is scored. */
Test(wk_results, a_long_search_sends_what_is_done_now_and_then)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 7, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    finish_shard(&f, 0);
    f.own_ns += EVERY - 1;
    fake_wk_finish_block(&f, 1, 0);
    cr_assert_eq(f.sent.count, 0, "not yet");
    f.own_ns += 1;
    fake_wk_finish_block(&f, 1, 1);
    expect_whole(&f, 7, (const uint32_t[]){0}, 1, 5);
    f.own_ns += 2 * EVERY - 1;
    fake_wk_finish_block(&f, 1, 2);
    finish_shard(&f, 2);
    cr_assert_eq(f.sent.count, 0, "twice as long, from the last one");
    f.own_ns += 1;
    fake_wk_finish_block(&f, 3, 0);
    expect_whole(&f, 7, (const uint32_t[]){1, 2}, 2, 5);
    fake_wk_finish_block(&f, 3, 1);
    fake_wk_finish_block(&f, 3, 2);
    expect_whole(&f, 7, (const uint32_t[]){3}, 1, 5);
    fake_wk_fini(&f);
}

/* The hits of a shard that lacks a block push nobody out of the ranking of those that are whole. */
Test(wk_results, a_corrupt_shard_goes_alone)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 7, 5, LONG_US, 0, 3);
    fake_wk_finish_projection(&f);
    finish_shard(&f, 0);
    fake_wk_finish_block(&f, 1, 0);
    fake_wk_fail(&f, 0, CM_ECORRUPT);
    fake_wk_finish_block(&f, 1, 2);
    expect_whole(&f, 7, (const uint32_t[]){0}, 1, 5);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_CORRUPT);
    cr_assert_eq(r.shards_count, 1);
    cr_assert_eq(r.shards[0].shard.v, 1);
    cr_assert_eq(r.shards[0].images_scored, FAKE_SHARD_IMAGES - 4);
    pr_result_fini(&r);
    finish_shard(&f, 2);
    expect_whole(&f, 7, (const uint32_t[]){2}, 1, 5);
    fake_wk_fini(&f);
}

/* Whole shards, those not begun with, and the one in hand, in a RESULT each. */
Test(wk_results, at_the_deadline_what_is_whole_goes_first)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 7, 5, 10000, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    finish_shard(&f, 0);
    fake_wk_finish_block(&f, 1, 0);
    fake_wk_sleep(&f, 10 * MS);
    expect_whole(&f, 7, (const uint32_t[]){0}, 1, 5);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_DEADLINE);
    cr_assert_eq(r.shards_count, 2);
    cr_assert(r.shards[0].shard.v == 2 && r.shards[1].shard.v == 3);
    cr_assert_eq(r.hits.count, 0);
    pr_result_fini(&r);
    r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_DEADLINE);
    cr_assert_eq(r.shards[0].shard.v, 1);
    cr_assert_eq(r.shards[0].images_scored, 4);
    cr_assert_eq(r.hits.count, 4);
    pr_result_fini(&r);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* Others' blocks tell the time too: a search that waits for its turn does not sit on what it has.
 */
Test(wk_results, what_is_done_goes_out_while_others_are_scored)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_search(&f, 2, 5, LONG_US, 1, 2);
    fake_wk_finish_projection(&f);
    fake_wk_finish_projection(&f);
    finish_shard(&f, 0);
    expect_whole(&f, 1, (const uint32_t[]){0}, 1, 5);
    finish_shard(&f, 1);
    fake_wk_search(&f, 3, 5, LONG_US, 2, 1);
    f.own_ns += EVERY;
    fake_wk_finish_block(&f, 2, 0);
    expect_whole(&f, 2, (const uint32_t[]){1}, 1, 5);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.sent.count, 2);
    fake_wk_fini(&f);
}

/* So does the clock, should no block come back: a disk may hang. */
Test(wk_results, what_is_done_goes_out_while_nothing_is_scored)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 2);
    fake_wk_finish_projection(&f);
    finish_shard(&f, 0);
    fake_wk_sleep(&f, EVERY - 1);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_sleep(&f, 1);
    expect_whole(&f, 1, (const uint32_t[]){0}, 1, 5);
    fake_wk_finish_all(&f);
    expect_whole(&f, 1, (const uint32_t[]){1}, 1, 5);
    fake_wk_fini(&f);
}

/* A cancelled search says nothing of what it has; its shard is free to go. */
Test(wk_results, cancelled_it_keeps_what_is_done_to_itself)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 2);
    fake_wk_finish_projection(&f);
    finish_shard(&f, 0);
    fake_wk_control(&f, PR_CANCEL, 1);
    f.own_ns += EVERY;
    fake_wk_finish_all(&f);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* Nothing can be scored: one RESULT says so of all shards. */
Test(wk_results, a_projection_that_fails_declines_all_together)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_fail(&f, 0, CM_ENOMEM);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_INTERNAL);
    cr_assert_eq(r.shards_count, FAKE_SHARDS);
    pr_result_fini(&r);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* Hits whose names take more than a message holds: all shards of it are declined, once. */
Test(wk_results, a_ranking_too_large_to_send_is_declined)
{
    static char name[CM_NAME_BYTES_MAX + 1];
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    memset(name, 'n', CM_NAME_BYTES_MAX);
    o.gallery = fake_gallery(2, FAKE_WK_IMAGES_MAX / 2);
    o.shards = 2;
    o.result_every_ns = EVERY;
    o.images_per_block = CM_BLOCK_IMAGES_MAX;
    fake_wk_init_ready(&f, &o);
    f.one_name = name;
    fake_wk_search(&f, 1, CM_K_MAX, LONG_US, 0, 2);
    fake_wk_finish_all(&f);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_INTERNAL);
    cr_assert_eq(r.shards_count, 2);
    cr_assert(r.shards[0].images_scored == 0 && r.shards[1].images_scored == 0);
    pr_result_fini(&r);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}
