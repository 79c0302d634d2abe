/* pool.c: see pool.h. One mutex, two lists, two conditions. */
#include "common/io/pool.h"

#include "common/assert.h"
#include "common/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { STACK_BYTES = 8 << 20 }; /* whatever the shell's ulimit says */

struct list {
    struct io_job *first;
    struct io_job *last;
};

struct thread {
    struct io_pool *pool;
    unsigned index;
    pthread_t handle;
};

struct io_pool {
    pthread_mutex_t lock;
    pthread_cond_t work_cond; /* a job was queued, or stopping was set */
    pthread_cond_t done_cond; /* a job finished or was taken back, or stopping was set */
    struct list queued;
    struct list done;
    unsigned running;
    bool stopping;
    void (*wake)(void *ctx);
    void *ctx;
    unsigned thread_count; /* started and not joined */
    struct thread threads[];
};

static void push(struct list *l, struct io_job *job)
{
    job->next = NULL;
    if (l->last)
        l->last->next = job;
    else
        l->first = job;
    l->last = job;
}

static struct io_job *pop(struct list *l)
{
    struct io_job *job = l->first;
    if (!job)
        return NULL;
    l->first = job->next;
    if (!l->first)
        l->last = NULL;
    job->next = NULL;
    return job;
}

/* --- the threads ------------------------------------------------------------------------------ */

/* The next job to run, or NULL when it is time to go. */
static struct io_job *begin_job(struct io_pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->queued.first && !p->stopping)
        pthread_cond_wait(&p->work_cond, &p->lock);
    struct io_job *job = p->stopping ? NULL : pop(&p->queued);
    if (job)
        p->running++;
    pthread_mutex_unlock(&p->lock);
    return job;
}

static void finish_job(struct io_pool *p, struct io_job *job)
{
    pthread_mutex_lock(&p->lock);
    p->running--;
    push(&p->done, job);
    pthread_cond_broadcast(&p->done_cond);
    pthread_mutex_unlock(&p->lock);
    if (p->wake)
        p->wake(p->ctx);
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    char name[16];
    snprintf(name, sizeof name, "pool-%u", t->index);
    pthread_setname_np(pthread_self(), name);
    struct io_job *job;
    while ((job = begin_job(t->pool)) != NULL) {
        job->run(job, t->index);
        finish_job(t->pool, job);
    }
    return NULL;
}

/* A thread inherits the mask of the one that makes it. */
static void block_signals(sigset_t *before)
{
    sigset_t blocked;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, before);
}

static enum cm_err start_threads(struct io_pool *p, unsigned threads, struct cm_error *e)
{
    pthread_attr_t attr;
    sigset_t before;
    int errnum = pthread_attr_init(&attr);
    if (errnum)
        return cm_fail_errno(e, errnum, "cannot start compute threads");
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    block_signals(&before);
    while (!errnum && p->thread_count < threads) {
        struct thread *t = &p->threads[p->thread_count];
        *t = (struct thread){.pool = p, .index = p->thread_count};
        errnum = pthread_create(&t->handle, &attr, thread_main, t);
        if (!errnum)
            p->thread_count++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    if (errnum)
        return cm_fail_errno(e, errnum, "cannot start compute thread %u of %u", p->thread_count + 1,
                             threads);
    return CM_OK;
}

/* --- the pool --------------------------------------------------------------------------------- */

enum cm_err io_pool_new(struct io_pool **out, unsigned threads, void (*wake)(void *ctx), void *ctx,
                        struct cm_error *e)
{
    CM_ASSERT(threads >= 1);
    void *block;
    *out = NULL;
    enum cm_err rc = cm_new(&block, 1, sizeof **out + threads * sizeof(struct thread), e);
    if (rc)
        return rc;
    struct io_pool *p = block;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work_cond, NULL);
    pthread_cond_init(&p->done_cond, NULL);
    p->wake = wake;
    p->ctx = ctx;
    rc = start_threads(p, threads, e);
    if (rc)
        io_pool_free(p);
    else
        *out = p;
    return rc;
}

void io_pool_stop(struct io_pool *p)
{
    pthread_mutex_lock(&p->lock);
    p->stopping = true;
    pthread_cond_broadcast(&p->work_cond);
    pthread_cond_broadcast(&p->done_cond);
    pthread_mutex_unlock(&p->lock);
    for (; p->thread_count > 0; p->thread_count--)
        pthread_join(p->threads[p->thread_count - 1].handle, NULL);
}

void io_pool_free(struct io_pool *p)
{
    if (!p)
        return;
    io_pool_stop(p);
    pthread_cond_destroy(&p->done_cond);
    pthread_cond_destroy(&p->work_cond);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void io_pool_submit(struct io_pool *p, struct io_job *job)
{
    pthread_mutex_lock(&p->lock);
    CM_ASSERT(!p->stopping);
    push(&p->queued, job);
    pthread_cond_signal(&p->work_cond);
    pthread_mutex_unlock(&p->lock);
}

struct io_job *io_pool_take_done(struct io_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct io_job *job = pop(&p->done);
    pthread_mutex_unlock(&p->lock);
    return job;
}

/* True while a job may still finish: after a stop, the queued ones never will. */
static bool more_to_come(const struct io_pool *p)
{
    return p->running > 0 || (p->queued.first && !p->stopping);
}

struct io_job *io_pool_wait_done(struct io_pool *p)
{
    pthread_mutex_lock(&p->lock);
    while (!p->done.first && more_to_come(p))
        pthread_cond_wait(&p->done_cond, &p->lock);
    struct io_job *job = pop(&p->done);
    pthread_mutex_unlock(&p->lock);
    return job;
}

struct io_job *io_pool_take_queued(struct io_pool *p)
{
    pthread_mutex_lock(&p->lock);
    struct io_job *job = pop(&p->queued);
    pthread_cond_broadcast(&p->done_cond);
    pthread_mutex_unlock(&p->lock);
    return job;
}
