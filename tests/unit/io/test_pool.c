/* test_pool.c: compute threads and their queue. */
#include "common/io/pool.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

enum { THREADS = 3, JOBS = 1000 };

struct count_job {
    struct io_job job;
    unsigned runs;
    unsigned thread_index;
    atomic_uint *busy; /* one a thread: must be 0 when a job begins */
};

static void count(struct io_job *job, unsigned thread_index)
{
    struct count_job *c = (struct count_job *)job;
    c->runs++;
    c->thread_index = thread_index;
    if (atomic_fetch_add(&c->busy[thread_index], 1) != 0)
        c->runs += 1000;
    atomic_fetch_sub(&c->busy[thread_index], 1);
}

static void count_wake(void *ctx)
{
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

static struct io_pool *new_pool(unsigned threads, void (*wake)(void *), void *ctx)
{
    struct io_pool *p;
    struct cm_error e;
    cr_assert_eq(io_pool_new(&p, threads, wake, ctx, &e), CM_OK, "%s", e.text);
    return p;
}

Test(io_pool, runs_each_job_once)
{
    static struct count_job jobs[JOBS];
    static atomic_uint busy[THREADS];
    static atomic_uint wakes;
    struct io_pool *p = new_pool(THREADS, count_wake, &wakes);
    for (size_t i = 0; i < JOBS; i++) {
        jobs[i] = (struct count_job){.job.run = count, .busy = busy};
        io_pool_submit(p, &jobs[i].job);
    }
    size_t done = 0;
    for (struct io_job *job; (job = io_pool_wait_done(p)) != NULL; done++)
        cr_assert(((struct count_job *)job)->thread_index < THREADS);
    cr_assert_eq(done, (size_t)JOBS);
    for (size_t i = 0; i < JOBS; i++)
        cr_assert_eq(jobs[i].runs, 1, "job %zu: %u", i, jobs[i].runs);
    cr_assert(io_pool_take_done(p) == NULL);
    io_pool_stop(p);
    cr_assert_eq(atomic_load(&wakes), (unsigned)JOBS);
    io_pool_free(p);
}

Test(io_pool, one_thread_keeps_the_order)
{
    static struct count_job jobs[50];
    static atomic_uint busy[1];
    struct io_pool *p = new_pool(1, NULL, NULL);
    for (size_t i = 0; i < 50; i++) {
        jobs[i] = (struct count_job){.job.run = count, .busy = busy};
        io_pool_submit(p, &jobs[i].job);
    }
    for (size_t i = 0; i < 50; i++)
        cr_assert(io_pool_wait_done(p) == &jobs[i].job, "job %zu", i);
    io_pool_free(p);
}

/* Holds its thread until the gate opens. */
struct gate_job {
    struct io_job job;
    atomic_bool *started;
    atomic_bool *open;
};

static void pause_briefly(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

static void hold(struct io_job *job, unsigned thread_index)
{
    (void)thread_index;
    struct gate_job *g = (struct gate_job *)job;
    atomic_store(g->started, true);
    while (!atomic_load(g->open))
        pause_briefly();
}

static void *open_later(void *arg)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

Test(io_pool, stop_finishes_what_runs_and_gives_back_the_rest)
{
    atomic_bool started = false, open = false;
    struct gate_job jobs[3];
    struct io_pool *p = new_pool(1, NULL, NULL);
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = (struct gate_job){.job.run = hold, .started = &started, .open = &open};
        io_pool_submit(p, &jobs[i].job);
    }
    while (!atomic_load(&started))
        pause_briefly();
    pthread_t opener;
    cr_assert_eq(pthread_create(&opener, NULL, open_later, &open), 0);
    io_pool_stop(p);
    pthread_join(opener, NULL);
    cr_assert(atomic_load(&open), "stop waited for the running job");
    cr_assert(io_pool_wait_done(p) == &jobs[0].job);
    cr_assert(io_pool_wait_done(p) == NULL);
    cr_assert(io_pool_take_queued(p) == &jobs[1].job);
    cr_assert(io_pool_take_queued(p) == &jobs[2].job);
    cr_assert(io_pool_take_queued(p) == NULL);
    io_pool_free(p);
}

Test(io_pool, a_queued_job_can_be_taken_back)
{
    atomic_bool started = false, open = false;
    struct gate_job jobs[2];
    struct io_pool *p = new_pool(1, NULL, NULL);
    for (size_t i = 0; i < 2; i++) {
        jobs[i] = (struct gate_job){.job.run = hold, .started = &started, .open = &open};
        io_pool_submit(p, &jobs[i].job);
    }
    while (!atomic_load(&started))
        pause_briefly();
    cr_assert(io_pool_take_queued(p) == &jobs[1].job);
    atomic_store(&open, true);
    cr_assert(io_pool_wait_done(p) == &jobs[0].job);
    cr_assert(io_pool_wait_done(p) == NULL, "nothing is left to wait for");
    io_pool_free(p);
}

struct mask_job {
    struct io_job job;
    sigset_t mask;
};

static void get_mask(struct io_job *job, unsigned thread_index)
{
    (void)thread_index;
    pthread_sigmask(SIG_SETMASK, NULL, &((struct mask_job *)job)->mask);
}

Test(io_pool, threads_take_no_signals_but_faults)
{
    struct mask_job job = {.job.run = get_mask};
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    struct io_pool *p = new_pool(1, NULL, NULL);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    io_pool_submit(p, &job.job);
    cr_assert(io_pool_wait_done(p) == &job.job);
    static const int blocked[] = {SIGTERM, SIGINT, SIGHUP, SIGCHLD, SIGUSR1, SIGPIPE};
    static const int open[] = {SIGBUS, SIGSEGV, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof blocked / sizeof blocked[0]; i++)
        cr_assert_eq(sigismember(&job.mask, blocked[i]), 1, "signal %d", blocked[i]);
    for (size_t i = 0; i < sizeof open / sizeof open[0]; i++)
        cr_assert_eq(sigismember(&job.mask, open[i]), 0, "signal %d", open[i]);
    cr_assert_eq(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
    io_pool_free(p);
}
