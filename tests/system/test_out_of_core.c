/* test_out_of_core.c: a worker in a quarter of its gallery's bytes of memory, page cache included,
 * gives the same hits as one that has it all.
 *
 * The limit is a control group's, which takes a writable hierarchy (version 1 or 2) and mostly
 * root. Where there is none, or the files live in memory anyway, the test says so and passes. */
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { IMAGES = 2240, SHARDS = 2, QUERIES = 8, PASSES = 2 };

/* Where hierarchies are mounted, and what they call the limit. */
static const struct {
    const char *root, *limit_file;
} hierarchies[] = {
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
    {"/sys/fs/cgroup", "memory.max"},
};

struct group {
    char path[128];
    const char *limit_file;
};

static bool put(const struct group *g, const char *file, uint64_t value)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", g->path, file);
    FILE *f = fopen(path, "r+e"); /* the kernel's file, or none: a plain folder stays empty */
    if (!f)
        return false;
    fprintf(f, "%" PRIu64 "\n", value);
    return fclose(f) == 0;
}

/* Makes a group with that limit, if there is a hierarchy where one can be had. */
static bool make_group(struct group *g, uint64_t bytes)
{
    for (size_t i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
        snprintf(g->path, sizeof g->path, "%s/vitrine-test-%d", hierarchies[i].root, (int)getpid());
        g->limit_file = hierarchies[i].limit_file;
        if (mkdir(g->path, 0755) != 0)
            continue;
        if (put(g, g->limit_file, bytes))
            return true;
        rmdir(g->path);
    }
    return false;
}

/* Throws the shards out of the page cache, and adds up their bytes. */
static uint64_t forget_shards(struct test_cluster *c)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        char name[64];
        struct stat s;
        snprintf(name, sizeof name, "g/shard-%05u.vts", i);
        int fd = open(test_cluster_path(c, name), O_RDONLY | O_CLOEXEC);
        cr_assert(fd >= 0 && fsync(fd) == 0 && fstat(fd, &s) == 0, "no %s", name);
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
        bytes += (uint64_t)s.st_size;
    }
    return bytes;
}

/* Bytes that the process had read from a disk so far. */
static uint64_t bytes_read(pid_t pid)
{
    char path[64], line[128];
    uint64_t bytes = 0;
    snprintf(path, sizeof path, "/proc/%d/io", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        sscanf(line, "read_bytes: %" SCNu64, &bytes);
    if (f)
        fclose(f);
    return bytes;
}

/* The sample's images again and again: 330 MB in float32. */
static struct test_material import_large(struct test_cluster *c)
{
    static uint64_t rows[IMAGES];
    struct test_material m = test_few_queries(c, &test_sample, QUERIES);
    for (size_t i = 0; i < IMAGES; i++)
        rows[i] = i % test_sample.images;
    m.gallery = test_cluster_path(c, "large.npy");
    m.images = IMAGES;
    test_pick(test_sample.gallery, rows, IMAGES, m.gallery);
    test_import(c, "g", &m, 1, SHARDS);
    return m;
}

static char *hits_of(struct test_cluster *c, const struct test_material *m)
{
    struct test_run r;
    cr_assert_eq(test_search(c, &r, m, (const char *const[]){"-k", "500", NULL}), 0, "%s", r.err);
    char *hits = test_hits_text(&r);
    test_run_fini(&r);
    return hits;
}

static void end_worker(struct test_cluster *c, unsigned i)
{
    test_worker_signal(c, i, SIGTERM);
    cr_assert_eq(test_finish(&c->workers[i].run, TEST_RUN_MS), 0, "%s", c->workers[i].run.err);
    test_wait_exact(c, "shards_covered", 0);
}

/* Serves within the group; the hits must be those expected. Returns the bytes read from disk. */
static uint64_t serve_within(struct test_cluster *c, const struct group *g,
                             const struct test_material *m, const char *expected)
{
    test_worker_start(c, 1, "g", NULL, (const char *const[]){"--threads", "2", NULL});
    pid_t pid = c->workers[1].run.child.pid;
    cr_assert(put(g, "cgroup.procs", (uint64_t)pid), "the worker cannot be put into %s", g->path);
    test_wait_exact(c, "shards_covered", SHARDS);
    for (unsigned pass = 0; pass < PASSES; pass++) {
        char *hits = hits_of(c, m);
        cr_assert_str_eq(hits, expected, "pass %u", pass);
        free(hits);
    }
    uint64_t bytes = bytes_read(pid);
    end_worker(c, 1);
    return bytes;
}

Test(out_of_core, a_quarter_of_the_memory_gives_the_same_hits)
{
    struct test_cluster c;
    struct group g;
    test_cluster_init(&c);
    const struct test_material m = import_large(&c);
    test_coordinator_start(&c, "ipc", NULL);
    test_worker_start(&c, 0, "g", NULL, NULL);
    test_wait_exact(&c, "shards_covered", SHARDS);
    char *expected = hits_of(&c, &m);
    end_worker(&c, 0);
    uint64_t size = forget_shards(&c);
    if (make_group(&g, size / 4)) {
        uint64_t bytes = serve_within(&c, &g, &m, expected);
        cr_expect_eq(rmdir(g.path), 0, "%s: %s", g.path, strerror(errno));
        if (bytes == 0)
            fprintf(stderr, "out_of_core: %s is no disk, so that nothing was limited\n", c.dir);
        else
            cr_assert_gt(bytes, size + size / 4, "the worker had it all in memory");
    } else {
        fprintf(stderr, "out_of_core: not tried, no control group can limit memory here: %s\n",
                strerror(errno));
    }
    free(expected);
    test_cluster_fini(&c);
}
