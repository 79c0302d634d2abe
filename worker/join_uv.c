/* join_uv.c: see join_uv.h. */
#include "worker/join_uv.h"

#include "common/geometry.h"
#include "common/io/endpoint.h"
#include "common/io/service.h"
#include "common/io/socket.h"
#include "common/io/watch.h"
#include "common/limits.h"
#include "proto/file/manifest.h"
#include "proto/file/shard_format.h"
#include "proto/wire/join.h"
#include "proto/wire/refuse.h"
#include "worker/getter_uv.h"
#include "worker/score/model.h"
#include "worker/store/folder.h"
#include "worker/store/gallery.h"

#include <stdio.h>
#include <string.h>

#define ASK_PERIOD_NS     UINT64_C(250000000)
#define SILENCE_PERIOD_NS UINT64_C(60000000000) /* between complaints that nobody is there */

struct join {
    const struct wk_edge_options *o;
    const struct cm_log *log;
    struct io_loop *loop;
    struct io_context *context;
    struct io_service *service;
    struct io_socket *socket; /* the watch's, once there is one */
    struct io_watch *watch;
    struct wk_disk *disk;
    struct wk_getter *getter;
    uint64_t ask_ns;
    uint64_t asking_ns; /* since when, without an answer */
    struct cm_log_rate silence_rate;
    struct cm_log_rate garbage_rate;
    bool getting;
    struct pr_givers givers;
    struct st_gallery gallery; /* of the manifest, once that is here */
    bool done, stopped;
    struct cm_error failure; /* code CM_OK: none */
};

static void fail(struct join *j, enum cm_err rc, const char *why)
{
    cm_fail(&j->failure, rc, "%s", why);
    io_loop_stop(j->loop);
}

/* --- manifest, weights ------------------------------------------------------------------------ */

/* On the disk's thread, as the next. */
static enum cm_err check_manifest(void *ctx, uint32_t shard, const char *part, struct cm_error *e)
{
    struct join *j = ctx;
    (void)shard;
    st_gallery_close(&j->gallery);
    enum cm_err rc = st_gallery_open_file(&j->gallery, j->o->gallery, part, e);
    if (!rc && !cm_fingerprint_equal(&j->gallery.manifest.gallery, &j->givers.gallery))
        rc = cm_fail(e, CM_EMISMATCH, "a manifest of another gallery");
    return rc;
}

static enum cm_err check_weights(void *ctx, uint32_t shard, const char *part, struct cm_error *e)
{
    struct join *j = ctx;
    (void)shard;
    struct sc_model *model;
    enum cm_err rc = st_gallery_model_file(&j->gallery, part, &model, e);
    if (!rc)
        sc_model_free(model);
    return rc;
}

/* No source gives it: the coordinator is asked again. What the disk says is the end. */
static bool is_over(struct join *j, enum cm_err outcome, const char *why)
{
    if (!outcome)
        return false;
    j->getting = false;
    if (outcome == CM_EUNAVAIL)
        cm_log(j->log, CM_LOG_WARN, "join_failed", "msg=\"%s\" effect=\"it is tried again\"", why);
    else
        fail(j, outcome, why);
    io_service_settle(j->service); /* JOIN is due again */
    return true;
}

static void on_weights(void *ctx, enum cm_err outcome, const char *why)
{
    struct join *j = ctx;
    struct cm_error e;
    if (is_over(j, outcome, why))
        return;
    enum cm_err rc = st_publish(j->o->gallery, PR_MANIFEST_FILE, &e);
    if (rc) {
        fail(j, rc, e.text);
        return;
    }
    j->done = true;
    io_loop_stop(j->loop);
}

static void on_manifest(void *ctx, enum cm_err outcome, const char *why)
{
    struct join *j = ctx;
    if (is_over(j, outcome, why))
        return;
    uint64_t bytes = PR_PAGE_BYTES + sc_model_block_bytes(&j->gallery.manifest.geometry);
    const struct wk_get get = {
        .plan = {.gallery = j->givers.gallery,
                 .file = PR_FILE_WEIGHTS,
                 .file_bytes = bytes,
                 .most_bytes = bytes,
                 .bytes_per_s = j->o->transfer_bytes_per_s,
                 .sources = j->givers.sources},
        .name = PR_WEIGHTS_FILE,
        .publish = true,
        .ctx = j,
        .check = check_weights,
        .end = on_weights,
    };
    wk_getter_start(j->getter, &get);
}

static void get_manifest(struct join *j)
{
    const struct wk_get get = {
        .plan = {.gallery = j->givers.gallery,
                 .file = PR_FILE_MANIFEST,
                 .most_bytes = CM_MANIFEST_BYTES_MAX,
                 .bytes_per_s = j->o->transfer_bytes_per_s,
                 .sources = j->givers.sources},
        .name = PR_MANIFEST_FILE,
        .ctx = j,
        .check = check_manifest,
        .end = on_manifest,
    };
    j->getting = true;
    wk_getter_start(j->getter, &get);
}

/* --- the coordinator -------------------------------------------------------------------------- */

static void on_refuse(struct join *j, struct cm_bytes header)
{
    struct pr_refuse refuse;
    struct cm_error e;
    char text[CM_TEXT_BYTES_MAX + 64];
    if (pr_refuse_unpack(header, &refuse, &e))
        return;
    snprintf(text, sizeof text, "the coordinator refused this worker: %s", refuse.text);
    fail(j, CM_EREFUSED, text);
}

static void on_givers(struct join *j, struct cm_bytes header)
{
    struct cm_error e;
    if (pr_givers_unpack(header, &j->givers, &e))
        return;
    if (j->givers.sources.count > 0)
        get_manifest(j);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    struct join *j = ctx;
    uint64_t missed;
    (void)from;
    if (cm_log_rate_pass(&j->garbage_rate, io_now_ns(), SILENCE_PERIOD_NS, &missed))
        cm_log(j->log, CM_LOG_WARN, "garbage", "msg=\"%s\"", e->text);
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct join *j = ctx;
    struct pr_envelope envelope;
    struct cm_error e;
    if (pr_peek(in->header, &envelope, &e)) {
        on_garbage(j, NULL, &e);
        return;
    }
    j->asking_ns = io_now_ns();
    if (j->getting)
        return;
    if (envelope.type == PR_REFUSE)
        on_refuse(j, in->header);
    else if (envelope.type == PR_GIVERS)
        on_givers(j, in->header);
    io_service_settle(j->service);
}

static void ask(struct join *j)
{
    struct pr_join join;
    struct pr_buffer packed;
    struct cm_error e;
    uint64_t missed;
    snprintf(join.node, sizeof join.node, "%s", j->o->node);
    if (pr_join_pack(&join, &packed, &e) == CM_OK) {
        if (io_send(j->socket, NULL, pr_buffer_bytes(&packed), NULL, &e))
            cm_log(j->log, CM_LOG_DEBUG, "unsent", "msg=\"%s\"", e.text);
        pr_buffer_fini(&packed);
    }
    if (io_now_ns() - j->asking_ns > 20 * ASK_PERIOD_NS &&
        cm_log_rate_pass(&j->silence_rate, io_now_ns(), SILENCE_PERIOD_NS, &missed))
        cm_log(j->log, CM_LOG_WARN, "no_coordinator",
               "msg=\"nobody answers JOIN: is the coordinator running, and --connect right?\"");
}

/* --- its life --------------------------------------------------------------------------------- */

static uint64_t next_wakeup_ns(void *ctx)
{
    const struct join *j = ctx;
    return j->getting ? UINT64_MAX : j->ask_ns;
}

static void on_tick(void *ctx)
{
    struct join *j = ctx;
    if (j->getting)
        return;
    ask(j);
    j->ask_ns = io_now_ns() + ASK_PERIOD_NS;
}

static void on_stop(void *ctx)
{
    struct join *j = ctx;
    j->stopped = true;
}

static bool is_idle(void *ctx)
{
    (void)ctx;
    return true;
}

static enum cm_err start(struct join *j, struct cm_error *e)
{
    static const struct io_service_events role = {next_wakeup_ns, on_tick, on_stop, is_idle};
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    struct cm_bytes any_id = {NULL, 0};
    unsigned allow = j->o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0;
    enum cm_err rc = io_loop_new(&j->loop, e);
    if (!rc)
        rc = io_service_new(&j->service, j->loop, &role, j, j->log, e);
    if (!rc)
        rc = io_context_new(&j->context, 1, e);
    if (!rc)
        rc = wk_disk_new(&j->disk, j->loop, e);
    if (!rc)
        rc = wk_getter_new(&j->getter, j->o->gallery, allow, j->loop, j->context, j->disk, j->log,
                           e);
    if (!rc)
        rc = io_dealer_connect(&j->socket, j->context, j->o->connect, any_id, e);
    if (rc)
        return rc;
    rc = io_watch_new(&j->watch, j->loop, j->socket, &events, j, e);
    if (rc)
        io_socket_free(j->socket);
    return rc;
}

static void clean_up(struct join *j)
{
    wk_disk_free(j->disk); /* first: its thread uses the rest */
    io_loop_free(j->loop); /* and with it the watches and their sockets */
    wk_getter_free(j->getter);
    io_service_free(j->service);
    io_context_free(j->context);
    st_gallery_close(&j->gallery);
}

enum cm_err wk_join(const struct wk_edge_options *o, const struct cm_log *log, bool *stopped,
                    struct cm_error *e)
{
    struct join j = {.o = o, .log = log, .asking_ns = io_now_ns()};
    enum cm_err rc = start(&j, e);
    if (!rc) {
        cm_log(log, CM_LOG_INFO, "joining", "folder=%s", o->gallery);
        on_tick(&j);
        io_service_settle(j.service);
        io_loop_run(j.loop);
        if (j.failure.code) {
            *e = j.failure;
            rc = e->code;
        }
    }
    *stopped = !rc && !j.done;
    clean_up(&j);
    return rc;
}
