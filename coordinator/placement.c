/* placement.c: see placement.h. */
#include "coordinator/placement.h"

#include "common/assert.h"
#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cm_err co_placement_init(struct co_placement *p, uint32_t shards, struct cm_error *e)
{
    void *homes;
    enum cm_err rc = cm_new(&homes, shards, sizeof *p->homes, e);
    p->homes = homes;
    p->shards_count = rc ? 0 : shards;
    return rc;
}

void co_placement_fini(struct co_placement *p)
{
    free(p->homes);
    *p = (struct co_placement){0};
}

uint32_t co_placement_find(const struct co_placement *p, const char *name)
{
    for (uint32_t n = 0; n < p->end; n++)
        if (p->nodes[n].used && strcmp(p->nodes[n].name, name) == 0)
            return n;
    return CO_NO_NODE;
}

enum cm_err co_placement_add(struct co_placement *p, const char *name, uint32_t *node,
                             struct cm_error *e)
{
    uint32_t n = 0;
    while (n < CM_MEMBERS_MAX && p->nodes[n].used)
        n++;
    if (n == CM_MEMBERS_MAX)
        return cm_fail(e, CM_ELIMIT, "shards are placed on %u nodes, as many as may be",
                       CM_MEMBERS_MAX);
    p->nodes[n] = (struct co_node){.used = true};
    snprintf(p->nodes[n].name, sizeof p->nodes[n].name, "%s", name);
    if (n >= p->end)
        p->end = n + 1;
    *node = n;
    return CM_OK;
}

static bool stays(const struct co_placement *p, uint32_t node)
{
    return p->nodes[node].used && !p->nodes[node].draining;
}

uint32_t co_placement_nodes(const struct co_placement *p)
{
    uint32_t nodes = 0;
    for (uint32_t n = 0; n < p->end; n++)
        nodes += stays(p, n);
    return nodes;
}

uint32_t co_placement_replicas(const struct co_placement *p)
{
    uint32_t nodes = co_placement_nodes(p);
    return nodes < p->replicas ? nodes : p->replicas;
}

bool co_placement_is_home(const struct co_placement *p, uint32_t shard, uint32_t node)
{
    const struct co_homes *h = &p->homes[shard];
    for (uint32_t i = 0; i < h->count; i++)
        if (h->nodes[i] == node)
            return true;
    return false;
}

bool co_placement_put(struct co_placement *p, uint32_t shard, uint32_t node)
{
    struct co_homes *h = &p->homes[shard];
    if (h->count == CM_REPLICAS_MAX || co_placement_is_home(p, shard, node))
        return false;
    h->nodes[h->count++] = node;
    p->nodes[node].load++;
    return true;
}

/* Takes home number `i` away from a shard. The others keep their order. */
static void take_away(struct co_placement *p, uint32_t shard, uint32_t i)
{
    struct co_homes *h = &p->homes[shard];
    p->nodes[h->nodes[i]].load--;
    h->count--;
    for (; i < h->count; i++)
        h->nodes[i] = h->nodes[i + 1];
}

static void take_from(struct co_placement *p, uint32_t shard, uint32_t node)
{
    struct co_homes *h = &p->homes[shard];
    for (uint32_t i = h->count; i-- > 0;)
        if (h->nodes[i] == node)
            take_away(p, shard, i);
}

void co_placement_remove(struct co_placement *p, uint32_t node)
{
    for (uint32_t s = 0; s < p->shards_count; s++)
        take_from(p, s, node);
    CM_ASSERT(p->nodes[node].load == 0);
    p->nodes[node].used = false;
    while (p->end > 0 && !p->nodes[p->end - 1].used)
        p->end--;
}

/* Who is to have one more replica of a shard: of the nodes with the lowest load one that has it. */
static uint32_t new_home(const struct co_placement *p, uint32_t shard, co_has_shard *has,
                         const void *ctx)
{
    uint32_t best = CO_NO_NODE;
    bool best_has = false;
    for (uint32_t n = 0; n < p->end; n++) {
        if (!stays(p, n) || co_placement_is_home(p, shard, n))
            continue;
        bool n_has = has && has(ctx, shard, n);
        bool better = best == CO_NO_NODE || p->nodes[n].load < p->nodes[best].load ||
                      (p->nodes[n].load == p->nodes[best].load && n_has && !best_has);
        if (!better)
            continue;
        best = n;
        best_has = n_has;
    }
    return best;
}

/* The home of a shard with the most to hold. */
static uint32_t fullest_home(const struct co_placement *p, uint32_t shard)
{
    const struct co_homes *h = &p->homes[shard];
    uint32_t fullest = 0;
    for (uint32_t i = 1; i < h->count; i++)
        if (p->nodes[h->nodes[i]].load >= p->nodes[h->nodes[fullest]].load)
            fullest = i;
    return fullest;
}

static void fit_count(struct co_placement *p, uint32_t shard, uint32_t replicas, co_has_shard *has,
                      const void *ctx)
{
    struct co_homes *h = &p->homes[shard];
    while (h->count > replicas)
        take_away(p, shard, fullest_home(p, shard));
    while (h->count < replicas)
        co_placement_put(p, shard, new_home(p, shard, has, ctx));
}

/* The nodes with the highest and the lowest load. */
static void find_extremes(const struct co_placement *p, uint32_t *most, uint32_t *least)
{
    *most = *least = CO_NO_NODE;
    for (uint32_t n = 0; n < p->end; n++) {
        if (!stays(p, n))
            continue;
        if (*most == CO_NO_NODE || p->nodes[n].load > p->nodes[*most].load)
            *most = n;
        if (*least == CO_NO_NODE || p->nodes[n].load < p->nodes[*least].load)
            *least = n;
    }
}

/* A shard of `from` that `to` lacks, one that it has on its disk if there is such a one; the search
 * begins at `start`, so that what is given away is spread over the gallery. There is one: `from`
 * has more shards than `to`. */
static uint32_t movable_shard(const struct co_placement *p, uint32_t from, uint32_t to,
                              uint32_t start, co_has_shard *has, const void *ctx)
{
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < p->shards_count; i++) {
        uint32_t s = (start + i) % p->shards_count;
        if (!co_placement_is_home(p, s, from) || co_placement_is_home(p, s, to))
            continue;
        if (!has || has(ctx, s, to))
            return s;
        if (found == UINT32_MAX)
            found = s;
    }
    CM_ASSERT(found != UINT32_MAX);
    return found;
}

static void even_out(struct co_placement *p, co_has_shard *has, const void *ctx)
{
    uint32_t most, least, start = 0;
    for (;;) {
        find_extremes(p, &most, &least);
        if (most == CO_NO_NODE || p->nodes[most].load - p->nodes[least].load < 2)
            return;
        uint32_t s = movable_shard(p, most, least, start, has, ctx);
        take_from(p, s, most);
        co_placement_put(p, s, least);
        start = (s + 1) % p->shards_count;
    }
}

void co_placement_settle(struct co_placement *p, co_has_shard *has, const void *ctx)
{
    uint32_t replicas = co_placement_replicas(p);
    if (replicas == 0)
        return;
    for (uint32_t s = 0; s < p->shards_count; s++)
        for (uint32_t n = 0; n < p->end; n++)
            if (p->nodes[n].used && p->nodes[n].draining)
                take_from(p, s, n);
    for (uint32_t s = 0; s < p->shards_count; s++)
        fit_count(p, s, replicas, has, ctx);
    even_out(p, has, ctx);
}
