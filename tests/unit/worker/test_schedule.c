/* test_schedule.c: whatever comes when, each query meets each of its blocks exactly once. */
#include "tests/support/fake_wk.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <stdbool.h>
#include <string.h>

enum { QUERIES = 40, BLOCKS = 5, SHARDS = 3 };

/* How often each query met each block of each shard. */
struct tally {
    unsigned char scored[QUERIES + 1][SHARDS][BLOCKS];
    bool cancelled[QUERIES + 1];
    uint32_t first[QUERIES + 1], count[QUERIES + 1]; /* its shards */
};

static void count_job(struct tally *t, const struct wk_job *job)
{
    for (size_t q = 0; job->kind == WK_JOB_SCORE && q < job->queries_count; q++) {
        float query;
        memcpy(&query, job->queries[q], sizeof query);
        cr_assert(query >= 1 && query <= QUERIES, "an unprojected query is scored");
        t->scored[(size_t)query][job->held][job->block]++;
    }
}

static void finish_one(struct fake_wk *f, struct tally *t, struct test_random *seed)
{
    if (f->jobs_out == 0)
        return;
    size_t i = test_random_below(seed, f->jobs_out);
    count_job(t, f->jobs[i]);
    fake_wk_finish(f, i);
}

/* What the core owes: for a search that was not cancelled, one whole result a shard. */
static void check_results(struct fake_wk *f, const struct tally *t)
{
    unsigned char answered[QUERIES + 1][SHARDS] = {0};
    while (f->sent.head) {
        struct pr_result r = fake_wk_take_result(f);
        unsigned char covered[SHARDS * BLOCKS * 4] = {0};
        struct cm_hit best[1];
        uint64_t images = sizeof covered / SHARDS;
        memset(covered + r.shard.v * images, 1, images);
        fake_ranking(r.id.v, covered, sizeof covered, 1, best);
        cr_assert_eq(r.images_scored, images);
        cr_assert_eq(r.hits.items[0].hit.image, best[0].image);
        answered[r.id.v][r.shard.v]++;
        pr_result_fini(&r);
    }
    for (size_t q = 1; q <= QUERIES; q++)
        for (uint32_t s = 0; s < SHARDS; s++) {
            bool asked = s >= t->first[q] && s < t->first[q] + t->count[q];
            cr_assert(answered[q][s] <= asked, "query %zu, shard %u: %u results", q, s,
                      answered[q][s]);
            cr_assert(answered[q][s] == asked || t->cancelled[q], "query %zu, shard %u", q, s);
            for (size_t b = 0; b < BLOCKS; b++) {
                cr_assert(t->scored[q][s][b] <= asked, "query %zu, shard %u, block %zu: %u times",
                          q, s, b, t->scored[q][s][b]);
                cr_assert(t->scored[q][s][b] == asked || t->cancelled[q]);
            }
        }
}

static void run_once(uint64_t number)
{
    struct test_random seed = {number};
    struct fake_wk f;
    struct tally t = {0};
    struct fake_wk_options o = fake_wk_defaults();
    o.gallery = fake_gallery(SHARDS, BLOCKS * 4);
    o.shards = SHARDS;
    o.jobs = 1 + (uint32_t)test_random_below(&seed, 6);
    o.credits = QUERIES;
    fake_wk_init_ready(&f, &o);
    for (uint64_t q = 1; q <= QUERIES;) {
        uint64_t dice = test_random_below(&seed, 10);
        if (dice < 2) {
            t.first[q] = (uint32_t)test_random_below(&seed, SHARDS);
            t.count[q] = 1 + (uint32_t)test_random_below(&seed, SHARDS - t.first[q]);
            fake_wk_search(&f, q, 1 + (uint32_t)test_random_below(&seed, 30), 60000000, t.first[q],
                           t.count[q]);
            q++;
        } else if (dice == 2 && q > 1 && test_random_below(&seed, 3) == 0) {
            uint64_t victim = 1 + test_random_below(&seed, q - 1);
            t.cancelled[victim] = true;
            fake_wk_control(&f, PR_CANCEL, victim);
        } else {
            finish_one(&f, &t, &seed);
        }
    }
    while (f.jobs_out > 0)
        finish_one(&f, &t, &seed);
    cr_assert(wk_idle(f.core));
    check_results(&f, &t);
    fake_wk_fini(&f);
}

Test(wk_schedule, each_query_meets_each_block_once)
{
    for (uint64_t seed = 1; seed <= 100; seed++)
        run_once(seed);
}
