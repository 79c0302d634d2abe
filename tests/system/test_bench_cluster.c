/* `vitrine bench cluster`: what it counts, what it refuses, and that nothing of it stays. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES = 4, HEADERS_MOST = 1000, WAIT_MS = 60000 };

/* A folder that is the only place for temporary things. */
static void folder_init(struct test_folder *f)
{
    test_folder_init(f);
    setenv("XDG_RUNTIME_DIR", f->path, 1);
    setenv("TMPDIR", f->path, 1);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

/* The maps once to the coordinator and once to each worker, and little beside them. */
static void check_bytes(const json_t *c)
{
    double map = number(c, "map_bytes"), workers = number(c, "workers");
    double headers = HEADERS_MOST * (number(c, "shards") + 1);
    double in = number(c, "bytes_in_per_query"), out = number(c, "bytes_out_per_query");
    cr_assert(in > map && in < map + headers, "%g bytes in", in);
    cr_assert(out > workers * map && out < workers * map + headers, "%g bytes out", out);
}

static void check_case(const json_t *c, const char *size, double map, double workers)
{
    static const char *const positive[] = {"queries",
                                           "seconds",
                                           "queries_per_s",
                                           "p50_ms",
                                           "p99_ms",
                                           "main_us_per_query",
                                           "io_us_per_query",
                                           "allowed_us_per_query",
                                           "plain_sent_ns_per_byte",
                                           "plain_received_ns_per_byte",
                                           "memory_bytes"};
    static const char *const others[] = {"waited_us_per_query", "main_busy", "io_busy",
                                         "helpers_busy"};
    cr_assert_str_eq(json_string_value(json_object_get(c, "size")), size);
    cr_assert_eq(number(c, "map_bytes"), map);
    cr_assert_eq(number(c, "workers"), workers);
    cr_assert_eq(number(c, "shards"), 2 * workers);
    for (size_t i = 0; i < sizeof positive / sizeof *positive; i++)
        cr_assert(number(c, positive[i]) > 0, "%s is not above 0", positive[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        cr_assert(number(c, others[i]) >= 0, "%s", others[i]);
    cr_assert(number(c, "p50_ms") <= number(c, "p99_ms"));
    cr_assert_float_eq(number(c, "coordinator_us_per_query"),
                       number(c, "main_us_per_query") + number(c, "io_us_per_query"), 1e-3);
    check_bytes(c);
}

Test(bench_cluster, counts_queries_bytes_and_time)
{
    struct test_folder folder;
    struct test_run r;
    folder_init(&folder);
    cr_assert_eq(TEST_RUN(&r, "vitrine", "bench", "cluster", "--workers", "4", "--shards", "2",
                          "--inflight", "5", "--seconds", "0.2", "--json"),
                 0, "%s", r.err);
    cr_assert_str_empty(r.err);
    cr_assert_eq(strchr(r.out, '\n'), r.out + strlen(r.out) - 1, "more than one line");
    json_t *root = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(root != NULL, "%s", r.out);
    cr_assert_eq(number(root, "inflight"), 5);
    cr_assert_eq(number(root, "k"), 20);
    cr_assert_eq(number(root, "shards_per_worker"), 2);
    cr_assert(number(root, "processors") >= 1);
    json_t *cases = json_object_get(root, "cases");
    cr_assert_eq(json_array_size(cases), CASES);
    for (size_t i = 0; i < CASES; i++)
        check_case(json_array_get(cases, i), i < 2 ? "small" : "paper", i < 2 ? 4096 : 589824,
                   i % 2 ? 4 : 1);
    json_decref(root);
    test_run_fini(&r);
    cr_assert_eq(test_folder_count(&folder), 0, "something is left in the folder");
    test_folder_fini(&folder);
}

Test(bench_cluster, prints_a_table)
{
    struct test_run r;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "bench", "cluster", "--workers", "1", "--seconds", "0.05",
                          "-k", "1000", "--inflight", "1"),
                 0, "%s", r.err);
    cr_assert(strstr(r.out, "queries/s") && strstr(r.out, "\nsmall ") && strstr(r.out, "\npaper "),
              "%s", r.out);
    test_run_fini(&r);
}

Test(bench_cluster, refuses)
{
    static const char *const cases[][3] = {
        {"--seconds", "0", "--seconds is '0'; it must be a number above 0, at most 3600"},
        {"--seconds", "-1", "--seconds is '-1'"},
        {"--seconds", "nan", "--seconds is 'nan'"},
        {"--seconds", "2s", "--seconds is '2s'"},
        {"--workers", "1025", "it must be a whole number from 1 to 1024"},
        {"--inflight", "0", "it must be a whole number from 1 to 256"},
        {"--shards", "1024", "--workers 256 with --shards 1024 each: a gallery has at most 65536"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_refused(
            (const char *const[]){"vitrine", "bench", "cluster", cases[i][0], cases[i][1], NULL},
            &(struct test_refusal){64, cases[i][0], cases[i][2]});
}

/* Its first child; 0 if there is none within WAIT_MS. */
static long long wait_child(pid_t pid)
{
    char path[64];
    long long child = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    for (unsigned long long end = test_now_ms() + WAIT_MS; !child && test_now_ms() < end;) {
        FILE *f = fopen(path, "r");
        cr_assert(f != NULL, "%s cannot be read", path);
        if (fscanf(f, "%lld", &child) != 1)
            child = 0;
        fclose(f);
        test_sleep_ms(10);
    }
    return child;
}

Test(bench_cluster, an_interrupt_leaves_nothing)
{
    struct test_folder folder;
    struct test_run r = {0};
    folder_init(&folder);
    test_start(&r, (const char *const[]){"vitrine", "bench", "cluster", "--seconds", "1000", NULL});
    long long child = wait_child(r.child.pid);
    cr_assert(child > 0, "there is no coordinator");
    cr_assert_eq(kill(r.child.pid, SIGINT), 0);
    cr_assert_eq(test_finish(&r, WAIT_MS), 75, "%s", r.err);
    cr_assert(strstr(r.err, "interrupted") != NULL, "%s", r.err);
    cr_assert_neq(kill((pid_t)child, 0), 0, "the coordinator is left over");
    cr_assert_eq(test_folder_count(&folder), 0, "something is left in the folder");
    test_run_fini(&r);
    test_folder_fini(&folder);
}
