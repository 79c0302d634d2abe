/* giver_uv.c: see giver_uv.h. */
#include "worker/giver_uv.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/io/watch.h"
#include "common/mem.h"
#include "proto/file/manifest.h"
#include "proto/wire/transfer.h"
#include "worker/disk_uv.h"
#include "worker/listen_uv.h"
#include "worker/store/gallery.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOG_PERIOD_NS    UINT64_C(1000000000)
#define LISTEN_PERIOD_NS UINT64_C(1000000000)  /* between tries to listen */
#define SILENT_PERIOD_NS UINT64_C(60000000000) /* between complaints that it cannot */
#define ROOM_PERIOD_NS   UINT64_C(5000000)     /* between looks for room; a block takes as long */

/* Somebody who waits for something. */
struct receiver {
    struct cm_peer peer;
    atomic_uint reads; /* waiting, being read, or not sent yet; 0: the place is free */
};

struct wk_giver {
    struct wk_giver_options o;
    struct io_loop *loop;
    struct io_context *context;
    struct wk_disk *disk;
    const struct cm_log *log;
    struct io_timer *timer;
    struct io_socket *socket; /* the watch's, once there is one */
    struct io_watch *watch;
    char endpoint[IO_ENDPOINT_BYTES]; /* "": it does not listen yet */
    uint64_t listen_ns;               /* the next try, then */
    struct give_job *first, *last;    /* READs that wait */
    atomic_size_t bytes;              /* of blocks being read, or not sent yet */
    struct receiver receivers[WK_GIVER_PEERS_MAX];
    struct cm_log_rate garbage_rate;
    struct cm_log_rate listen_rate;
};

/* One READ, on its way to the disk and back. */
struct give_job {
    struct wk_disk_job disk;
    struct give_job *next;
    struct wk_giver *giver;
    struct receiver *receiver;
    struct pr_read read;
    struct pr_block block;
    struct cm_blob *bytes;
};

/* A block's bytes. They count until ZeroMQ has sent them. */
struct given {
    struct wk_giver *giver;
    struct receiver *receiver;
    size_t bytes;
    unsigned char data[];
};

/* Any thread: ZeroMQ's own, mostly. */
static void release_given(void *owner)
{
    struct given *given = owner;
    atomic_fetch_sub(&given->giver->bytes, given->bytes);
    atomic_fetch_sub(&given->receiver->reads, 1);
    free(given);
}

/* --- the disk's thread ------------------------------------------------------------------------ */

static const char *file_name(const struct pr_read *read, char out[PR_SHARD_FILE_BYTES])
{
    if (read->file == PR_FILE_MANIFEST)
        return PR_MANIFEST_FILE;
    return read->file == PR_FILE_WEIGHTS ? PR_WEIGHTS_FILE : pr_shard_file(read->shard.v, out);
}

/* As many of the bytes asked for as there are. */
static enum cm_err read_given(const struct give_job *job, int fd, uint64_t size, struct given **out,
                              struct cm_error *e)
{
    uint64_t offset = job->read.offset, left = offset < size ? size - offset : 0;
    size_t bytes = left < job->read.bytes ? left : job->read.bytes;
    void *p;
    enum cm_err rc = cm_new(&p, sizeof **out + bytes, 1, e);
    struct given *given = *out = p;
    if (rc)
        return rc;
    given->bytes = bytes;
    ssize_t got = pread(fd, given->data, bytes, (off_t)offset);
    if (got == (ssize_t)bytes)
        return CM_OK;
    free(given);
    *out = NULL;
    return got < 0 ? cm_fail_errno(e, errno, "cannot read") : cm_fail(e, CM_EIO, "became shorter");
}

/* The bytes as a blob, which from here on counts in place of the job. */
static enum cm_err make_blob(struct give_job *job, struct given *given, struct cm_error *e)
{
    enum cm_err rc = cm_blob_new(&job->bytes, given->data, given->bytes, release_given, given, e);
    if (rc) {
        free(given);
        return rc;
    }
    given->giver = job->giver;
    given->receiver = job->receiver;
    atomic_fetch_add(&given->giver->bytes, given->bytes);
    atomic_fetch_add(&given->receiver->reads, 1);
    job->block.payload_crc32c = cm_crc32c(0, given->data, given->bytes);
    return CM_OK;
}

static enum cm_err read_file(struct give_job *job, int fd, struct cm_error *e)
{
    struct stat st;
    struct given *given;
    if (fstat(fd, &st) != 0)
        return cm_fail_errno(e, errno, "cannot stat");
    enum cm_err rc = read_given(job, fd, (uint64_t)st.st_size, &given, e);
    if (rc)
        return rc;
    if (given->bytes == 0)
        free(given); /* at the end, a BLOCK without bytes */
    else
        rc = make_blob(job, given, e);
    job->block.file_bytes = (uint64_t)st.st_size;
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
    else if (!rc && (rc = read_file(job, fd, &e)) != CM_OK)
        rc = cm_wrap(&e, rc, "%s", file);
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

/* The job counts no more: what it read does. */
static void free_job(struct wk_disk_job *disk)
{
    struct give_job *job = (struct give_job *)disk;
    cm_blob_unref(&job->bytes);
    atomic_fetch_sub(&job->receiver->reads, 1);
    free(job);
}

static void drop_job(struct wk_disk_job *disk)
{
    struct give_job *job = (struct give_job *)disk;
    atomic_fetch_sub(&job->giver->bytes, job->read.bytes);
    free_job(disk);
}

static void start_jobs(struct wk_giver *g);

static void on_read(struct wk_disk_job *disk)
{
    struct give_job *job = (struct give_job *)disk;
    struct wk_giver *g = job->giver;
    send_block(g, &job->receiver->peer, &job->block, job->bytes);
    drop_job(disk);
    start_jobs(g);
}

/* Has as many READs carried out as there is room for. */
static void start_jobs(struct wk_giver *g)
{
    struct give_job *job;
    while ((job = g->first) != NULL) {
        if (atomic_load(&g->bytes) + job->read.bytes > WK_GIVER_BYTES_MAX) {
            io_timer_set(g->timer, io_now_ns() + ROOM_PERIOD_NS);
            return;
        }
        g->first = job->next;
        if (!g->first)
            g->last = NULL;
        atomic_fetch_add(&g->bytes, job->read.bytes);
        wk_disk_submit(g->disk, &job->disk);
    }
}

static void on_timer(void *ctx)
{
    start_jobs(ctx);
}

/* The place of a peer, or a free one; NULL: all are taken. */
static struct receiver *find_receiver(struct wk_giver *g, const struct cm_peer *peer)
{
    struct receiver *free_one = NULL;
    for (struct receiver *r = g->receivers; r < g->receivers + WK_GIVER_PEERS_MAX; r++) {
        bool used = atomic_load(&r->reads) > 0;
        if (used && cm_peer_equal(&r->peer, peer))
            return r;
        if (!used && !free_one)
            free_one = r;
    }
    if (free_one)
        free_one->peer = *peer;
    return free_one;
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

/* Why this is not given, or NULL. */
static const char *why_not(const struct wk_giver *g, const struct pr_read *read,
                           const struct receiver *receiver)
{
    if (!cm_fingerprint_equal(&read->gallery, &g->o.gallery))
        return "this worker has another gallery";
    if (read->shard.v >= g->o.shards)
        return "the gallery has no such shard";
    if (!receiver)
        return "too many others are being given to";
    return atomic_load(&receiver->reads) >= WK_GIVER_READS_MAX ? "too much at a time" : NULL;
}

static void take_read(struct wk_giver *g, const struct cm_peer *from, const struct pr_read *read)
{
    void *p;
    struct receiver *receiver = find_receiver(g, from);
    const char *why = why_not(g, read, receiver);
    if (!why && cm_new(&p, 1, sizeof(struct give_job), NULL))
        why = "no memory for a block";
    if (why) {
        refuse(g, from, read, why);
        return;
    }
    struct give_job *job = p;
    *job = (struct give_job){
        .disk = {.work = read_block, .done = on_read, .drop = drop_job},
        .giver = g,
        .receiver = receiver,
        .read = *read,
        .block = {.id = read->id, .offset = read->offset},
    };
    atomic_fetch_add(&receiver->reads, 1);
    *(g->last ? &g->last->next : &g->first) = job;
    g->last = job;
    start_jobs(g);
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct wk_giver *g = ctx;
    struct pr_read read;
    struct cm_error e;
    if (pr_read_unpack(in->header, &read, &e))
        complain(g, e.text);
    else
        take_read(g, &in->peer, &read);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    (void)from;
    complain(ctx, e->text);
}

/* --- its life --------------------------------------------------------------------------------- */

static enum cm_err listen(struct wk_giver *g, struct cm_error *e)
{
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    char endpoint[IO_ENDPOINT_BYTES];
    enum cm_err rc = wk_listen(&g->socket, g->context, &g->o, endpoint, e);
    if (rc)
        return rc;
    rc = io_watch_new(&g->watch, g->loop, g->socket, &events, g, e);
    if (rc) {
        io_socket_free(g->socket);
        g->socket = NULL;
        return rc;
    }
    snprintf(g->endpoint, sizeof g->endpoint, "%s", endpoint);
    return CM_OK;
}

/* The coordinator's host is not known, or no way leads there: it may come with the coordinator. */
static enum cm_err try_to_listen(struct wk_giver *g, struct cm_error *e)
{
    uint64_t missed, now_ns = io_now_ns();
    g->listen_ns = now_ns + LISTEN_PERIOD_NS;
    enum cm_err rc = listen(g, e);
    if (rc == CM_EUNAVAIL && cm_log_rate_pass(&g->listen_rate, now_ns, SILENT_PERIOD_NS, &missed))
        cm_log(g->log, CM_LOG_WARN, "no_address",
               "msg=\"%s\" effect=\"nobody can get shards from here yet\"", e->text);
    return rc == CM_EUNAVAIL ? CM_OK : rc;
}

enum cm_err wk_giver_new(struct wk_giver **out, const struct wk_giver_options *o,
                         struct io_loop *loop, struct io_context *context, const struct cm_log *log,
                         struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_giver *g = *out = p;
    if (rc)
        return rc;
    g->o = *o;
    g->loop = loop;
    g->context = context;
    g->log = log;
    rc = io_timer_new(&g->timer, loop, on_timer, g, e);
    if (!rc)
        rc = wk_disk_new(&g->disk, loop, e);
    if (!rc)
        rc = try_to_listen(g, e);
    if (rc) {
        wk_giver_stop(g);
        wk_giver_free(g);
        *out = NULL;
    }
    return rc;
}

const char *wk_giver_endpoint(struct wk_giver *g)
{
    struct cm_error e;
    if (*g->endpoint || io_now_ns() < g->listen_ns)
        return g->endpoint;
    if (try_to_listen(g, &e))
        cm_log(g->log, CM_LOG_WARN, "not_listening", "msg=\"%s\"", e.text);
    else if (*g->endpoint)
        cm_log(g->log, CM_LOG_INFO, "giving", "endpoint=%s", g->endpoint);
    return g->endpoint;
}

void wk_giver_stop(struct wk_giver *g)
{
    if (!g)
        return;
    wk_disk_free(g->disk);
    g->disk = NULL;
    for (struct give_job *job; (job = g->first) != NULL;) {
        g->first = job->next;
        free_job(&job->disk);
    }
    g->last = NULL;
    io_watch_close(g->watch);
    g->watch = NULL;
    io_timer_close(g->timer);
    g->timer = NULL;
}

void wk_giver_free(struct wk_giver *g)
{
    free(g);
}
