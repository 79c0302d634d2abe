/* test_slow.c: a worker that stands still, but is not lost: what it owes comes from another that
 * holds the same shards. */
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 7, WORKERS = 2 };

static const char *const whole[] = {"--min-coverage", "1", "--deadline-ms", "60000", NULL};

static bool is_slow(const struct test_cluster *c, const char *node)
{
    json_t *status = test_status(c), *worker;
    bool slow = false;
    size_t i;
    json_array_foreach(json_object_get(status, "workers"), i, worker)
    {
        if (strcmp(json_string_value(json_object_get(worker, "node")), node) == 0)
            slow = json_is_true(json_object_get(worker, "slow"));
    }
    json_decref(status);
    return slow;
}

/* Two workers that both hold the sample four times over, and their usual times are known. Returns
 * the hits of all its queries. */
static char *start_two(struct test_cluster *c, const char *const coordinator_flags[])
{
    struct test_run r;
    test_cluster_init(c);
    test_import(c, "g", &test_sample, 4, SHARDS);
    test_coordinator_start(c, "ipc", coordinator_flags);
    for (unsigned i = 0; i < WORKERS; i++)
        test_worker_start(c, i, "g", NULL, (const char *const[]){"--threads", "1", NULL});
    for (size_t found = 0; found < WORKERS; test_sleep_ms(10)) {
        json_t *status = test_status(c);
        found = json_array_size(json_object_get(status, "workers"));
        json_decref(status);
    }
    char *hits = NULL;
    do { /* on a busy machine one may be late already; probes then show, one a second, that it is
            not */
        free(hits);
        cr_assert_eq(test_search(c, &r, &test_sample, whole), 0, "%s", r.err);
        hits = test_hits_text(&r);
        test_run_fini(&r);
    } while (is_slow(c, "w0") || is_slow(c, "w1"));
    return hits;
}

/* Searches with all queries of `m`: every answer is whole, and (unless NULL) the hits are these. */
static void check_search(struct test_cluster *c, const struct test_material *m, const char *right)
{
    struct test_run r;
    cr_assert_eq(test_search(c, &r, m, whole), 0, "%s", r.err);
    if (right) {
        char *hits = test_hits_text(&r);
        cr_assert_str_eq(hits, right);
        free(hits);
    }
    test_run_fini(&r);
}

/* Its heartbeats are not missed within this test: what it owes is late, and is asked of the other.
 * A query may pay for all its hedges: on a busy machine earlier ones leave nothing. */
Test(slow, a_late_shard_is_asked_of_the_other)
{
    struct test_cluster c;
    char *right = start_two(&c, (const char *const[]){"--heartbeat-ms", "60000", "--dead-after-ms",
                                                      "600000", "--hedge-percent", "100", NULL});
    json_int_t before = test_status_number(&c, "counters.hedges");
    struct test_material one = test_few_queries(&c, &test_sample, 1);
    test_worker_signal(&c, 0, SIGSTOP);
    check_search(&c, &one, NULL);
    json_int_t hedges = test_status_number(&c, "counters.hedges") - before;
    bool demoted = is_slow(&c, "w0"); /* its last answers may have been late */
    cr_assert((hedges >= 1 || demoted) && hedges <= SHARDS, "%lld hedges", (long long)hedges);
    cr_assert_eq(test_status_number(&c, "counters.partial"), 0);
    test_worker_signal(&c, 0, SIGCONT);
    check_search(&c, &test_sample, right);
    free(right);
    test_cluster_fini(&c);
}

/* Two of its heartbeats are missing: it is passed over, and nothing is a hedge; a word from it ends
 * that. */
Test(slow, a_silent_worker_is_passed_over)
{
    struct test_cluster c;
    char *right = start_two(&c, (const char *const[]){"--heartbeat-ms", "200", "--dead-after-ms",
                                                      "600000", "--hedge-percent", "0", NULL});
    test_worker_signal(&c, 1, SIGSTOP);
    while (!is_slow(&c, "w1"))
        test_sleep_ms(10);
    check_search(&c, &test_sample, right);
    cr_assert_eq(test_status_number(&c, "counters.hedges"), 0);
    cr_assert_eq(test_status_number(&c, "counters.partial"), 0);
    test_worker_signal(&c, 1, SIGCONT);
    while (is_slow(&c, "w1"))
        test_sleep_ms(10);
    check_search(&c, &test_sample, right);
    free(right);
    test_cluster_fini(&c);
}
