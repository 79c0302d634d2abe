/* test_deadline.c: a search that was cancelled, or whose time is over, gets nothing more done:
 * counted where the work is done. */
#include "tests/support/fake_wk.h"

#include <criterion/criterion.h>

#define MS UINT64_C(1000000)

enum { LONG_US = 60000000 };

static void ready(struct fake_wk *f, uint32_t jobs)
{
    struct fake_wk_options o = fake_wk_defaults();
    o.jobs = jobs;
    fake_wk_init_ready(f, &o);
}

static void expect_work(struct fake_wk *f, uint64_t scored, uint64_t cancelled, uint64_t expired)
{
    struct pr_work work = fake_wk_work(f);
    cr_assert_eq(work.blocks_scored, scored, "%lu blocks were scored", work.blocks_scored);
    cr_assert_eq(work.cancelled, cancelled, "%lu were cancelled", work.cancelled);
    cr_assert_eq(work.expired, expired, "%lu expired", work.expired);
    cr_assert_eq(work.blocks_late, 0, "%lu blocks were late", work.blocks_late);
}

/* Four jobs are out: a thread is at the first, and that is the last block of the search. */
Test(wk_deadline, cancelled_it_ends_with_the_block_in_hand)
{
    struct fake_wk f;
    ready(&f, 4);
    fake_wk_search(&f, 1, 5, LONG_US, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs_out, 4);
    fake_wk_begin(&f, 0);
    f.own_ns += MS;
    fake_wk_control(&f, PR_CANCEL, 1);
    cr_assert_eq(f.jobs_out, 4, "no further block is handed out");
    f.own_ns += MS;
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    expect_work(&f, 1, 1, 0);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 0);
    fake_wk_fini(&f);
}

/* The same at a deadline that no tick has told of yet: threads look at the clock themselves. */
Test(wk_deadline, expired_it_ends_with_the_block_in_hand)
{
    struct fake_wk f;
    ready(&f, 4);
    fake_wk_search(&f, 1, 5, 100000, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    fake_wk_begin(&f, 0);
    f.own_ns += 100 * MS;
    fake_wk_finish(&f, 0);
    cr_assert_eq(f.jobs_out, 3, "no further block is handed out");
    fake_wk_finish_all(&f);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.shards_count, FAKE_SHARDS - 1, "those of which nothing is scored: together");
    for (uint32_t i = 0; i < FAKE_SHARDS - 1; i++)
        cr_assert_eq(r.shards[i].images_scored, 0);
    pr_result_fini(&r);
    r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_DEADLINE);
    cr_assert_eq(r.shards[0].images_scored, 4, "the block in hand counts");
    cr_assert_eq(r.hits.count, 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert(r.hits.items[i].hit.score == fake_score(1, r.hits.items[i].hit.image));
    pr_result_fini(&r);
    cr_assert(wk_idle(f.core));
    expect_work(&f, 1, 0, 1);
    fake_wk_fini(&f);
}

/* Its turn comes when its time is over: it is not even projected. */
Test(wk_deadline, expired_in_the_queue_it_is_never_projected)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_finish_projection(&f); /* the one thread has a block now */
    fake_wk_search(&f, 2, 5, 100000, 0, 2);
    f.own_ns += 100 * MS;
    fake_wk_finish_block(&f, 0, 0);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.id.v, 2);
    cr_assert_eq(r.reason, PR_REASON_DEADLINE);
    cr_assert_eq(r.shards_count, 2);
    cr_assert(r.shards[0].images_scored == 0 && r.shards[1].images_scored == 0);
    pr_result_fini(&r);
    cr_assert_eq(f.jobs[0]->kind, WK_JOB_SCORE, "the other goes on");
    fake_wk_finish_all(&f);
    fake_wk_take(&f, PR_RESULT);
    expect_work(&f, 3, 0, 1);
    fake_wk_fini(&f);
}

/* A thread comes to it too late, though it was handed out in time. */
Test(wk_deadline, a_projection_that_waited_too_long_is_left_out)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_search(&f, 1, 5, 100000, 0, 1);
    cr_assert_eq(f.jobs_out, 1);
    f.own_ns += 100 * MS;
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs_out, 0);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_DEADLINE);
    pr_result_fini(&r);
    cr_assert(wk_idle(f.core));
    expect_work(&f, 0, 0, 1);
    fake_wk_fini(&f);
}

/* One of a batch is left out; the pass goes on for the other. */
Test(wk_deadline, the_others_of_a_pass_are_scored)
{
    struct fake_wk f;
    ready(&f, 1);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_search(&f, 2, 5, LONG_US, 0, 1);
    fake_wk_finish_projection(&f);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs[0]->queries_count, 2);
    fake_wk_control(&f, PR_CANCEL, 1);
    f.own_ns += MS;
    fake_wk_finish_all(&f);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.id.v, 2);
    cr_assert_eq(r.reason, PR_REASON_NONE);
    pr_result_fini(&r);
    expect_work(&f, 3, 1, 0);
    fake_wk_fini(&f);
}

/* An evaluation has no deadline, but its CANCEL ends it as well. */
Test(wk_deadline, a_cancelled_evaluation_ends_with_the_block_in_hand)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_measure(&f, 1, 7, 0, false, 0, FAKE_SHARDS);
    fake_wk_finish_projection(&f);
    cr_assert_eq(f.jobs_out, 2);
    fake_wk_begin(&f, 0);
    fake_wk_control(&f, PR_CANCEL, 1);
    f.own_ns += MS;
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    expect_work(&f, 1, 1, 0);
    fake_wk_fini(&f);
}

/* The counter that is 0 everywhere else counts: a thread that minds neither CANCEL nor clock. */
Test(wk_deadline, work_for_nobody_is_counted)
{
    struct fake_wk f;
    ready(&f, 2);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_finish_projection(&f);
    fake_wk_control(&f, PR_CANCEL, 1);
    f.own_ns += MS;
    f.jobs[1]->began_ns[0] = f.own_ns;
    fake_wk_finish_all(&f);
    struct pr_work work = fake_wk_work(&f);
    cr_assert_eq(work.blocks_scored, 1);
    cr_assert_eq(work.blocks_late, 1);
    fake_wk_fini(&f);
}
