/* test_members.c: workers and coordinators come, go, come back and are refused, with queries on
 * their way. */
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The reasons that a search's answers gave, each once, behind commas; the caller frees it. */
static char *reasons_of(const json_t *answers)
{
    char *text = calloc(256, 1);
    size_t i, j;
    json_t *answer, *reason;
    cr_assert(text != NULL);
    json_array_foreach(answers, i, answer)
        json_array_foreach(json_object_get(answer, "degraded"), j, reason)
    {
        size_t n = strlen(text);
        if (!strstr(text, json_string_value(reason)))
            snprintf(text + n, 256 - n, ",%s", json_string_value(reason));
    }
    return text;
}

/* Searches, and checks that nothing failed and nothing but `reasons` was amiss. Returns the images
 * that the last answer covers. */
static json_int_t search_covers(struct test_cluster *c, const struct test_material *m,
                                const char *reasons)
{
    struct test_run r;
    cr_assert_eq(test_search(c, &r, m, (const char *const[]){"-k", "9", NULL}), 0, "%s", r.err);
    json_t *answers = test_answers(&r);
    char *found = reasons_of(answers);
    cr_assert_str_eq(found, reasons);
    json_int_t images =
        test_number(json_array_get(answers, json_array_size(answers) - 1), "coverage.images");
    free(found);
    json_decref(answers);
    test_run_fini(&r);
    return images;
}

/* Waits until a worker serves. */
static bool wait_worker(const struct test_cluster *c, const char *node)
{
    for (unsigned tries = 0; tries < 600; tries++) {
        struct test_run r;
        int code = TEST_RUN(&r, "vitrine", "status", "--connect", c->endpoint, "--worker", node);
        test_run_fini(&r);
        if (code == 0)
            return true;
        test_sleep_ms(20);
    }
    return false;
}

/* Coverage follows who is there; a search that runs all the while sees no failure. */
Test(members, join_and_leave_while_queries_run)
{
    struct test_cluster c;
    struct test_run r;
    test_cluster_init(&c);
    struct test_material m = test_sample;
    test_import(&c, "g", &m, 1, 6); /* shards 0-2: images 0 to 55 */
    test_coordinator_start(&c, "ipc", NULL);
    test_worker_start(&c, 0, "g", "0-2", NULL);
    test_wait_exact(&c, "shards_covered", 3);
    struct test_material one = test_few_queries(&c, &m, 1);
    json_int_t half = search_covers(&c, &one, ",no-worker");

    test_search_start(&c, &r, &m, NULL);
    test_worker_start(&c, 1, "g", "3-5", NULL);
    test_wait_exact(&c, "shards_covered", 6);
    cr_assert_eq(search_covers(&c, &one, ""), 112);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    json_t *answers = test_answers(&r);
    json_int_t before = 0;
    for (size_t i = 0; i < m.queries; i++) {
        json_int_t images = test_number(json_array_get(answers, i), "coverage.images");
        cr_assert(images == half || images == 112, "query %zu: %lld images", i, (long long)images);
        cr_assert_geq(images, before, "query %zu: coverage shrank", i);
        before = images;
    }
    json_decref(answers);
    test_run_fini(&r);

    test_search_start(&c, &r, &m, NULL);
    test_worker_signal(&c, 1, SIGTERM);
    cr_assert_eq(test_finish(&c.workers[1].run, TEST_RUN_MS), 0, "%s", c.workers[1].run.err);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    answers = test_answers(&r);
    char *reasons = reasons_of(answers);
    cr_assert(strcmp(reasons, "") == 0 || strcmp(reasons, ",no-worker") == 0, "%s", reasons);
    free(reasons);
    json_decref(answers);
    test_run_fini(&r);
    cr_assert_eq(search_covers(&c, &one, ",no-worker"), half);
    test_cluster_fini(&c);
}

/* A worker that is asked to end finishes what it has, and what was on its way to it: with short
 * queries in a row there is always something. */
Test(members, leaving_loses_nothing)
{
    enum { ROUNDS = 6, QUERIES = 20000 };
    static uint64_t rows[QUERIES]; /* zero: one query again and again */
    struct test_cluster c;
    struct test_run r;
    test_cluster_init(&c);
    struct test_material m = test_odd;
    m.query = test_cluster_path(&c, "queries.npy");
    test_pick(test_odd.query, rows, QUERIES, m.query);
    test_import(&c, "g", &m, 1, 2);
    test_coordinator_start(&c, "ipc", NULL);
    test_worker_start(&c, 0, "g", NULL, NULL);
    test_wait_exact(&c, "shards_covered", 2);
    test_search_start(&c, &r, &m, (const char *const[]){"-k", "1", "--min-coverage", "1", NULL});
    for (unsigned round = 0; round < ROUNDS; round++) {
        test_worker_start(&c, 1, "g", NULL, NULL); /* holds the same: they share the work */
        cr_assert(wait_worker(&c, "w1"), "worker 1 does not serve");
        test_worker_signal(&c, 1, SIGTERM);
        cr_assert_eq(test_finish(&c.workers[1].run, TEST_RUN_MS), 0);
        char *complaints = test_run_err(&r); /* a partial answer is told at once */
        cr_assert_str_eq(complaints, "", "round %u", round);
        free(complaints);
    }
    test_run_fini(&r);
    test_cluster_fini(&c);
}

/* Starts worker 1 on the gallery `name`, and checks that it is turned away with these words. */
static void check_refused(struct test_cluster *c, const char *name, const char *const more[],
                          const char *one, const char *other)
{
    json_int_t refused = test_status_number(c, "counters.refused");
    test_worker_start(c, 1, name, NULL, more);
    struct test_run *r = &c->workers[1].run;
    cr_assert_eq(test_finish(r, TEST_RUN_MS), 78, "%s", r->err);
    cr_assert(strstr(r->err, "the coordinator refused this worker: ") != NULL, "%s", r->err);
    cr_assert(strstr(r->err, one) != NULL, "'%s' is not in: %s", one, r->err);
    cr_assert(strstr(r->err, other) != NULL, "'%s' is not in: %s", other, r->err);
    cr_assert_eq(test_status_number(c, "counters.refused"), refused + 1);
}

/* The fingerprint of a gallery, or of its model, as `vitrine inspect` prints it. */
static void fingerprint(struct test_cluster *c, const char *name, const char *key, char out[40])
{
    struct test_run r;
    json_error_t why;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "inspect", test_cluster_path(c, name), "--json"), 0, "%s",
                 r.err);
    json_t *root = json_loads(r.out, 0, &why);
    cr_assert(root != NULL, "%s", why.text);
    snprintf(out, 40, "%s", json_string_value(json_object_get(root, key)));
    cr_assert_eq(strlen(out), 32);
    json_decref(root);
    test_run_fini(&r);
}

Test(members, another_gallery_or_model_is_refused)
{
    struct test_cluster c;
    char ours[40], theirs[40];
    test_cluster_init(&c);
    test_import(&c, "ours", &test_small, 2, 2);
    test_import(&c, "shorter", &test_small, 1, 2);
    test_import(&c, "cut-otherwise", &test_small, 2, 3);
    test_import(&c, "other-model", &test_odd, 2, 2);
    static const uint64_t order[] = {1, 0, 2, 3, 4, 5, 6, 7, 8};
    struct test_material swapped = test_small;
    swapped.gallery = test_cluster_path(&c, "swapped.npy");
    test_pick(test_small.gallery, order, 9, swapped.gallery);
    test_import(&c, "swapped", &swapped, 2, 2);
    test_coordinator_start(&c, "ipc", NULL);
    test_worker_start(&c, 0, "ours", NULL, NULL);
    test_wait_exact(&c, "shards_covered", 2);
    fingerprint(&c, "ours", "fingerprint", ours);
    fingerprint(&c, "shorter", "fingerprint", theirs);
    check_refused(&c, "shorter", NULL, ours, theirs);
    fingerprint(&c, "cut-otherwise", "fingerprint", theirs);
    check_refused(&c, "cut-otherwise", NULL, ours, theirs);
    fingerprint(&c, "swapped", "fingerprint", theirs); /* alike in every number */
    check_refused(&c, "swapped", NULL, ours, theirs);
    fingerprint(&c, "ours", "model", ours);
    fingerprint(&c, "other-model", "model", theirs);
    check_refused(&c, "other-model", NULL, ours, theirs);
    cr_assert_eq(search_covers(&c, &test_small, ""), 18);
    test_cluster_fini(&c);
}

/* The numeric class that worker `i` says it computes in. */
static void class_of(const struct test_cluster *c, const char *node, char out[128])
{
    json_t *status = test_status(c), *worker;
    size_t i;
    out[0] = '\0';
    json_array_foreach(
        json_object_get(status, "workers"), i,
        worker) if (strcmp(json_string_value(json_object_get(worker, "node")), node) == 0)
        snprintf(out, 128, "%s", json_string_value(json_object_get(worker, "class")));
    json_decref(status);
}

/* Two kernels that every processor runs, and whose sums are not rounded alike. */
Test(members, another_numeric_class)
{
    struct test_cluster c;
    char ours[128], theirs[128];
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 2);
    test_coordinator_start(&c, "ipc", (const char *const[]){"--allow-mixed", NULL});
    setenv("VITRINE_KERNEL", "plain", 1);
    test_worker_start(&c, 0, "g", "0", NULL);
    setenv("VITRINE_KERNEL", "portable", 1);
    test_worker_start(&c, 1, "g", "1", NULL);
    test_wait_exact(&c, "shards_covered", 2);
    class_of(&c, "w0", ours);
    class_of(&c, "w1", theirs);
    cr_assert_str_eq(ours, "f32/plain");
    cr_assert_str_eq(theirs, "f32/fma");
    cr_assert_eq(search_covers(&c, &test_small, ",mixed_classes"), 9);
    test_cluster_fini(&c);

    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 2);
    test_coordinator_start(&c, "ipc", NULL);
    setenv("VITRINE_KERNEL", "plain", 1);
    test_worker_start(&c, 0, "g", "0", NULL);
    test_wait_exact(&c, "shards_covered", 1);
    setenv("VITRINE_KERNEL", "portable", 1);
    check_refused(&c, "g", NULL, ours, theirs);
    cr_assert(strstr(c.workers[1].run.err, "--allow-mixed") != NULL, "%s", c.workers[1].run.err);
    test_cluster_fini(&c);
}

/* Where other machines could listen in or step in, the command must say that this is known. */
Test(members, insecure_must_be_said)
{
    struct test_cluster c;
    struct test_run r;
    char query[512];
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 1);
    const char *gallery = test_cluster_path(&c, "g");
    test_source(test_small.query, query, sizeof query);
    const char *const refused[][8] = {
        {"vitrine-coordinator", "--listen", "tcp://0.0.0.0:0"},
        {"vitrine-coordinator", "--listen", "tcp://*:0"},
        {"vitrine-worker", "--connect", "tcp://192.0.2.1:7700", "--gallery", gallery},
        {"vitrine", "search", "--connect", "tcp://192.0.2.1:7700", "--features", query},
        {"vitrine", "status", "--connect", "tcp://192.0.2.1:7700"},
        {"vitrine", "up", "--gallery", gallery, "--listen", "tcp://0.0.0.0:7700"},
    };
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        cr_assert_eq(test_run(&r, refused[i]), 64, "%zu: %s", i, r.err);
        cr_assert(strstr(r.err, "--insecure") != NULL, "%zu: %s", i, r.err);
        cr_assert_eq(strchr(r.err, '\n'), r.err + strlen(r.err) - 1, "%zu: %s", i, r.err);
        test_run_fini(&r);
    }
    snprintf(c.endpoint, sizeof c.endpoint, "tcp://0.0.0.0:0");
    test_coordinator_start(&c, "tcp", (const char *const[]){"--insecure", NULL});
    test_cluster_fini(&c);
}

/* A coordinator that was killed and started again: workers find it by themselves, and so does a
 * search whose queries died with it. */
static void restart(const char *scheme)
{
    struct test_cluster c;
    struct test_run r;
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 3);
    test_coordinator_start(&c, scheme, NULL);
    test_worker_start(&c, 0, "g", "0", NULL);
    test_worker_start(&c, 1, "g", "1-2", NULL);
    test_wait_exact(&c, "shards_covered", 3);
    cr_assert_eq(search_covers(&c, &test_small, ""), 9);
    test_worker_signal(&c, 1, SIGSTOP); /* so that the search is open when the coordinator dies */
    test_search_start(&c, &r, &test_small, (const char *const[]){"-k", "9", NULL});
    test_wait_least(&c, "queries_inflight", 1);
    test_coordinator_kill(&c);
    test_worker_signal(&c, 1, SIGCONT);
    test_coordinator_start(&c, scheme, NULL);
    test_wait_exact(&c, "shards_covered", 3);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    json_t *answers = test_answers(&r);
    cr_assert_eq(json_array_size(answers), test_small.queries);
    json_decref(answers);
    test_run_fini(&r);
    cr_assert_eq(search_covers(&c, &test_small, ""), 9);
    cr_assert(!io_child_poll(&c.workers[0].run.child), "worker 0 is gone");
    cr_assert(!io_child_poll(&c.workers[1].run.child), "worker 1 is gone");
    test_cluster_fini(&c);
}

Test(members, coordinator_restarted_on_ipc)
{
    restart("ipc");
}

Test(members, coordinator_restarted_on_tcp)
{
    restart("tcp");
}

/* The coordinator stays away: the search says so and ends. */
Test(members, coordinator_gone)
{
    struct test_cluster c;
    struct test_run r;
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 1);
    test_coordinator_start(&c, "ipc", NULL);
    test_worker_start(&c, 0, "g", NULL, NULL);
    test_wait_exact(&c, "shards_covered", 1);
    test_worker_signal(&c, 0, SIGSTOP);
    test_search_start(&c, &r, &test_small, (const char *const[]){"-k", "9", NULL});
    test_wait_least(&c, "queries_inflight", 1);
    test_coordinator_kill(&c);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 69, "%s", r.err);
    cr_assert(strstr(r.err, "coordinator") != NULL, "%s", r.err);
    cr_assert_str_eq(r.out, "");
    test_run_fini(&r);
    test_cluster_fini(&c);
}
