/* test_pair.c: a coordinator and three workers in one process, on one clock, over a network that
 * delays at random; workers die and start again. Whatever happens, each query gets one answer, and
 * that answer is the truth. */
#include "coordinator/gather.h"
#include "tests/support/fake_co.h"
#include "tests/support/fake_wk.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKERS = 3,
    QUERIES = 60,
    IMAGES = FAKE_SHARDS * FAKE_SHARD_IMAGES,
    DELAY_MS = 30,   /* of one message, at most */
    JOB_MS = 40,     /* of one job, at most */
    PAUSE_MS = 80,   /* between two queries, at most */
    QUIET_MS = 8000, /* after which everybody has found everybody again */
};

/* One worker's place: the process in it changes. */
struct place {
    bool alive;
    char address[24]; /* another one for each connection */
    unsigned connections, reconnects_seen;
    uint64_t incarnation;
    struct fake_wk wk;
    uint64_t job_due_ns; /* when its next job finishes */
    struct test_mailbox up, down;
    unsigned char scored[QUERIES + 2][IMAGES]; /* by this process */
};

struct world {
    struct fake_co co;
    struct place places[WORKERS];
    struct test_random seed;
    struct test_mailbox to_client;
    uint64_t query_of[QUERIES + 2];          /* by the coordinator's id: a gather has so many */
    unsigned char sent[QUERIES + 2][IMAGES]; /* what the RESULTs sent were about */
    uint32_t k[QUERIES + 2];
    unsigned answers[QUERIES + 2];
    unsigned whole, partial;
    unsigned measured, unmeasured; /* evaluations over the whole gallery, and those that failed */
};

static struct fake_wk_options options_of(struct world *w, int i)
{
    static const uint32_t first[WORKERS] = {0, 1, 0}, count[WORKERS] = {2, 3, 4};
    static const char *const nodes[WORKERS] = {"w0", "w1", "w2"};
    struct fake_wk_options o = fake_wk_defaults();
    o.node = nodes[i];
    o.incarnation = w->places[i].incarnation;
    o.first_shard = first[i];
    o.shards = count[i];
    o.credits = 3;
    o.jobs = 1 + (uint32_t)i;
    return o;
}

static void connect(struct world *w, int i)
{
    struct place *p = &w->places[i];
    test_mailbox_clear(&p->up);
    test_mailbox_clear(&p->down);
    snprintf(p->address, sizeof p->address, "w%d-%u", i, ++p->connections);
}

static void be_born(struct world *w, int i)
{
    struct place *p = &w->places[i];
    p->incarnation++;
    struct fake_wk_options o = options_of(w, i);
    fake_wk_init(&p->wk, &o, &w->co.now_ns);
    p->alive = true;
    p->reconnects_seen = 0;
    p->job_due_ns = 0;
    memset(p->scored, 0, sizeof p->scored);
    connect(w, i);
}

/* The transport notices at once, or nobody does. */
static void die(struct world *w, int i)
{
    struct place *p = &w->places[i];
    fake_wk_fini(&p->wk);
    p->alive = false;
    test_mailbox_clear(&p->up);
    test_mailbox_clear(&p->down);
    w->co.deaf = test_peer(test_random_below(&w->seed, 2) ? p->address : "nobody");
    w->co.deaf_why = CM_EUNAVAIL;
}

/* --- the network ------------------------------------------------------------------------------ */

/* Moves a message into a link; messages of one link do not overtake each other. */
static void ship(struct world *w, struct test_mailbox *link, struct test_message *m)
{
    uint64_t due = w->co.now_ns + test_random_below(&w->seed, DELAY_MS) * FAKE_MS;
    if (link->tail && link->tail->due_ns > due)
        due = link->tail->due_ns;
    test_mailbox_put(link, &m->to, m->header, m->payload)->due_ns = due;
    test_message_free(m);
}

/* What this process has scored for a RESULT that it sends now. */
static void note_result(struct world *w, const struct place *p, const struct test_message *m)
{
    struct pr_result r;
    struct cm_error e;
    cr_assert_eq(pr_result_unpack(m->header, &r, &e), CM_OK, "%s", e.text);
    uint64_t query = w->query_of[(r.id.v + 1) / CO_ATTEMPTS_MAX];
    size_t first = r.shard.v * FAKE_SHARD_IMAGES;
    memcpy(&w->sent[query][first], &p->scored[query][first], FAKE_SHARD_IMAGES);
    pr_result_fini(&r);
}

static void post_all(struct world *w)
{
    for (struct test_message *m; (m = test_mailbox_pop(&w->co.sent)) != NULL;) {
        struct cm_peer client = test_peer("client");
        struct test_mailbox *link = cm_peer_equal(&m->to, &client) ? &w->to_client : NULL;
        for (int i = 0; i < WORKERS; i++) {
            struct cm_peer peer = test_peer(w->places[i].address);
            if (w->places[i].alive && cm_peer_equal(&m->to, &peer))
                link = &w->places[i].down;
        }
        if (link)
            ship(w, link, m);
        else
            test_message_free(m);
    }
    for (int i = 0; i < WORKERS; i++)
        for (struct test_message *m;
             w->places[i].alive && (m = test_mailbox_pop(&w->places[i].wk.sent)) != NULL;) {
            if (m->envelope.type == PR_RESULT)
                note_result(w, &w->places[i], m);
            ship(w, &w->places[i].up, m);
        }
}

/* --- events ----------------------------------------------------------------------------------- */

static void arrive(struct world *w, int i, struct test_message *m, bool up)
{
    struct place *p = &w->places[i];
    float query;
    if (up) {
        fake_co_get(&w->co, p->address, m->header, m->payload);
    } else {
        if (m->envelope.type == PR_SEARCH || m->envelope.type == PR_MEASURE) {
            memcpy(&query, cm_blob_data(m->payload), sizeof query);
            w->query_of[(m->envelope.id.v + 1) / CO_ATTEMPTS_MAX] = (uint64_t)query;
        }
        wk_on_message(p->wk.core, m->header, m->payload);
    }
    test_message_free(m);
}

static void finish_job(struct world *w, struct place *p)
{
    size_t at = test_random_below(&w->seed, p->wk.jobs_out);
    const struct wk_job *job = p->wk.jobs[at];
    for (size_t q = 0; job->kind == WK_JOB_SCORE && q < job->queries_count; q++) {
        float query;
        memcpy(&query, job->queries[q], sizeof query);
        const struct wk_held *h = &p->wk.held[job->shard];
        for (uint64_t n = job->block * h->images_per_block;
             n < (job->block + 1) * h->images_per_block && n < h->images; n++)
            p->scored[(size_t)query][h->first_image + n] = 1;
    }
    fake_wk_finish(&p->wk, at);
    p->job_due_ns = 0;
}

static void run_worker(struct world *w, int i)
{
    struct place *p = &w->places[i];
    uint64_t now = w->co.now_ns;
    if (wk_next_wakeup_ns(p->wk.core) <= now)
        wk_on_tick(p->wk.core);
    while (p->down.head && p->down.head->due_ns <= now)
        arrive(w, i, test_mailbox_pop(&p->down), false);
    if (p->wk.jobs_out > 0 && p->job_due_ns == 0)
        p->job_due_ns = now + 1 + test_random_below(&w->seed, JOB_MS * FAKE_MS);
    post_all(w); /* results of before the job that ends now */
    if (p->wk.jobs_out > 0 && p->job_due_ns <= now)
        finish_job(w, p);
    post_all(w);
    while (p->up.head && p->up.head->due_ns <= now)
        arrive(w, i, test_mailbox_pop(&p->up), true);
    if (p->wk.reconnects != p->reconnects_seen) {
        p->reconnects_seen = p->wk.reconnects;
        connect(w, i);
    }
}

/* The answer is right about what it covers. */
static void check_answer(struct world *w, const struct pr_answer *a)
{
    uint64_t query = a->id.v, images = 0, overflowed = 0;
    unsigned char covered[IMAGES];
    struct cm_hit best[IMAGES];
    memcpy(covered, w->sent[query], sizeof covered);
    for (size_t i = 0; i < a->missing_count; i++)
        if (a->missing[i].images_scored == 0)
            memset(covered + a->missing[i].shard.v * FAKE_SHARD_IMAGES, 0, FAKE_SHARD_IMAGES);
    for (size_t i = 0; i < IMAGES; i++) {
        images += covered[i];
        overflowed += covered[i] && isinf(fake_score(query, i));
    }
    cr_assert_eq(a->images_scored, images,
                 "query %" PRIu64 ": %" PRIu64 " covered, %" PRIu64 " scored", query,
                 a->images_scored, images);
    cr_assert_eq(a->overflowed, overflowed);
    size_t hits = fake_ranking(query, covered, IMAGES, w->k[query], best);
    cr_assert_eq(a->hits.count, hits);
    for (size_t i = 0; i < hits; i++) {
        cr_assert_eq(a->hits.items[i].hit.image, best[i].image, "query %" PRIu64 ", rank %zu",
                     query, i);
        cr_assert(a->hits.items[i].hit.score == best[i].score);
    }
    w->whole += a->missing_count == 0;
    w->partial += a->missing_count > 0;
}

/* The labels of an evaluation. */
static int64_t pid_of(uint64_t query)
{
    return 1 + (int64_t)(query % 12);
}

static int32_t camid_of(uint64_t query)
{
    return (int32_t)(query % 5);
}

/* An evaluation covers the whole gallery, or says what it lacks and nothing else. */
static void check_measured(struct world *w, const struct pr_measured *m)
{
    uint64_t query = m->id.v;
    struct cm_hit expected[IMAGES];
    struct pr_census census;
    w->unmeasured += m->missing_count > 0;
    w->measured += m->missing_count == 0;
    if (m->missing_count > 0)
        return;
    size_t count =
        fake_positives(query, pid_of(query), camid_of(query), 0, IMAGES, &census, expected);
    cr_assert_eq(memcmp(&m->census, &census, sizeof census), 0);
    cr_assert_eq(m->positives.count, count);
    for (size_t i = 0; i < count; i++) {
        struct pr_counts c =
            fake_counts(query, pid_of(query), camid_of(query), 0, IMAGES, &expected[i]);
        cr_assert_eq(m->positives.items[i].image, expected[i].image);
        cr_assert(m->positives.items[i].score == expected[i].score);
        cr_assert_eq(memcmp(&m->counts.items[i], &c, sizeof c), 0,
                     "query %" PRIu64 ", positive %zu", query, i);
    }
}

static void read_measured(struct world *w, const struct test_message *m)
{
    struct pr_measured measured;
    struct cm_error e;
    cr_assert_eq(pr_measured_unpack(m->header, &measured, &e), CM_OK, "%s", e.text);
    check_measured(w, &measured);
    w->answers[measured.id.v]++;
    pr_measured_fini(&measured);
}

static void read_answers(struct world *w)
{
    for (struct test_message *m; (m = test_mailbox_pop(&w->to_client)) != NULL;) {
        struct pr_answer answer;
        struct cm_error e;
        if (m->envelope.type == PR_MEASURED) {
            read_measured(w, m);
            test_message_free(m);
            continue;
        }
        cr_assert_eq(m->envelope.type, PR_ANSWER);
        cr_assert_eq(pr_answer_unpack(m->header, &answer, &e), CM_OK, "%s", e.text);
        check_answer(w, &answer);
        w->answers[answer.id.v]++;
        pr_answer_fini(&answer);
        test_message_free(m);
    }
}

/* All that happens within the next `ms`, millisecond by millisecond. */
static void run(struct world *w, uint64_t ms)
{
    for (uint64_t i = 0; i < ms; i++) {
        w->co.now_ns += FAKE_MS;
        if (co_next_wakeup_ns(w->co.core) <= w->co.now_ns)
            co_on_tick(w->co.core);
        post_all(w);
        for (int p = 0; p < WORKERS; p++)
            if (w->places[p].alive)
                run_worker(w, p);
        post_all(w);
        read_answers(w);
    }
}

static void ask(struct world *w, uint64_t query, uint32_t deadline_ms)
{
    w->k[query] = 1 + (uint32_t)test_random_below(&w->seed, IMAGES);
    fake_co_query(&w->co, "client", query, w->k[query], deadline_ms);
}

/* Every third is an evaluation. */
static void ask_something(struct world *w, uint64_t query)
{
    if (query % 3 == 0)
        fake_co_evaluate(&w->co, "client", query, pid_of(query), camid_of(query), false);
    else
        ask(w, query, 20 + (uint32_t)test_random_below(&w->seed, 1000));
}

static void upset(struct world *w)
{
    int i = (int)test_random_below(&w->seed, WORKERS);
    if (!w->places[i].alive)
        be_born(w, i);
    else if (test_random_below(&w->seed, 3) == 0)
        die(w, i);
}

/* What came of all seeds. */
struct sums {
    unsigned whole, partial, measured, unmeasured;
};

static void simulate(uint64_t seed, struct sums *sums)
{
    struct world *w = calloc(1, sizeof *w);
    cr_assert(w != NULL);
    w->seed.state = seed;
    fake_co_init(&w->co);
    for (int i = 0; i < WORKERS; i++)
        be_born(w, i);
    run(w, 2 * DELAY_MS);
    for (uint64_t query = 1; query <= QUERIES; query++) {
        ask_something(w, query);
        run(w, test_random_below(&w->seed, PAUSE_MS));
        if (test_random_below(&w->seed, 4) == 0)
            upset(w);
    }
    for (int i = 0; i < WORKERS; i++)
        if (!w->places[i].alive)
            be_born(w, i);
    run(w, QUIET_MS);
    cr_assert(co_idle(w->co.core), "seed %" PRIu64 "", seed);
    sums->whole += w->whole;
    sums->partial += w->partial;
    sums->measured += w->measured;
    sums->unmeasured += w->unmeasured;
    unsigned whole_before = w->whole;
    ask(w, QUERIES + 1, 60000);
    run(w, 1000);
    cr_assert_eq(w->whole, whole_before + 1, "seed %" PRIu64 ": the cluster did not come back",
                 seed);
    for (uint64_t query = 1; query <= QUERIES + 1; query++)
        cr_assert_eq(w->answers[query], 1, "seed %" PRIu64 ", query %" PRIu64 ": %u answers", seed,
                     query, w->answers[query]);
    for (int i = 0; i < WORKERS; i++)
        die(w, i);
    test_mailbox_clear(&w->to_client);
    fake_co_fini(&w->co);
    free(w);
}

Test(co_pair, every_query_gets_one_true_answer)
{
    struct sums sums = {0};
    for (uint64_t seed = 1; seed <= 20; seed++)
        simulate(seed, &sums);
    cr_assert(sums.whole > 30 && sums.partial > 30 && sums.measured > 30 && sums.unmeasured > 10,
              "%u whole, %u partial, %u measured, %u not: too tame a test", sums.whole,
              sums.partial, sums.measured, sums.unmeasured);
}
