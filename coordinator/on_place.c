/* on_place.c: what workers say about shards that come and go, and what operators ask. */
#include "coordinator/core.h"
#include "proto/wire/join.h"
#include "proto/wire/operate.h"
#include "proto/wire/place.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ORDER_AGAIN_NS UINT64_C(1000000000) /* after a shard could not be had */

/* Shards that this member gives to others now, as far as it was named first. */
static uint32_t giving(const struct co_core *c, uint32_t member)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->members.end; i++)
        count += c->members.slots[i].used && c->members.slots[i].order != CO_NO_SHARD &&
                 c->members.slots[i].giver == member;
    return count;
}

static bool can_give(const struct co_core *c, uint32_t member, uint32_t shard)
{
    const struct co_member *m = &c->members.slots[member];
    return m->used && m->state == PR_MEMBER_READY && m->hello.endpoint[0] != '\0' &&
           (shard == CO_NO_SHARD || m->holds[shard] == CO_HELD);
}

uint32_t co_pick_sources(const struct co_core *c, uint32_t shard, uint32_t except,
                         struct pr_sources *out)
{
    uint32_t picked[CM_SOURCES_MAX], load[CM_SOURCES_MAX];
    out->count = 0;
    for (uint32_t i = 0; i < c->members.end; i++) {
        if (i == except || !can_give(c, i, shard))
            continue;
        uint32_t gives = giving(c, i), at = out->count;
        if (at == CM_SOURCES_MAX && gives >= load[at - 1])
            continue;
        out->count += at < CM_SOURCES_MAX;
        for (at = out->count - 1; at > 0 && load[at - 1] > gives; at--) {
            load[at] = load[at - 1];
            picked[at] = picked[at - 1];
        }
        load[at] = gives;
        picked[at] = i;
    }
    for (uint32_t i = 0; i < out->count; i++)
        snprintf(out->endpoints[i], sizeof out->endpoints[i], "%s",
                 c->members.slots[picked[i]].hello.endpoint);
    return out->count > 0 ? picked[0] : CO_NO_MEMBER;
}

void co_on_join(struct co_core *c, const struct cm_peer *from, struct cm_bytes header)
{
    struct pr_join join;
    struct pr_buffer packed;
    struct cm_error e;
    if (pr_join_unpack(header, &join, &e)) {
        co_on_garbage(c, from, e.text);
        return;
    }
    if (!c->config.places) {
        co_refuse(c, from, join.node, PR_REFUSAL_NOT_PLACING,
                  "this coordinator gives nobody shards: start it with --state FILE, or the "
                  "worker on a gallery that 'vitrine import' made");
        return;
    }
    struct pr_givers givers = {.epoch = c->epoch, .gallery = c->gallery.gallery};
    co_pick_sources(c, CO_NO_SHARD, CO_NO_MEMBER, &givers.sources);
    co_tell(c, from, pr_givers_pack(&givers, &packed, &e), &packed, &e);
}

/* A worker has a shard that it had not. */
static enum cm_err gain(struct co_core *c, uint32_t member, const struct pr_holds *holds,
                        struct cm_error *e)
{
    struct co_member *m = &c->members.slots[member];
    struct pr_held_shard held = {holds->shard, holds->first_image, holds->images};
    struct pr_hello hello = {.gallery = c->gallery, .held = &held, .held_count = 1};
    if (holds->first_image + holds->images > c->gallery.images)
        return cm_fail(e, CM_EMISMATCH, "shard %u ends behind the gallery", holds->shard.v);
    enum cm_err rc = co_shardmap_check(&c->map, &hello, e);
    if (rc || m->holds[holds->shard.v] == CO_HELD)
        return rc;
    rc = co_shardmap_put(&c->map, member, &held, e);
    if (rc)
        return rc;
    co_member_gain(m, holds->shard.v, holds->images);
    c->settled |= c->map.covered == c->map.shards_count;
    cm_log(c->log, CM_LOG_INFO, "shard_arrived", "shard=%u worker=%s holders=%u moves_left=%u",
           holds->shard.v, m->hello.node, c->map.shards[holds->shard.v].holders_count,
           co_moves_left(c));
    return CM_OK;
}

/* A worker has a shard no more, or could not get it. */
static void lack(struct co_core *c, uint32_t member, const struct pr_holds *holds)
{
    struct co_member *m = &c->members.slots[member];
    uint32_t shard = holds->shard.v;
    if (m->holds[shard] == CO_HELD) {
        co_shardmap_take(&c->map, member, shard);
        co_member_drop(m, shard, c->map.shards[shard].images, CO_HELD_NOT);
    }
    m->holds[shard] = CO_HELD_NOT;
    if (holds->text[0] == '\0')
        return;
    cm_log(c->log, CM_LOG_WARN, "shard_failed", "shard=%u worker=%s msg=\"%s\"", shard,
           m->hello.node, holds->text);
    m->next_order_ns = co_now(c) + ORDER_AGAIN_NS;
}

void co_on_holds(struct co_core *c, uint32_t member, struct cm_bytes header)
{
    struct co_member *m = &c->members.slots[member];
    struct pr_holds holds;
    struct cm_error e;
    enum cm_err rc = pr_holds_unpack(header, &holds, &e);
    if (!rc && m->node == CO_NO_NODE)
        rc = cm_fail(&e, CM_EFORMAT, "news of shards from a worker that keeps what it has");
    if (!rc && holds.shard.v >= c->map.shards_count)
        rc = cm_fail(&e, CM_EFORMAT, "news of shard %u of %u", holds.shard.v, c->map.shards_count);
    if (!rc && holds.images > 0)
        rc = gain(c, member, &holds, &e);
    else if (!rc)
        lack(c, member, &holds);
    if (rc) {
        co_on_garbage(c, &m->peer, e.text);
        return;
    }
    if (m->order == holds.shard.v)
        m->order = CO_NO_SHARD;
    co_reconcile(c);
    co_scatter_waiting(c);
}

static void send_placed(struct co_core *c, const struct cm_peer *to, struct cm_query_id id)
{
    struct pr_placed placed = {
        .id = id,
        .epoch = c->epoch,
        .replicas = c->placement.replicas,
        .nodes = co_placement_nodes(&c->placement),
        .moves = co_moves_left(c),
    };
    struct pr_buffer packed;
    struct cm_error e;
    co_tell(c, to, pr_placed_pack(&placed, &packed, &e), &packed, &e);
}

static enum cm_err check_places(const struct co_core *c, struct cm_error *e)
{
    if (!c->config.places)
        return cm_fail(e, CM_EUSAGE,
                       "this coordinator places no shards: it was started without "
                       "--state FILE");
    return CM_OK;
}

/* Why a node that is used cannot be drained, unless by force. */
static enum cm_err check_drain(const struct co_core *c, uint32_t node, bool force,
                               struct cm_error *e)
{
    const struct co_node *n = &c->placement.nodes[node];
    uint32_t left = co_placement_nodes(&c->placement) - !n->draining;
    bool away = c->member_of[node] == CO_NO_MEMBER;
    if (left == 0)
        return cm_fail(e, CM_EUSAGE, "%s is the last node: nobody could take its shards", n->name);
    if (!force && left < c->placement.replicas)
        return cm_fail(e, CM_EUSAGE,
                       "without %s there are %u nodes for %u replicas: add a worker, ask for fewer "
                       "replicas, or use --force",
                       n->name, left, c->placement.replicas);
    if (!force && away && !co_is_spare(c, node))
        return cm_fail(e, CM_EUSAGE,
                       "%s is away, and alone has some of its shards: start it again, or use "
                       "--force to do without them until it comes back",
                       n->name);
    return CM_OK;
}

static enum cm_err drain(struct co_core *c, const struct pr_drain *message, struct cm_error *e)
{
    uint32_t node = co_placement_find(&c->placement, message->node);
    enum cm_err rc = check_places(c, e);
    if (rc)
        return rc;
    if (node == CO_NO_NODE && co_members_find_node(&c->members, message->node) != CO_NO_MEMBER)
        return cm_fail(e, CM_EUSAGE, "%s was started with --shards and keeps them: stop it instead",
                       message->node);
    if (node == CO_NO_NODE)
        return cm_fail(e, CM_ENOENT, "no node is called %s: see 'vitrine status'", message->node);
    rc = check_drain(c, node, message->force, e);
    if (rc)
        return rc;
    c->placement.nodes[node].draining = true;
    cm_log(c->log, CM_LOG_INFO, "node_draining", "node=%s force=%d", message->node, message->force);
    co_settle_placement(c);
    if (c->member_of[node] == CO_NO_MEMBER) {
        co_placement_remove(&c->placement, node);
        co_next_epoch(c);
    }
    return CM_OK;
}

/* Answers an operator, and sets to work. */
static void reply(struct co_core *c, const struct cm_peer *to, struct cm_query_id id,
                  enum cm_err rc, const struct cm_error *e)
{
    if (rc) {
        co_send_error(c, to, id, PR_ERROR_REFUSED, 0, e->text);
        return;
    }
    send_placed(c, to, id);
    co_reconcile(c);
    co_scatter_waiting(c);
}

void co_on_drain(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                 struct cm_bytes header)
{
    struct pr_drain message;
    struct cm_error e;
    enum cm_err rc = pr_drain_unpack(header, &message, &e);
    if (!rc)
        rc = drain(c, &message, &e);
    reply(c, from, id, rc, &e);
}

void co_on_replicas(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                    struct cm_bytes header)
{
    struct pr_replicas message;
    struct cm_error e;
    enum cm_err rc = pr_replicas_unpack(header, &message, &e);
    if (!rc)
        rc = check_places(c, &e);
    if (!rc) {
        c->placement.replicas = message.replicas;
        co_settle_placement(c);
    }
    reply(c, from, id, rc, &e);
}
