/* load.c: see load.h. */
#include "ops/cli/load.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/io/loop.h"
#include "common/io/socket.h"
#include "common/io/watch.h"
#include "common/mem.h"
#include "ops/cli/stand_ins.h"
#include "proto/wire/answer.h"
#include "proto/wire/error.h"
#include "proto/wire/query.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SOCKETS_MAX = 4, CONNECT_MS = 5000, DEADLINE_MS = 60000 };

#define LOOK_NS    UINT64_C(50000000) /* how often `check` is asked */
#define PATIENCE_S 90.0               /* without an answer */

struct client {
    struct cli_load *load;
    struct io_socket *socket;
    struct io_watch *watch; /* has taken the socket over */
};

struct cli_load {
    struct cli_load_options options;
    struct io_context *context;
    struct io_loop *loop;
    struct io_timer *timer;
    struct client clients[SOCKETS_MAX];
    uint32_t clients_count;
    struct cm_blob *map;
    struct pr_query query;                    /* all but the id */
    uint64_t asked_ns[CLI_LOAD_INFLIGHT_MAX]; /* by place; place i has the ids i + n * inflight */
    uint64_t id_at[CLI_LOAD_INFLIGHT_MAX];    /* of the query under way there */
    uint32_t underway;
    struct cli_load_result result;
    double *took_ms; /* [room] */
    size_t room;
    /* of this run */
    uint64_t begin_ns, end_ns, heard_ns;
    enum cm_err rc; /* the first failure, which ends the run */
    struct cm_error error;
};

static void stop(struct cli_load *l, enum cm_err rc, const struct cm_error *e)
{
    if (!l->rc && rc) {
        l->rc = rc;
        l->error = *e;
    }
    io_loop_stop(l->loop);
}

/* --- asking ----------------------------------------------------------------------------------- */

static enum cm_err ask(struct cli_load *l, uint32_t place, struct cm_error *e)
{
    struct pr_buffer packed;
    l->id_at[place] += l->options.inflight;
    l->query.id.v = l->id_at[place];
    l->asked_ns[place] = io_now_ns();
    enum cm_err rc = pr_query_pack(&l->query, &packed, e);
    if (rc)
        return rc;
    struct io_socket *socket = l->clients[place % l->clients_count].socket;
    rc = io_send(socket, NULL, pr_buffer_bytes(&packed), l->map, e);
    l->result.bytes_out += packed.size + cm_blob_size(l->map);
    pr_buffer_fini(&packed);
    l->underway += !rc;
    return rc;
}

/* --- answers ---------------------------------------------------------------------------------- */

/* Is it the whole ranking, and the one that stand-ins make? */
static enum cm_err check_answer(const struct cli_load *l, const struct pr_answer *a,
                                struct cm_error *e)
{
    uint32_t shards = l->options.shards, k = l->options.k;
    if (a->missing_count > 0)
        return cm_fail(e, CM_EFORMAT, "an answer covers %u of %u shards; shard %u: %s",
                       a->shards_scored, a->shards, a->missing[0].shard.v,
                       pr_reason_name(a->missing[0].reason));
    if (a->shards != shards)
        return cm_fail(e, CM_EFORMAT, "an answer over %u shards in place of %u", a->shards, shards);
    if (a->hits.count != k)
        return cm_fail(e, CM_EFORMAT, "an answer has %zu hits in place of %u", a->hits.count, k);
    for (uint32_t r = 0; r < k; r++)
        if (a->hits.items[r].hit.image != cli_stand_in_image(shards, r))
            return cm_fail(e, CM_EFORMAT,
                           "an answer has image %" PRIu64 " at rank %u in place of %" PRIu64,
                           a->hits.items[r].hit.image, r + 1, cli_stand_in_image(shards, r));
    return CM_OK;
}

static enum cm_err note_time(struct cli_load *l, double ms, struct cm_error *e)
{
    if (l->result.queries == l->room) {
        size_t room = l->room ? 2 * l->room : 1024;
        double *took = realloc(l->took_ms, room * sizeof *took);
        if (!took)
            return cm_fail(e, CM_ENOMEM, "out of memory for %zu times", room);
        l->took_ms = took;
        l->room = room;
    }
    l->took_ms[l->result.queries++] = ms;
    return CM_OK;
}

static enum cm_err take_answer(struct cli_load *l, const struct pr_answer *a, struct cm_error *e)
{
    uint32_t place = (uint32_t)(a->id.v % l->options.inflight);
    uint64_t now = io_now_ns();
    if (l->id_at[place] != a->id.v)
        return cm_fail(e, CM_EFORMAT, "an answer to query %" PRIu64 ", which nobody asked",
                       a->id.v);
    enum cm_err rc = check_answer(l, a, e);
    if (!rc)
        rc = note_time(l, (double)(now - l->asked_ns[place]) / 1e6, e);
    if (rc)
        return rc;
    l->heard_ns = now;
    l->underway--;
    if (now < l->end_ns)
        return ask(l, place, e);
    if (l->underway == 0)
        io_loop_stop(l->loop);
    return CM_OK;
}

static enum cm_err on_error(struct cm_bytes header, struct cm_error *e)
{
    struct pr_error error;
    enum cm_err rc = pr_error_unpack(header, &error, e);
    return rc ? rc : cm_fail(e, CM_EREFUSED, "the coordinator says: %s", error.text);
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct cli_load *l = ((struct client *)ctx)->load;
    struct pr_envelope envelope;
    struct pr_answer answer;
    struct cm_error e;
    enum cm_err rc = pr_peek(in->header, &envelope, &e);
    if (!rc && envelope.type == PR_ERROR)
        rc = on_error(in->header, &e);
    else if (!rc && envelope.type != PR_ANSWER)
        rc = cm_fail(&e, CM_EFORMAT, "the coordinator sent %s, which is not for a client",
                     pr_type_name(envelope.type));
    if (!rc)
        rc = pr_answer_unpack(in->header, &answer, &e);
    if (!rc) {
        l->result.bytes_in += in->header.size;
        rc = take_answer(l, &answer, &e);
        pr_answer_fini(&answer);
    }
    if (rc)
        stop(l, rc, &e);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    (void)from;
    stop(((struct client *)ctx)->load, e->code, e);
}

/* --- a run ------------------------------------------------------------------------------------ */

static void on_look(void *ctx)
{
    struct cli_load *l = ctx;
    struct cm_error e;
    uint64_t now = io_now_ns();
    enum cm_err rc = l->options.check(l->options.ctx, &e);
    if (!rc && (double)(now - l->heard_ns) > PATIENCE_S * 1e9)
        rc = cm_fail(&e, CM_ETIMEOUT, "no answer for %.0f s, with %u queries under way", PATIENCE_S,
                     l->underway);
    if (rc)
        stop(l, rc, &e);
    io_timer_set(l->timer, now + LOOK_NS);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const double *sorted, size_t count, double at)
{
    return sorted[(size_t)(at * (double)(count - 1) + 0.5)];
}

enum cm_err cli_load_run(struct cli_load *l, double seconds, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    l->rc = CM_OK;
    l->begin_ns = l->heard_ns = io_now_ns();
    l->end_ns = l->begin_ns + (uint64_t)(seconds * 1e9);
    for (uint32_t place = 0; !rc && place < l->options.inflight; place++)
        rc = ask(l, place, e);
    if (rc)
        return rc;
    io_timer_set(l->timer, l->begin_ns + LOOK_NS);
    io_loop_run(l->loop);
    io_timer_cancel(l->timer);
    if (l->rc) {
        *e = l->error;
        return l->rc;
    }
    l->result.seconds += (double)(l->heard_ns - l->begin_ns) / 1e9;
    return CM_OK;
}

struct cli_load_result cli_load_take(struct cli_load *l)
{
    struct cli_load_result taken = l->result;
    if (taken.queries > 0) {
        qsort(l->took_ms, taken.queries, sizeof *l->took_ms, ascending);
        taken.p50_ms = quantile(l->took_ms, taken.queries, 0.5);
        taken.p99_ms = quantile(l->took_ms, taken.queries, 0.99);
    }
    l->result = (struct cli_load_result){0};
    return taken;
}

/* --- its life --------------------------------------------------------------------------------- */

/* A map of zeros: nobody looks at its numbers but to see that they are finite. */
static enum cm_err make_query(struct cli_load *l, struct cm_error *e)
{
    const struct cm_geometry *g = &l->options.geometry;
    size_t bytes = cm_map_floats(g) * cm_dtype_bytes(CM_DTYPE_F16);
    void *map;
    enum cm_err rc = cm_new(&map, bytes, 1, e);
    if (rc)
        return rc;
    l->query = (struct pr_query){
        .k = l->options.k,
        .deadline_ms = DEADLINE_MS,
        .dtype = CM_DTYPE_F16,
        .height = g->height,
        .width = g->width,
        .channels = g->channels * g->layers,
        .payload_crc32c = cm_crc32c(0, map, bytes),
    };
    rc = cm_blob_new(&l->map, map, bytes, free, map, e);
    if (rc)
        free(map);
    return rc;
}

static enum cm_err add_client(struct cli_load *l, struct cm_error *e)
{
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    struct client *c = &l->clients[l->clients_count];
    const struct cm_bytes any_id = {NULL, 0};
    c->load = l;
    enum cm_err rc = io_dealer_connect(&c->socket, l->context, l->options.endpoint, any_id, e);
    if (rc)
        return rc;
    if (io_wait_send(c->socket, CONNECT_MS, e))
        rc = cm_fail(e, CM_EUNAVAIL, "the coordinator at %s does not answer", l->options.endpoint);
    if (!rc)
        rc = io_watch_new(&c->watch, l->loop, c->socket, &events, c, e);
    if (rc)
        io_socket_free(c->socket);
    else
        l->clients_count++;
    return rc;
}

static enum cm_err open_load(struct cli_load *l, struct cm_error *e)
{
    uint32_t sockets = l->options.inflight < SOCKETS_MAX ? l->options.inflight : SOCKETS_MAX;
    enum cm_err rc = make_query(l, e);
    if (!rc)
        rc = io_context_new(&l->context, 1, e);
    if (!rc)
        rc = io_loop_new(&l->loop, e);
    if (!rc)
        rc = io_timer_new(&l->timer, l->loop, on_look, l, e);
    for (uint32_t i = 0; !rc && i < sockets; i++)
        rc = add_client(l, e);
    for (uint32_t place = 0; place < l->options.inflight; place++)
        l->id_at[place] = place;
    return rc;
}

enum cm_err cli_load_open(struct cli_load **out, const struct cli_load_options *o,
                          struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct cli_load *l = p;
    l->options = *o;
    rc = open_load(l, e);
    if (rc)
        cli_load_close(l);
    else
        *out = l;
    return rc;
}

void cli_load_close(struct cli_load *l)
{
    if (!l)
        return;
    io_loop_free(l->loop); /* and with it the watches and their sockets */
    io_context_free(l->context);
    cm_blob_unref(&l->map);
    free(l->took_ms);
    free(l);
}
