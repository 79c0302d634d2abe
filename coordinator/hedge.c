/* hedge.c: which answers of a query are late, and what may be done about it.
 *
 * A shard that has not answered by its replica set's recent p95 is asked of a second holder: a
 * hedge. That p95 is the longest of its holders' own, those that are demoted left out. It is never
 * below the p95 of all their answers taken together: a query waits a little longer rather than
 * being hedged for nothing where one holder's machine, or its share, is larger than another's.
 * Hedges are bought: each shard of a query that is dispatched pays --hedge-percent hundredths of
 * one, and what is not spent is kept up to one query's worth.
 *
 * A shard that a demoted member still has to answer is late at once, and what is then asked of
 * another is no hedge: it is moved. The first answer counts here too. */
#include "coordinator/core.h"

/* A hedge gains less than it costs before that. */
#define DELAY_LEAST_NS UINT64_C(1000000)
/* What could not be hedged is looked at again when it has waited for as long once more, but not
 * before this. */
#define AGAIN_LEAST_NS UINT64_C(10000000)

void co_pay_for_hedges(struct co_core *c, const struct co_gather *g)
{
    uint64_t most = (uint64_t)g->slots_count * CO_HEDGE_COST;
    for (uint32_t s = 0; s < g->slots_count; s++)
        c->hedge_room += g->slots[s].part != CO_NO_PART ? c->config.hedge_percent : 0;
    if (c->hedge_room > most)
        c->hedge_room = most;
}

static bool is_in_favour(const struct co_member *m)
{
    return m->state == PR_MEMBER_READY && !co_member_is_demoted(m);
}

/* The p95 of a shard's replica set; UINT64_MAX if too few answers are known. */
static uint64_t usual_ns(const struct co_core *c, const struct co_shard *s)
{
    uint64_t longest = 0;
    for (uint32_t h = 0; h < s->holders_count; h++) {
        const struct co_member *m = &c->members.slots[s->holders[h]];
        uint64_t p95_ns = co_latency_p95_ns(&m->latency);
        if (is_in_favour(m) && p95_ns != UINT64_MAX && p95_ns > longest)
            longest = p95_ns;
    }
    if (longest == 0)
        return UINT64_MAX;
    return longest > DELAY_LEAST_NS ? longest : DELAY_LEAST_NS;
}

static bool has_other(const struct co_core *c, const struct co_shard *s, uint32_t member)
{
    for (uint32_t h = 0; h < s->holders_count; h++)
        if (s->holders[h] != member && is_in_favour(&c->members.slots[s->holders[h]]))
            return true;
    return false;
}

bool co_is_hedge(const struct co_core *c, const struct co_gather *g, uint32_t shard)
{
    return !co_member_is_demoted(&c->members.slots[g->parts[g->slots[shard].part].member]);
}

uint64_t co_slot_due_ns(const struct co_core *c, const struct co_gather *g, uint32_t shard)
{
    const struct co_slot *slot = &g->slots[shard];
    if (slot->closed || slot->homeless || slot->second != CO_NO_PART)
        return UINT64_MAX;
    const struct co_part *part = &g->parts[slot->part];
    if (!has_other(c, &c->map.shards[shard], part->member))
        return UINT64_MAX;
    if (!co_is_hedge(c, g, shard))
        return part->sent_ns;
    uint64_t usual = c->config.hedge_percent ? usual_ns(c, &c->map.shards[shard]) : UINT64_MAX;
    return usual == UINT64_MAX ? UINT64_MAX : part->sent_ns + usual;
}

void co_schedule_look(const struct co_core *c, struct co_gather *g, bool looked)
{
    uint64_t now = co_now(c);
    g->look_ns = UINT64_MAX;
    for (uint32_t s = 0; s < g->slots_count && co_gather_may_hedge(g); s++) {
        uint64_t due = co_slot_due_ns(c, g, s);
        if (looked && due <= now) {
            uint64_t age = now - g->parts[g->slots[s].part].sent_ns;
            due = now + (age > AGAIN_LEAST_NS ? age : AGAIN_LEAST_NS);
        }
        if (due < g->look_ns)
            g->look_ns = due;
    }
}
