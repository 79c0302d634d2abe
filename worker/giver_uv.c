/* giver_uv.c: see giver_uv.h. */
#include "worker/giver_uv.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/io/watch.h"
#include "common/mem.h"
#include "proto/file/manifest.h"
#include "proto/wire/transfer.h"
#include "worker/store/gallery.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_PERIOD_NS UINT64_C(1000000000)

struct wk_giver {
    struct wk_giver_options o;
    struct wk_disk *disk;
    const struct cm_log *log;
    struct io_socket *socket; /* the watch's, once there is one */
    struct io_watch *watch;
    unsigned jobs; /* out */
    struct cm_log_rate garbage_rate;
};

/* One READ, on its way to the disk and back. */
struct give_job {
    struct wk_disk_job disk;
    struct wk_giver *giver;
    struct cm_peer peer;
    struct pr_read read;
    struct pr_block block;
    struct cm_blob *bytes;
};

static void free_job(struct wk_disk_job *disk)
{
    struct give_job *job = (struct give_job *)disk;
    cm_blob_unref(&job->bytes);
    free(job);
}

/* --- the disk's thread ------------------------------------------------------------------------ */

static const char *file_name(const struct pr_read *read, char out[PR_SHARD_FILE_BYTES])
{
    if (read->file == PR_FILE_MANIFEST)
        return PR_MANIFEST_FILE;
    return read->file == PR_FILE_WEIGHTS ? PR_WEIGHTS_FILE : pr_shard_file(read->shard.v, out);
}

static enum cm_err read_bytes(struct give_job *job, int fd, const char *file, struct cm_error *e)
{
    struct stat st;
    void *data;
    if (fstat(fd, &st) != 0)
        return cm_fail_errno(e, errno, "%s", file);
    uint64_t size = (uint64_t)st.st_size, offset = job->read.offset;
    uint64_t bytes = offset < size ? size - offset : 0;
    if (bytes > job->read.bytes)
        bytes = job->read.bytes;
    job->block.file_bytes = size;
    if (bytes == 0)
        return CM_OK;
    enum cm_err rc = cm_new(&data, bytes, 1, e);
    if (rc)
        return rc;
    ssize_t got = pread(fd, data, bytes, (off_t)offset);
    if (got != (ssize_t)bytes)
        rc = got < 0 ? cm_fail_errno(e, errno, "%s", file)
                     : cm_fail(e, CM_EIO, "%s became shorter", file);
    if (!rc)
        rc = cm_blob_new(&job->bytes, data, bytes, free, data, e);
    if (rc)
        free(data);
    else
        job->block.payload_crc32c = cm_crc32c(0, data, bytes);
    return rc;
}

static void read_block(struct wk_disk_job *disk)
{
    struct give_job *job = (struct give_job *)disk;
    char name[PR_SHARD_FILE_BYTES], *path;
    const char *file = file_name(&job->read, name);
    struct cm_error e;
    enum cm_err rc = st_path(&path, job->giver->o.dir, file, &e);
    int fd = rc ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (!rc && fd < 0)
        rc = cm_fail_errno(&e, errno, "%s is not here", file);
    if (!rc)
        rc = read_bytes(job, fd, file, &e);
    if (rc) {
        job->block.file_bytes = 0;
        snprintf(job->block.text, sizeof job->block.text, "%s", e.text);
    }
    if (fd >= 0)
        close(fd);
    free(path);
}

/* --- the loop --------------------------------------------------------------------------------- */

static void send_block(struct wk_giver *g, const struct cm_peer *to, const struct pr_block *block,
                       struct cm_blob *bytes)
{
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = pr_block_pack(block, &packed, &e);
    if (!rc)
        rc = io_send(g->socket, to, pr_buffer_bytes(&packed), bytes, &e);
    pr_buffer_fini(&packed);
    if (rc)
        cm_log(g->log, CM_LOG_DEBUG, "block_unsent", "msg=\"%s\"", e.text);
}

static void on_read(struct wk_disk_job *disk)
{
    struct give_job *job = (struct give_job *)disk;
    job->giver->jobs--;
    send_block(job->giver, &job->peer, &job->block, job->bytes);
    free_job(disk);
}

static void refuse(struct wk_giver *g, const struct cm_peer *to, const struct pr_read *read,
                   const char *why)
{
    struct pr_block block = {.id = read->id, .offset = read->offset};
    snprintf(block.text, sizeof block.text, "%s", why);
    send_block(g, to, &block, NULL);
}

static void complain(struct wk_giver *g, const char *why)
{
    uint64_t missed;
    if (cm_log_rate_pass(&g->garbage_rate, io_now_ns(), LOG_PERIOD_NS, &missed))
        cm_log(g->log, CM_LOG_WARN, "garbage", "at=giver msg=\"%s\" unreported=%" PRIu64, why,
               missed);
}

static void give(struct wk_giver *g, const struct cm_peer *to, const struct pr_read *read)
{
    void *p;
    struct cm_error e;
    if (!cm_fingerprint_equal(&read->gallery, &g->o.gallery)) {
        refuse(g, to, read, "this worker has another gallery");
    } else if (read->shard.v >= g->o.shards) {
        refuse(g, to, read, "the gallery has no such shard");
    } else if (g->jobs == WK_GIVER_JOBS_MAX || cm_new(&p, 1, sizeof(struct give_job), &e)) {
        refuse(g, to, read, "too many others are being given to");
    } else {
        struct give_job *job = p;
        *job = (struct give_job){
            .disk = {.work = read_block, .done = on_read, .drop = free_job},
            .giver = g,
            .peer = *to,
            .read = *read,
            .block = {.id = read->id, .offset = read->offset},
        };
        g->jobs++;
        wk_disk_submit(g->disk, &job->disk);
    }
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct wk_giver *g = ctx;
    struct pr_read read;
    struct cm_error e;
    if (pr_read_unpack(in->header, &read, &e))
        complain(g, e.text);
    else
        give(g, &in->peer, &read);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    (void)from;
    complain(ctx, e->text);
}

enum cm_err wk_giver_new(struct wk_giver **out, const struct wk_giver_options *o,
                         struct io_loop *loop, struct io_context *context, struct wk_disk *disk,
                         const struct cm_log *log, struct cm_error *e)
{
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_giver *g = *out = p;
    if (rc)
        return rc;
    *g = (struct wk_giver){.o = *o, .disk = disk, .log = log};
    rc = io_router_bind(&g->socket, context, o->listen, e);
    if (!rc)
        rc = io_watch_new(&g->watch, loop, g->socket, &events, g, e);
    if (rc) {
        io_socket_free(g->socket);
        free(g);
        *out = NULL;
        return cm_wrap(e, rc, "--listen %s", o->listen);
    }
    return CM_OK;
}

const char *wk_giver_endpoint(const struct wk_giver *g)
{
    return io_socket_endpoint(g->socket);
}

void wk_giver_free(struct wk_giver *g)
{
    free(g);
}
