/* reconcile.c: from what is to be (placement.h) and what is (shardmap.h) to orders.
 *
 *   a node lacks a shard of its own    -> PLACE with sources, one at a time, the rarest shard first
 *   it has one that is not its own,
 *   and all whose own it is have it    -> it is asked no more, and PLACE without sources, one at a
 *                                         time
 *   it drains and has none any more    -> DISMISS
 *   it cannot read one, others can     -> as if it were not its own; then it lacks it
 *
 * So at no moment is a shard held less often than before the change. Orders carry the epoch, and
 * none is given that a restart would not remember. */
#include "coordinator/core.h"
#include "proto/wire/control.h"
#include "proto/wire/place.h"

#include <inttypes.h>

/* Is the node's worker here to stay, and has it the shard? */
static bool home_holds(const struct co_core *c, uint32_t node, uint32_t shard)
{
    uint32_t member = c->member_of[node];
    return member != CO_NO_MEMBER && c->members.slots[member].state == PR_MEMBER_READY &&
           c->members.slots[member].holds[shard] == CO_HELD;
}

bool co_is_spare(const struct co_core *c, uint32_t node)
{
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        if (!co_placement_is_home(&c->placement, s, node))
            continue;
        bool found = false;
        for (uint32_t h = 0; h < c->map.shards[s].holders_count; h++) {
            const struct co_member *m = &c->members.slots[c->map.shards[s].holders[h]];
            found |= m->state == PR_MEMBER_READY && m->node != node;
        }
        if (!found)
            return false;
    }
    return true;
}

uint32_t co_moves_left(const struct co_core *c)
{
    uint32_t moves = 0;
    for (uint32_t s = 0; s < c->map.shards_count && c->placement.homes; s++)
        for (uint32_t h = 0; h < c->placement.homes[s].count; h++)
            moves += !home_holds(c, c->placement.homes[s].nodes[h], s);
    return moves;
}

static void send_place(struct co_core *c, uint32_t member, const struct pr_place *place)
{
    struct pr_buffer packed;
    struct cm_error e;
    co_tell(c, &c->members.slots[member].peer, pr_place_pack(place, &packed, &e), &packed, &e);
}

/* The shard that a node lacks and that the fewest have, of those that somebody can give. */
static uint32_t rarest_missing(const struct co_core *c, uint32_t member)
{
    const struct co_member *m = &c->members.slots[member];
    uint32_t best = CO_NO_SHARD;
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        const struct co_shard *shard = &c->map.shards[s];
        if (m->holds[s] == CO_HELD || !co_placement_is_home(&c->placement, s, m->node))
            continue;
        bool rarer =
            best == CO_NO_SHARD || shard->holders_count < c->map.shards[best].holders_count;
        struct pr_sources sources;
        if (rarer && co_pick_sources(c, s, member, &sources) != CO_NO_MEMBER)
            best = s;
    }
    return best;
}

static void order_missing(struct co_core *c, uint32_t member)
{
    struct co_member *m = &c->members.slots[member];
    uint64_t now = co_now(c);
    if (m->order != CO_NO_SHARD || now < m->next_order_ns)
        return;
    uint32_t shard = rarest_missing(c, member);
    if (shard == CO_NO_SHARD)
        return;
    struct pr_place place = {.epoch = c->epoch, .shard = {shard}};
    m->giver = co_pick_sources(c, shard, member, &place.sources);
    m->order = shard;
    m->ordered_ns = now;
    cm_log(c->log, CM_LOG_DEBUG, "shard_ordered", "shard=%u worker=%s from=%s", shard,
           m->hello.node, place.sources.endpoints[0]);
    send_place(c, member, &place);
}

/* Do all whose own it is have it? */
static bool is_at_home(const struct co_core *c, uint32_t shard)
{
    const struct co_homes *homes = &c->placement.homes[shard];
    for (uint32_t h = 0; h < homes->count; h++)
        if (!home_holds(c, homes->nodes[h], shard))
            return false;
    return homes->count > 0;
}

static void let_go(struct co_core *c, uint32_t member, uint32_t shard)
{
    struct co_member *m = &c->members.slots[member];
    struct pr_place place = {.epoch = c->epoch, .shard = {shard}};
    if (m->holds[shard] == CO_HELD) {
        co_shardmap_take(&c->map, member, shard);
        co_member_drop(m, shard, c->map.shards[shard].images, CO_HELD_GOING);
        cm_log(c->log, CM_LOG_DEBUG, "shard_let_go", "shard=%u worker=%s", shard, m->hello.node);
    }
    send_place(c, member, &place);
}

/* One at a time, too: a worker's queue is for searches, and may be short. */
static void order_surplus(struct co_core *c, uint32_t member)
{
    const struct co_member *m = &c->members.slots[member];
    uint32_t surplus = CO_NO_SHARD;
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        if (m->holds[s] == CO_HELD_GOING)
            return;
        if (surplus == CO_NO_SHARD && m->holds[s] == CO_HELD &&
            !co_placement_is_home(&c->placement, s, m->node) && is_at_home(c, s))
            surplus = s;
    }
    if (surplus != CO_NO_SHARD)
        let_go(c, member, surplus);
}

/* Everything of it is with others. It is told again with each heartbeat until it goes. */
static void dismiss(struct co_core *c, uint32_t member)
{
    const struct co_member *m = &c->members.slots[member];
    const struct co_node *node = &c->placement.nodes[m->node];
    if (!node->draining || node->load > 0)
        return;
    for (uint32_t s = 0; s < c->map.shards_count; s++)
        if (m->holds[s] != CO_HELD_NOT)
            return;
    struct pr_control message = {.type = PR_DISMISS, .epoch = c->epoch};
    struct pr_buffer packed;
    struct cm_error e;
    co_tell(c, &m->peer, pr_control_pack(&message, &packed, &e), &packed, &e);
}

static bool takes_orders(const struct co_core *c, uint32_t member)
{
    const struct co_member *m = &c->members.slots[member];
    return m->used && m->node != CO_NO_NODE && m->state == PR_MEMBER_READY && !c->unsaved;
}

void co_distrust(struct co_core *c, uint32_t member, uint32_t shard)
{
    const struct co_member *m = &c->members.slots[member];
    const struct co_shard *s = &c->map.shards[shard];
    bool other = false;
    for (uint32_t h = 0; h < s->holders_count; h++)
        other |=
            s->holders[h] != member && c->members.slots[s->holders[h]].state == PR_MEMBER_READY;
    if (!other || !takes_orders(c, member) || m->holds[shard] != CO_HELD)
        return;
    cm_log(c->log, CM_LOG_WARN, "shard_corrupt", "shard=%u worker=%s effect=\"it is got again\"",
           shard, m->hello.node);
    let_go(c, member, shard);
}

void co_reconcile(struct co_core *c)
{
    for (uint32_t i = 0; i < c->members.end; i++) {
        if (!takes_orders(c, i))
            continue;
        order_missing(c, i);
        order_surplus(c, i);
        dismiss(c, i);
    }
}

/* Words that do not come are said again: what a worker was told and has not done. */
void co_reconcile_member(struct co_core *c, uint32_t member)
{
    const struct co_member *m = &c->members.slots[member];
    if (!takes_orders(c, member))
        return;
    for (uint32_t s = 0; s < c->map.shards_count; s++)
        if (m->holds[s] == CO_HELD_GOING && m->order != s)
            let_go(c, member, s);
    order_missing(c, member);
    order_surplus(c, member);
    dismiss(c, member);
}
