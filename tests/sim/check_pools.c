/* check_pools.c: memory stays within the pools that ARCHITECTURE.md names. See checks.h. */
#include "coordinator/evaluation.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>

static uint64_t bytes_of(const struct co_list *list)
{
    uint64_t bytes = 0;
    for (const struct co_gather *g = list->head; g; g = g->next)
        bytes += g->payload ? cm_blob_size(g->payload) : 0;
    return bytes;
}

/* What an open request holds: its hits, its positives. */
static void check_gather(struct sim *sim, const struct co_gather *g)
{
    if (g->hits_count > g->k)
        sim_fail(sim, "search %" PRIu64 " holds %zu hits for k %u", g->id.v, g->hits_count, g->k);
    if (g->evaluation && g->evaluation->positives.count > sim->plan.gallery.images)
        sim_fail(sim, "evaluation %" PRIu64 " holds %zu right images", g->id.v,
                 g->evaluation->positives.count);
}

/* What a process granted in its HELLO; UINT32_MAX if it is no more. */
static uint32_t credits_of(const struct sim *sim, uint64_t process)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        if (sim->workers[i].core && sim->workers[i].host.process == process)
            return sim->plan.places[sim->workers[i].place].credits;
    return UINT32_MAX;
}

static void check_credits(struct sim *sim, const struct co_core *c)
{
    uint32_t load[SIM_WORKERS_MAX] = {0};
    for (const struct co_gather *g = c->open.head; g; g = g->next)
        for (uint32_t p = 0; p < g->parts_count; p++)
            if (g->parts[p].member < SIM_WORKERS_MAX)
                load[g->parts[p].member] += g->parts[p].open > 0;
    for (uint32_t m = 0; m < SIM_WORKERS_MAX; m++)
        if (load[m] > 0 && load[m] > credits_of(sim, c->members.slots[m].hello.incarnation))
            sim_fail(sim, "%s is asked %u searches at a time, more than it granted",
                     c->members.slots[m].hello.node, load[m]);
}

/* One client's share of what waits: there is as much room left for others, or was. */
static void check_share(struct sim *sim, const struct co_core *c, const struct cm_peer *client)
{
    uint32_t own = 0;
    const struct co_list *lists[] = {&c->waiting, &c->evaluations};
    for (unsigned l = 0; l < 2; l++)
        for (const struct co_gather *g = lists[l]->head; g; g = g->next)
            own += cm_peer_equal(&g->client, client);
    if (own > CM_QUERIES_QUEUED / 2)
        sim_fail(sim, "%u requests of one client wait", own);
}

static void check_coordinator(struct sim *sim, const struct co_core *c)
{
    uint64_t waiting = c->waiting.count + c->evaluations.count;
    uint64_t bytes = bytes_of(&c->waiting) + bytes_of(&c->evaluations);
    if (waiting > CM_QUERIES_QUEUED || bytes > CM_QUEUED_BYTES_MAX ||
        c->open.count > CM_QUERIES_INFLIGHT)
        sim_fail(sim, "%" PRIu64 " requests wait, of %" PRIu64 " bytes, and %u are open", waiting,
                 bytes, c->open.count);
    for (const struct co_gather *g = c->open.head; g; g = g->next)
        check_gather(sim, g);
    check_credits(sim, c);
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        if (sim->clients[i].host.conn)
            check_share(sim, c, &sim->clients[i].host.conn->peer);
}

static void check_worker(struct sim *sim, const struct sim_worker *w)
{
    uint32_t credits = sim->plan.places[w->place].credits;
    uint64_t scores = 0, hits = 0, images = 0;
    for (uint32_t s = 0; s < sim->plan.gallery.shards; s++)
        images += sim->plan.shards[s].images;
    for (const struct wk_search *s = w->core->head; s; s = s->next)
        for (uint32_t p = 0; p < s->parts_count; p++) {
            scores += s->parts[p].tally.images;
            hits += s->parts[p].topk.k;
        }
    if (w->core->searches_count > credits || scores > credits * images || hits > credits * images)
        sim_fail(sim,
                 "%s holds %u searches for %u credits, %" PRIu64 " scores and %" PRIu64 " hits",
                 w->host.name, w->core->searches_count, credits, scores, hits);
}

/* A map is a client's, or that of a request whose client is gone, or of a search at a worker; when
 * nothing is on its way, there is no other. */
static void check_maps(struct sim *sim)
{
    uint64_t most = sim->ledger.requests_count;
    if (!sim_net_is_empty(sim))
        return;
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        const struct sim_worker *w = &sim->workers[i];
        most += w->core ? w->core->searches_count + w->jobs_out * CM_BATCH_QUERIES_MAX : 0;
    }
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        most += sim_client_flights(&sim->clients[i]);
    if (sim->maps_alive > most)
        sim_fail(sim, "%" PRIu64 " maps are held, for %" PRIu64 " at most", sim->maps_alive, most);
}

void sim_check_pools(struct sim *sim)
{
    if (sim->co.core)
        check_coordinator(sim, sim->co.core);
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        if (sim->workers[i].core)
            check_worker(sim, &sim->workers[i]);
    check_maps(sim);
}
