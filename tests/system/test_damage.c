/* test_damage.c: a gallery that goes bad while it is served: what is sound is still scored, what is
 * not leaves the coverage, and `vitrine verify` names it. */
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES = 224, SHARDS = 2, SHARD_IMAGES = 112, BLOCK_IMAGES = 32, PAGE = 4096 };

/* The sample twice over in two shards, each of blocks of 32, 32, 32 and 16 images; one worker. */
static void start(struct test_cluster *c)
{
    test_cluster_init(c);
    test_import(c, "g", &test_sample, 2, SHARDS);
    test_coordinator_start(c, "ipc", NULL);
    test_worker_start(c, 0, "g", NULL, NULL);
    test_wait_exact(c, "shards_covered", SHARDS);
}

/* A search of everything with one query. Checks the exit code and that no shard but `shard` is
 * missing, for being corrupt. Returns the answer. */
static json_t *search(struct test_cluster *c, json_int_t shard, json_int_t images)
{
    struct test_run r;
    struct test_material one = test_few_queries(c, &test_sample, 1);
    cr_assert_eq(test_search(c, &r, &one, (const char *const[]){"-k", "224", NULL}), 0, "%s",
                 r.err);
    json_t *answers = test_answers(&r), *answer = json_incref(json_array_get(answers, 0));
    const json_t *missing = json_object_get(answer, "missing");
    cr_assert_eq(json_array_size(missing), images < IMAGES ? 1 : 0, "%s", r.out);
    if (images < IMAGES) {
        cr_assert_eq(test_number(json_array_get(missing, 0), "shard"), shard);
        cr_assert(test_has(answer, "degraded", "corrupt"), "%s", r.out);
    }
    cr_assert_eq(test_number(answer, "coverage.images"), images);
    cr_assert_eq(json_array_size(json_object_get(answer, "hits")), (size_t)images);
    cr_assert(!io_child_poll(&c->workers[0].run.child), "the worker died");
    json_decref(answers);
    test_run_fini(&r);
    return answer;
}

/* What `vitrine verify` says; checks that it found fault. The caller frees it. */
static char *verify(struct test_cluster *c)
{
    struct test_run r;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "verify", test_cluster_path(c, "g")), 65, "%s", r.out);
    char *text = test_run_err(&r);
    test_run_fini(&r);
    return text;
}

/* Is every hit on an image outside first..last? */
static void check_no_hit_within(const json_t *answer, json_int_t first, json_int_t last)
{
    size_t i;
    json_t *hit;
    json_array_foreach(json_object_get(answer, "hits"), i, hit)
    {
        json_int_t id = test_number(hit, "id");
        cr_assert(id < first || id > last, "image %lld came from a bad block", (long long)id);
    }
}

/* A bit that flips before its block is first read. */
Test(damage, flipped_bit)
{
    struct test_cluster c;
    struct stat s;
    char byte;
    start(&c);
    int fd = open(test_cluster_path(&c, "g/shard-00001.vts"), O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &s) == 0, "the shard cannot be opened");
    /* 112 images and a page or two: the stride is an image's bytes; the second block begins after
     * the header and 32 of them. */
    off_t at = PAGE + 40 * (s.st_size / SHARD_IMAGES);
    cr_assert_eq(pread(fd, &byte, 1, at), 1);
    byte ^= 4;
    cr_assert_eq(pwrite(fd, &byte, 1, at), 1);
    json_t *answer = search(&c, 1, IMAGES - BLOCK_IMAGES);
    check_no_hit_within(answer, SHARD_IMAGES + BLOCK_IMAGES, SHARD_IMAGES + 2 * BLOCK_IMAGES - 1);
    json_decref(answer);
    char *text = verify(&c);
    cr_assert(strstr(text, "shard-00001.vts") != NULL && strstr(text, "block 1") != NULL, "%s",
              text);
    free(text);
    char *log = test_run_err(&c.workers[0].run);
    cr_assert(strstr(log, "event=corrupt") && strstr(log, "shard-00001.vts: block 1"), "%s", log);
    free(log);
    close(fd);
    test_cluster_fini(&c);
}

/* A file that is cut short under a worker that has it mapped, before and after it was read. */
static void truncate_shard(bool read_before)
{
    struct test_cluster c;
    struct stat s;
    start(&c);
    const char *path = test_cluster_path(&c, "g/shard-00000.vts");
    if (read_before)
        json_decref(search(&c, -1, IMAGES));
    cr_assert_eq(stat(path, &s), 0);
    cr_assert_eq(truncate(path, PAGE + 70 * (s.st_size / SHARD_IMAGES)), 0);
    json_t *answer = search(&c, 0, IMAGES - SHARD_IMAGES + 2 * BLOCK_IMAGES);
    check_no_hit_within(answer, 2 * BLOCK_IMAGES, SHARD_IMAGES - 1);
    json_decref(answer);
    json_decref(search(&c, 0, IMAGES - SHARD_IMAGES + 2 * BLOCK_IMAGES)); /* and again */
    char *text = verify(&c);
    cr_assert(strstr(text, "shard-00000.vts") != NULL, "%s", text);
    free(text);
    test_cluster_fini(&c);
}

Test(damage, truncated_before_it_was_read)
{
    truncate_shard(false);
}

Test(damage, truncated_after_it_was_read)
{
    truncate_shard(true);
}

/* A worker does not start on a shard that is no shard any more, and says which. */
Test(damage, worker_on_a_bad_gallery)
{
    struct test_cluster c;
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, 2);
    test_coordinator_start(&c, "ipc", NULL);
    cr_assert_eq(truncate(test_cluster_path(&c, "g/shard-00001.vts"), 5000), 0);
    test_worker_start(&c, 0, "g", NULL, NULL);
    cr_assert_eq(test_finish(&c.workers[0].run, TEST_RUN_MS), 65, "%s", c.workers[0].run.err);
    cr_assert(strstr(c.workers[0].run.err, "shard-00001.vts") != NULL, "%s", c.workers[0].run.err);
    test_worker_start(&c, 1, "g", "0", NULL); /* the other is sound */
    test_wait_exact(&c, "shards_covered", 1);
    test_cluster_fini(&c);
}
