/* client.c: see client.h. */
#include "tests/sim/client.h"

#include "common/assert.h"
#include "common/checksum.h"
#include "common/io/socket.h"
#include "proto/wire/control.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/query.h"
#include "tests/sim/client_get.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>

/* As in ops/cli. */
#define CONNECT_NS       (5000 * SIM_MS)
#define AGAIN_NS         (1000 * SIM_MS)
#define SEARCH_POLL_NS   (50 * SIM_MS)
#define SEARCH_REST_NS   (100 * SIM_MS)
#define SEARCH_ASK_NS    (5000 * SIM_MS) /* at most: a tenth of its deadline */
#define EVAL_POLL_NS     (200 * SIM_MS)
#define EVAL_REST_NS     (1000 * SIM_MS)
#define EVAL_ASK_NS      (5000 * SIM_MS)
#define EVAL_PATIENCE_NS (60000 * SIM_MS)

#define RESTART_MAX_NS (3000 * SIM_MS)

/* --- its life --------------------------------------------------------------------------------- */

void sim_client_init(struct sim *sim, unsigned index)
{
    struct sim_client *c = &sim->clients[index];
    *c = (struct sim_client){.sim = sim, .start_ns = sim_below(sim, RESTART_MAX_NS)};
    c->host.is_client = true;
    c->host.room = IO_QUEUE_OUT;
    snprintf(c->host.name, sizeof c->host.name, "c%u", index);
}

static void start(struct sim *sim, void *arg)
{
    struct sim_client *c = arg;
    c->host.process = ++sim->processes;
    c->evaluates = sim_chance(sim, sim->plan.evaluations);
    c->wants_scores = c->evaluates && sim_chance(sim, 40);
    c->window = c->evaluates ? SIM_EVAL_WINDOW : SIM_SEARCH_WINDOW;
    c->coverage = sim_chance(sim, 50) ? (unsigned)sim_between(sim, 1, 100) : 0;
    c->ask_ns = c->evaluates ? EVAL_ASK_NS : SEARCH_ASK_NS / sim_between(sim, 1, 50);
    c->patience_ns = c->evaluates ? EVAL_PATIENCE_NS : sim_later(10 * c->ask_ns, 2 * CONNECT_NS);
    c->open = c->starved = false;
    c->next_id = 0;
    c->total = sim_between(sim, 1, 40);
    c->heard_ns = c->next_new_ns = c->wake_ns = sim->now_ns;
    c->asked_ns = c->status_id = 0;
    sim_note(sim, "%s starts, process %" PRIu64 ": %" PRIu64 " %s", c->host.name, c->host.process,
             c->total, c->evaluates ? "evaluations" : "queries");
    sim_net_dial(sim, &c->host);
}

static void clear_flight(struct sim_flight *f)
{
    cm_blob_unref(&f->map);
    *f = (struct sim_flight){0};
}

void sim_client_end(struct sim *sim, struct sim_client *c, bool dies)
{
    if (!c->host.process)
        return;
    sim_note(sim, "%s %s", c->host.name, dies ? "dies" : "ends");
    sim_net_hang_up(sim, &c->host, dies);
    for (unsigned i = 0; i < c->window; i++)
        clear_flight(&c->flights[i]);
    c->host.process = 0;
    c->host.frozen_until_ns = 0;
    c->start_ns = sim->now_ns + sim_below(sim, RESTART_MAX_NS);
}

void sim_client_give_up(struct sim_client *c, const char *why)
{
    struct sim *sim = c->sim;
    sim_note(sim, "%s gives up: %s", c->host.name, why);
    if (sim_is_quiet(sim) && sim_plan_is_fair(&sim->plan))
        sim_fail(sim, "%s gives up although all should be well: %s", c->host.name, why);
    sim->sums.lost_clients++;
    sim_client_end(sim, c, false);
}

void sim_client_freeze(struct sim *sim, struct sim_client *c, uint64_t until_ns)
{
    c->host.frozen_until_ns = until_ns;
    sim_net_on_freeze(sim, &c->host, until_ns);
}

void sim_client_flood(struct sim *sim, struct sim_client *c)
{
    if (!c->open || c->evaluates)
        return;
    sim_note(sim, "%s floods", c->host.name);
    c->window = SIM_FLOOD_WINDOW;
    c->total += SIM_FLOOD_WINDOW;
}

unsigned sim_client_flights(const struct sim_client *c)
{
    unsigned count = 0;
    for (unsigned i = 0; c->host.process && i < c->window; i++)
        count += c->flights[i].used;
    return count;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Sends a packed message, and frees it. False if there is no connection. */
static bool send_packed(struct sim_client *c, enum cm_err packing, struct pr_buffer *packed,
                        struct cm_blob *map)
{
    struct cm_error e;
    CM_ASSERT(packing == CM_OK);
    struct sim_message *m = sim_message_new(pr_buffer_bytes(packed), map);
    pr_buffer_fini(packed);
    sim_note(c->sim, "%s -> %s %" PRIu64 "%s", c->host.name, pr_type_name(m->envelope.type),
             m->envelope.id.v, c->host.conn ? "" : ": not connected");
    return sim_net_send_up(c->sim, &c->host, m, &e) == CM_OK;
}

static bool ask_status(struct sim_client *c)
{
    struct pr_control request = {.type = PR_STATUS_REQUEST, .id = {++c->status_id}};
    struct pr_buffer packed;
    struct cm_error e;
    return send_packed(c, pr_control_pack(&request, &packed, &e), &packed, NULL);
}

static bool send_query(struct sim_client *c, const struct sim_flight *f)
{
    const struct cm_geometry *g = &c->sim->plan.gallery.geometry;
    struct pr_query query = {
        .id = {f->id},
        .k = f->k,
        .deadline_ms = f->deadline_ms,
        .dtype = CM_DTYPE_F32,
        .height = g->height,
        .width = g->width,
        .channels = g->channels * g->layers,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(f->map), cm_blob_size(f->map)),
    };
    struct pr_buffer packed;
    struct cm_error e;
    return send_packed(c, pr_query_pack(&query, &packed, &e), &packed, f->map);
}

static bool send_evaluate(struct sim_client *c, const struct sim_flight *f)
{
    const struct cm_geometry *g = &c->sim->plan.gallery.geometry;
    struct pr_evaluate evaluate = {
        .id = {f->id},
        .pid = sim_pid_of(c->sim, f->number),
        .camid = sim_camid_of(f->number),
        .want_scores = c->wants_scores,
        .dtype = CM_DTYPE_F32,
        .height = g->height,
        .width = g->width,
        .channels = g->channels * g->layers,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(f->map), cm_blob_size(f->map)),
    };
    struct pr_buffer packed;
    struct cm_error e;
    return send_packed(c, pr_evaluate_pack(&evaluate, &packed, &e), &packed, f->map);
}

/* Sends a flight. Without a connection it rests. */
static void send_flight(struct sim_client *c, struct sim_flight *f)
{
    f->scores = 0;
    f->again_ns = 0;
    f->sent_ns = c->sim->now_ns;
    if (!c->evaluates)
        f->deadline_ms =
            (uint32_t)((sim_later(f->end_ns, f->sent_ns + 1) - f->sent_ns + SIM_MS - 1) / SIM_MS);
    if (c->evaluates ? !send_evaluate(c, f) : !send_query(c, f))
        f->again_ns = c->sim->now_ns + (c->evaluates ? EVAL_REST_NS : SEARCH_REST_NS);
}

/* Is a flight out, and, of a search, was it when the coordinator was asked what it has? */
static bool is_out(const struct sim_client *c, const struct sim_flight *f)
{
    return f->used && !f->again_ns && (c->evaluates || f->sent_ns <= c->asked_ns);
}

void sim_client_compare(struct sim_client *c, uint32_t known)
{
    uint32_t out = 0;
    for (unsigned i = 0; i < c->window; i++)
        out += is_out(c, &c->flights[i]);
    if (c->evaluates ? known > 0 : known >= out)
        return;
    for (unsigned i = 0; i < c->window; i++)
        if (is_out(c, &c->flights[i]))
            send_flight(c, &c->flights[i]);
}

/* A query is whole or late: where all must be well, there is time enough. */
static uint32_t draw_deadline_ms(struct sim *sim)
{
    bool short_one = sim->now_ns + 5000 * SIM_MS < sim->quiet_ns && sim_chance(sim, 40);
    return short_one ? (uint32_t)sim_between(sim, 1, 1500) : 60000;
}

static void begin_flight(struct sim *sim, struct sim_client *c, struct sim_flight *f)
{
    *f = (struct sim_flight){
        .used = true,
        .id = c->next_id++,
        .number = ++sim->next_number,
        .k = (uint32_t)sim_between(sim, 1, sim->plan.gallery.images),
        .deadline_ms = draw_deadline_ms(sim),
        .rest_ns = SEARCH_REST_NS,
        .map = sim_map(sim, sim->next_number),
    };
    f->end_ns = sim->now_ns + f->deadline_ms * SIM_MS;
    send_flight(c, f);
}

static uint64_t oldest_flight(const struct sim_client *c)
{
    uint64_t oldest = c->next_id;
    for (unsigned i = 0; i < c->window; i++)
        if (c->flights[i].used && c->flights[i].id < oldest)
            oldest = c->flights[i].id;
    return oldest;
}

/* Has it another one to ask now? A search waits for its oldest. */
static bool may_begin(const struct sim *sim, const struct sim_client *c, uint64_t oldest)
{
    return c->next_id < c->total && sim->now_ns < sim->drain_ns && sim->now_ns >= c->next_new_ns &&
           (c->evaluates || c->next_id < oldest + c->window);
}

/* What is due: flights that have rested, then new ones. */
static void send_due(struct sim *sim, struct sim_client *c)
{
    uint64_t oldest = oldest_flight(c);
    for (unsigned i = 0; i < c->window; i++) {
        struct sim_flight *f = &c->flights[i];
        bool waits = c->starved && oldest < c->next_id && !(f->used && f->id == oldest);
        if (f->used && f->again_ns && sim->now_ns >= f->again_ns && !waits)
            send_flight(c, f);
        if (f->used || waits || !may_begin(sim, c, oldest))
            continue;
        begin_flight(sim, c, f);
        if (c->window != SIM_FLOOD_WINDOW)
            c->next_new_ns = sim->now_ns + sim_below(sim, sim->plan.pace_ns);
    }
}

/* --- its loop --------------------------------------------------------------------------------- */

static void mind_silence(struct sim *sim, struct sim_client *c)
{
    uint64_t silent_ns = sim->now_ns - c->heard_ns;
    if (silent_ns > c->patience_ns) {
        sim_client_give_up(c, "the coordinator is silent");
    } else if (silent_ns > c->ask_ns && sim->now_ns - c->asked_ns > c->ask_ns) {
        c->asked_ns = sim->now_ns;
        ask_status(c);
    }
}

/* Its first request: how is the cluster? */
static void open_up(struct sim *sim, struct sim_client *c)
{
    if (sim->now_ns - c->heard_ns > 2 * CONNECT_NS) {
        sim_client_give_up(c, "no coordinator");
    } else if (c->host.conn && (!c->asked_ns || sim->now_ns - c->asked_ns >= AGAIN_NS)) {
        c->asked_ns = sim->now_ns;
        ask_status(c);
    }
}

static void go_on(struct sim *sim, struct sim_client *c)
{
    uint64_t next_ns = sim->now_ns + (c->evaluates ? EVAL_POLL_NS : SEARCH_POLL_NS);
    if (!c->open) {
        open_up(sim, c);
    } else {
        send_due(sim, c);
        if (sim_client_flights(c) > 0)
            mind_silence(sim, c);
        else if (c->next_id == c->total || sim->now_ns >= sim->drain_ns)
            sim_client_end(sim, c, false);
        else if (c->next_new_ns < next_ns)
            next_ns = c->next_new_ns;
    }
    c->wake_ns = sim_later(next_ns, sim->now_ns + 1);
}

static void wake(struct sim *sim, void *arg)
{
    go_on(sim, arg);
}

void sim_client_get(struct sim *sim, struct sim_client *c, const struct sim_message *m)
{
    sim_note(sim, "%s <- %s %" PRIu64, c->host.name, pr_type_name(m->envelope.type),
             m->envelope.id.v);
    sim->sums.messages++;
    c->heard_ns = sim->now_ns;
    sim_client_read(c, m);
    if (c->host.process && sim->now_ns >= c->host.frozen_until_ns)
        go_on(sim, c);
}

void sim_client_offer(struct sim *sim, struct sim_client *c)
{
    if (c->host.process)
        sim_offer(sim, sim_later(c->wake_ns, c->host.frozen_until_ns), wake, c);
    else if (sim->now_ns < sim->drain_ns)
        sim_offer(sim, c->start_ns, start, c);
}
