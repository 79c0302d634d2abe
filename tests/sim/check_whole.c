/* check_whole.c: what broke is whole again, and in the end nothing is left. See checks.h. */
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>

static const struct co_member *member_of(const struct sim *sim, const struct sim_worker *w)
{
    for (uint32_t m = 0; m < sim->co.core->members.end; m++) {
        const struct co_member *member = &sim->co.core->members.slots[m];
        if (member->used && member->hello.incarnation == w->host.process)
            return member;
    }
    return NULL;
}

bool sim_is_whole(struct sim *sim, char *why, size_t size)
{
    if (!sim->co.core) {
        snprintf(why, size, "no coordinator runs");
        return false;
    }
    for (unsigned place = 0; place < sim->plan.places_count; place++) {
        const struct sim_worker *w = sim_worker_at(sim, place);
        const struct co_member *member = w ? member_of(sim, w) : NULL;
        unsigned workers = sim_workers_at(sim, place);
        if (workers == 1 && member && member->state == PR_MEMBER_READY)
            continue;
        snprintf(why, size, "node-%u has %u processes, of which the first is %s", place, workers,
                 member ? "a member" : "no member");
        return false;
    }
    const struct co_core *c = sim->co.core;
    bool whole =
        c->members.count == sim->plan.places_count && c->map.covered == c->map.shards_count;
    if (whole && sim->plan.places_shards)
        return sim_is_placed(sim, why, size);
    if (!whole)
        snprintf(why, size, "%u members hold %u of %u shards", c->members.count, c->map.covered,
                 c->map.shards_count);
    return whole;
}

void sim_check_quiet(struct sim *sim)
{
    char why[200];
    if (!sim_is_whole(sim, why, sizeof why))
        sim_fail(sim, "not whole although all should be well: %s", why);
}

void sim_check_end(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        if (sim->clients[i].host.process)
            sim_fail(sim, "%s still waits for a reply", sim->clients[i].host.name);
    if (sim->co.core && !co_idle(sim->co.core))
        sim_fail(sim, "the coordinator still has %u requests open", sim->co.core->open.count);
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        const struct sim_worker *w = &sim->workers[i];
        if (w->core && (w->core->searches_count > 0 || w->jobs_out > 0))
            sim_fail(sim, "%s still has %u searches that nobody waits for", w->host.name,
                     w->core->searches_count);
    }
    if (sim->ledger.requests_count > 0)
        sim_fail(sim, "request %" PRIu64 " was never replied to", sim->ledger.requests[0].number);
    if (sim->maps_alive > 0)
        sim_fail(sim, "%" PRIu64 " maps were never let go of", sim->maps_alive);
}
