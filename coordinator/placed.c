/* placed.c: nodes come and go, and the map that outlasts the coordinator. */
#include "common/mem.h"
#include "coordinator/core.h"
#include "proto/file/map.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define SAVE_AGAIN_NS UINT64_C(1000000000)

/* Takes over one shard of a saved map; `node_of` says where its nodes are in our table. */
static void restore_shard(struct co_core *c, uint32_t shard, const struct pr_map_shard *saved,
                          const uint32_t *node_of)
{
    c->map.shards[shard].first_image = saved->first_image;
    c->map.shards[shard].images = saved->images;
    for (uint32_t h = 0; h < saved->homes_count; h++)
        co_placement_put(&c->placement, shard, node_of[saved->homes[h]]);
}

static enum cm_err restore_gallery(struct co_core *c, const struct pr_map *map, struct cm_error *e)
{
    uint32_t node_of[CM_MEMBERS_MAX];
    c->gallery.gallery = map->gallery;
    c->gallery.model = map->model;
    c->gallery.images = map->images;
    c->gallery.shards = map->shards_count;
    enum cm_err rc = co_shardmap_init(&c->map, map->shards_count, e);
    if (!rc)
        rc = co_placement_init(&c->placement, map->shards_count, e);
    for (uint32_t n = 0; !rc && n < map->nodes_count; n++) {
        rc = co_placement_add(&c->placement, map->nodes[n].name, &node_of[n], e);
        if (rc)
            break;
        c->placement.nodes[node_of[n]].draining = map->nodes[n].draining;
        c->away_ns[node_of[n]] = c->started_ns;
    }
    for (uint32_t s = 0; !rc && s < map->shards_count; s++)
        restore_shard(c, s, &map->shards[s], node_of);
    return rc;
}

/* The map as it is now. The caller frees nodes and shards with pr_map_fini. */
static enum cm_err make_map(const struct co_core *c, struct pr_map *m, struct cm_error *e)
{
    uint32_t index_of[CM_MEMBERS_MAX];
    const struct co_placement *p = &c->placement;
    void *nodes = NULL, *shards = NULL;
    *m = (struct pr_map){
        .epoch = c->epoch,
        .replicas = p->replicas,
        .has_gallery = c->map.shards_count > 0,
        .gallery = c->gallery.gallery,
        .model = c->gallery.model,
        .images = c->gallery.images,
        .shards_count = c->map.shards_count,
    };
    enum cm_err rc = cm_new(&nodes, p->end, sizeof *m->nodes, e);
    if (!rc)
        rc = cm_new(&shards, m->shards_count, sizeof *m->shards, e);
    m->nodes = nodes;
    m->shards = shards;
    for (uint32_t n = 0; !rc && n < p->end; n++) {
        if (!p->nodes[n].used)
            continue;
        struct pr_map_node *node = &m->nodes[m->nodes_count];
        snprintf(node->name, sizeof node->name, "%s", p->nodes[n].name);
        node->draining = p->nodes[n].draining;
        index_of[n] = m->nodes_count++;
    }
    for (uint32_t s = 0; !rc && s < m->shards_count; s++) {
        const struct co_homes *homes = &p->homes[s];
        m->shards[s] = (struct pr_map_shard){.first_image = c->map.shards[s].first_image,
                                             .images = c->map.shards[s].images,
                                             .homes_count = homes->count};
        for (uint32_t h = 0; h < homes->count; h++)
            m->shards[s].homes[h] = index_of[homes->nodes[h]];
    }
    return rc;
}

static enum cm_err save(struct co_core *c, struct cm_error *e)
{
    struct pr_map map;
    char *text = NULL;
    enum cm_err rc = make_map(c, &map, e);
    if (!rc)
        rc = pr_map_write(&map, &text, e);
    if (!rc)
        rc = c->io.save(c->io.ctx, text, e);
    free(text);
    pr_map_fini(&map);
    return rc;
}

/* Begins an epoch and saves. If that fails the old one stays, since nobody may see one that a
 * restart would not remember, and no order is given until it succeeds. */
static void save_or_wait(struct co_core *c)
{
    struct cm_error e;
    c->epoch++;
    bool failed = save(c, &e) != CM_OK;
    c->epoch -= failed;
    if (failed && !c->unsaved)
        cm_log(c->log, CM_LOG_ERROR, "map_unsaved",
               "msg=\"%s\" effect=\"no shard moves until it can be saved\"", e.text);
    else if (!failed && c->unsaved)
        cm_log(c->log, CM_LOG_INFO, "map_saved", "epoch=%" PRIu64, c->epoch);
    c->unsaved = failed;
    c->save_again_ns = co_now(c) + SAVE_AGAIN_NS;
}

enum cm_err co_restore(struct co_core *c, const struct pr_map *map, struct cm_error *e)
{
    c->placement.replicas = map ? map->replicas : c->config.replicas;
    enum cm_err rc = map && map->has_gallery ? restore_gallery(c, map, e) : CM_OK;
    c->epoch = (map ? map->epoch : 0) + 1;
    return rc ? rc : save(c, e);
}

void co_next_epoch(struct co_core *c)
{
    if (c->config.places)
        save_or_wait(c);
    else
        c->epoch++;
}

/* co_has_shard: is the node's worker here, and has it the shard? */
static bool has_shard(const void *ctx, uint32_t shard, uint32_t node)
{
    const struct co_core *c = ctx;
    uint32_t member = c->member_of[node];
    return member != CO_NO_MEMBER && c->members.slots[member].holds[shard] == CO_HELD;
}

void co_settle_placement(struct co_core *c)
{
    co_placement_settle(&c->placement, has_shard, c);
    co_next_epoch(c);
    cm_log(c->log, CM_LOG_INFO, "placed", "epoch=%" PRIu64 " nodes=%u replicas=%u moves=%u",
           c->epoch, co_placement_nodes(&c->placement), c->placement.replicas, co_moves_left(c));
}

enum cm_err co_enter_node(struct co_core *c, uint32_t member, struct cm_error *e)
{
    struct co_member *m = &c->members.slots[member];
    if (!c->config.places || !m->hello.placed)
        return CM_OK;
    uint32_t node = co_placement_find(&c->placement, m->hello.node);
    bool fresh = node == CO_NO_NODE;
    enum cm_err rc = fresh ? co_placement_add(&c->placement, m->hello.node, &node, e) : CM_OK;
    if (rc)
        return rc;
    m->node = node;
    c->member_of[node] = member;
    if (fresh)
        co_settle_placement(c);
    return CM_OK;
}

void co_leave_node(struct co_core *c, uint32_t member)
{
    const struct co_member *m = &c->members.slots[member];
    uint32_t node = m->node;
    if (node == CO_NO_NODE)
        return;
    c->member_of[node] = CO_NO_MEMBER;
    c->away_ns[node] = co_now(c);
    const struct co_node *n = &c->placement.nodes[node];
    if (!n->draining || n->load > 0 || m->shards > 0)
        return;
    cm_log(c->log, CM_LOG_INFO, "node_drained", "node=%s", n->name);
    co_placement_remove(&c->placement, node);
}

static uint64_t replace_ns(const struct co_core *c, uint32_t node)
{
    return c->away_ns[node] + c->config.replace_after_ns;
}

static bool is_away(const struct co_core *c, uint32_t node)
{
    return c->placement.nodes[node].used && c->member_of[node] == CO_NO_MEMBER;
}

/* A node that is alone with a shard is waited for: nobody else could give it to another. */
static void replace_node(struct co_core *c, uint32_t node)
{
    if (!is_away(c, node) || co_now(c) < replace_ns(c, node) || !co_is_spare(c, node))
        return;
    cm_log(c->log, CM_LOG_WARN, "node_replaced", "node=%s shards=%u", c->placement.nodes[node].name,
           c->placement.nodes[node].load);
    co_placement_remove(&c->placement, node);
    co_settle_placement(c);
}

void co_placement_tick(struct co_core *c)
{
    if (!c->config.places)
        return;
    if (c->unsaved && co_now(c) >= c->save_again_ns)
        save_or_wait(c);
    for (uint32_t n = 0; n < c->placement.end; n++)
        replace_node(c, n);
    co_reconcile(c);
}

uint64_t co_placement_wakeup_ns(const struct co_core *c)
{
    uint64_t next = c->unsaved ? c->save_again_ns : UINT64_MAX, now = co_now(c);
    for (uint32_t n = 0; n < c->placement.end; n++)
        if (is_away(c, n) && replace_ns(c, n) > now && replace_ns(c, n) < next)
            next = replace_ns(c, n);
    for (uint32_t i = 0; i < c->members.end; i++) {
        const struct co_member *m = &c->members.slots[i];
        if (m->used && m->next_order_ns > now && m->next_order_ns < next)
            next = m->next_order_ns;
    }
    return next;
}
