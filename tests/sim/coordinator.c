/* coordinator.c: see coordinator.h. */
#include "tests/sim/coordinator.h"

#include "common/assert.h"
#include "proto/file/map.h"
#include "tests/sim/bugs.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <string.h>

#define RESTART_MIN_NS (100 * SIM_MS)
#define RESTART_MAX_NS (3000 * SIM_MS)
#define DRAIN_NS       (10000 * SIM_MS) /* as IO_DRAIN_MS */

/* --- the io ----------------------------------------------------------------------------------- */

static enum cm_err send(void *ctx, const struct cm_peer *to, struct cm_bytes header,
                        struct cm_blob *payload, struct cm_error *e)
{
    struct sim *sim = ctx;
    struct cm_peer peer = *to;
    struct sim_message *m = sim_message_new(header, payload);
    unsigned times = sim_bug_leaving_coordinator(sim, &peer, m);
    enum cm_err rc = CM_OK;
    for (unsigned i = 0; i < times; i++) {
        rc = sim_net_send_down(sim, &peer, sim_message_copy(m), e);
        sim_note(sim, "co -> %.*s %s %llu%s", (int)peer.size, (const char *)peer.bytes,
                 pr_type_name(m->envelope.type), (unsigned long long)m->envelope.id.v,
                 rc ? ": unsent" : "");
        sim_check_sent(sim, &peer, m, rc);
    }
    sim_message_free(m);
    return rc;
}

static uint64_t now_ns(void *ctx)
{
    return ((struct sim *)ctx)->now_ns;
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return 1;
}

/* --- its life --------------------------------------------------------------------------------- */

/* What an earlier life saved. */
static bool read_map(struct sim *sim, struct pr_map *map)
{
    struct cm_error e;
    *map = (struct pr_map){0};
    if (!sim->plan.places_shards || !sim->state.text)
        return false;
    CM_ASSERT(pr_map_read(map, sim->state.text, strlen(sim->state.text), &e) == CM_OK);
    return true;
}

/* It does not start while it cannot save. */
static bool may_start(const struct sim *sim)
{
    return !sim->plan.places_shards || sim->now_ns >= sim->state.full_until_ns;
}

void sim_coordinator_start(struct sim *sim)
{
    struct cm_error e;
    struct pr_map map;
    if (!may_start(sim)) {
        sim->co.start_ns = sim->now_ns + RESTART_MAX_NS;
        return;
    }
    bool found = read_map(sim, &map);
    const struct co_config config = {
        .places = sim->plan.places_shards,
        .replicas = sim->plan.replicas,
        .replace_after_ns = sim->plan.replace_after_ns,
        .map = found ? &map : NULL,
        .heartbeat_ns = sim->plan.heartbeat_ns,
        .dead_after_ns = sim->plan.dead_after_ns,
        .settle_ns = sim->plan.settle_ns,
        .hedge_percent = sim->plan.hedge_percent,
        .demotes_late = sim->plan.demotes_late,
        .first_id = test_random_bits(&sim->random),
    };
    const struct co_io io = {.ctx = sim,
                             .send = send,
                             .now_ns = now_ns,
                             .memory_bytes = memory_bytes,
                             .save = sim_state_save};
    sim->co = (struct sim_coordinator){.start_ns = sim->now_ns};
    CM_ASSERT(co_new(&sim->co.core, &config, &io, NULL, &e) == CM_OK);
    pr_map_fini(&map);
    sim_note(sim, "co starts");
}

void sim_coordinator_end(struct sim *sim, bool dies)
{
    if (!sim->co.core)
        return;
    sim_note(sim, "co %s", dies ? "dies" : "ends");
    co_free(sim->co.core);
    sim_ledger_clear(&sim->ledger);
    sim_net_lose_router(sim, dies);
    sim->co = (struct sim_coordinator){
        .start_ns = sim->now_ns + sim_between(sim, RESTART_MIN_NS, RESTART_MAX_NS)};
}

static void settle(struct sim *sim)
{
    if (!sim->co.core || !sim->co.stopping)
        return;
    if (co_idle(sim->co.core) || sim->now_ns >= sim->co.stop_by_ns)
        sim_coordinator_end(sim, false);
}

void sim_coordinator_stop(struct sim *sim)
{
    if (!sim->co.core || sim->co.stopping)
        return;
    sim_note(sim, "co is asked to end");
    sim->co.stopping = true;
    sim->co.stop_by_ns = sim->now_ns + DRAIN_NS;
    co_close(sim->co.core);
    settle(sim);
}

void sim_coordinator_freeze(struct sim *sim, uint64_t until_ns)
{
    if (!sim->co.core)
        return;
    sim->co.frozen_until_ns = until_ns;
    sim_net_on_freeze(sim, NULL, until_ns);
}

/* --- events ----------------------------------------------------------------------------------- */

void sim_coordinator_get(struct sim *sim, struct sim_conn *from, struct sim_message *m)
{
    struct cm_peer peer = from->peer;
    sim_note(sim, "co <- %.*s %s %llu", peer.size, (const char *)peer.bytes,
             pr_type_name(m->envelope.type), (unsigned long long)m->envelope.id.v);
    sim->sums.messages++;
    sim_ledger_note(sim, &peer, from->process, m);
    unsigned times = sim_bug_into_coordinator(sim, from, m);
    for (unsigned i = 0; i < times; i++)
        co_on_message(sim->co.core, &peer, m->header, m->payload);
    settle(sim);
}

void sim_coordinator_on_end(struct sim *sim, const struct cm_peer *who)
{
    sim_note(sim, "co hears that %.*s is gone", (int)who->size, (const char *)who->bytes);
    sim_ledger_forget(&sim->ledger, who);
    if (sim_bug_swallows_end(sim, who))
        return;
    co_on_disconnect(sim->co.core, who);
    settle(sim);
}

static void tick(struct sim *sim, void *arg)
{
    (void)arg;
    co_on_tick(sim->co.core);
    if (co_next_wakeup_ns(sim->co.core) <= sim->now_ns)
        sim_fail(sim, "the coordinator's tick left work for the same moment: it would spin");
    settle(sim);
}

static void start(struct sim *sim, void *arg)
{
    (void)arg;
    sim_coordinator_start(sim);
}

static void end_at_last(struct sim *sim, void *arg)
{
    (void)arg;
    settle(sim);
}

void sim_coordinator_offer(struct sim *sim)
{
    const struct sim_coordinator *co = &sim->co;
    if (!co->core) {
        sim_offer(sim, co->start_ns, start, NULL);
        return;
    }
    uint64_t wake_ns = co_next_wakeup_ns(co->core);
    sim_offer(sim, sim_later(wake_ns, co->frozen_until_ns), tick, NULL);
    if (co->stopping)
        sim_offer(sim, sim_later(co->stop_by_ns, co->frozen_until_ns), end_at_last, NULL);
}
