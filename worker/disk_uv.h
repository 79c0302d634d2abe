/* disk_uv.h: a thread of its own for what waits for the disk while a worker serves: reading blocks
 * of files that others ask for, or writing those that come and checking whole shards. So neither
 * the loop, with its heartbeats, nor the compute threads ever do. Jobs run one by one, in order. */
#ifndef WK_DISK_UV_H
#define WK_DISK_UV_H

#include "common/err.h"
#include "common/io/loop.h"
#include "common/io/pool.h"

struct wk_disk;

/* Put it first in a struct of your own, which is yours again in done or drop. */
struct wk_disk_job {
    struct io_job io;                      /* the thread's */
    void (*work)(struct wk_disk_job *job); /* the disk's thread */
    void (*done)(struct wk_disk_job *job); /* the loop, after work */
    void (*drop)(struct wk_disk_job *job); /* in place of done, at the end, whether or not it was
                                              worked on: frees it, and calls nobody */
};

/* Errors: CM_ENOMEM, CM_EIO. */
enum cm_err wk_disk_new(struct wk_disk **out, struct io_loop *loop, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Queues a job. The loop's thread. */
void wk_disk_submit(struct wk_disk *d, struct wk_disk_job *job);

/* Waits for the job that runs, and drops the others. Before the loop is freed. NULL is fine. */
void wk_disk_free(struct wk_disk *d);

#endif
