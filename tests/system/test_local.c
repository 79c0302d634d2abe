/* test_local.c: `vitrine up` and `vitrine search --gallery`: a cluster of their own that is gone
 * with them, process, socket and folder. */
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { CHILDREN_MAX = 16, WAIT_MS = 60000 };

/* A gallery, and a folder that is the only place for temporary things. */
static void prepare(struct test_cluster *c, const struct test_material *m, unsigned shards)
{
    test_cluster_init(c);
    test_import(c, "g", m, 1, shards);
    const char *temp = test_cluster_path(c, "t");
    cr_assert_eq(TEST_RUN(&c->coordinator, "/bin/mkdir", temp), 0);
    test_run_fini(&c->coordinator);
    setenv("XDG_RUNTIME_DIR", temp, 1);
    setenv("TMPDIR", temp, 1);
}

/* Waits until `count` things are in the folder for temporary things. */
static bool wait_left(struct test_cluster *c, size_t count)
{
    const char *temp = test_cluster_path(c, "t");
    for (unsigned long long end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
        size_t found = 0;
        DIR *d = opendir(temp);
        cr_assert(d != NULL);
        for (struct dirent *entry; (entry = readdir(d)) != NULL;)
            found += entry->d_name[0] != '.';
        closedir(d);
        if (found == count)
            return true;
        test_sleep_ms(10);
    }
    return false;
}

/* The children of a process. Returns how many. */
static size_t children_of(pid_t pid, pid_t out[CHILDREN_MAX])
{
    char path[64];
    long long child;
    size_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL, "%s cannot be read", path);
    while (count < CHILDREN_MAX && fscanf(f, "%lld", &child) == 1)
        out[count++] = (pid_t)child;
    fclose(f);
    return count;
}

static size_t wait_children(pid_t pid, size_t least, pid_t out[CHILDREN_MAX])
{
    size_t count = 0;
    for (unsigned long long end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
        count = children_of(pid, out);
        if (count >= least)
            break;
        test_sleep_ms(10);
    }
    return count;
}

/* Does none of these processes live? One that nobody waits for is gone when it is a zombie: here
 * their parent has died or has waited for them. */
static void check_gone(const pid_t *pids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        unsigned long long end = test_now_ms() + WAIT_MS;
        while (kill(pids[i], 0) == 0 && test_now_ms() < end)
            test_sleep_ms(10);
        cr_assert_neq(kill(pids[i], 0), 0, "process %d is left over", (int)pids[i]);
    }
}

Test(local, search_with_a_cluster_of_its_own)
{
    struct test_cluster c;
    struct test_run r;
    char query[512];
    prepare(&c, &test_small, 3);
    test_source(test_small.query, query, sizeof query);
    cr_assert_eq(TEST_RUN(&r, "vitrine", "search", "--gallery", test_cluster_path(&c, "g"),
                          "--workers", "2", "--features", query, "-k", "9", "--json"),
                 0, "%s", r.err);
    char *local = test_hits_text(&r);
    test_run_fini(&r);
    cr_assert(wait_left(&c, 0), "something is left in the folder");
    test_coordinator_start(&c, "ipc", NULL);
    test_worker_start(&c, 0, "g", NULL, NULL);
    test_wait_exact(&c, "shards_covered", 3);
    cr_assert_eq(test_search(&c, &r, &test_small, (const char *const[]){"-k", "9", NULL}), 0, "%s",
                 r.err);
    char *remote = test_hits_text(&r);
    cr_assert_str_eq(local, remote);
    free(local);
    free(remote);
    test_run_fini(&r);
    test_cluster_fini(&c);
}

/* A worker maps each of its shards, and a map keeps its file open. */
Test(local, more_shards_than_files_may_be_open)
{
    enum { FILES = 64, SHARDS = 112 };
    struct test_cluster c;
    struct test_run r;
    struct rlimit limit;
    struct test_material one;
    prepare(&c, &test_sample, SHARDS);
    one = test_few_queries(&c, &test_sample, 1);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert(limit.rlim_max > SHARDS + FILES, "the hard limit is too low for this test");
    limit.rlim_cur = FILES;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_eq(TEST_RUN(&r, "vitrine", "search", "--gallery", test_cluster_path(&c, "g"),
                          "--workers", "1", "--features", one.query, "--min-coverage", "1"),
                 0, "%s", r.err);
    test_run_fini(&r);
    test_cluster_fini(&c);
}

/* Waits until a program has said this on stderr. */
static bool wait_said(const struct test_run *r, const char *words)
{
    bool said = false;
    for (unsigned long long end = test_now_ms() + WAIT_MS; !said && test_now_ms() < end;) {
        char *err = test_run_err(r);
        said = strstr(err, words) != NULL;
        free(err);
        test_sleep_ms(10);
    }
    return said;
}

/* Starts `vitrine up` with three workers and waits until it is ready. */
static size_t start_up(struct test_cluster *c, struct test_run *r, pid_t children[CHILDREN_MAX])
{
    test_start(r, (const char *const[]){"vitrine", "up", "--gallery", test_cluster_path(c, "g"),
                                        "--workers", "3", "--threads", "1", NULL});
    char *out = test_run_out(r);
    for (unsigned long long end = test_now_ms() + WAIT_MS;
         !strstr(out, "ready: 3 workers") && test_now_ms() < end;) {
        free(out);
        test_sleep_ms(10);
        out = test_run_out(r);
    }
    const char *at = strstr(out, "ipc://");
    cr_assert(at != NULL, "not ready: %s", out);
    snprintf(c->endpoint, sizeof c->endpoint, "%.*s", (int)strcspn(at, " \n"), at);
    free(out);
    size_t count = children_of(r->child.pid, children);
    cr_assert_eq(count, 4);
    return count;
}

Test(local, up_ends_with_all_it_began)
{
    const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    struct test_cluster c;
    struct test_run r, search;
    pid_t children[CHILDREN_MAX];
    prepare(&c, &test_small, 3);
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        size_t count = start_up(&c, &r, children);
        cr_assert_eq(test_search(&c, &search, &test_small, (const char *const[]){"-k", "2", NULL}),
                     0, "%s", search.err);
        test_run_fini(&search);
        cr_assert_eq(kill(r.child.pid, signals[i]), 0);
        cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
        check_gone(children, count);
        cr_assert(wait_left(&c, 0), "something is left in the folder");
        test_run_fini(&r);
    }
    test_cluster_fini(&c);
}

/* Under nohup a terminal that goes away ends neither the command nor its children. */
Test(local, up_under_nohup)
{
    struct test_cluster c;
    struct test_run r, search;
    pid_t children[CHILDREN_MAX];
    prepare(&c, &test_small, 3);
    signal(SIGHUP, SIG_IGN);
    size_t count = start_up(&c, &r, children);
    cr_assert_eq(kill(r.child.pid, SIGHUP), 0);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(kill(children[i], SIGHUP), 0);
    cr_assert_eq(test_search(&c, &search, &test_small,
                             (const char *const[]){"-k", "2", "--min-coverage", "1", NULL}),
                 0, "%s", search.err);
    test_run_fini(&search);
    cr_assert_eq(kill(r.child.pid, SIGTERM), 0);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    check_gone(children, count);
    test_run_fini(&r);
    test_cluster_fini(&c);
}

/* A worker's end is told, and the rest serves on; the coordinator's end is the end. */
Test(local, up_tells_of_an_end)
{
    struct test_cluster c;
    struct test_run r, search;
    pid_t children[CHILDREN_MAX];
    prepare(&c, &test_small, 3);
    size_t count = start_up(&c, &r, children);
    cr_assert_eq(kill(children[2], SIGKILL), 0);
    cr_assert(wait_said(&r, "worker 1 killed by signal 9"), "the worker's end is not told");
    cr_assert_eq(test_search(&c, &search, &test_small, (const char *const[]){"-k", "2", NULL}), 0,
                 "%s", search.err);
    test_run_fini(&search);
    cr_assert_eq(test_status_number(&c, "shards_covered"), 2);
    cr_assert_eq(kill(children[0], SIGKILL), 0);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 69, "%s", r.err);
    cr_assert(strstr(r.err, "the coordinator killed by signal 9") != NULL, "%s", r.err);
    check_gone(children, count);
    cr_assert(wait_left(&c, 0), "something is left in the folder");
    test_run_fini(&r);
    test_cluster_fini(&c);
}

/* Ctrl-C goes to the whole foreground group: here to the command and its children. */
Test(local, ctrl_c_during_a_search)
{
    struct test_cluster c;
    struct test_run r;
    pid_t children[CHILDREN_MAX];
    static const uint64_t rows[200]; /* zero: one query again and again */
    prepare(&c, &test_sample, 4);
    const char *many = test_cluster_path(&c, "queries.npy");
    test_pick(test_sample.query, rows, 200, many);
    test_start(&r,
               (const char *const[]){"vitrine", "search", "--gallery", test_cluster_path(&c, "g"),
                                     "--workers", "2", "--features", many, "--json", NULL});
    size_t count = wait_children(r.child.pid, 3, children);
    cr_assert_eq(count, 3);
    for (bool begun = false; !begun; test_sleep_ms(10)) {
        char *out = test_run_out(&r);
        begun = *out != '\0';
        free(out);
        cr_assert(!io_child_poll(&r.child), "it ended");
    }
    for (size_t i = 0; i < count; i++)
        kill(children[i], SIGINT);
    cr_assert_eq(kill(r.child.pid, SIGINT), 0);
    cr_assert_neq(test_finish(&r, TEST_RUN_MS), 0);
    cr_assert(!r.timed_out);
    cr_assert(strstr(r.err, "vitrine search: interrupted at query ") != NULL, "%s", r.err);
    check_gone(children, count);
    cr_assert(wait_left(&c, 0), "something is left in the folder");
    test_run_fini(&r);
    test_cluster_fini(&c);
}

/* Killed without a chance to clean up: its children die all the same. */
Test(local, no_orphans)
{
    struct test_cluster c;
    struct test_run r;
    pid_t children[CHILDREN_MAX];
    prepare(&c, &test_small, 3);
    size_t count = start_up(&c, &r, children);
    cr_assert_eq(kill(r.child.pid, SIGKILL), 0);
    test_finish(&r, TEST_RUN_MS);
    check_gone(children, count);
    test_run_fini(&r);
    test_cluster_fini(&c);
}
