/* test_lateness.c: a worker that is slow, or misses heartbeats, is passed over until it keeps up.
 */
#include "coordinator/core.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <string.h>

enum { IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES, WORKERS_MAX = 3, SLOW = 10 };

static const char *const nodes[WORKERS_MAX] = {"w0", "w1", "w2"};

/* Workers that take a while for each shard that they are asked for: a cluster that goes by its
 * queries, one at a time. */
struct cluster {
    struct fake_co f;
    int workers;
    uint64_t shard_ms[WORKERS_MAX]; /* 0: it does not answer */
    uint64_t query;
    uint32_t asked[WORKERS_MAX];  /* shards, of the last query */
    uint32_t probed[WORKERS_MAX]; /* searches that were out beside that */
};

static void cluster_init(struct cluster *c, int workers)
{
    *c = (struct cluster){.workers = workers};
    fake_co_init(&c->f);
    for (int i = 0; i < workers; i++) {
        fake_co_join(&c->f, nodes[i], 0, FAKE_SHARDS);
        c->shard_ms[i] = 10;
    }
}

/* One search at a worker. */
struct job {
    int worker;
    struct pr_search search;
    uint64_t due_ns; /* its next answer */
    size_t done;
};

enum { JOBS_MAX = 16 };

struct jobs {
    struct job items[JOBS_MAX];
    size_t count;
};

static void take_searches(struct cluster *c, struct jobs *jobs)
{
    for (int i = 0; i < c->workers; i++) {
        const char *node = nodes[i];
        while (test_mailbox_count(&c->f.sent, node, PR_SEARCH)) {
            cr_assert(jobs->count < JOBS_MAX);
            struct job *j = &jobs->items[jobs->count++];
            *j = (struct job){.worker = i, .search = fake_co_take_search(&c->f, node)};
            j->due_ns = c->shard_ms[i] ? c->f.now_ns + c->shard_ms[i] * FAKE_MS : UINT64_MAX;
            c->asked[i] += (uint32_t)j->search.shards_count;
        }
        while (test_mailbox_count(&c->f.sent, node, PR_CANCEL)) {
            uint64_t id = fake_co_take(&c->f, node, PR_CANCEL).id.v;
            for (size_t n = 0; n < jobs->count; n++)
                if (jobs->items[n].search.id.v == id)
                    jobs->items[n].due_ns = UINT64_MAX;
        }
        while (test_mailbox_count(&c->f.sent, node, PR_HEARTBEAT))
            fake_co_take(&c->f, node, PR_HEARTBEAT);
    }
}

static struct job *next_job(struct jobs *jobs)
{
    struct job *best = NULL;
    for (size_t n = 0; n < jobs->count; n++) {
        struct job *j = &jobs->items[n];
        if (j->due_ns != UINT64_MAX && (!best || j->due_ns < best->due_ns))
            best = j;
    }
    return best;
}

static void do_job(struct cluster *c, struct job *j)
{
    const char *node = nodes[j->worker];
    if (j->due_ns > c->f.now_ns)
        fake_co_sleep(&c->f, j->due_ns - c->f.now_ns);
    fake_co_score(&c->f, node, j->search.id.v, j->search.shards[j->done].v, c->query, 5);
    j->done++;
    j->due_ns = j->done < j->search.shards_count ? c->f.now_ns + c->shard_ms[j->worker] * FAKE_MS
                                                 : UINT64_MAX;
}

/* One query from its dispatch until all have said what they will; returns what it took. */
static uint64_t ask(struct cluster *c)
{
    struct jobs jobs = {.count = 0};
    uint64_t start_ns = c->f.now_ns, took_ns = 0;
    memset(c->asked, 0, sizeof c->asked);
    fake_co_query(&c->f, "client", ++c->query, 5, 60000);
    take_searches(c, &jobs);
    for (struct job *j; (j = next_job(&jobs)) != NULL || !took_ns;) {
        if (j)
            do_job(c, j);
        else
            fake_co_sleep(&c->f, FAKE_MS);
        take_searches(c, &jobs);
        if (!took_ns && test_mailbox_count(&c->f.sent, "client", 0)) {
            struct pr_answer answer = fake_co_take_answer(&c->f, "client");
            cr_assert_eq(answer.missing_count, 0);
            cr_assert_eq(answer.images_scored, IMAGES);
            pr_answer_fini(&answer);
            took_ns = c->f.now_ns - start_ns;
        }
    }
    for (size_t n = 0; n < jobs.count; n++)
        pr_search_fini(&jobs.items[n].search);
    return took_ns;
}

static struct pr_status status_of(struct cluster *c)
{
    fake_co_control(&c->f, "watcher", PR_STATUS_REQUEST, 1);
    return fake_co_take_status(&c->f, "watcher");
}

static bool is_slow(struct cluster *c, size_t worker)
{
    struct pr_status status = status_of(c);
    bool slow = status.members[worker].slow;
    pr_status_fini(&status);
    return slow;
}

static uint64_t hedges(struct cluster *c)
{
    struct pr_status status = status_of(c);
    uint64_t count = status.counters.hedges;
    pr_status_fini(&status);
    return count;
}

static void ask_until_slow(struct cluster *c, size_t worker)
{
    for (int i = 0; i < 30; i++)
        ask(c);
    cr_assert(!is_slow(c, worker));
    c->shard_ms[worker] *= SLOW;
    for (int i = 0; i < 30 && !is_slow(c, worker); i++)
        ask(c);
    cr_assert(is_slow(c, worker));
    cr_assert_eq(fake_co_logged(&c->f, "event=worker_demoted"), 1);
    cr_assert_eq(fake_co_logged(&c->f, "why=\"late\""), 1);
}

static void cluster_fini(struct cluster *c)
{
    cr_assert(co_idle(c->f.core));
    fake_co_fini(&c->f);
}

/* All shards are asked of the other; these are no hedges. */
Test(co_lateness, a_late_worker_is_passed_over)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    ask(&c); /* with a probe, perhaps */
    uint64_t before = hedges(&c);
    cr_assert_eq(ask(&c), 40 * FAKE_MS);
    cr_assert_eq(c.asked[0], 0);
    cr_assert_eq(c.asked[1], FAKE_SHARDS);
    cr_assert_eq(hedges(&c), before);
    cluster_fini(&c);
}

/* Of three, too; and the two that are left are each other's replicas. */
Test(co_lateness, the_others_share_what_it_had)
{
    struct cluster c;
    cluster_init(&c, 3);
    ask_until_slow(&c, 1);
    ask(&c);
    ask(&c);
    cr_assert_eq(c.asked[0], 2);
    cr_assert_eq(c.asked[1], 0);
    cr_assert_eq(c.asked[2], 2);
    cluster_fini(&c);
}

/* A share of a query goes to it about once a second, and no query waits for that. */
Test(co_lateness, a_demoted_worker_is_probed_and_nobody_waits)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    uint64_t start_ns = c.f.now_ns;
    unsigned probes = 0;
    while (c.f.now_ns < start_ns + 10000 * FAKE_MS) {
        cr_assert_eq(ask(&c), 40 * FAKE_MS);
        cr_assert_eq(c.asked[1], FAKE_SHARDS);
        probes += c.asked[0] > 0;
    }
    cr_assert(probes >= 7 && probes <= 11, "%u probes in ten seconds", probes);
    cr_assert(is_slow(&c, 0));
    cluster_fini(&c);
}

/* A probe takes a credit; at its deadline it is cancelled, and the credit is back. */
Test(co_lateness, a_probe_is_a_search_that_the_worker_granted)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    fake_co_sleep(&c.f, 1000 * FAKE_MS);
    struct co_member *m = &c.f.core->members.slots[0];
    uint32_t granted = m->hello.credits;
    fake_co_query(&c.f, "client", ++c.query, 5, 2000);
    cr_assert_eq(test_mailbox_count(&c.f.sent, "w0", PR_SEARCH), 1);
    struct pr_search probe = fake_co_take_search(&c.f, "w0");
    m->hello.credits = 1;
    cr_assert(m->late && m->probe.left == probe.shards_count);
    m->late = false; /* so that it would be asked, had it credit */
    fake_co_query(&c.f, "client", ++c.query, 5, 2000);
    cr_assert_eq(test_mailbox_count(&c.f.sent, "w0", PR_SEARCH), 0);
    m->late = true;
    fake_co_sleep(&c.f, 2000 * FAKE_MS);
    cr_assert_eq(test_mailbox_count(&c.f.sent, "w0", PR_CANCEL), 1);
    cr_assert_eq(fake_co_take(&c.f, "w0", PR_CANCEL).id.v, probe.id.v);
    cr_assert_eq(m->probe.left, 0);
    m->hello.credits = granted;
    pr_search_fini(&probe);
    fake_co_fini(&c.f);
}

/* One that cannot be sent is not waited for, and the next comes in its time. */
Test(co_lateness, a_probe_that_cannot_be_sent_leaves_nothing)
{
    static const enum cm_err whys[] = {CM_EUNAVAIL, CM_EBUSY};
    for (size_t i = 0; i < 2; i++) {
        struct cluster c;
        cluster_init(&c, 2);
        ask_until_slow(&c, 0);
        fake_co_sleep(&c.f, 1000 * FAKE_MS);
        struct co_member *m = &c.f.core->members.slots[0];
        c.f.deaf = test_peer("w0");
        c.f.deaf_why = whys[i];
        ask(&c);
        cr_assert_eq(c.asked[0], 0);
        cr_assert_eq(m->probe.left, 0);
        cr_assert(m->used && m->late);
        c.f.deaf = test_peer("nobody");
        uint64_t since_ns = c.f.now_ns;
        while (ask(&c) && c.asked[0] == 0)
            cr_assert(c.f.now_ns < since_ns + 1100 * FAKE_MS, "no probe comes any more");
        cr_assert(c.f.now_ns > since_ns + 900 * FAKE_MS, "the next came at once");
        cluster_fini(&c);
    }
}

/* Between two probes it had nothing to do. */
Test(co_lateness, a_probe_is_timed_from_its_beginning)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    const struct co_speed *speed = &c.f.core->members.slots[0].speed;
    fake_co_sleep(&c.f, 2000 * FAKE_MS);
    double before_ns = speed->busy_ns;
    ask(&c);
    cr_assert_eq(c.asked[0], 4, "as large as a share can be");
    cr_assert_lt(speed->busy_ns, before_ns + 4e8 + 1);
    cluster_fini(&c);
}

/* Nor does it begin anew when it is sent something else. */
Test(co_lateness, a_probe_is_timed_to_its_end)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    struct co_speed *speed = &c.f.core->members.slots[0].speed;
    fake_co_sleep(&c.f, 1000 * FAKE_MS);
    fake_co_query(&c.f, "client", ++c.query, 5, 2000);
    struct pr_search probe = fake_co_take_search(&c.f, "w0");
    fake_co_sleep(&c.f, 300 * FAKE_MS);
    fake_co_evaluate(&c.f, "client", 500, 4, 2, false);
    fake_co_take(&c.f, "w0", PR_MEASURE);
    fake_co_sleep(&c.f, 100 * FAKE_MS);
    *speed = (struct co_speed){.since_ns = speed->since_ns};
    fake_co_score(&c.f, "w0", probe.id.v, probe.shards[0].v, c.query, 5);
    cr_assert_float_eq(speed->busy_ns, 4e8, 1);
    pr_search_fini(&probe);
    fake_co_disconnect(&c.f, "client");
    cluster_fini(&c);
}

Test(co_lateness, it_is_restored_once_it_keeps_up)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    c.shard_ms[0] = 10;
    uint64_t start_ns = c.f.now_ns;
    while (is_slow(&c, 0) && c.f.now_ns < start_ns + 60000 * FAKE_MS)
        ask(&c);
    cr_assert(!is_slow(&c, 0));
    cr_assert(c.f.now_ns - start_ns > 2000 * FAKE_MS, "one good answer restores nobody");
    cr_assert(c.f.now_ns - start_ns < 20000 * FAKE_MS);
    cr_assert_eq(fake_co_logged(&c.f, "event=worker_restored worker=w0 why=\"keeps up\""), 1);
    ask(&c);
    cr_assert_eq(c.asked[0], 2);
    cr_assert_eq(c.asked[1], 2);
    cluster_fini(&c);
}

/* It gets less than the others, since it is slow: so a share does not take four times as long. */
Test(co_lateness, four_times_slower_is_late)
{
    struct cluster c;
    cluster_init(&c, 3);
    for (int i = 0; i < 30; i++)
        ask(&c);
    c.shard_ms[0] = 40;
    for (int i = 0; i < 60 && !is_slow(&c, 0); i++)
        ask(&c);
    cr_assert(is_slow(&c, 0));
    cluster_fini(&c);
}

/* Twice as slow is not late, and neither is one slow answer. */
Test(co_lateness, a_little_slower_is_not_late)
{
    struct cluster c;
    cluster_init(&c, 2);
    c.shard_ms[0] = 20;
    for (int i = 0; i < 200; i++) {
        c.shard_ms[0] = i % 50 == 49 ? 1000 : 20;
        ask(&c);
    }
    cr_assert_eq(fake_co_logged(&c.f, "event=worker_demoted"), 0);
    cluster_fini(&c);
}

static void let_pass(struct fake_co *f, int ms)
{
    for (int i = 0; i < ms / 100; i++) {
        fake_co_sleep(f, 100 * FAKE_MS);
        for (int w = 0; w < WORKERS_MAX; w++)
            fake_co_heartbeat(f, nodes[w]);
    }
    for (int w = 0; w < WORKERS_MAX; w++)
        while (test_mailbox_count(&f->sent, nodes[w], PR_HEARTBEAT))
            fake_co_take(f, nodes[w], PR_HEARTBEAT);
}

/* Of what waits for it when it went on at its pace after a stall, each share takes eleven times
 * what the others' do, though none is larger: it is as fast as they are, and no slower for having
 * nothing to do then. */
Test(co_lateness, a_long_queue_is_not_late)
{
    enum { STALL = 100, BEHIND = 10, QUERIES = 200 };
    struct fake_co f;
    uint64_t ids[QUERIES];
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 1);
    fake_co_join(&f, "w1", 1, 1);
    fake_co_join(&f, "w2", 2, FAKE_SHARDS - 2);
    for (int i = 0; i < QUERIES; i++) {
        fake_co_query(&f, "client", (uint64_t)i, 5, 60000);
        for (int w = 0; w < 3; w++) {
            struct pr_search search = fake_co_take_search(&f, nodes[w]);
            ids[i] = search.id.v;
            pr_search_fini(&search);
        }
        fake_co_sleep(&f, 10 * FAKE_MS);
        for (uint32_t s = 1; s < FAKE_SHARDS; s++)
            fake_co_score(&f, s == 1 ? "w1" : "w2", ids[i], s, (uint64_t)i, 5);
        int next = i < STALL ? i : i - BEHIND;
        if (next >= STALL || i < STALL)
            fake_co_score(&f, "w0", ids[next], 0, (uint64_t)next, 5);
    }
    cr_assert_eq(test_mailbox_count(&f.sent, "client", PR_ANSWER), QUERIES - BEHIND);
    for (int i = QUERIES - BEHIND; i < QUERIES; i++) {
        fake_co_sleep(&f, 10 * FAKE_MS);
        fake_co_score(&f, "w0", ids[i], 0, (uint64_t)i, 5);
    }
    cr_assert_eq(fake_co_logged(&f, "event=worker_demoted"), 0);
    let_pass(&f, 10000);
    fake_co_query(&f, "client", QUERIES, 5, 60000);
    fake_co_sleep(&f, 10 * FAKE_MS);
    fake_co_score(&f, "w1", fake_co_take(&f, "w1", PR_SEARCH).id.v, 1, QUERIES, 5);
    cr_assert_eq(fake_co_logged(&f, "event=worker_demoted"), 0);
    fake_co_fini(&f);
}

/* Workers score queries that come together together: all answers come at the end. */
Test(co_lateness, who_is_slow_with_many_at_once_is_late)
{
    enum { TOGETHER = 8, ROUNDS = 30, SLOW_FROM = 10 };
    struct fake_co f;
    fake_co_init(&f);
    for (int w = 0; w < 2; w++)
        fake_co_join(&f, nodes[w], 2 * (uint32_t)w, 2);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t ids[TOGETHER];
        for (int q = 0; q < TOGETHER; q++) {
            fake_co_query(&f, "client", (uint64_t)q, 5, 60000);
            for (int w = 0; w < 2; w++) {
                struct pr_search search = fake_co_take_search(&f, nodes[w]);
                ids[q] = search.id.v;
                pr_search_fini(&search);
            }
        }
        for (uint32_t w = 2; w-- > 0;) { /* the first worker is the slow one */
            fake_co_sleep(&f, (w == 0 && i >= SLOW_FROM ? SLOW - 1 : w) * 10 * FAKE_MS);
            for (int q = 0; q < 2 * TOGETHER; q++)
                fake_co_score(&f, nodes[w], ids[q / 2], 2 * w + (uint32_t)q % 2, (uint64_t)q / 2,
                              5);
        }
        cr_assert(i >= SLOW_FROM || fake_co_logged(&f, "event=worker_demoted") == 0);
    }
    cr_assert_eq(fake_co_logged(&f, "event=worker_demoted worker=w0 why=\"late\""), 1);
    fake_co_fini(&f);
}

/* Where it alone has a shard it is asked for that, and can redeem itself thereby. */
Test(co_lateness, a_sole_holder_is_asked_all_the_same)
{
    struct cluster c = {.workers = 2, .shard_ms = {10, 10}};
    fake_co_init(&c.f);
    fake_co_join(&c.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&c.f, "w1", 0, FAKE_SHARDS - 1);
    ask_until_slow(&c, 0);
    ask(&c);
    cr_assert_eq(c.asked[0], 1);
    cr_assert_eq(c.asked[1], FAKE_SHARDS - 1);
    c.shard_ms[0] = 10;
    for (int i = 0; i < 30 && is_slow(&c, 0); i++)
        ask(&c);
    cr_assert(!is_slow(&c, 0));
    cluster_fini(&c);
}

/* What it still owed is asked of the other when it is demoted, beyond the budget for hedges. */
Test(co_lateness, what_a_demoted_worker_owes_is_moved)
{
    struct cluster c;
    cluster_init(&c, 2);
    for (int i = 0; i < 30; i++)
        ask(&c);
    uint64_t before = hedges(&c);
    c.shard_ms[0] = 0; /* frozen: it neither answers nor says that it lives */
    fake_co_query(&c.f, "client", 100, 5, 60000);
    fake_co_query(&c.f, "client", 101, 5, 60000);
    fake_co_query(&c.f, "client", 102, 5, 60000);
    for (int i = 0; i < 9; i++) {
        fake_co_sleep(&c.f, 300 * FAKE_MS);
        fake_co_heartbeat(&c.f, "w1");
    }
    cr_assert(is_slow(&c, 0) && !is_slow(&c, 1));
    cr_assert_eq(fake_co_logged(&c.f, "event=worker_demoted worker=w0 why=\"silent\""), 1);
    cr_assert_eq(test_mailbox_count(&c.f.sent, "w1", PR_SEARCH), 6, "three queries, two shares");
    cr_assert_leq(hedges(&c) - before, FAKE_SHARDS, "the budget is one query's worth");
    fake_co_heartbeat(&c.f, "w0");
    cr_assert(!is_slow(&c, 0));
    cr_assert_eq(fake_co_logged(&c.f, "event=worker_restored worker=w0 why=\"heard\""), 1);
    fake_co_disconnect(&c.f, "client");
    cluster_fini(&c);
}

/* Moving is no hedging: it needs neither a budget nor an idea of what is usual. */
Test(co_lateness, what_a_silent_worker_owes_is_moved_without_hedges)
{
    struct cluster c = {.workers = 2};
    fake_co_init_unhedged(&c.f);
    fake_co_join(&c.f, "w0", 0, FAKE_SHARDS);
    fake_co_join(&c.f, "w1", 0, FAKE_SHARDS);
    fake_co_query(&c.f, "client", 1, 5, 60000);
    fake_co_take(&c.f, "w1", PR_SEARCH);
    fake_co_sleep(&c.f, 1900 * FAKE_MS);
    fake_co_heartbeat(&c.f, "w1");
    fake_co_take(&c.f, "w1", PR_HEARTBEAT);
    fake_co_sleep(&c.f, 340 * FAKE_MS);
    cr_assert_eq(test_mailbox_count(&c.f.sent, "w1", PR_SEARCH), 0, "two heartbeats and a quarter");
    fake_co_sleep(&c.f, 20 * FAKE_MS);
    struct pr_search moved = fake_co_take_search(&c.f, "w1");
    cr_assert_eq(moved.shards_count, 2);
    cr_assert_eq(hedges(&c), 0);
    pr_search_fini(&moved);
    fake_co_disconnect(&c.f, "client");
    cluster_fini(&c);
}

/* The other one has no credit left: what waits goes to the silent one as soon as it is heard. */
Test(co_lateness, a_word_from_a_silent_worker_gets_it_what_waits)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_join_with_credits(&f, "w1", 0, FAKE_SHARDS, 1);
    fake_co_sleep(&f, FAKE_HEARTBEAT_NS);
    fake_co_heartbeat(&f, "w0");
    fake_co_sleep(&f, 3 * FAKE_HEARTBEAT_NS / 2);
    fake_co_heartbeat(&f, "w0");
    test_mailbox_clear(&f.sent);
    cr_assert_eq(fake_co_logged(&f, "event=worker_demoted worker=w1 why=\"silent\""), 1);
    fake_co_query(&f, "client", 1, 5, 60000);
    fake_co_query(&f, "client", 2, 5, 60000);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_SEARCH), 1);
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_SEARCH), 0);
    fake_co_heartbeat(&f, "w1");
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_SEARCH), 1);
    fake_co_fini(&f);
}

/* A cluster that stood still as a whole, or we did, finds nobody silent but for a moment. */
Test(co_lateness, all_demoted_is_none_demoted)
{
    struct cluster c;
    cluster_init(&c, 2);
    fake_co_sleep(&c.f, 2500 * FAKE_MS);
    cr_assert(is_slow(&c, 0) && is_slow(&c, 1));
    cr_assert_eq(ask(&c), 20 * FAKE_MS);
    cr_assert_eq(c.asked[0], 2);
    cr_assert_eq(c.asked[1], 2);
    cr_assert(!is_slow(&c, 0) && !is_slow(&c, 1));
    cluster_fini(&c);
}

/* An evaluation asks a worker that is late as well: it waits for all its work anyway. */
Test(co_lateness, evaluations_pass_nobody_over_for_being_late)
{
    struct cluster c;
    cluster_init(&c, 2);
    ask_until_slow(&c, 0);
    fake_co_evaluate(&c.f, "client", 500, 4, 2, false);
    struct pr_measure measure = fake_co_take_measure(&c.f, "w0");
    cr_assert_eq(measure.shards_count, 2);
    pr_measure_fini(&measure);
    fake_co_disconnect(&c.f, "client");
    cluster_fini(&c);
}
