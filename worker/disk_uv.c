/* disk_uv.c: see disk_uv.h. */
#include "worker/disk_uv.h"

#include "common/mem.h"

#include <stdlib.h>

struct wk_disk {
    struct io_pool *pool;
    struct io_wake *wake;
};

static void on_done(void *ctx)
{
    struct wk_disk *d = ctx;
    for (struct io_job *io; (io = io_pool_take_done(d->pool)) != NULL;) {
        struct wk_disk_job *job = (struct wk_disk_job *)io;
        job->done(job);
    }
}

static void wake(void *ctx)
{
    struct wk_disk *d = ctx;
    io_wake_send(d->wake);
}

static void run(struct io_job *io, unsigned thread)
{
    struct wk_disk_job *job = (struct wk_disk_job *)io;
    (void)thread;
    job->work(job);
}

enum cm_err wk_disk_new(struct wk_disk **out, struct io_loop *loop, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_disk *d = *out = p;
    if (rc)
        return rc;
    rc = io_wake_new(&d->wake, loop, on_done, d, e);
    if (!rc)
        rc = io_pool_new(&d->pool, 1, wake, d, e);
    if (rc) {
        wk_disk_free(d);
        *out = NULL;
    }
    return rc;
}

void wk_disk_submit(struct wk_disk *d, struct wk_disk_job *job)
{
    job->io.run = run;
    io_pool_submit(d->pool, &job->io);
}

void wk_disk_free(struct wk_disk *d)
{
    struct io_job *io;
    if (!d)
        return;
    if (d->pool) {
        io_pool_stop(d->pool);
        while ((io = io_pool_take_done(d->pool)) != NULL)
            ((struct wk_disk_job *)io)->drop((struct wk_disk_job *)io);
        while ((io = io_pool_take_queued(d->pool)) != NULL)
            ((struct wk_disk_job *)io)->drop((struct wk_disk_job *)io);
    }
    io_pool_free(d->pool);
    io_wake_close(d->wake);
    free(d);
}
