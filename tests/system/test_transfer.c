/* test_transfer.c: galleries travel between real workers, which are killed, run out of disk, and go
 * bad. */
#include "tests/support/files.h"
#include "tests/support/random.h"
#include "tests/support/store.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES = 112, SHARDS = 2, WAIT_MS = 60000 };

/* --- the cluster ------------------------------------------------------------------------------ */

/* The sample `times` over in SHARDS shards as "g", and a coordinator that places each on two. */
static void start_coordinator(struct test_cluster *c, unsigned times, const char *replicas)
{
    test_cluster_init(c);
    test_import(c, "g", &test_sample, times, SHARDS);
    test_coordinator_start(c, "ipc",
                           (const char *const[]){"--state", test_cluster_path(c, "map"),
                                                 "--replicas", replicas, "--dead-after-ms", "3000",
                                                 "--replace-after-s", "3600", NULL});
}

/* And worker 0, which has all of it. */
static void start(struct test_cluster *c, unsigned times, const char *replicas)
{
    start_coordinator(c, times, replicas);
    test_worker_start(c, 0, "g", NULL, NULL);
    test_wait_exact(c, "shards_covered", SHARDS);
}

static const char *const slow[] = {"--transfer-mb-s", "2", NULL};

/* A search of everything is answered in full. */
static void expect_served(struct test_cluster *c, json_int_t images)
{
    struct test_run r;
    struct test_material one = test_few_queries(c, &test_sample, 1);
    cr_assert_eq(
        test_search(c, &r, &one, (const char *const[]){"-k", "9", "--min-coverage", "1", NULL}), 0,
        "%s", r.err);
    json_t *answers = test_answers(&r);
    cr_assert_eq(test_number(json_array_get(answers, 0), "coverage.images"), images);
    json_decref(answers);
    test_run_fini(&r);
}

/* --- all is well ------------------------------------------------------------------------------ */

Test(transfer, an_empty_worker_joins)
{
    struct test_cluster c;
    start(&c, 1, "2");
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_exact(&c, "shards_whole", SHARDS);
    cr_assert(test_store_has(&c, "store", "store.json"));
    test_store_whole(&c, "store", 2 + SHARDS);
    test_worker_kill(&c, 0); /* the copies are as good as what they were made from */
    expect_served(&c, IMAGES);
    test_worker_signal(&c, 1, SIGTERM);
    cr_assert_eq(test_finish(&c.workers[1].run, TEST_RUN_MS), 0);
    test_worker_start(&c, 1, "store", NULL, NULL); /* started again it has them still */
    test_wait_exact(&c, "shards_covered", SHARDS);
    test_wait_says(&c.workers[1].run, "event=serving");
    cr_assert(!test_says(&c.workers[1].run, "event=fetch "));
    expect_served(&c, IMAGES);
    test_cluster_fini(&c);
}

/* With one replica half of the shards move: a store removes what it hands over, what an import made
 * stays. */
Test(transfer, a_store_removes_what_it_lets_go_and_an_import_does_not)
{
    struct test_cluster c;
    struct test_run r;
    start(&c, 1, "1");
    test_worker_start(&c, 1, "one", NULL, NULL);
    test_wait_says(&c.workers[0].run, "event=released");
    cr_assert(test_store_has(&c, "g", "shard-00000.vts") &&
              test_store_has(&c, "g", "shard-00001.vts"));
    cr_assert_eq(test_store_check(&c, "one"), 3, "manifest, weights and one shard");
    test_worker_start(&c, 2, "two", NULL, NULL);
    test_wait_says(&c.workers[2].run, "event=welcome");
    cr_assert_eq(TEST_RUN(&r, "vitrine", "drain", "--connect", c.endpoint, "w1"), 0, "%s", r.err);
    test_run_fini(&r);
    cr_assert_eq(test_finish(&c.workers[1].run, TEST_RUN_MS), 0, "%s", c.workers[1].run.err);
    cr_assert_eq(test_store_check(&c, "one"), 2, "the shard is removed");
    cr_assert_eq(test_store_check(&c, "two"), 3);
    expect_served(&c, IMAGES);
    /* And back into the folder that was imported, where it only has to be opened again. */
    cr_assert_eq(TEST_RUN(&r, "vitrine", "drain", "--connect", c.endpoint, "w2"), 0, "%s", r.err);
    test_run_fini(&r);
    cr_assert_eq(test_finish(&c.workers[2].run, TEST_RUN_MS), 0, "%s", c.workers[2].run.err);
    cr_assert_eq(test_store_check(&c, "two"), 2);
    expect_served(&c, IMAGES);
    cr_assert_eq(test_store_check(&c, "g"), 4);
    test_cluster_fini(&c);
}

/* --- a getter that is killed ------------------------------------------------------------------ */

/* Killed or stopped at many moments of the transfer; each time it goes on where it was. */
static void interrupt(int signum, unsigned rounds)
{
    struct test_cluster c;
    struct test_random random = {(uint64_t)signum};
    uint64_t before = 0;
    start(&c, 2, "2");
    for (unsigned round = 0; round < rounds; round++) {
        test_worker_start(&c, 1, "store", NULL, slow);
        test_sleep_ms((unsigned)test_random_below(&random, 900));
        test_worker_signal(&c, 1, signum);
        int code = test_finish(&c.workers[1].run, TEST_RUN_MS);
        cr_assert_eq(code, signum == SIGKILL ? 128 + SIGKILL : 0, "%s", c.workers[1].run.err);
        test_store_check(&c, "store");
        uint64_t now = test_store_bytes(&c, "store");
        cr_assert_geq(now, before, "what was there is gone");
        before = now;
    }
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_exact(&c, "shards_whole", SHARDS);
    test_store_whole(&c, "store", 2 + SHARDS);
    test_cluster_fini(&c);
}

Test(transfer, a_getter_that_is_killed_again_and_again)
{
    interrupt(SIGKILL, test_is_slow() ? 8 : 16);
}

Test(transfer, a_getter_that_is_stopped_again_and_again)
{
    interrupt(SIGTERM, test_is_slow() ? 6 : 12);
}

/* --- givers that are no good ------------------------------------------------------------------ */

/* A giver is killed in the middle: another gives the rest, and not the beginning again. */
Test(transfer, a_giver_that_dies)
{
    struct test_cluster c;
    char part[512];
    struct stat s;
    start(&c, 2, "3");
    test_worker_start(&c, 1, "second", NULL, NULL);
    test_wait_says(&c.workers[1].run, "event=fetched shard=0");
    test_wait_says(&c.workers[1].run, "event=fetched shard=1");
    test_worker_start(&c, 2, "third", NULL, slow);
    test_wait_says(&c.workers[2].run, "event=fetch ");
    bool first = test_says(&c.workers[2].run, "event=fetch shard=0");
    snprintf(part, sizeof part, "%s/third/shard-0000%d.vts.part", c.dir, first ? 0 : 1);
    for (unsigned i = 0; i < 6000 && (stat(part, &s) != 0 || s.st_size == 0); i++)
        test_sleep_ms(5);
    test_worker_kill(&c, 0); /* the one that is named first, unless the other is */
    test_wait_exact(&c, "shards_covered", SHARDS);
    test_wait_says(&c.workers[2].run, "event=fetched shard=0");
    test_wait_says(&c.workers[2].run, "event=fetched shard=1");
    test_store_whole(&c, "third", 2 + SHARDS);
    test_cluster_fini(&c);
}

/* --- the disk --------------------------------------------------------------------------------- */

/* A worker on a filesystem of a megabyte: it joins, finds no room for a shard, says so, and lives.
 */
Test(transfer, a_full_disk)
{
    static const char script[] =
        "mount -t tmpfs -o size=$size vitrine-test \"$disk\" 2>/dev/null || exit 99\nexec \"$@\"";
    struct test_cluster c;
    struct test_worker *w = &c.workers[1];
    char program[512];
    start(&c, 2, "2");
    const char *disk = test_cluster_path(&c, "disk");
    cr_assert_eq(mkdir(disk, 0755), 0);
    setenv("disk", disk, 1);
    setenv("size", "1m", 1);
    test_program("vitrine-worker", program, sizeof program);
    test_start(&w->run,
               (const char *const[]){"/usr/bin/unshare", geteuid() ? "-rm" : "-m", "/bin/sh", "-c",
                                     script, "sh", program, "--connect", c.endpoint, "--gallery",
                                     test_cluster_path(&c, "disk/store"), "--node", "w1", NULL});
    for (unsigned long long end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
        if (io_child_poll(&w->run.child) || test_says(&w->run, "event=fetch_failed"))
            break;
        test_sleep_ms(20);
    }
    if (io_child_poll(&w->run.child)) {
        test_finish(&w->run, 0);
        cr_assert(w->run.code == 99 || strstr(w->run.err, "unshare"), "%s", w->run.err);
        fprintf(stderr, "no filesystem can be mounted here: %s\n", w->run.err);
    } else {
        cr_assert(test_says(&w->run, "No space left on device"));
        expect_served(&c, 2 * IMAGES);
        cr_assert(!io_child_poll(&w->run.child), "the worker ended");
    }
    test_cluster_fini(&c);
}

/* Flips one bit of a file. */
static void flip(struct test_cluster *c, const char *file, off_t at)
{
    char path[512], byte;
    snprintf(path, sizeof path, "%s/%s", c->dir, file);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0, "%s cannot be opened", path);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

/* A shard whose header went bad while the worker was down is thrown away and got again. */
Test(transfer, a_bad_header_in_a_store)
{
    struct test_cluster c;
    start(&c, 1, "2");
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_exact(&c, "shards_whole", SHARDS);
    test_worker_kill(&c, 1);
    flip(&c, "store/shard-00001.vts", 40);
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_says(&c.workers[1].run, "event=shard_thrown_away shard=1");
    test_wait_says(&c.workers[1].run, "event=fetched shard=1");
    cr_assert(!test_says(&c.workers[1].run, "event=fetch shard=0"));
    test_store_whole(&c, "store", 2 + SHARDS);
    test_cluster_fini(&c);
}

/* Bad features are found when they are scored: the other holder is asked, and the answer is whole.
 */
Test(transfer, bad_features_in_a_store)
{
    struct test_cluster c;
    start(&c, 1, "2");
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_exact(&c, "shards_whole", SHARDS);
    test_worker_kill(&c, 1);
    flip(&c, "store/shard-00001.vts", 9000);
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_exact(&c, "shards_whole", SHARDS);
    for (unsigned i = 0; i < 8; i++)
        expect_served(&c, IMAGES);
    test_cluster_fini(&c);
}

/* And a giver does not give them away: whoever gets them finds out, and asks another. */
Test(transfer, bad_features_at_a_giver)
{
    struct test_cluster c;
    start(&c, 1, "3");
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_says(&c.workers[1].run, "event=fetched shard=0");
    test_wait_says(&c.workers[1].run, "event=fetched shard=1");
    flip(&c, "store/shard-00001.vts", 9000);
    flip(&c, "store/shard-00000.vts", 9000);
    test_worker_start(&c, 2, "third", NULL, NULL);
    test_wait_says(&c.workers[2].run, "event=fetched shard=0");
    test_wait_says(&c.workers[2].run, "event=fetched shard=1");
    test_store_whole(&c, "third", 2 + SHARDS);
    test_cluster_fini(&c);
}

/* --- what is refused -------------------------------------------------------------------------- */

/* Starts worker 2 with these words, and checks that it ends with this code and these words. */
static void expect_refused(struct test_cluster *c, const char *name, const char *const more[],
                           int code, const char *text)
{
    struct test_run *r = &c->workers[2].run;
    test_worker_start(c, 2, name, NULL, more);
    cr_assert_eq(test_finish(r, TEST_RUN_MS), code, "exit %d: %s", r->code, r->err);
    cr_assert(strstr(r->err, text) != NULL, "'%s' is not in: %s", text, r->err);
    cr_assert(strstr(r->err, "event=serving") == NULL, "%s", r->err);
}

Test(transfer, folders_that_are_refused)
{
    struct test_cluster c;
    start(&c, 1, "2");
    test_worker_start(&c, 1, "store", NULL, NULL);
    test_wait_says(&c.workers[1].run, "event=welcome");
    expect_refused(&c, "store", NULL, 75, "another worker serves from");
    cr_assert_eq(mkdir(test_cluster_path(&c, "mine"), 0755), 0);
    test_write(test_cluster_path(&c, "mine/letter.txt"), "dear", 4);
    expect_refused(&c, "mine", NULL, 66, "it holds 'letter.txt'");
    cr_assert(!test_store_has(&c, "mine", "store.json"));
    expect_refused(&c, "none/store", NULL, 66, "is missing");
    expect_refused(&c, "new", (const char *const[]){"--listen", "tcp://0.0.0.0:0", NULL}, 64,
                   "--insecure");
    cr_assert(!test_store_has(&c, "new", ""), "it was made before that");
    expect_refused(&c, "g", (const char *const[]){"--listen", "tcp://0.0.0.0:0", NULL}, 64,
                   "--insecure");
    expect_refused(&c, "g", (const char *const[]){"--shards", "0", "--listen", "tcp://*:7", NULL},
                   64, "--insecure");
    test_wait_exact(&c, "shards_whole", SHARDS); /* none of which has hurt the others */
    test_store_whole(&c, "store", 2 + SHARDS);
    test_cluster_fini(&c);
}

/* A coordinator without --state gives nobody shards, and says so. */
Test(transfer, a_coordinator_that_places_nothing)
{
    struct test_cluster c;
    test_cluster_init(&c);
    test_coordinator_start(&c, "ipc", NULL);
    expect_refused(&c, "new", NULL, 78, "gives nobody shards");
    test_cluster_fini(&c);
}
