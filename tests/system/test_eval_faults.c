/* test_eval_faults.c: evaluations that are stopped, killed, and go on; clusters that come and go
 * under them; and what is no evaluation at all. */
#include "tests/support/eval.h"
#include "tests/support/files.h"
#include "tests/support/inputs.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512, ROUNDS = 10, SHARDS = 4, WAIT_MS = 60000 };

/* The sample ten times over, in four shards: a second's work. */
struct scene {
    struct test_cluster c;
    char query[PATH_BYTES], labels[PATH_BYTES];
};

static void scene_init(struct scene *s)
{
    test_eval_init(&s->c);
    test_source(test_labelled.query, s->query, sizeof s->query);
    test_source(test_labelled.query_labels, s->labels, sizeof s->labels);
    test_import(&s->c, "g", &test_labelled, ROUNDS, SHARDS);
}

/* A coordinator, and two workers with two shards each. */
static void start_cluster(struct scene *s)
{
    test_coordinator_start(&s->c, "ipc", NULL);
    test_worker_start(&s->c, 0, "g", "0-1", (const char *const[]){"--threads", "1", NULL});
    test_worker_start(&s->c, 1, "g", "2-3", (const char *const[]){"--threads", "1", NULL});
    test_wait_exact(&s->c, "shards_covered", SHARDS);
}

static struct test_ask ask(const struct scene *s, const char *json, const char *csv)
{
    return (struct test_ask){
        .connect = s->c.endpoint,
        .features = s->query,
        .meta = s->labels,
        .json = json,
        .csv = csv,
        .more = {"--journal", "j"},
    };
}

/* What an evaluation without trouble finds, in right.json, right.csv and right.npy. */
static void run_undisturbed(struct scene *s)
{
    struct test_run r;
    struct test_ask a = ask(s, "right.json", "right.csv");
    a.scores = "right.npy";
    cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
    cr_assert(!test_exists("j"), "the journal stayed");
    cr_assert(!test_exists("right.npy.partial"));
    test_run_fini(&r);
}

/* Queries in the journal, whose first line is no query. */
static size_t journaled(void)
{
    size_t size, lines = 0;
    if (!test_exists("j"))
        return 0;
    char *text = test_read("j", &size);
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    free(text);
    return lines ? lines - 1 : 0;
}

/* Waits until some queries are done, and not all. */
static void wait_midway(struct test_run *r)
{
    unsigned long long end = test_now_ms() + WAIT_MS;
    while (journaled() < 2) {
        cr_assert(test_now_ms() < end && !io_child_poll(&r->child), "it ended before its middle");
        test_sleep_ms(2);
    }
}

/* Goes on with what was left and finds what was to be found. */
static void resume(struct scene *s, bool scores)
{
    struct test_run r;
    struct test_ask a = ask(s, "out.json", "out.csv");
    a.more[2] = "--resume";
    a.scores = scores ? "out.npy" : NULL;
    cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
    test_same_files("right.json", "out.json");
    test_same_files("right.csv", "out.csv");
    if (scores)
        test_same_files("right.npy", "out.npy");
    cr_assert(!test_exists("j"), "the journal stayed");
    test_run_fini(&r);
}

/* kill -9 at any moment: what is in the journal is not asked again, and a line that was cut is. */
Test(eval_faults, killed_and_resumed)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    struct test_ask a = ask(&s, "out.json", "out.csv");
    a.scores = "out.npy";
    test_eval_start(&r, &a);
    wait_midway(&r);
    test_run_fini(&r); /* kill -9 */
    size_t done = journaled();
    cr_assert(done >= 2 && done < 28, "%zu queries", done);
    cr_assert(!test_exists("out.json") && !test_exists("out.npy"), "half a result");
    test_resize("j", test_size("j") - 7); /* as if the last line had been cut */
    json_int_t before = test_status_number(&s.c, "counters.queries");
    resume(&s, true);
    json_int_t asked = test_status_number(&s.c, "counters.queries") - before;
    cr_assert_eq(asked, 28 - (json_int_t)done + 1, "%lld were asked again", (long long)asked);
    test_eval_fini(&s.c);
}

Test(eval_faults, stopped_by_ctrl_c_and_resumed)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    struct test_ask a = ask(&s, "out.json", "out.csv");
    test_eval_start(&r, &a);
    wait_midway(&r);
    cr_assert_eq(kill(r.child.pid, SIGINT), 0);
    cr_assert_eq(test_finish(&r, WAIT_MS), 75, "%s", r.err);
    cr_assert(strstr(r.err, "of 28 queries; --resume goes on from there") != NULL, "%s", r.err);
    cr_assert(!test_exists("out.json"), "half a result");
    test_run_fini(&r);
    resume(&s, false);
    test_eval_fini(&s.c);
}

/* A worker that dies is waited for; the figures are as if nothing had been. */
Test(eval_faults, a_lost_worker_is_waited_for)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    struct test_ask a = ask(&s, "out.json", "out.csv");
    test_eval_start(&r, &a);
    wait_midway(&r);
    test_worker_kill(&s.c, 1);
    char *err = test_run_err(&r);
    for (unsigned long long end = test_now_ms() + WAIT_MS;
         !strstr(err, "waiting for shards that cannot be counted now: 2 (");) {
        cr_assert(test_now_ms() < end && !io_child_poll(&r.child), "%s", err);
        test_sleep_ms(20);
        free(err);
        err = test_run_err(&r);
    }
    free(err);
    cr_assert(!test_exists("out.json"), "a figure over half a gallery");
    test_worker_start(&s.c, 1, "g", "2-3", NULL);
    cr_assert_eq(test_finish(&r, 3 * WAIT_MS), 0, "%s", r.err);
    test_run_fini(&r);
    test_same_files("right.json", "out.json");
    test_same_files("right.csv", "out.csv");
    test_eval_fini(&s.c);
}

/* Another worker that holds the shards takes over. */
Test(eval_faults, whoever_holds_the_shards_takes_over)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    test_worker_start(&s.c, 2, "g", NULL, (const char *const[]){"--threads", "1", NULL});
    struct test_ask a = ask(&s, "out.json", "out.csv");
    test_eval_start(&r, &a);
    wait_midway(&r);
    test_worker_kill(&s.c, 1);
    cr_assert_eq(test_finish(&r, 3 * WAIT_MS), 0, "%s", r.err);
    test_run_fini(&r);
    test_same_files("right.json", "out.json");
    test_eval_fini(&s.c);
}

Test(eval_faults, the_coordinator_may_be_started_again)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    struct test_ask a = ask(&s, "out.json", "out.csv");
    test_eval_start(&r, &a);
    wait_midway(&r);
    test_coordinator_kill(&s.c);
    test_coordinator_start(&s.c, "ipc", NULL);
    cr_assert_eq(test_finish(&r, 3 * WAIT_MS), 0, "%s", r.err);
    test_run_fini(&r);
    test_same_files("right.json", "out.json");
    test_eval_fini(&s.c);
}

/* One that begins before the first worker has joined waits for it. */
Test(eval_faults, begins_before_the_workers)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    test_coordinator_start(&s.c, "ipc", NULL);
    struct test_ask a = ask(&s, "out.json", "out.csv");
    test_eval_start(&r, &a);
    test_sleep_ms(300); /* it has most likely asked by then */
    test_worker_start(&s.c, 0, "g", NULL, NULL);
    cr_assert_eq(test_finish(&r, 3 * WAIT_MS), 0, "%s", r.err);
    test_run_fini(&r);
    test_eval_fini(&s.c);
}

/* Of two workers with the same shards one has a bad block: the other counts that shard, and nobody
 * counts it twice. */
Test(eval_faults, a_corrupt_shard_is_counted_elsewhere)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    test_import(&s.c, "bad", &test_labelled, ROUNDS, SHARDS);
    size_t size = test_size("bad/shard-00001.vts");
    test_patch("bad/shard-00001.vts", size / 2, "damage", 6);
    test_coordinator_start(&s.c, "ipc", NULL);
    test_worker_start(&s.c, 0, "g", NULL, (const char *const[]){"--threads", "1", NULL});
    test_wait_exact(&s.c, "shards_covered", SHARDS);
    run_undisturbed(&s);
    test_worker_start(&s.c, 1, "bad", NULL, (const char *const[]){"--threads", "1", NULL});
    for (bool there = false; !there; test_sleep_ms(10)) {
        json_t *status = test_status(&s.c);
        there = json_array_size(json_object_get(status, "workers")) == 2;
        json_decref(status);
    }
    struct test_ask a = ask(&s, "out.json", "out.csv");
    cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
    test_same_files("right.json", "out.json");
    test_same_files("right.csv", "out.csv");
    test_run_fini(&r);
    char *log = test_run_err(&s.c.workers[1].run);
    cr_assert(strstr(log, "event=corrupt") != NULL, "it was never asked: %s", log);
    free(log);
    test_eval_fini(&s.c);
}

/* A worker of the evaluation's own: nobody else will start it again. */
Test(eval_faults, its_own_worker_dies)
{
    struct scene s;
    struct test_run r;
    char path[64];
    long long children[8];
    size_t count = 0;
    scene_init(&s);
    struct test_ask a = {"g", NULL, s.query, s.labels, "out.json", NULL, NULL, {"--journal", "j"}};
    test_eval_start(&r, &a);
    wait_midway(&r);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)r.child.pid, (int)r.child.pid);
    FILE *f = fopen(path, "r");
    cr_assert(f != NULL);
    while (count < 8 && fscanf(f, "%lld", &children[count]) == 1)
        count++;
    fclose(f);
    cr_assert_geq(count, 2, "a coordinator and a worker");
    cr_assert_eq(kill((pid_t)children[count - 1], SIGKILL), 0);
    cr_assert_eq(test_finish(&r, WAIT_MS), 69, "%s", r.err);
    cr_assert(strstr(r.err, "killed by signal 9") != NULL, "%s", r.err);
    cr_assert(!test_exists("out.json") && journaled() >= 2);
    test_run_fini(&r);
    test_eval_fini(&s.c);
}

/* Queries done while nobody wanted scores have none: with --scores they are measured again. So is
 * one whose row was lost. */
Test(eval_faults, scores_that_were_not_written_are_no_zeros)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    struct test_ask a = ask(&s, "out.json", "out.csv");
    a.scores = "out.npy";
    test_eval_start(&r, &a);
    wait_midway(&r);
    test_run_fini(&r);
    test_copy("out.npy.partial", "kept");
    a.scores = NULL;
    a.more[2] = "--resume";
    size_t before = journaled();
    test_eval_start(&r, &a);
    while (journaled() <= before && !io_child_poll(&r.child))
        test_sleep_ms(2);
    test_run_fini(&r);
    if (journaled() == 0)
        return test_eval_fini(&s.c); /* it was quicker than we */
    test_copy("kept", "out.npy.partial");
    float nought = 0;
    test_patch("out.npy.partial", 128 + 40, &nought, sizeof nought); /* a row of an earlier query */
    resume(&s, true);
    test_eval_fini(&s.c);
}

/* A result that nobody got is no result: the journal stays. */
Test(eval_faults, the_journal_outlives_a_full_disk)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    run_undisturbed(&s);
    char command[2048], program[512];
    snprintf(command, sizeof command,
             "%s eval --connect %s --features %s --meta %s --journal j --scores out.npy >/dev/full",
             test_program("vitrine", program, sizeof program), s.c.endpoint, s.query, s.labels);
    cr_assert_eq(TEST_RUN(&r, "/bin/sh", "-c", command), 74, "%s", r.err);
    test_run_fini(&r);
    cr_assert_eq(journaled(), 28);
    cr_assert(test_exists("out.npy.partial"));
    resume(&s, true);
    test_eval_fini(&s.c);
}

/* --- what is no evaluation ---------------------------------------------------------------------
 */

/* It fails with this exit code and these words, and leaves nothing behind. */
static void refused(const struct test_ask *a, int code, const char *words)
{
    struct test_run r;
    cr_assert_eq(test_eval(&r, a), code, "exit %d: %s", r.code, r.err);
    cr_assert(strstr(r.err, words) != NULL, "\"%s\" is not in: %s", words, r.err);
    cr_assert_eq(strchr(r.err, '\n') - r.err, (ptrdiff_t)strlen(r.err) - 1,
                 "more than one line: %s", r.err);
    cr_assert_eq(r.out[0], '\0', "%s", r.out);
    cr_assert(!test_exists("out.json") && !test_exists("out.csv"));
    test_run_fini(&r);
}

/* A copy of the queries' labels with the first row's pid replaced. */
static void relabel(const struct scene *s, const char *from, const char *to)
{
    test_copy(s->labels, "labels.csv");
    test_replace("labels.csv", from, to);
}

Test(eval_faults, bad_labels)
{
    struct scene s;
    scene_init(&s);
    struct test_ask a = {"g", NULL, s.query, "labels.csv", "out.json", "out.csv", NULL, {NULL}};
    relabel(&s, "jpg,29,", "jpg, 0,");
    refused(&a, 65,
            "query 0 (grocery160/test/Packages/Juice/Bravo-Apple-Juice/Bravo-Apple-Juice_002"
            ".jpg) has pid 0, which means a distractor");
    relabel(&s, "jpg,29,", "jpg,-1,");
    refused(&a, 65, "has pid -1, which means junk");
    relabel(&s, "jpg,29,", "jpg,xx,");
    refused(&a, 65, "labels.csv");
    test_copy(s.labels, "labels.csv");
    test_resize("labels.csv", test_size("labels.csv") - 30);
    a.meta = "labels.csv";
    struct test_run r;
    cr_assert_neq(test_eval(&r, &a), 0);
    test_run_fini(&r);
    test_write("labels.csv", "name,pid,camid\na,1,1\n", 21);
    refused(&a, 65, "labels.csv has fewer rows than ");
    a.meta = "nowhere.csv";
    refused(&a, 66, "nowhere.csv");
    test_eval_fini(&s.c);
}

Test(eval_faults, bad_flags_and_places)
{
    struct scene s;
    scene_init(&s);
    struct test_ask a = {"g", NULL, s.query, s.labels, "out.json", NULL, NULL, {"--map", "mean"}};
    refused(&a, 64, "--map is 'mean'");
    a.more[0] = "--resume";
    a.more[1] = NULL;
    refused(&a, 66, "no evaluation to resume");
    a.more[0] = NULL;
    a.connect = "ipc:///nowhere/at/all";
    a.gallery = NULL;
    refused(&a, 69, "no coordinator answers");
    a.gallery = "h";
    refused(&a, 66, "h");
    a.gallery = "g";
    a.json = "no/such/folder.json";
    struct test_run r;
    cr_assert_eq(test_eval(&r, &a), 74, "%s", r.err);
    cr_assert(strstr(r.err, "no/such/folder.json") != NULL, "%s", r.err);
    test_run_fini(&r);
    test_eval_fini(&s.c);
}

/* A journal that is none, or of other labels, is not touched. */
Test(eval_faults, other_journals)
{
    struct scene s;
    struct test_run r;
    scene_init(&s);
    start_cluster(&s);
    struct test_ask a = ask(&s, "out.json", NULL);
    test_eval_start(&r, &a);
    wait_midway(&r);
    test_run_fini(&r);
    test_copy("j", "mine");
    relabel(&s, "jpg,29,", "jpg,30,");
    a.more[2] = "--resume";
    a.meta = "labels.csv";
    refused(&a, 65, "is of another evaluation");
    test_same_files("j", "mine");
    a.meta = s.labels;
    a.more[2] = NULL;
    refused(&a, 73, "queries of an evaluation that was stopped: go on with it with --resume");
    test_same_files("j", "mine");
    test_write("j", "a,b\n", 4);
    refused(&a, 73, "j is there, and is no journal");
    a.more[2] = "--resume";
    test_write("j", "hello\n", 6);
    refused(&a, 65, "j: line 1: is no JSON");
    test_write("j", "{}\n", 3);
    refused(&a, 65, "is no journal of 'vitrine eval'");
    test_write("j", "", 0);
    refused(&a, 65, "holds nothing to resume");
    test_eval_fini(&s.c);
}

/* A gallery in which nobody is right: no figure, and why. */
Test(eval_faults, nobody_is_right)
{
    struct scene s;
    struct test_run r;
    test_eval_init(&s.c);
    test_import(&s.c, "g", &test_sample, 1, 2); /* pids of its own: 0 to 111 */
    test_source(test_labelled.query, s.query, sizeof s.query);
    FILE *f = fopen("labels.csv", "w");
    fprintf(f, "name,pid,camid\n");
    for (int i = 0; i < 28; i++)
        fprintf(f, "q%d,%d,1\n", i, 1000 + i);
    cr_assert_eq(fclose(f), 0);
    struct test_ask a = {"g", NULL, s.query, "labels.csv", "out.json", "out.csv", NULL, {NULL}};
    cr_assert_eq(test_eval(&r, &a), 65, "%s", r.err);
    cr_assert(strstr(r.err, "no query has an image of its pid") != NULL, "%s", r.err);
    cr_assert(!test_exists("out.json"));
    test_run_fini(&r);
    test_eval_fini(&s.c);
}
