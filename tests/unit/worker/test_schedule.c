/* test_schedule.c: whatever comes when, each query meets each of its blocks exactly once, in a pass
 * that is shared but does not let those that come later hold up those that are here. */
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
        t->scored[(size_t)query][job->shard][job->block]++;
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
        memset(covered + r.shards[0].shard.v * images, 1, images);
        fake_ranking(r.id.v, covered, sizeof covered, 1, best);
        cr_assert_eq(r.shards[0].images_scored, images);
        cr_assert_eq(r.hits.items[0].hit.image, best[0].image);
        answered[r.id.v][r.shards[0].shard.v]++;
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

/* --- one pass, and what it may cost ----------------------------------------------------------- */

enum { PASS_BLOCKS = 48, BLOCK_IMAGES = 4, PASS_QUERIES = 200, EIGHT = CM_BATCH_QUERIES_MAX };

/* A worker with one shard, whose jobs are finished in their order. Counts are in blocks. */
struct pass {
    struct fake_wk f;
    uint64_t asked, answered;
    uint64_t read;                   /* each block as often as it was read */
    uint64_t scored;                 /* and as often as there were queries for it */
    uint64_t done[PASS_QUERIES + 1]; /* [query] */
    uint64_t due[PASS_QUERIES + 1];  /* [query] what `scored` may be when it is answered */
};

static void pass_init(struct pass *p, uint32_t jobs)
{
    struct fake_wk_options o = fake_wk_defaults();
    *p = (struct pass){0};
    o.gallery = fake_gallery(1, PASS_BLOCKS * BLOCK_IMAGES);
    o.shards = 1;
    o.jobs = jobs;
    fake_wk_init_ready(&p->f, &o);
}

static void pass_ask(struct pass *p, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        fake_wk_search(&p->f, ++p->asked, 1, 60000000, 0, 1);
}

/* A query's first block is back: those who are here have so much to score, and as much again may be
 * scored for others. */
static void note_due(struct pass *p, uint64_t query)
{
    uint64_t left = 0;
    for (uint64_t q = 1; q <= p->asked; q++)
        left += PASS_BLOCKS - p->done[q];
    p->due[query] = p->scored + 2 * left + 2;
}

static void count_block(struct pass *p, const struct wk_job *job)
{
    if (job->kind != WK_JOB_SCORE)
        return;
    p->read++;
    p->scored += job->queries_count;
    uint64_t first[EIGHT], firsts = 0;
    for (size_t i = 0; i < job->queries_count; i++) {
        float query;
        memcpy(&query, job->queries[i], sizeof query);
        if (p->done[(size_t)query]++ == 0)
            first[firsts++] = (uint64_t)query;
    }
    for (uint64_t i = 0; i < firsts; i++)
        note_due(p, first[i]);
}

/* Finishes a job, and takes the answers that it makes. */
static void pass_step(struct pass *p)
{
    cr_assert(p->f.jobs_out > 0);
    count_block(p, p->f.jobs[0]);
    fake_wk_finish(&p->f, 0);
    for (; p->f.sent.head; p->answered++) {
        struct pr_result r = fake_wk_take_result(&p->f);
        cr_assert_eq(r.shards[0].images_scored, PASS_BLOCKS * BLOCK_IMAGES);
        cr_assert(p->scored <= p->due[r.id.v], "query %u is answered after %u blocks, due at %u",
                  (unsigned)r.id.v, (unsigned)p->scored, (unsigned)p->due[r.id.v]);
        pr_result_fini(&r);
    }
}

/* Seven come when a query that began alone has met `blocks`. */
static void check_lone(uint32_t jobs, uint64_t blocks)
{
    struct pass p;
    pass_init(&p, jobs);
    pass_ask(&p, 1);
    while (p.read < blocks || p.f.jobs[0]->kind != WK_JOB_SCORE)
        pass_step(&p);
    pass_ask(&p, EIGHT - 1);
    while (p.answered == 0)
        pass_step(&p);
    cr_assert_eq(p.done[1], PASS_BLOCKS, "a newcomer was answered first");
    cr_assert(p.scored <= 2 * PASS_BLOCKS, "%u jobs, at %u: %u blocks", jobs, (unsigned)blocks,
              (unsigned)p.scored);
    cr_assert(blocks > PASS_BLOCKS / 2 || p.scored > 18 * PASS_BLOCKS / 10,
              "%u jobs, at %u: newcomers get %u blocks only", jobs, (unsigned)blocks,
              (unsigned)p.scored - PASS_BLOCKS);
    while (p.answered < EIGHT)
        pass_step(&p);
    cr_assert(p.read <= 2 * PASS_BLOCKS + EIGHT, "%u blocks are read", (unsigned)p.read);
    fake_wk_fini(&p.f);
}

Test(wk_schedule, newcomers_never_more_than_double_a_lone_query)
{
    for (uint32_t jobs = 1; jobs <= 4; jobs++)
        for (uint64_t blocks = 0; blocks < PASS_BLOCKS - jobs; blocks++)
            check_lone(jobs, blocks);
}

Test(wk_schedule, those_that_came_together_share_the_whole_pass)
{
    struct pass p;
    pass_init(&p, 4);
    pass_ask(&p, EIGHT);
    while (p.answered < EIGHT)
        pass_step(&p);
    cr_assert(p.read <= PASS_BLOCKS + EIGHT, "%u blocks are read", (unsigned)p.read);
    fake_wk_fini(&p.f);
}

/* Eight clients, who began one after the other, each with its next query when one is answered: a
 * block that is read is scored for eight, but for a few. */
Test(wk_schedule, a_stream_of_queries_shares_its_reads)
{
    struct pass p;
    pass_init(&p, 4);
    while (p.asked < EIGHT) {
        pass_ask(&p, 1);
        for (unsigned i = 0; i < 40; i++)
            pass_step(&p);
    }
    uint64_t read = p.read, scored = p.scored;
    while (p.asked < PASS_QUERIES) {
        pass_step(&p);
        pass_ask(&p, EIGHT - (p.asked - p.answered));
    }
    read = p.read - read;
    scored = p.scored - scored;
    cr_assert(scored > read * EIGHT * 8 / 10, "%u scored, %u read", (unsigned)scored,
              (unsigned)read);
    fake_wk_fini(&p.f);
}

/* Whoever comes when, pass_step holds each query to its bound. */
Test(wk_schedule, newcomers_never_more_than_double_any_query)
{
    for (uint64_t number = 1; number <= 50; number++) {
        struct test_random seed = {number};
        struct pass p;
        pass_init(&p, 1 + (uint32_t)test_random_below(&seed, 4));
        while (p.answered < PASS_QUERIES / 2) {
            bool more = p.asked < PASS_QUERIES / 2 && p.asked < p.answered + CM_WORKER_CREDITS;
            if (more && (p.f.jobs_out == 0 || test_random_below(&seed, 30) == 0))
                pass_ask(&p, 1);
            else
                pass_step(&p);
        }
        fake_wk_fini(&p.f);
    }
}
