/* placing.c: see placing.h. */
#include "tests/sim/placing.h"

#include "proto/wire/operate.h"
#include "tests/sim/bugs.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the state file --------------------------------------------------------------------------- */

enum cm_err sim_state_save(void *ctx, const char *text, struct cm_error *e)
{
    struct sim *sim = ctx;
    if (sim->now_ns < sim->state.full_until_ns)
        return cm_fail(e, CM_ENOSPC, "the disk is full");
    if (sim_bug_forgets_map(sim) && sim->state.text)
        return CM_OK;
    free(sim->state.text);
    sim->state.text = strdup(text);
    return sim->state.text ? CM_OK : cm_fail(e, CM_ENOMEM, "no memory");
}

/* --- shards come and go ----------------------------------------------------------------------- */

void sim_place_fetch(void *ctx, uint32_t shard, const struct pr_sources *sources)
{
    struct sim_worker *w = ctx;
    struct sim *sim = w->sim;
    w->fetch = (struct sim_fetch){
        .on = true,
        .shard = shard,
        .sources = *sources,
        .due_ns = sim->now_ns + 1 + sim_below(sim, sim->plan.fetch_ns),
    };
    sim_note(sim, "%s begins to get shard %u from %s", w->host.name, shard, sources->endpoints[0]);
}

void sim_place_abandon(void *ctx, bool forget)
{
    struct sim_worker *w = ctx;
    struct sim_disk *disk = &w->sim->disks[w->place];
    w->fetch.on = false;
    disk->parts =
        forget ? disk->parts & ~(1u << w->fetch.shard) : disk->parts | 1u << w->fetch.shard;
}

void sim_place_release(void *ctx, uint32_t shard)
{
    struct sim_worker *w = ctx;
    sim_note(w->sim, "%s removes shard %u", w->host.name, shard);
    w->held[shard] = (struct wk_held){.shard = shard};
    w->sim->disks[w->place].whole &= ~(1u << shard);
    w->bad_blocks[shard] = 0;
}

void sim_place_crash(struct sim *sim, struct sim_worker *w)
{
    if (w->fetch.on)
        sim->disks[w->place].parts |= 1u << w->fetch.shard;
    w->fetch.on = false;
}

/* Can this source give the shard now? */
static bool gives(struct sim *sim, const char *endpoint, uint32_t shard)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        const struct sim_worker *w = &sim->workers[i];
        if (w->core && strcmp(w->endpoint, endpoint) == 0)
            return sim->now_ns >= w->host.frozen_until_ns && !w->host.cut[SIM_UP] &&
                   !w->host.cut[SIM_DOWN] && sim->disks[w->place].whole >> shard & 1;
    }
    return false;
}

static void finish_fetch(struct sim *sim, void *arg)
{
    struct sim_worker *w = arg;
    uint32_t shard = w->fetch.shard, i = 0;
    while (i < w->fetch.sources.count && !gives(sim, w->fetch.sources.endpoints[i], shard))
        i++;
    bool given = i < w->fetch.sources.count && !sim_chance(sim, sim->healed ? 0 : 5);
    w->fetch.on = false;
    sim_note(sim, "%s %s shard %u", w->host.name, given ? "has" : "did not get", shard);
    if (!given) {
        sim->disks[w->place].parts |= 1u << shard;
        wk_on_fetch_failed(w->core, "no source gives it");
        return;
    }
    sim->disks[w->place].whole |= 1u << shard;
    sim->disks[w->place].parts &= ~(1u << shard);
    sim->sums.fetched++;
    w->held[shard] = sim->plan.shards[shard];
    wk_on_fetched(w->core, &w->held[shard]);
}

void sim_place_offer(struct sim *sim, struct sim_worker *w)
{
    if (w->fetch.on)
        sim_offer(sim, sim_later(w->fetch.due_ns, w->host.frozen_until_ns), finish_fetch, w);
}

/* --- the operator ----------------------------------------------------------------------------- */

static void tell(struct sim *sim, enum cm_err packing, struct pr_buffer *packed)
{
    struct cm_peer from = sim_peer("operator");
    if (packing == CM_OK && sim->co.core && sim->now_ns >= sim->co.frozen_until_ns)
        co_on_message(sim->co.core, &from, pr_buffer_bytes(packed), NULL);
    pr_buffer_fini(packed);
}

void sim_operate_drain(struct sim *sim)
{
    struct pr_drain drain = {.id = {1}, .force = sim_chance(sim, 30)};
    struct pr_buffer packed;
    struct cm_error e;
    if (!sim->plan.places_shards)
        return;
    snprintf(drain.node, sizeof drain.node, "node-%u",
             (unsigned)sim_below(sim, sim->plan.places_count));
    sim_note(sim, "the operator drains %s%s", drain.node, drain.force ? ", by force" : "");
    tell(sim, pr_drain_pack(&drain, &packed, &e), &packed);
}

void sim_operate_replicas(struct sim *sim)
{
    struct pr_replicas replicas = {.id = {2}, .replicas = 1 + (uint32_t)sim_below(sim, 4)};
    struct pr_buffer packed;
    struct cm_error e;
    if (!sim->plan.places_shards)
        return;
    sim_note(sim, "the operator wants %u replicas", replicas.replicas);
    tell(sim, pr_replicas_pack(&replicas, &packed, &e), &packed);
}

/* --- what must hold --------------------------------------------------------------------------- */

static void check_loads(struct sim *sim, const struct co_placement *p)
{
    uint32_t low = UINT32_MAX, high = 0, replicas = co_placement_replicas(p);
    for (uint32_t n = 0; n < p->end; n++) {
        if (!p->nodes[n].used || p->nodes[n].draining)
            continue;
        low = p->nodes[n].load < low ? p->nodes[n].load : low;
        high = p->nodes[n].load > high ? p->nodes[n].load : high;
    }
    if (replicas == 0)
        return;
    if (high - low > 1)
        sim_fail(sim, "loads go from %u to %u", low, high);
    for (uint32_t s = 0; s < p->shards_count; s++)
        if (p->homes[s].count != replicas)
            sim_fail(sim, "shard %u is placed on %u nodes, not %u", s, p->homes[s].count, replicas);
}

void sim_check_placing(struct sim *sim)
{
    uint32_t there = 0;
    if (!sim->plan.places_shards)
        return;
    for (unsigned i = 0; i < sim->plan.places_count; i++)
        there |= sim->disks[i].whole;
    if (there != (1u << sim->plan.gallery.shards) - 1)
        sim_fail(sim, "a shard is lost: the disks have %x", there);
    if (sim->co.core && sim->co.core->map.shards_count > 0)
        check_loads(sim, &sim->co.core->placement);
}

bool sim_is_placed(const struct sim *sim, char *why, size_t size)
{
    const struct co_core *c = sim->co.core;
    const struct co_placement *p = &c->placement;
    for (unsigned i = 0; i < sim->plan.places_count; i++) {
        char name[16];
        snprintf(name, sizeof name, "node-%u", i);
        uint32_t node = co_placement_find(p, name), wanted = 0;
        for (uint32_t s = 0; node != CO_NO_NODE && s < p->shards_count; s++)
            wanted |= (uint32_t)co_placement_is_home(p, s, node) << s;
        if (node != CO_NO_NODE && sim->disks[i].whole == wanted)
            continue;
        snprintf(why, size, "%s has shards %x, not %x", name, sim->disks[i].whole, wanted);
        return false;
    }
    return true;
}
