/* pool.h: a few compute threads and the queue before them.
 *
 * A job is the caller's storage, borrowed from io_pool_submit until it comes back from
 * io_pool_take_done, io_pool_wait_done or io_pool_take_queued. The queue has no bound of its own:
 * who submits keeps count of what is out. All signals but those of a fault in the code itself
 * (SIGBUS, SIGSEGV, SIGFPE, SIGILL) are blocked in the threads. */
#ifndef IO_POOL_H
#define IO_POOL_H

#include "common/err.h"

struct io_pool;

/* Put it first in a struct of your own, and set `run`; it is called once on a pool thread.
 * thread_index counts from 0 below the number of threads, and no two jobs run under the same one at
 * a time: scratch space can be kept per index. */
struct io_job {
    void (*run)(struct io_job *job, unsigned thread_index);
    struct io_job *next; /* the pool's */
};

/* Starts `threads` >= 1 threads. wake(ctx) (may be NULL) is called on a pool thread after each job
 * that finishes; it typically sends an io_wake. Errors: CM_ENOMEM, CM_EIO (no thread to be had). */
enum cm_err io_pool_new(struct io_pool **out, unsigned threads, void (*wake)(void *ctx), void *ctx,
                        struct cm_error *e) __attribute__((warn_unused_result));

/* Stops, and forgets the jobs that nobody took back. NULL is fine. */
void io_pool_free(struct io_pool *p);

/* Starts no further job, waits for those that run, and ends the threads; wake is not called after
 * it returns. May be called twice. */
void io_pool_stop(struct io_pool *p);

/* Queues a job, first in, first out. Any thread, also a pool thread; not after io_pool_stop. */
void io_pool_submit(struct io_pool *p, struct io_job *job);

/* The finished job that waits longest, or NULL. Any thread. */
struct io_job *io_pool_take_done(struct io_pool *p);

/* The same, but waits while a job is queued or running; NULL when none is left. Not on a pool
 * thread. */
struct io_job *io_pool_wait_done(struct io_pool *p);

/* Takes back the first job that no thread has begun, or NULL: to cancel, or to clean up after
 * io_pool_stop. Any thread. */
struct io_job *io_pool_take_queued(struct io_pool *p);

#endif
