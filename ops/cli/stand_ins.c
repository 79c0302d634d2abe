/* stand_ins.c: see stand_ins.h. */
#include "ops/cli/stand_ins.h"

#include "common/io/loop.h"
#include "common/io/pool.h"
#include "common/io/socket.h"
#include "common/io/watch.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/hello.h"
#include "proto/wire/refuse.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/welcome.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#define TICK_NS     UINT64_C(20000000)  /* how often it is looked for who has to speak */
#define GREETING_NS UINT64_C(250000000) /* between two HELLOs, while nobody answers */

enum { NAME_BYTES = 24 };

struct crowd;

struct stand_in {
    struct crowd *crowd;
    uint32_t number; /* among all of them */
    struct io_socket *socket;
    struct io_watch *watch; /* has taken the socket over */
    bool welcome;
    uint64_t hellos;   /* said so far */
    uint64_t speak_ns; /* when HELLO or HEARTBEAT is due */
    uint64_t searches_done;
};

/* Those of one thread. Once started, all but `failed` is the thread's until it has ended. */
struct crowd {
    struct io_job job;
    const struct cli_stand_ins *all;
    struct io_context *context;
    struct io_loop *loop;
    struct io_wake *stop;
    struct io_timer *timer;
    struct stand_in *members; /* [count] */
    uint32_t count;
    uint64_t heartbeat_ns;
    struct pr_hit *hits;      /* [CLI_STAND_IN_K_MAX]: room for those of a RESULT */
    struct pr_scored *scored; /* [options.shards]: for its shards */
    struct cli_stand_in_counts counts;
    struct cm_error error; /* the first; written before `failed` is set */
    atomic_bool failed;
};

struct cli_stand_ins {
    struct cli_stand_in_options options;
    struct pr_gallery_info gallery;
    struct io_pool *pool;
    struct crowd *crowds; /* [crowds_count], a thread each */
    unsigned crowds_count;
    char (*names)[NAME_BYTES]; /* [CLI_STAND_IN_K_MAX]: of images, the same in each shard */
};

/* --- the gallery that is not there ------------------------------------------------------------ */

/* Image `i` of a shard scores -(i * shards + shard): so ranks go round the shards. A score that a
 * float rounds is one of no merged ranking. */
static float score_of(uint32_t shards, uint32_t shard, uint32_t i)
{
    return -(float)((uint64_t)i * shards + shard);
}

static uint64_t image_of(uint32_t shard, uint32_t i)
{
    return (uint64_t)shard * CLI_STAND_IN_IMAGES + i;
}

uint64_t cli_stand_in_image(uint32_t shards, uint32_t rank)
{
    return image_of(rank % shards, rank / shards);
}

static struct pr_gallery_info gallery_of(const struct cli_stand_in_options *o)
{
    uint32_t shards = o->workers * o->shards;
    return (struct pr_gallery_info){
        .gallery = {{1}},
        .model = {{2}},
        .geometry = o->geometry,
        .precision = CM_F32,
        .images = (uint64_t)shards * CLI_STAND_IN_IMAGES,
        .shards = shards,
    };
}

/* --- what one says ---------------------------------------------------------------------------- */

static void fail(struct crowd *c, const struct cm_error *e)
{
    if (atomic_load(&c->failed))
        return;
    c->error = *e;
    atomic_store(&c->failed, true);
}

/* Sends what a pr_..._pack made of `rc`, and frees it. */
static enum cm_err say(struct stand_in *s, enum cm_err rc, struct pr_buffer *packed,
                       struct cm_error *e)
{
    if (rc)
        return rc;
    rc = io_send(s->socket, NULL, pr_buffer_bytes(packed), NULL, e);
    pr_buffer_fini(packed);
    return rc;
}

static enum cm_err say_hello(struct stand_in *s, struct cm_error *e)
{
    const struct cli_stand_ins *all = s->crowd->all;
    struct pr_hello hello = {
        .id = {++s->hellos},
        .incarnation = 1,
        .version_min = PR_VERSION,
        .version_max = PR_VERSION,
        .gallery = all->gallery,
        .numeric_class = "none",
        .threads = 1,
        .credits = CM_WORKER_CREDITS,
        .held_count = all->options.shards,
    };
    struct pr_buffer packed;
    void *held;
    enum cm_err rc = cm_new(&held, hello.held_count, sizeof *hello.held, e);
    if (rc)
        return rc;
    hello.held = held;
    snprintf(hello.node, sizeof hello.node, "stand-in-%" PRIu32, s->number);
    for (uint32_t i = 0; i < hello.held_count; i++) {
        uint32_t shard = s->number * all->options.shards + i;
        hello.held[i] = (struct pr_held_shard){{shard}, image_of(shard, 0), CLI_STAND_IN_IMAGES};
    }
    rc = say(s, pr_hello_pack(&hello, &packed, e), &packed, e);
    free(held);
    return rc;
}

static enum cm_err say_heartbeat(struct stand_in *s, struct cm_error *e)
{
    struct pr_heartbeat heartbeat = {.searches_done = s->searches_done};
    struct pr_buffer packed;
    return say(s, pr_heartbeat_pack(&heartbeat, &packed, e), &packed, e);
}

/* Number `i` of the ranking over these shards: ranks go round them. */
static struct pr_hit hit_of(const struct cli_stand_ins *all, const struct pr_search *search,
                            uint32_t i)
{
    uint32_t shard = search->shards[i % search->shards_count].v;
    uint32_t at = i / (uint32_t)search->shards_count;
    return (struct pr_hit){
        .hit = {score_of(all->gallery.shards, shard, at), image_of(shard, at)},
        .meta = {.pid = at, .camid = 1, .timestamp = -1, .name = all->names[at]},
    };
}

/* One RESULT for all shards of the search, as a worker sends it that is quick. */
static enum cm_err say_result(struct stand_in *s, const struct pr_search *search,
                              struct cm_error *e)
{
    struct crowd *c = s->crowd;
    uint64_t images = search->shards_count * (uint64_t)CLI_STAND_IN_IMAGES;
    uint32_t count = search->k < images ? search->k : (uint32_t)images;
    struct pr_result result = {
        .id = search->id,
        .shards = c->scored,
        .shards_count = search->shards_count,
        .hits = {.items = c->hits, .count = count},
    };
    struct pr_buffer packed;
    for (size_t i = 0; i < search->shards_count; i++)
        c->scored[i] =
            (struct pr_scored){search->shards[i], CLI_STAND_IN_IMAGES, CLI_STAND_IN_IMAGES, 0};
    for (uint32_t i = 0; i < count; i++)
        c->hits[i] = hit_of(c->all, search, i);
    enum cm_err rc = pr_result_pack(&result, &packed, e);
    c->counts.results++;
    c->counts.bytes_out += rc ? 0 : packed.size;
    return say(s, rc, &packed, e);
}

/* --- what one hears --------------------------------------------------------------------------- */

static enum cm_err on_search(struct stand_in *s, const struct io_incoming *in, struct cm_error *e)
{
    struct crowd *c = s->crowd;
    struct pr_search search;
    enum cm_err rc = pr_search_unpack(in->header, &search, e);
    c->counts.searches++;
    c->counts.bytes_in += in->header.size + (in->payload ? cm_blob_size(in->payload) : 0);
    s->searches_done++;
    if (!rc && (search.shards_count > c->all->options.shards || search.k > CLI_STAND_IN_K_MAX))
        rc = cm_fail(e, CM_EMISMATCH, "a search of %zu shards for %" PRIu32 " hits",
                     search.shards_count, search.k);
    if (!rc)
        rc = say_result(s, &search, e);
    pr_search_fini(&search);
    return rc;
}

static enum cm_err on_welcome(struct stand_in *s, struct cm_bytes header, struct cm_error *e)
{
    struct pr_welcome welcome;
    enum cm_err rc = pr_welcome_unpack(header, &welcome, e);
    if (rc)
        return rc;
    s->crowd->heartbeat_ns = welcome.heartbeat_ms * UINT64_C(1000000);
    s->speak_ns = io_now_ns() + s->crowd->heartbeat_ns;
    s->welcome = true;
    return CM_OK;
}

static enum cm_err on_refuse(struct cm_bytes header, struct cm_error *e)
{
    struct pr_refuse refuse;
    enum cm_err rc = pr_refuse_unpack(header, &refuse, e);
    return rc ? rc : cm_fail(e, CM_EREFUSED, "a stand-in is refused: %s", refuse.text);
}

static void on_message(void *ctx, struct io_incoming *in)
{
    struct stand_in *s = ctx;
    struct pr_envelope envelope;
    struct cm_error e;
    enum cm_err rc = pr_peek(in->header, &envelope, &e);
    if (!rc && envelope.type == PR_SEARCH)
        rc = on_search(s, in, &e);
    else if (!rc && envelope.type == PR_WELCOME)
        rc = on_welcome(s, in->header, &e);
    else if (!rc && envelope.type == PR_REFUSE)
        rc = on_refuse(in->header, &e);
    else if (!rc && envelope.type == PR_REHELLO)
        rc = cm_fail(&e, CM_EUNAVAIL, "the coordinator had lost stand-in %" PRIu32, s->number);
    /* Heartbeats and cancels ask for nothing of who has answered at once. */
    if (rc)
        fail(s->crowd, &e);
}

static void on_garbage(void *ctx, const struct cm_peer *from, const struct cm_error *e)
{
    const struct stand_in *s = ctx;
    (void)from;
    fail(s->crowd, e);
}

/* --- a crowd and its thread ------------------------------------------------------------------- */

static void speak(struct stand_in *s, uint64_t now)
{
    struct cm_error e;
    if (now < s->speak_ns)
        return;
    enum cm_err rc = s->welcome ? say_heartbeat(s, &e) : say_hello(s, &e);
    if (rc == CM_EBUSY)
        return; /* not connected yet: the next tick tries again */
    if (rc)
        fail(s->crowd, &e);
    s->speak_ns = now + (s->welcome ? s->crowd->heartbeat_ns : GREETING_NS);
}

static void on_tick(void *ctx)
{
    struct crowd *c = ctx;
    uint64_t now = io_now_ns();
    for (uint32_t i = 0; i < c->count; i++)
        speak(&c->members[i], now);
    io_timer_set(c->timer, now + TICK_NS);
}

static void on_stop(void *ctx)
{
    struct crowd *c = ctx;
    io_loop_stop(c->loop);
}

static void run_crowd(struct io_job *job, unsigned thread_index)
{
    struct crowd *c = (struct crowd *)job;
    (void)thread_index;
    on_tick(c);
    io_loop_run(c->loop);
}

static enum cm_err dial(struct stand_in *s, struct cm_error *e)
{
    static const struct io_watch_events events = {on_message, on_garbage, NULL};
    struct crowd *c = s->crowd;
    const struct cm_bytes any_id = {NULL, 0};
    enum cm_err rc = io_dealer_connect(&s->socket, c->context, c->all->options.endpoint, any_id, e);
    if (rc)
        return rc;
    rc = io_watch_new(&s->watch, c->loop, s->socket, &events, s, e);
    if (rc)
        io_socket_free(s->socket);
    return rc;
}

/* Stand-ins number first .. first + count - 1, dialling but without a thread. */
static enum cm_err open_crowd(struct crowd *c, const struct cli_stand_ins *all, uint32_t first,
                              uint32_t count, struct cm_error *e)
{
    void *members = NULL, *hits = NULL, *scored = NULL;
    c->job.run = run_crowd;
    c->all = all;
    c->heartbeat_ns = GREETING_NS;
    enum cm_err rc = cm_new(&members, count, sizeof *c->members, e);
    if (!rc)
        rc = cm_new(&hits, CLI_STAND_IN_K_MAX, sizeof *c->hits, e);
    if (!rc)
        rc = cm_new(&scored, all->options.shards, sizeof *c->scored, e);
    c->members = members;
    c->hits = hits;
    c->scored = scored;
    if (!rc)
        rc = io_context_new(&c->context, 1, e);
    if (!rc)
        rc = io_loop_new(&c->loop, e);
    if (!rc)
        rc = io_wake_new(&c->stop, c->loop, on_stop, c, e);
    if (!rc)
        rc = io_timer_new(&c->timer, c->loop, on_tick, c, e);
    for (; !rc && c->count < count; c->count += !rc) {
        struct stand_in *s = &c->members[c->count];
        s->crowd = c;
        s->number = first + c->count;
        rc = dial(s, e);
    }
    return rc;
}

static enum cm_err start(struct cli_stand_ins *s, struct cm_error *e)
{
    const uint32_t each = CLI_STAND_INS_A_THREAD, workers = s->options.workers;
    unsigned count = (workers + each - 1) / each;
    void *crowds = NULL, *names = NULL;
    enum cm_err rc = cm_new(&crowds, count, sizeof *s->crowds, e);
    if (!rc)
        rc = cm_new(&names, CLI_STAND_IN_K_MAX, sizeof *s->names, e);
    s->crowds = crowds;
    s->names = names;
    for (unsigned i = 0; !rc && i < CLI_STAND_IN_K_MAX; i++)
        snprintf(s->names[i], sizeof s->names[i], "%04u_c1s1_%06u_00.jpg", i, i);
    for (uint32_t first = 0; !rc && first < workers; first += each) {
        uint32_t left = workers - first;
        rc = open_crowd(&s->crowds[s->crowds_count++], s, first, left < each ? left : each, e);
    }
    if (!rc)
        rc = io_pool_new(&s->pool, count, NULL, NULL, e);
    for (unsigned i = 0; !rc && i < count; i++)
        io_pool_submit(s->pool, &s->crowds[i].job);
    return rc;
}

enum cm_err cli_stand_ins_start(struct cli_stand_ins **out, const struct cli_stand_in_options *o,
                                struct cm_error *e)
{
    void *p;
    *out = NULL;
    if ((uint64_t)o->workers * o->shards > CM_SHARDS_MAX)
        return cm_fail(e, CM_EUSAGE,
                       "%u workers of %u shards each are more than the %u shards "
                       "that a gallery can have",
                       o->workers, o->shards, CM_SHARDS_MAX);
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct cli_stand_ins *s = p;
    s->options = *o;
    s->gallery = gallery_of(o);
    rc = start(s, e);
    if (rc)
        cli_stand_ins_free(s);
    else
        *out = s;
    return rc;
}

enum cm_err cli_stand_ins_check(const struct cli_stand_ins *s, struct cm_error *e)
{
    for (unsigned i = 0; i < s->crowds_count; i++)
        if (atomic_load(&s->crowds[i].failed)) {
            *e = s->crowds[i].error;
            return e->code;
        }
    return CM_OK;
}

void cli_stand_ins_stop(struct cli_stand_ins *s)
{
    for (unsigned i = 0; s->pool && i < s->crowds_count; i++)
        io_wake_send(s->crowds[i].stop);
    io_pool_free(s->pool); /* waits for those that run, which is all of them */
    s->pool = NULL;
}

struct cli_stand_in_counts cli_stand_ins_counts(const struct cli_stand_ins *s)
{
    struct cli_stand_in_counts sum = {0};
    for (unsigned i = 0; i < s->crowds_count; i++) {
        const struct cli_stand_in_counts *c = &s->crowds[i].counts;
        sum.searches += c->searches;
        sum.results += c->results;
        sum.bytes_in += c->bytes_in;
        sum.bytes_out += c->bytes_out;
    }
    return sum;
}

void cli_stand_ins_free(struct cli_stand_ins *s)
{
    if (!s)
        return;
    cli_stand_ins_stop(s);
    for (unsigned i = 0; i < s->crowds_count; i++) {
        struct crowd *c = &s->crowds[i];
        io_loop_free(c->loop); /* and with it the watches and their sockets */
        io_context_free(c->context);
        free(c->members);
        free(c->hits);
        free(c->scored);
    }
    free(s->crowds);
    free(s->names);
    free(s);
}
