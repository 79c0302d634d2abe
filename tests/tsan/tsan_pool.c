/* tsan_pool.c: the threads of common/ under ThreadSanitizer: pool, wake, shared blobs, mapped
 * files.
 *
 * Criterion does not run under TSan, so this is a plain program; libzmq is not instrumented, so it
 * stays out. By hand:
 *   cc -fsanitize=thread -O1 -g -std=c11 -D_GNU_SOURCE -I. tests/tsan/tsan_pool.c common/assert.c \
 *      common/blob.c common/err.c common/mem.c common/io/loop.c common/io/pool.c \
 *      common/io/mapped.c -luv -pthread -o build/tsan_pool && setarch -R build/tsan_pool
 * (setarch: older TSan runtimes cannot live with the address randomisation of newer kernels.) */
#include "common/assert.h"
#include "common/blob.h"
#include "common/io/loop.h"
#include "common/io/mapped.h"
#include "common/io/pool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 4, JOBS = 4000, IN_FLIGHT = 32, PAYLOAD_BYTES = 256, MAP_PAGES = 64, LEFT = 8 };

struct work {
    struct io_job job;
    struct state *state;
    struct cm_blob *payload; /* the job's own reference */
    uint64_t sum;            /* plain memory: the pool must order it between the threads */
    uint64_t map_sum;
    bool map_faulted;
};

struct state {
    struct io_loop *loop;
    struct io_wake *wake;
    struct io_pool *pool;
    struct io_map *map;
    struct work work[IN_FLIGHT];
    uint64_t scratch[THREADS]; /* one a thread, plain */
    int submitted;
    int taken;
    atomic_int released;
};

static uint64_t sum_of(const void *data, size_t size)
{
    const unsigned char *p = data;
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum += p[i];
    return sum;
}

/* One byte of each kilobyte: every page is touched. */
static uint64_t sample_of(const struct io_map *m)
{
    const volatile unsigned char *p = io_map_data(m);
    uint64_t sum = 0;
    for (size_t i = 0; i < io_map_size(m); i += 1024)
        sum += p[i];
    return sum;
}

static void run(struct io_job *job, unsigned thread_index)
{
    struct work *w = (struct work *)job;
    struct cm_blob *second = cm_blob_ref(w->payload);
    uint64_t *scratch = &w->state->scratch[thread_index];
    *scratch = sum_of(cm_blob_data(second), cm_blob_size(second));
    w->sum = *scratch;
    cm_blob_unref(&second);
    cm_blob_unref(&w->payload);
    w->map_sum = sample_of(w->state->map);
    w->map_faulted = io_map_faulted(w->state->map, 0, io_map_size(w->state->map));
}

static void count_release(void *owner)
{
    atomic_fetch_add((atomic_int *)owner, 1);
}

static const unsigned char bytes[PAYLOAD_BYTES] = {1, 2, 3};

static void submit(struct state *s, struct work *w)
{
    struct cm_blob *payload;
    enum cm_err rc = cm_blob_new(&payload, bytes, sizeof bytes, count_release, &s->released, NULL);
    CM_ASSERT(rc == CM_OK);
    w->job.run = run;
    w->state = s;
    w->payload = cm_blob_ref(payload);
    w->sum = 0;
    s->submitted++;
    io_pool_submit(s->pool, &w->job);
    cm_blob_unref(&payload); /* races with the job's own */
}

static void on_done(void *ctx)
{
    struct state *s = ctx;
    for (struct io_job *job; (job = io_pool_take_done(s->pool)) != NULL;) {
        struct work *w = (struct work *)job;
        CM_ASSERT(w->sum == 6 && w->map_sum == 0);
        s->taken++;
        if (s->submitted < JOBS)
            submit(s, w);
    }
    if (s->taken == JOBS)
        io_loop_stop(s->loop);
}

static void send_wake(void *ctx)
{
    io_wake_send(((struct state *)ctx)->wake);
}

static struct io_map *map_scratch(char *path)
{
    struct io_map *m;
    int fd = mkstemp(path);
    CM_ASSERT(fd >= 0 && ftruncate(fd, MAP_PAGES * sysconf(_SC_PAGESIZE)) == 0);
    close(fd);
    enum cm_err rc = io_map_open(&m, path, NULL);
    CM_ASSERT(rc == CM_OK);
    return m;
}

/* Other mappings come and go, and the file shrinks, while the pool's threads read. */
static void disturb(const char *path)
{
    char other_path[] = "/tmp/vitrine-tsan-XXXXXX";
    struct io_map *other = map_scratch(other_path);
    CM_ASSERT(truncate(path, LEFT * sysconf(_SC_PAGESIZE)) == 0);
    io_map_close(other);
    unlink(other_path);
}

int main(void)
{
    struct state state = {0}, *s = &state;
    char path[] = "/tmp/vitrine-tsan-XXXXXX";
    s->map = map_scratch(path);
    enum cm_err rc = io_loop_new(&s->loop, NULL);
    if (!rc)
        rc = io_wake_new(&s->wake, s->loop, on_done, s, NULL);
    if (!rc)
        rc = io_pool_new(&s->pool, THREADS, send_wake, s, NULL);
    CM_ASSERT(rc == CM_OK);
    for (int i = 0; i < IN_FLIGHT; i++)
        submit(s, &s->work[i]);
    disturb(path);
    io_loop_run(s->loop);
    io_pool_free(s->pool);
    io_loop_free(s->loop);
    bool faulted = true;
    for (int i = 0; i < IN_FLIGHT; i++)
        faulted = faulted && s->work[i].map_faulted; /* each ran last long after the cut */
    io_map_close(s->map);
    unlink(path);
    CM_ASSERT(s->taken == JOBS && atomic_load(&s->released) == JOBS && faulted);
    printf("tsan_pool: %d jobs on %d threads, ok\n", s->taken, THREADS);
    return 0;
}
