/* on_client.c: what clients ask: a query, or how the cluster is. */
#include "common/assert.h"
#include "common/geometry.h"
#include "common/mem.h"
#include "coordinator/core.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many elements are looked at together: a fixed number, and no way out in the middle, so that
 * the compiler takes many in one step. A query of the paper's size has 295,000. */
enum { LOOKED_AT = 64 };

/* Is one of LOOKED_AT elements at `p`, which may stand anywhere, infinite or no number? */
static bool any_bad16(const unsigned char *p)
{
    uint16_t bits, bad = 0;
    for (size_t i = 0; i < LOOKED_AT; i++) {
        memcpy(&bits, p + i * sizeof bits, sizeof bits);
        bad |= (uint16_t)((bits & 0x7c00u) == 0x7c00u);
    }
    return bad != 0;
}

static bool any_bad32(const unsigned char *p)
{
    uint32_t bits, bad = 0;
    for (size_t i = 0; i < LOOKED_AT; i++) {
        memcpy(&bits, p + i * sizeof bits, sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad != 0;
}

/* Is every element finite? */
static bool map_is_finite(const struct cm_blob *map, enum cm_dtype dtype)
{
    const unsigned char *p = cm_blob_data(map);
    size_t left = cm_blob_size(map), step = LOOKED_AT * cm_dtype_bytes(dtype);
    bool (*any_bad)(const unsigned char *) = dtype == CM_DTYPE_F16 ? any_bad16 : any_bad32;
    unsigned char rest[LOOKED_AT * sizeof(uint32_t)] = {0};
    for (; left >= step; left -= step, p += step)
        if (any_bad(p))
            return false;
    memcpy(rest, p, left);
    return !any_bad(rest);
}

static enum cm_err check_shape(const struct co_core *c, const struct pr_query *q,
                               struct cm_error *e)
{
    const struct cm_geometry *g = &c->gallery.geometry;
    enum cm_err rc = cm_geometry_check_map(g, "the query", q->height, q->width, q->channels, e);
    if (!rc && q->k > c->gallery.images)
        rc = cm_fail(e, CM_EUSAGE, "k is %u, but the gallery has %" PRIu64 " images", q->k,
                     c->gallery.images);
    return rc;
}

static enum cm_err need_map(const struct cm_blob *payload, struct cm_bytes *out, struct cm_error *e)
{
    if (!payload)
        return cm_fail(e, CM_EFORMAT, "the query carries no map");
    *out = (struct cm_bytes){cm_blob_data(payload), cm_blob_size(payload)};
    return CM_OK;
}

/* Of a map whose size was checked. */
static enum cm_err check_finite(const struct cm_blob *map, enum cm_dtype dtype, struct cm_error *e)
{
    if (!map_is_finite(map, dtype))
        return cm_fail(e, CM_EFORMAT, "the query's map holds a NaN or an infinity");
    return CM_OK;
}

void co_turn_away(struct co_core *c, const struct cm_peer *to, struct cm_query_id id)
{
    co_send_error(c, to, id, PR_ERROR_BUSY, CO_RETRY_MS, "the coordinator is shutting down");
}

/* Refuses a request at the door for the cluster's sake, before anything of it is looked at. True if
 * it did. */
static bool refuse(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                   const struct cm_blob *map)
{
    if (c->closed)
        co_turn_away(c, from, id);
    else if (!c->has_gallery)
        co_send_error(c, from, id, PR_ERROR_NO_GALLERY, CO_RETRY_MS,
                      "no worker has joined this coordinator yet, so there is no gallery");
    else
        return co_refuse_greedy(c, from, id, map);
    return true;
}

void co_on_query(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                 struct cm_bytes header, struct cm_blob *payload)
{
    struct pr_query query;
    struct co_gather *g;
    struct cm_bytes map;
    struct cm_error e;
    if (refuse(c, from, id, payload))
        return;
    enum cm_err rc = pr_query_unpack(header, &query, &e);
    if (!rc && co_refuse_late(c, from, id, query.deadline_ms))
        return;
    if (!rc)
        rc = check_shape(c, &query, &e);
    if (!rc)
        rc = need_map(payload, &map, &e);
    if (!rc)
        rc = pr_query_check_payload(&query, map, &e);
    if (!rc)
        rc = check_finite(payload, query.dtype, &e);
    if (rc)
        co_send_error(c, from, id, PR_ERROR_BAD_QUERY, 0, e.text);
    else if (co_gather_new(&g, &query, from, payload, co_now(c), &e))
        co_send_error(c, from, id, PR_ERROR_INTERNAL, 0, e.text);
    else
        co_admit(c, g);
}

void co_on_evaluate(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                    struct cm_bytes header, struct cm_blob *payload)
{
    struct pr_evaluate m;
    struct co_gather *g;
    struct cm_bytes map;
    struct cm_error e;
    if (refuse(c, from, id, payload))
        return;
    enum cm_err rc = pr_evaluate_unpack(header, &m, &e);
    if (!rc)
        rc = cm_geometry_check_map(&c->gallery.geometry, "the query", m.height, m.width, m.channels,
                                   &e);
    if (!rc)
        rc = need_map(payload, &map, &e);
    if (!rc)
        rc = pr_evaluate_check_payload(&m, map, &e);
    if (!rc)
        rc = check_finite(payload, m.dtype, &e);
    if (rc)
        co_send_error(c, from, id, PR_ERROR_BAD_QUERY, 0, e.text);
    else if (co_gather_new_evaluation(&g, &m, from, payload, co_now(c), &e))
        co_send_error(c, from, id, PR_ERROR_INTERNAL, 0, e.text);
    else
        co_admit(c, g);
}

static uint32_t forget_waiting(struct co_list *list, const struct cm_peer *client)
{
    uint32_t dropped = 0;
    for (struct co_gather *g = list->head, *next; g; g = next) {
        next = g->next;
        if (!cm_peer_equal(&g->client, client))
            continue;
        co_list_remove(list, g);
        co_gather_free(g);
        dropped++;
    }
    return dropped;
}

uint32_t co_forget_client(struct co_core *c, const struct cm_peer *client)
{
    uint32_t dropped = forget_waiting(&c->waiting, client);
    dropped += forget_waiting(&c->evaluations, client);
    c->flow.full &= c->waiting.head != NULL;
    for (struct co_gather *g = c->open.head, *next; g; g = next) {
        next = g->next;
        if (!cm_peer_equal(&g->client, client))
            continue;
        co_abandon(c, g);
        dropped++;
    }
    return dropped;
}

/* What a node is to hold; and what it lacks of that. */
static void fill_node(const struct co_core *c, uint32_t node, struct pr_member *out)
{
    const struct co_node *n = &c->placement.nodes[node];
    uint32_t member = c->member_of[node];
    out->assigned = n->load;
    if (n->draining && out->state == PR_MEMBER_READY)
        out->state = PR_MEMBER_DRAINING;
    for (uint32_t s = 0; s < c->map.shards_count; s++)
        out->moving += co_placement_is_home(&c->placement, s, node) &&
                       (member == CO_NO_MEMBER || c->members.slots[member].holds[s] != CO_HELD);
}

/* A node whose worker is away. */
static void fill_away(const struct co_core *c, uint32_t node, struct pr_member *out)
{
    *out = (struct pr_member){
        .state = PR_MEMBER_AWAY,
        .numeric_class = "-",
        .placed = true,
        .silent_ms = (co_now(c) - c->away_ns[node]) / 1000000,
    };
    snprintf(out->node, sizeof out->node, "%s", c->placement.nodes[node].name);
    fill_node(c, node, out);
}

static void fill_member(const struct co_core *c, const struct co_member *m, struct pr_member *out)
{
    *out = (struct pr_member){
        .incarnation = m->hello.incarnation,
        .state = m->state,
        .threads = m->hello.threads,
        .credits = m->hello.credits,
        .shards = m->shards,
        .images = m->images,
        .searches_done = m->searches_done,
        .pairs_scored = m->pairs_scored,
        .silent_ms = (co_now(c) - m->heard_ns) / 1000000,
        .placed = m->node != CO_NO_NODE,
        .queued = m->queued,
        .memory_bytes = m->memory_bytes,
        .slow = co_member_is_demoted(m),
        .work = m->work,
    };
    if (m->node != CO_NO_NODE)
        fill_node(c, m->node, out);
    snprintf(out->node, sizeof out->node, "%s", m->hello.node);
    snprintf(out->numeric_class, sizeof out->numeric_class, "%s", m->hello.numeric_class);
}

/* The members, and those who should be there, one pass over the open searches for all of them. */
static void list_members(const struct co_core *c, struct pr_status *out)
{
    uint32_t inflight[CM_MEMBERS_MAX] = {0};
    for (const struct co_gather *g = c->open.head; g; g = g->next)
        for (uint32_t p = 0; p < g->parts_count; p++)
            inflight[g->parts[p].member] += g->parts[p].open > 0;
    for (uint32_t m = 0; m < c->members.end; m++) {
        if (!c->members.slots[m].used)
            continue;
        struct pr_member *member = &out->members[out->members_count++];
        fill_member(c, &c->members.slots[m], member);
        member->inflight = inflight[m];
    }
    for (uint32_t n = 0; n < c->placement.end && out->members_count < CM_MEMBERS_MAX; n++)
        if (c->placement.nodes[n].used && c->member_of[n] == CO_NO_MEMBER)
            fill_away(c, n, &out->members[out->members_count++]);
}

/* Shards that a query could be sent to now, at so many workers at least. */
static uint32_t shards_held(const struct co_core *c, uint32_t times)
{
    uint32_t shards = 0;
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        const struct co_shard *shard = &c->map.shards[s];
        uint32_t ready = 0;
        for (uint32_t h = 0; h < shard->holders_count; h++)
            ready += c->members.slots[shard->holders[h]].state == PR_MEMBER_READY;
        shards += ready >= times;
    }
    return shards;
}

/* Those in a list that a client asked for. */
static uint32_t count_of(const struct co_list *list, const struct cm_peer *client)
{
    uint32_t count = 0;
    for (const struct co_gather *g = list->head; g; g = g->next)
        count += cm_peer_equal(&g->client, client);
    return count;
}

static int by_peer(const void *a, const void *b)
{
    const struct cm_peer *x = *(const struct cm_peer *const *)a;
    const struct cm_peer *y = *(const struct cm_peer *const *)b;
    return x->size != y->size ? x->size - y->size : memcmp(x->bytes, y->bytes, x->size);
}

/* How the queue is shared among clients: sorted, since anybody may ask as often as he likes. */
static void count_clients(const struct co_core *c, struct pr_status *out)
{
    const struct co_list *lists[] = {&c->waiting, &c->evaluations};
    const struct cm_peer *clients[CM_QUERIES_QUEUED]; /* admission.c lets no more wait */
    uint32_t count = 0, run = 0;
    for (size_t l = 0; l < 2; l++)
        for (const struct co_gather *g = lists[l]->head; g; g = g->next) {
            CM_ASSERT(count < CM_QUERIES_QUEUED);
            clients[count++] = &g->client;
        }
    qsort(clients, count, sizeof *clients, by_peer);
    for (uint32_t i = 0; i < count; i++) {
        run = i > 0 && cm_peer_equal(clients[i], clients[i - 1]) ? run + 1 : 1;
        out->clients_waiting += run == 1;
        out->most_waiting = run > out->most_waiting ? run : out->most_waiting;
    }
}

static enum cm_err send_status(struct co_core *c, const struct cm_peer *to, struct cm_query_id id,
                               struct cm_error *e)
{
    struct pr_status status = {
        .id = id,
        .epoch = c->epoch,
        .uptime_ms = (co_now(c) - c->started_ns) / 1000000,
        .has_gallery = c->has_gallery,
        .gallery = c->gallery,
        .shards_covered = shards_held(c, 1),
        .replicas = c->placement.replicas,
        .shards_whole = c->config.places ? shards_held(c, c->placement.replicas) : 0,
        .counters = c->counters,
        .queries_waiting = c->waiting.count + c->evaluations.count,
        .queries_inflight = c->open.count,
        .queries_yours =
            count_of(&c->waiting, to) + count_of(&c->evaluations, to) + count_of(&c->open, to),
        .memory_bytes = c->io.memory_bytes(c->io.ctx),
        .pace_us = co_pace_ns(c) / 1000,
    };
    void *p;
    count_clients(c, &status);
    enum cm_err rc = cm_new(&p, c->members.count + c->placement.end, sizeof *status.members, e);
    if (rc)
        return rc;
    status.members = p;
    list_members(c, &status);
    struct pr_buffer packed;
    rc = pr_status_pack(&status, &packed, e);
    free(status.members);
    return rc ? rc : co_send(c, to, &packed, NULL, e);
}

void co_on_status_request(struct co_core *c, const struct cm_peer *from, struct cm_query_id id)
{
    struct cm_error e;
    if (send_status(c, from, id, &e))
        cm_log(c->log, CM_LOG_DEBUG, "status_unsent", "msg=\"%s\"", e.text);
}
