/* test_search.c: from SEARCH to RESULT, one a shard where nothing else is said. */
#include "common/checksum.h"
#include "tests/support/fake_wk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define MS UINT64_C(1000000)

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, LONG_US = 60000000 };

static void ready(struct fake_wk *f, uint32_t jobs)
{
    struct fake_wk_options o = fake_wk_defaults();
    o.jobs = jobs;
    fake_wk_init_ready(f, &o);
}

/* Takes the next RESULT, which must rank just these images of its shard. */
static void expect_result(struct fake_wk *f, uint64_t query, uint32_t shard, enum pr_reason reason,
                          uint64_t first, uint64_t count, size_t k)
{
    unsigned char covered[IMAGES] = {0};
    struct cm_hit best[IMAGES];
    uint64_t overflowed = 0;
    memset(covered + first, 1, count);
    for (uint64_t i = first; i < first + count; i++)
        overflowed += isinf(fake_score(query, i)) != 0;
    size_t hits = fake_ranking(query, covered, IMAGES, k, best);
    struct pr_result r = fake_wk_take_result(f);
    cr_assert_eq(r.id.v, query);
    cr_assert_eq(r.shards[0].shard.v, shard, "shard %u came", r.shards[0].shard.v);
    cr_assert_eq(r.reason, reason, "%s", pr_reason_name(r.reason));
    cr_assert_eq(r.shards[0].images_scored, count);
    cr_assert_eq(r.shards[0].images, FAKE_SHARD_IMAGES);
    cr_assert_eq(r.shards[0].overflowed, overflowed);
    cr_assert_eq(r.hits.count, hits, "%zu hits", r.hits.count);
    for (size_t i = 0; i < hits; i++) {
        char name[FAKE_NAME_BYTES];
        struct cm_image_meta meta = fake_meta(best[i].image, name);
        cr_assert_eq(r.hits.items[i].hit.image, best[i].image, "rank %zu", i);
        cr_assert(r.hits.items[i].hit.score == best[i].score, "rank %zu", i);
        cr_assert_str_eq(r.hits.items[i].meta.name, name);
        cr_assert_eq(r.hits.items[i].meta.pid, meta.pid);
        cr_assert_eq(r.hits.items[i].meta.camid, meta.camid);
        cr_assert_eq(r.hits.items[i].meta.timestamp, -1);
    }
    pr_result_fini(&r);
}

Test(wk_search, projects_then_scores_block_after_block)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 7, 5, LONG_US, 1, 2);
    fake_wk_finish_projection(&f);
    for (uint32_t held = 1; held <= 2; held++) {
        for (uint64_t block = 0; block < 3; block++) {
            cr_assert_eq(f.sent.count, 0);
            cr_assert_eq(f.jobs_out, 1);
            fake_wk_finish_block(&f, held, block);
        }
        expect_result(&f, 7, held, PR_REASON_NONE, held * 10, 10, 5);
    }
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* The whole gallery, beginning with its first block. */
Test(wk_search, begins_at_the_beginning)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 7, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    for (uint32_t held = 0; held < FAKE_SHARDS; held++)
        for (uint64_t block = 0; block < 3; block++)
            fake_wk_finish_block(&f, held, block);
    cr_assert_eq(f.sent.count, FAKE_SHARDS);
    fake_wk_fini(&f);
}

Test(wk_search, fewer_images_than_k_give_them_all)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_search(&f, 3, CM_K_MAX, LONG_US, 0, 1);
    fake_wk_finish_all(&f);
    expect_result(&f, 3, 0, PR_REASON_NONE, 0, 10, CM_K_MAX);
    fake_wk_fini(&f);
}

Test(wk_search, uses_all_its_jobs_and_no_more)
{
    struct fake_wk f;
    ready(&f, 5);
    fake_wk_search(&f, 1, 5, LONG_US, 0, FAKE_SHARDS);
    cr_assert_eq(f.jobs_out, 1, "nothing can be scored before the projection");
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs_out, 5);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.sent.count, FAKE_SHARDS);
    fake_wk_fini(&f);
}

Test(wk_search, a_newcomer_joins_at_the_next_block_and_makes_up_for_the_rest)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_finish_projection(&f);
    fake_wk_search(&f, 2, 5, LONG_US, 0, 1);
    fake_wk_finish_block(&f, 0, 0);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs[0]->queries_count, 2, "both want block 1");
    fake_wk_finish_block(&f, 0, 1);
    fake_wk_finish_block(&f, 0, 2);
    expect_result(&f, 1, 0, PR_REASON_NONE, 0, 10, 5);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(f.jobs[0]->queries_count, 1);
    fake_wk_finish_block(&f, 0, 0);
    expect_result(&f, 2, 0, PR_REASON_NONE, 0, 10, 5);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_search, the_oldest_goes_first)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 1, 5, LONG_US, 3, 1);
    fake_wk_search(&f, 2, 5, LONG_US, 0, 1);
    fake_wk_finish_projection(&f);
    fake_wk_finish_projection(&f);
    for (uint64_t block = 0; block < 3; block++)
        fake_wk_finish_block(&f, 3, block);
    for (uint64_t block = 0; block < 3; block++)
        fake_wk_finish_block(&f, 0, block);
    expect_result(&f, 1, 3, PR_REASON_NONE, 30, 10, 5);
    expect_result(&f, 2, 0, PR_REASON_NONE, 0, 10, 5);
    fake_wk_fini(&f);
}

Test(wk_search, a_batch_has_a_bound)
{
    struct fake_wk f;
    ready(&f, 1);
    for (uint64_t q = 1; q <= CM_BATCH_QUERIES_MAX + 3; q++)
        fake_wk_search(&f, q, 5, LONG_US, 0, 1);
    for (uint64_t q = 1; q <= CM_BATCH_QUERIES_MAX + 3; q++)
        fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs[0]->queries_count, CM_BATCH_QUERIES_MAX);
    fake_wk_finish_all(&f);
    for (uint64_t q = 1; q <= CM_BATCH_QUERIES_MAX + 3; q++)
        expect_result(&f, q, 0, PR_REASON_NONE, 0, 10, 5);
    fake_wk_fini(&f);
}

Test(wk_search, at_the_deadline_it_answers_with_the_blocks_that_are_done)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 1, 5, 100000, 0, 3);
    fake_wk_finish_projection(&f);
    for (uint64_t block = 0; block < 3; block++)
        fake_wk_finish_block(&f, 0, block);
    expect_result(&f, 1, 0, PR_REASON_NONE, 0, 10, 5);
    fake_wk_finish_block(&f, 1, 0);
    cr_assert_eq(wk_next_wakeup_ns(f.core), f.own_ns + 100 * MS);
    fake_wk_sleep(&f, 100 * MS - 1);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_sleep(&f, 1);
    expect_result(&f, 1, 2, PR_REASON_DEADLINE, 20, 0, 5);
    expect_result(&f, 1, 1, PR_REASON_DEADLINE, 10, 4, 5);
    cr_assert(!wk_idle(f.core), "a job is still out");
    fake_wk_finish_all(&f);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_search, a_deadline_during_projection)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_search(&f, 1, 5, 100000, 0, 1);
    fake_wk_sleep(&f, 100 * MS);
    expect_result(&f, 1, 0, PR_REASON_DEADLINE, 0, 0, 5);
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_search, the_longest_deadline_does_not_wrap)
{
    struct fake_wk f;
    ready(&f, 1);
    f.own_ns = UINT64_MAX / 2;
    fake_wk_heartbeat(&f);
    fake_wk_search(&f, 1, 5, CM_DEADLINE_MS_MAX * UINT64_C(1000), 0, 1);
    wk_on_tick(f.core);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 0);
    fake_wk_finish_all(&f);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 1);
    fake_wk_fini(&f);
}

Test(wk_search, cancelled_it_starts_nothing_more)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_search(&f, 1, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs_out, 2);
    fake_wk_control(&f, PR_CANCEL, 99); /* nobody's */
    fake_wk_control(&f, PR_CANCEL, 1);
    cr_assert(!wk_idle(f.core));
    fake_wk_finish(&f, 1);
    fake_wk_finish(&f, 0);
    cr_assert_eq(f.jobs_out, 0);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_search(&f, 2, 5, LONG_US, 0, 1);
    fake_wk_control(&f, PR_CANCEL, 2); /* while it is projected */
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_search, cancelling_one_of_a_batch_leaves_the_others)
{
    struct fake_wk f;
    ready(&f, 1);
    for (uint64_t q = 1; q <= 3; q++)
        fake_wk_search(&f, q, 5, LONG_US, 0, 1);
    for (uint64_t q = 1; q <= 3; q++)
        fake_wk_finish_projection(&f);
    fake_wk_control(&f, PR_CANCEL, 2);
    fake_wk_finish_all(&f);
    expect_result(&f, 1, 0, PR_REASON_NONE, 0, 10, 5);
    expect_result(&f, 3, 0, PR_REASON_NONE, 0, 10, 5);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_fini(&f);
}

Test(wk_search, a_corrupt_block_leaves_the_coverage)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 1, 10, LONG_US, 0, 1);
    fake_wk_finish_projection(&f);
    fake_wk_fail(&f, 0, CM_ECORRUPT);
    fake_wk_finish_block(&f, 0, 1);
    fake_wk_finish_block(&f, 0, 2);
    expect_result(&f, 1, 0, PR_REASON_CORRUPT, 4, 6, 10);
    fake_wk_fini(&f);
}

/* Takes the next RESULT, which must say that nothing was scored of `count` shards, and why. */
static void expect_declined(struct fake_wk *f, uint32_t first, uint32_t count,
                            enum pr_reason reason, const uint64_t images[])
{
    struct pr_result r = fake_wk_take_result(f);
    cr_assert_eq(r.reason, reason, "%s", pr_reason_name(r.reason));
    cr_assert_eq(r.shards_count, count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(r.shards[i].shard.v, first + i);
        cr_assert_eq(r.shards[i].images_scored, 0);
        cr_assert_eq(r.shards[i].images, images[i]);
    }
    cr_assert_eq(r.hits.count, 0);
    pr_result_fini(&r);
}

static const uint64_t here[] = {FAKE_SHARD_IMAGES, FAKE_SHARD_IMAGES};

Test(wk_search, more_than_its_credits_it_declines)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.credits = 2;
    fake_wk_init_ready(&f, &o);
    for (uint64_t q = 1; q <= 3; q++)
        fake_wk_search(&f, q, 5, LONG_US, 0, 2);
    expect_declined(&f, 0, 2, PR_REASON_OVERLOAD, here);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.sent.count, 4);
    test_mailbox_clear(&f.sent);
    fake_wk_search(&f, 4, 5, LONG_US, 0, 1);
    fake_wk_finish_all(&f);
    expect_result(&f, 4, 0, PR_REASON_NONE, 0, 10, 5);
    fake_wk_fini(&f);
}

Test(wk_search, what_it_does_not_hold_it_declines)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.first_shard = 1;
    o.shards = 2;
    fake_wk_init_ready(&f, &o);
    fake_wk_search(&f, 1, 5, LONG_US, 2, 2);
    expect_declined(&f, 2, 2, PR_REASON_INTERNAL, (const uint64_t[]){FAKE_SHARD_IMAGES, 0});
    cr_assert_eq(f.sent.count, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_search, a_map_that_is_not_whole_it_declines)
{
    struct fake_wk f;
    ready(&f, 1);
    struct cm_shard_id shard = {2};
    struct cm_blob *map = fake_map(1);
    struct pr_search search = {
        .id = {1},
        .k = 5,
        .time_left_us = LONG_US,
        .dtype = CM_DTYPE_F32,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map)) ^ 1,
        .shards = &shard,
        .shards_count = 1,
    };
    fake_wk_search_as(&f, &search, map);
    expect_declined(&f, 2, 1, PR_REASON_INTERNAL, here);
    fake_wk_search_as(&f, &search, NULL);
    expect_declined(&f, 2, 1, PR_REASON_INTERNAL, here);
    search.payload_crc32c ^= 1;
    search.dtype = CM_DTYPE_F16; /* twice as many bytes as that takes */
    fake_wk_search_as(&f, &search, map);
    expect_declined(&f, 2, 1, PR_REASON_INTERNAL, here);
    cr_assert(wk_idle(f.core));
    cm_blob_unref(&map);
    fake_wk_fini(&f);
}

/* A ranking whose names are more than a message holds. */
Test(wk_search, a_result_too_large_to_send_is_answered_so)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    char name[CM_NAME_BYTES_MAX + 1];
    memset(name, 'x', CM_NAME_BYTES_MAX);
    name[CM_NAME_BYTES_MAX] = '\0';
    o.gallery = fake_gallery(1, FAKE_WK_IMAGES_MAX);
    o.shards = 1;
    o.images_per_block = CM_BLOCK_IMAGES_MAX;
    fake_wk_init_ready(&f, &o);
    f.one_name = name;
    fake_wk_search(&f, 1, FAKE_WK_IMAGES_MAX, LONG_US, 0, 1);
    fake_wk_finish_all(&f);
    expect_declined(&f, 0, 1, PR_REASON_INTERNAL, (const uint64_t[]){FAKE_WK_IMAGES_MAX});
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* The process ends while threads still had jobs. */
Test(wk_search, is_freed_with_jobs_that_never_came_back)
{
    struct fake_wk f;
    ready(&f, 3);
    fake_wk_search(&f, 1, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_search(&f, 2, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs_out, 3);
    fake_wk_control(&f, PR_CANCEL, 1);
    fake_wk_fini(&f);
}
