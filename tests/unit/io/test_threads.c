/* test_threads.c: how long threads ran, and what TCP costs: sums that must come out. */
#include "common/io/loopback.h"
#include "common/io/pool.h"
#include "common/io/threads.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORK_MS = 50 };

/* Keeps the calling thread on a processor for so long, by its own clock. */
static void work(void)
{
    struct timespec t;
    do
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    while (t.tv_sec == 0 && t.tv_nsec < WORK_MS * 1000000);
}

static void run_work(struct io_job *job, unsigned thread_index)
{
    (void)job, (void)thread_index;
    work();
}

static const struct io_thread_times *find(const struct io_thread_times *t, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(t[i].name, name) == 0)
            return &t[i];
    return NULL;
}

Test(threads, each_has_its_own_time)
{
    struct io_thread_times t[IO_THREADS_MAX];
    struct io_job job = {.run = run_work};
    struct io_pool *pool;
    struct cm_error e;
    size_t count;
    cr_assert_eq(io_pool_new(&pool, 2, NULL, NULL, &e), CM_OK);
    io_pool_submit(pool, &job);
    cr_assert_eq(io_pool_wait_done(pool), &job);
    cr_assert_eq(io_threads_read(0, t, &count, &e), CM_OK, "%s", e.text);
    const struct io_thread_times *a = find(t, count, "pool-0"), *b = find(t, count, "pool-1");
    cr_assert(a && b);
    uint64_t more = a->ran_ns > b->ran_ns ? a->ran_ns : b->ran_ns;
    uint64_t less = a->ran_ns > b->ran_ns ? b->ran_ns : a->ran_ns;
    cr_assert(more >= WORK_MS * UINT64_C(800000), "the one that worked ran %llu ns",
              (unsigned long long)more);
    cr_assert(less < more / 2);
    bool has_main = false;
    for (size_t i = 0; i < count; i++)
        has_main |= t[i].tid == getpid();
    cr_assert(has_main);
    io_pool_free(pool);
}

Test(threads, of_another_process)
{
    struct io_thread_times t[IO_THREADS_MAX];
    struct cm_error e;
    size_t count;
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0)
        for (;;)
            pause();
    cr_assert_eq(io_threads_read(pid, t, &count, &e), CM_OK, "%s", e.text);
    cr_assert_eq(count, 1);
    cr_assert_eq(t[0].tid, pid);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    cr_assert_eq(io_threads_read(pid, t, &count, &e), CM_ENOENT);
    cr_assert(strstr(e.text, "/task") != NULL, "%s", e.text);
}

Test(loopback, bytes_cost_something)
{
    struct io_loopback *l;
    struct cm_error e;
    for (unsigned connections = 1; connections <= 5; connections += 4) {
        cr_assert_eq(io_loopback_open(&l, 100000, connections, &e), CM_OK, "%s", e.text);
        struct io_loopback_cost cost = io_loopback_cost(l);
        cr_assert(cost.send_ns_per_byte == 0 && cost.recv_ns_per_byte == 0);
        for (int run = 0; run < 3; run++) {
            cr_assert_eq(io_loopback_run(l, 0.01, &e), CM_OK, "%s", e.text);
            cost = io_loopback_cost(l);
            cr_assert(cost.send_ns_per_byte > 0 && cost.recv_ns_per_byte > 0);
        }
        io_loopback_close(l);
    }
}
