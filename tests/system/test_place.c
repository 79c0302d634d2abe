/* test_place.c: a cluster that grows and shrinks while clients search without pause, loses workers
 * and its coordinator, and answers every query wholly and alike. Real processes throughout. */
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 12 };

static const char *const whole[] = {"--min-coverage", "1", NULL};

/* A cluster, and a client that never stops asking it. */
struct scene {
    struct test_cluster c;
    struct test_run client;
    char *right; /* what it must say each time */
    unsigned asked;
};

static const char *map_path(struct scene *s)
{
    return test_cluster_path(&s->c, "map");
}

static void start_coordinator(struct scene *s, const char *replicas)
{
    test_coordinator_start(&s->c, "ipc",
                           (const char *const[]){"--state", map_path(s), "--replicas", replicas,
                                                 "--heartbeat-ms", "200", "--dead-after-ms", "1000",
                                                 NULL});
}

/* Worker `i` with a folder of its own, which need not be there yet. */
static void start_worker(struct scene *s, unsigned i)
{
    char store[16];
    snprintf(store, sizeof store, i ? "store%u" : "g", i);
    test_worker_start(&s->c, i, store, NULL, NULL);
}

static void ask(struct scene *s)
{
    test_search_start(&s->c, &s->client, &test_sample, whole);
    s->asked++;
}

/* Takes the client's answer, which must be whole and right, and has it ask again. */
static void judge(struct scene *s)
{
    cr_assert_eq(test_finish(&s->client, TEST_RUN_MS), 0, "search %u: %s", s->asked, s->client.err);
    char *hits = test_hits_text(&s->client);
    cr_assert_str_eq(hits, s->right, "search %u", s->asked);
    free(hits);
    test_run_fini(&s->client);
    ask(s);
}

/* Coordinator and worker 0, which has everything, and the answers that are right. */
static void init(struct scene *s, const char *replicas)
{
    *s = (struct scene){.asked = 0};
    test_cluster_init(&s->c);
    test_import(&s->c, "g", &test_sample, 1, SHARDS);
    start_coordinator(s, replicas);
    start_worker(s, 0);
    test_wait_exact(&s->c, "shards_covered", SHARDS);
    struct test_run r;
    cr_assert_eq(test_search(&s->c, &r, &test_sample, whole), 0, "%s", r.err);
    s->right = test_hits_text(&r);
    test_run_fini(&r);
    ask(s);
}

static void fini(struct scene *s)
{
    judge(s);
    test_run_fini(&s->client);
    free(s->right);
    test_cluster_fini(&s->c);
}

/* What one worker of a status has under a name; -1 if it is not there. */
static json_int_t of_worker(const json_t *status, const char *node, const char *name)
{
    size_t i;
    json_t *worker;
    json_array_foreach(
        json_object_get(status, "workers"), i,
        worker) if (strcmp(json_string_value(json_object_get(worker, "node")), node) ==
                    0) return json_integer_value(json_object_get(worker, name));
    return -1;
}

/* Are `workers` there, each shard held so often, and nothing to be moved? */
static bool is_settled(const struct scene *s, size_t workers, json_int_t replicas)
{
    size_t i;
    json_t *worker, *status = test_status(&s->c);
    json_t *list = json_object_get(status, "workers");
    json_int_t low = INT32_MAX, high = 0, sum = 0, moving = 0;
    json_array_foreach(list, i, worker)
    {
        json_int_t shards = json_integer_value(json_object_get(worker, "shards"));
        low = shards < low ? shards : low;
        high = shards > high ? shards : high;
        sum += shards;
        moving += json_integer_value(json_object_get(worker, "moving"));
    }
    bool settled = json_array_size(list) == workers && moving == 0 && sum == replicas * SHARDS &&
                   test_number(status, "shards_whole") == SHARDS;
    if (settled)
        cr_assert(high - low <= 1, "loads go from %d to %d", (int)low, (int)high);
    json_decref(status);
    return settled;
}

/* Waits for that, under load all the while. */
static void wait_settled(struct scene *s, size_t workers, json_int_t replicas)
{
    unsigned long long end_ms = test_now_ms() + TEST_RUN_MS;
    while (!is_settled(s, workers, replicas)) {
        cr_assert(test_now_ms() < end_ms, "not %zu workers with %d replicas in a minute", workers,
                  (int)replicas);
        judge(s);
    }
    judge(s);
}

static void operate(struct scene *s, const char *command, const char *word)
{
    struct test_run r;
    cr_assert_eq(TEST_RUN(&r, "vitrine", command, word, "--connect", s->c.endpoint), 0, "%s",
                 r.err);
    test_run_fini(&r);
}

/* The process ended by itself, well. */
static void check_ended(struct scene *s, unsigned i)
{
    cr_assert_eq(test_finish(&s->c.workers[i].run, TEST_RUN_MS), 0, "%s", s->c.workers[i].run.err);
    cr_assert(strstr(s->c.workers[i].run.err, "event=dismissed") != NULL);
}

Test(place, grows_from_two_to_five_and_shrinks_to_two_under_load, .timeout = 300)
{
    struct scene s;
    init(&s, "1");
    start_worker(&s, 1);
    wait_settled(&s, 2, 1);
    for (unsigned i = 2; i < 5; i++)
        start_worker(&s, i);
    wait_settled(&s, 5, 1);
    for (unsigned i = 0; i < 3; i++) { /* the one with the imported gallery too */
        char node[8];
        snprintf(node, sizeof node, "w%u", i);
        operate(&s, "drain", node);
        check_ended(&s, i);
        judge(&s);
    }
    wait_settled(&s, 2, 1);
    json_t *status = test_status(&s.c);
    cr_assert_eq(test_number(status, "counters.partial"), 0);
    cr_assert_eq(test_number(status, "counters.errors"), 0);
    json_decref(status);
    cr_assert(s.asked > 8, "only %u searches", s.asked);
    fini(&s);
}

Test(place, replicas_are_made_and_let_go_under_load, .timeout = 300)
{
    struct scene s;
    init(&s, "1");
    start_worker(&s, 1);
    start_worker(&s, 2);
    wait_settled(&s, 3, 1);
    operate(&s, "replicas", "3");
    wait_settled(&s, 3, 3);
    operate(&s, "replicas", "2");
    wait_settled(&s, 3, 2);
    fini(&s);
}

Test(place, with_two_replicas_each_process_may_be_killed_in_turn, .timeout = 300)
{
    struct scene s;
    init(&s, "2");
    start_worker(&s, 1);
    start_worker(&s, 2);
    wait_settled(&s, 3, 2);
    for (unsigned i = 0; i < 3; i++) {
        test_worker_kill(&s.c, i);
        judge(&s);
        start_worker(&s, i);
        wait_settled(&s, 3, 2);
    }
    test_coordinator_kill(&s.c);
    start_coordinator(&s, "1"); /* the map says 2, and counts */
    wait_settled(&s, 3, 2);
    fini(&s);
}

/* Files moved when it was placed; none moves when all come back, whoever is first. */
Test(place, a_restart_of_everything_moves_nothing, .timeout = 300)
{
    struct scene s;
    init(&s, "1");
    start_worker(&s, 1);
    wait_settled(&s, 2, 1);
    judge(&s);
    test_finish(&s.client, TEST_RUN_MS);
    test_run_fini(&s.client);
    json_int_t epoch = test_status_number(&s.c, "epoch");
    test_coordinator_kill(&s.c);
    for (unsigned i = 0; i < 2; i++)
        test_worker_kill(&s.c, i);
    start_coordinator(&s, "1");
    json_t *status = test_status(&s.c);
    cr_assert(test_number(status, "epoch") > epoch, "the epoch went back");
    cr_assert_eq(of_worker(status, "w0", "assigned"), SHARDS / 2);
    cr_assert_eq(of_worker(status, "w1", "assigned"), SHARDS / 2);
    json_decref(status);
    start_worker(&s, 1);
    start_worker(&s, 0);
    ask(&s);
    wait_settled(&s, 2, 1);
    test_worker_kill(&s.c, 1);
    cr_assert_eq(test_finish(&s.c.workers[1].run, 0), 128 + SIGKILL);
    cr_assert(strstr(s.c.workers[1].run.err, "event=fetch ") == NULL, "%s", s.c.workers[1].run.err);
    start_worker(&s, 1);
    fini(&s);
}

static void expect_refused(struct scene *s, const char *command, const char *word, const char *text)
{
    struct test_run r;
    int code = TEST_RUN(&r, "vitrine", command, word, "--connect", s->c.endpoint);
    cr_assert_neq(code, 0);
    cr_assert(strstr(r.err, text) != NULL, "\"%s\" does not say \"%s\"", r.err, text);
    test_run_fini(&r);
}

Test(place, what_would_do_harm_is_refused_in_words)
{
    struct scene s;
    init(&s, "2");
    expect_refused(&s, "drain", "w0", "w0 is the last node");
    start_worker(&s, 1);
    wait_settled(&s, 2, 2);
    expect_refused(&s, "drain", "w1", "1 nodes for 2 replicas");
    expect_refused(&s, "drain", "w9", "no node is called w9");
    expect_refused(&s, "replicas", "0", "'0' is not a whole number from 1 to 16");
    expect_refused(&s, "replicas", "17", "from 1 to 16");
    struct test_run r;
    cr_assert_eq(
        TEST_RUN(&r, "vitrine", "drain", "w1", "--connect", s.c.endpoint, "--force", "--json"), 0,
        "%s", r.err);
    cr_assert(strstr(r.out, "\"done\":true") != NULL, "%s", r.out);
    test_run_fini(&r);
    check_ended(&s, 1);
    fini(&s);
}

Test(place, one_coordinator_at_a_time_has_the_map_and_a_bad_map_is_not_trusted)
{
    struct scene s;
    struct test_run r;
    init(&s, "1");
    char other[TEST_ENDPOINT_BYTES + 8];
    snprintf(other, sizeof other, "%s.other", s.c.endpoint);
    cr_assert_neq(TEST_RUN(&r, "vitrine-coordinator", "--listen", other, "--state", map_path(&s)),
                  0);
    cr_assert(strstr(r.err, "another coordinator has it") != NULL, "%s", r.err);
    test_run_fini(&r);
    judge(&s);
    test_finish(&s.client, TEST_RUN_MS);
    test_run_fini(&s.client);
    test_coordinator_kill(&s.c);
    FILE *f = fopen(map_path(&s), "r+");
    cr_assert(f && fseek(f, 40, SEEK_SET) == 0 && fputc('x', f) == 'x' && fclose(f) == 0);
    cr_assert_neq(TEST_RUN(&r, "vitrine-coordinator", "--listen", other, "--state", map_path(&s)),
                  0);
    cr_assert(strstr(r.err, "not a map that can be trusted") != NULL, "%s", r.err);
    test_run_fini(&r);
    free(s.right);
    test_cluster_fini(&s.c);
}
