/* getter_uv.c: see getter_uv.h.
 *
 * Everything that touches the file is a job for the disk's thread, in this order: open, write ...
 * write, seal, close. An abandoned fetch's jobs still run, and then its close; nobody listens to
 * them any more, as they carry the number of their run. */
#include "worker/getter_uv.h"

#include "common/io/endpoint.h"
#include "common/io/file.h"
#include "common/io/watch.h"
#include "common/mem.h"
#include "worker/store/folder.h"
#include "worker/store/gallery.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_BYTES = 64 };

struct wk_getter {
    const char *dir;
    unsigned allow;
    struct io_loop *loop;
    struct io_context *context;
    struct wk_disk *disk;
    const struct cm_log *log;
    struct io_timer *timer;

    uint64_t run; /* number of the one on its way, or of the last */
    bool on;      /* one is */
    struct wk_get get;
    char name[NAME_BYTES], part[NAME_BYTES];
    int fd; /* the disk thread's; -1: not open yet */
    struct wk_fetch *fetch;
    struct io_socket *socket; /* the watch's */
    struct io_watch *watch;
    bool ended; /* the fetch has said so */
    enum cm_err outcome;
    char why[CM_TEXT_BYTES_MAX + 1];
};

/* One piece of work on the file. */
struct file_job {
    struct wk_disk_job disk;
    struct wk_getter *getter;
    uint64_t run;
    struct wk_get get; /* of that run, as is what follows */
    char name[NAME_BYTES], part[NAME_BYTES];
    int fd;
    uint64_t offset; /* of a write; of a seal the file's size */
    struct cm_blob *bytes;
    bool forget;         /* of a close */
    uint64_t have_bytes; /* of an open: in the file */
    enum cm_err rc;
    struct cm_error e;
};

static void settle(struct wk_getter *g);

static void free_job(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    cm_blob_unref(&job->bytes);
    free(job);
}

/* A dropped open: nobody else knows the descriptor. */
static void free_job_and_file(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    if (job->fd >= 0)
        close(job->fd);
    free_job(disk);
}

/* A job of the present run, or NULL for want of memory. */
static struct file_job *new_job(struct wk_getter *g, void (*work)(struct wk_disk_job *),
                                void (*done)(struct wk_disk_job *))
{
    void *p;
    if (cm_new(&p, 1, sizeof(struct file_job), NULL))
        return NULL;
    struct file_job *job = p;
    *job = (struct file_job){
        .disk = {.work = work, .done = done, .drop = free_job},
        .getter = g,
        .run = g->run,
        .get = g->get,
        .fd = g->fd,
    };
    snprintf(job->name, sizeof job->name, "%s", g->name);
    snprintf(job->part, sizeof job->part, "%s", g->part);
    return job;
}

static bool is_current(const struct file_job *job)
{
    return job->getter->on && job->getter->run == job->run;
}

/* --- the disk's thread ------------------------------------------------------------------------ */

/* Room for all of it, so that a full disk shows now. Filesystems that cannot are fine. */
static enum cm_err reserve(struct file_job *job, const char *path)
{
    uint64_t bytes = job->get.plan.file_bytes;
    if (bytes == 0 || fallocate(job->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)bytes) == 0 ||
        (errno != ENOSPC && errno != EFBIG && errno != EDQUOT))
        return CM_OK;
    enum cm_err rc = cm_fail_errno(&job->e, errno, "no room for %s", path);
    unlink(path);
    return rc;
}

static enum cm_err open_part(struct file_job *job)
{
    struct stat st;
    char *path;
    enum cm_err rc = st_path(&path, job->getter->dir, job->part, &job->e);
    if (rc)
        return rc;
    job->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (job->fd < 0 || fstat(job->fd, &st) != 0)
        rc = cm_fail_errno(&job->e, errno, "cannot open %s", path);
    else
        rc = reserve(job, path);
    job->have_bytes = rc ? 0 : (uint64_t)st.st_size;
    free(path);
    return rc;
}

static void work_open(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    job->rc = open_part(job);
}

static void work_write(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    job->rc = io_file_write_all(job->fd, job->part, job->offset, cm_blob_data(job->bytes),
                                cm_blob_size(job->bytes), &job->e);
}

static bool is_bad_file(enum cm_err rc)
{
    return rc == CM_ECORRUPT || rc == CM_EFORMAT || rc == CM_EVERSION || rc == CM_EMISMATCH;
}

static void work_seal(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    if (ftruncate(job->fd, (off_t)job->offset) != 0)
        job->rc = cm_fail_errno(&job->e, errno, "cannot cut %s to size", job->part);
    if (!job->rc)
        job->rc = job->get.check(job->get.ctx, job->get.plan.shard, job->part, &job->e);
    if (!job->rc && job->get.publish)
        job->rc = st_publish(job->getter->dir, job->name, &job->e);
    if (is_bad_file(job->rc) && ftruncate(job->fd, 0) != 0)
        job->rc = cm_fail_errno(&job->e, errno, "cannot empty %s", job->part);
}

static void work_close(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    struct cm_error e;
    if (job->fd >= 0)
        close(job->fd);
    job->fd = -1;
    if (!job->forget)
        return;
    job->forget = false;
    enum cm_err rc = st_remove(job->getter->dir, job->part, &e);
    if (!rc && job->get.publish) /* a check that ran when it was abandoned may have named it */
        rc = st_remove(job->getter->dir, job->name, &e);
    if (rc)
        cm_log(job->getter->log, CM_LOG_WARN, "part_kept", "msg=\"%s\"", e.text);
}

/* --- the fetch's effects ---------------------------------------------------------------------- */

static void close_socket(struct wk_getter *g)
{
    io_watch_close(g->watch);
    g->watch = NULL;
    g->socket = NULL;
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct wk_getter *g = ctx;
    wk_fetch_on_message(g->fetch, in->header, in->payload);
    settle(g);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    struct wk_getter *g = ctx;
    (void)from;
    wk_fetch_on_garbage(g->fetch, e->text);
    settle(g);
}

static enum cm_err dial(void *ctx, const char *endpoint, struct cm_error *e)
{
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    struct cm_bytes any_id = {NULL, 0};
    struct wk_getter *g = ctx;
    close_socket(g);
    enum cm_err rc = io_endpoint_check(endpoint, g->allow, e);
    if (!rc)
        rc = io_dealer_connect(&g->socket, g->context, endpoint, any_id, e);
    if (rc)
        return rc;
    rc = io_watch_new(&g->watch, g->loop, g->socket, &events, g, e);
    if (rc) {
        io_socket_free(g->socket);
        g->socket = NULL;
    }
    return rc;
}

static enum cm_err send(void *ctx, struct cm_bytes header, struct cm_error *e)
{
    struct wk_getter *g = ctx;
    return io_send(g->socket, NULL, header, NULL, e);
}

static void end(void *ctx, enum cm_err outcome, const char *why)
{
    struct wk_getter *g = ctx;
    g->ended = true;
    g->outcome = outcome;
    snprintf(g->why, sizeof g->why, "%s", why);
}

static void on_written(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    struct wk_getter *g = job->getter;
    if (is_current(job) && g->fetch) {
        wk_fetch_on_written(g->fetch, cm_blob_size(job->bytes), job->rc, job->e.text);
        free_job(disk);
        settle(g);
        return;
    }
    free_job(disk);
}

static void on_sealed(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    struct wk_getter *g = job->getter;
    if (is_current(job) && g->fetch) {
        wk_fetch_on_sealed(g->fetch, job->rc, job->e.text);
        free_job(disk);
        settle(g);
        return;
    }
    free_job(disk);
}

static void write_bytes(void *ctx, uint64_t offset, struct cm_blob *bytes)
{
    struct wk_getter *g = ctx;
    struct file_job *job = new_job(g, work_write, on_written);
    if (!job) {
        end(g, CM_ENOMEM, "no memory for a block");
        return;
    }
    job->offset = offset;
    job->bytes = cm_blob_ref(bytes);
    wk_disk_submit(g->disk, &job->disk);
}

static void seal(void *ctx, uint64_t file_bytes)
{
    struct wk_getter *g = ctx;
    struct file_job *job = new_job(g, work_seal, on_sealed);
    if (!job) {
        end(g, CM_ENOMEM, "no memory to check a file");
        return;
    }
    job->offset = file_bytes;
    wk_disk_submit(g->disk, &job->disk);
}

static uint64_t now_ns(void *ctx)
{
    (void)ctx;
    return io_now_ns();
}

/* --- its life --------------------------------------------------------------------------------- */

/* A close that was dropped at the end is done all the same. */
static void drop_close(struct wk_disk_job *disk)
{
    work_close(disk);
    free_job(disk);
}

/* Ends the run: what is under way for it comes to nothing, the file is closed last. */
static void stop(struct wk_getter *g, bool forget)
{
    struct file_job *job = new_job(g, work_close, free_job);
    if (job) {
        job->disk.drop = drop_close;
        job->forget = forget;
        wk_disk_submit(g->disk, &job->disk);
    } else if (g->fd >= 0) {
        cm_log(g->log, CM_LOG_ERROR, "file_left_open", "file=%s", g->part);
    }
    close_socket(g);
    wk_fetch_free(g->fetch);
    g->fetch = NULL;
    g->fd = -1;
    g->on = false;
    io_timer_cancel(g->timer);
}

/* After whatever happened: the end, or the time of the next thing to do. */
static void settle(struct wk_getter *g)
{
    if (!g->on)
        return;
    if (!g->ended) {
        uint64_t next = wk_fetch_wakeup_ns(g->fetch);
        if (next != UINT64_MAX)
            io_timer_set(g->timer, next);
        else
            io_timer_cancel(g->timer);
        return;
    }
    struct wk_get get = g->get;
    stop(g, false);
    get.end(get.ctx, g->outcome, g->why);
}

static void on_timer(void *ctx)
{
    struct wk_getter *g = ctx;
    if (g->fetch)
        wk_fetch_on_tick(g->fetch);
    settle(g);
}

static void on_opened(struct wk_disk_job *disk)
{
    struct file_job *job = (struct file_job *)disk;
    struct wk_getter *g = job->getter;
    if (!is_current(job)) {
        free_job_and_file(disk);
        return;
    }
    const struct wk_fetch_io io = {g, dial, send, write_bytes, seal, end, now_ns};
    struct cm_error e = job->e;
    g->fd = job->fd;
    g->get.plan.have_bytes = job->have_bytes;
    enum cm_err rc = job->rc;
    free_job(disk);
    if (!rc)
        rc = wk_fetch_new(&g->fetch, &g->get.plan, &io, g->log, &e);
    if (rc)
        end(g, rc, e.text);
    else
        wk_fetch_on_tick(g->fetch);
    settle(g);
}

void wk_getter_start(struct wk_getter *g, const struct wk_get *get)
{
    g->run++;
    g->on = true;
    g->ended = false;
    g->get = *get;
    g->fd = -1;
    snprintf(g->name, sizeof g->name, "%s", get->name);
    snprintf(g->part, sizeof g->part, "%s" ST_PART, get->name);
    struct file_job *job = new_job(g, work_open, on_opened);
    if (!job) {
        end(g, CM_ENOMEM, "no memory to fetch a file");
        io_timer_set(g->timer, 0); /* `end` comes later */
        return;
    }
    job->disk.drop = free_job_and_file;
    wk_disk_submit(g->disk, &job->disk);
}

void wk_getter_abandon(struct wk_getter *g, bool forget)
{
    if (g->on)
        stop(g, forget);
}

enum cm_err wk_getter_new(struct wk_getter **out, const char *dir, unsigned allow,
                          struct io_loop *loop, struct io_context *context, struct wk_disk *disk,
                          const struct cm_log *log, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_getter *g = *out = p;
    if (rc)
        return rc;
    *g = (struct wk_getter){.dir = dir,
                            .allow = allow,
                            .loop = loop,
                            .context = context,
                            .disk = disk,
                            .log = log,
                            .fd = -1};
    rc = io_timer_new(&g->timer, loop, on_timer, g, e);
    if (rc) {
        free(g);
        *out = NULL;
    }
    return rc;
}

void wk_getter_free(struct wk_getter *g)
{
    if (!g)
        return;
    wk_fetch_free(g->fetch);
    if (g->fd >= 0)
        close(g->fd);
    free(g);
}
