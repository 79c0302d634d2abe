/* gather.c: see gather.h. */
#include "coordinator/gather.h"

#include "common/assert.h"
#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cm_err co_gather_new(struct co_gather **out, const struct pr_query *query,
                          const struct cm_peer *client, struct cm_blob *payload, uint64_t now_ns,
                          struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    **out = (struct co_gather){
        .client = *client,
        .client_id = query->id,
        .k = query->k,
        .dtype = query->dtype,
        .payload_crc32c = query->payload_crc32c,
        .payload = cm_blob_ref(payload),
        .deadline_after_ns = query->deadline_ms * UINT64_C(1000000),
        .arrived_ns = now_ns,
    };
    return CM_OK;
}

static void free_hits(struct pr_hit *hits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free((char *)(uintptr_t)hits[i].meta.name);
    free(hits);
}

void co_gather_free(struct co_gather *g)
{
    if (!g)
        return;
    cm_blob_unref(&g->payload);
    free_hits(g->hits, g->hits_count);
    free(g->slots);
    free(g->parts);
    free(g);
}

enum cm_err co_gather_open(struct co_gather *g, uint32_t shards, uint32_t parts, uint64_t now_ns,
                           struct cm_error *e)
{
    void *slots_p, *parts_p = NULL;
    enum cm_err rc = cm_new(&slots_p, shards, sizeof *g->slots, e);
    if (!rc)
        rc = cm_new(&parts_p, parts, sizeof *g->parts, e);
    if (rc) {
        free(slots_p);
        return rc;
    }
    g->slots = slots_p;
    g->parts = parts_p;
    g->slots_count = g->slots_open = shards;
    for (uint32_t s = 0; s < shards; s++)
        g->slots[s].part = CO_NO_PART;
    g->dispatched_ns = now_ns;
    g->deadline_ns = now_ns + g->deadline_after_ns;
    return CM_OK;
}

void co_gather_assign(struct co_gather *g, uint32_t shard, uint32_t part)
{
    g->slots[shard].part = part;
    g->parts[part].open++;
}

void co_gather_close_slot(struct co_gather *g, uint32_t shard, enum pr_reason reason)
{
    struct co_slot *slot = &g->slots[shard];
    if (slot->closed)
        return;
    slot->closed = true;
    slot->reason = reason;
    g->slots_open--;
    if (slot->part != CO_NO_PART)
        g->parts[slot->part].open--;
}

void co_gather_lose(struct co_gather *g, uint32_t member)
{
    for (uint32_t s = 0; s < g->slots_count; s++) {
        uint32_t part = g->slots[s].part;
        if (part != CO_NO_PART && g->parts[part].member == member)
            co_gather_close_slot(g, s, PR_REASON_WORKER_LOST);
    }
}

/* Copies one hit with a name of its own. */
static enum cm_err copy_hit(struct pr_hit *to, const struct pr_hit *from, struct cm_error *e)
{
    char *name;
    enum cm_err rc = cm_copy_text(&name, from->meta.name, e);
    *to = *from;
    to->meta.name = name;
    return rc;
}

/* Merges a result's hits (best first) into ours, keeping at most k. Both lists are ordered, so the
 * k best of both are a walk along them; names of ours move, names of theirs are copied when kept.
 */
static enum cm_err merge_hits(struct co_gather *g, const struct pr_hit *theirs, size_t count,
                              struct cm_error *e)
{
    size_t room = g->hits_count + count < g->k ? g->hits_count + count : g->k;
    void *p;
    enum cm_err rc = cm_new(&p, room, sizeof *g->hits, e);
    if (rc)
        return rc;
    struct pr_hit *merged = p;
    size_t ours_at = 0, theirs_at = 0, n = 0;
    while (!rc && n < room) {
        bool take_ours =
            theirs_at == count || (ours_at < g->hits_count &&
                                   cm_hit_before(&g->hits[ours_at].hit, &theirs[theirs_at].hit));
        if (take_ours)
            merged[n] = g->hits[ours_at++];
        else
            rc = copy_hit(&merged[n], &theirs[theirs_at++], e);
        n += rc == CM_OK;
    }
    for (; ours_at < g->hits_count; ours_at++)
        free((char *)(uintptr_t)g->hits[ours_at].meta.name);
    free(g->hits);
    g->hits = merged;
    g->hits_count = n;
    return rc;
}

static void note_class(struct co_gather *g, const char *numeric_class)
{
    if (!g->numeric_class[0])
        snprintf(g->numeric_class, sizeof g->numeric_class, "%s", numeric_class);
    g->mixed |= strcmp(g->numeric_class, numeric_class) != 0;
}

static void raise_to(uint64_t *longest, uint64_t value)
{
    if (value > *longest)
        *longest = value;
}

enum cm_err co_gather_on_result(struct co_gather *g, uint32_t member, const char *numeric_class,
                                const struct pr_result *result, struct cm_error *e)
{
    CM_ASSERT(result->shard.v < g->slots_count);
    struct co_slot *slot = &g->slots[result->shard.v];
    if (slot->part == CO_NO_PART || g->parts[slot->part].member != member)
        return cm_fail(e, CM_EMISMATCH, "shard %u was asked of another worker", result->shard.v);
    if (slot->closed)
        return cm_fail(e, CM_EEXIST, "shard %u has its answer", result->shard.v);
    enum cm_err rc = merge_hits(g, result->hits.items, result->hits.count, e);
    if (rc) {
        co_gather_close_slot(g, result->shard.v, PR_REASON_INTERNAL);
        return rc;
    }
    co_gather_close_slot(g, result->shard.v, result->reason);
    slot->images_scored = result->images_scored;
    g->overflowed += result->overflowed;
    if (result->images_scored)
        note_class(g, numeric_class);
    raise_to(&g->timings.project_us, result->project_us);
    raise_to(&g->timings.score_us, result->score_us);
    return CM_OK;
}

enum cm_err co_gather_answer(const struct co_gather *g, uint64_t images, struct pr_answer *out,
                             struct cm_error *e)
{
    *out = (struct pr_answer){
        .id = g->client_id,
        .images = images,
        .shards = g->slots_count,
        .overflowed = g->overflowed,
        .mixed = g->mixed,
        .timings = g->timings,
        .hits = {.items = g->hits, .count = g->hits_count},
    };
    void *p;
    enum cm_err rc = cm_new(&p, g->slots_count, sizeof *out->missing, e);
    if (rc)
        return rc;
    out->missing = p;
    for (uint32_t s = 0; s < g->slots_count; s++) {
        const struct co_slot *slot = &g->slots[s];
        enum pr_reason reason = slot->closed ? slot->reason : PR_REASON_DEADLINE;
        out->images_scored += slot->images_scored;
        out->shards_scored += reason == PR_REASON_NONE;
        if (reason != PR_REASON_NONE)
            out->missing[out->missing_count++] =
                (struct pr_missing_shard){{s}, reason, slot->images_scored, slot->images};
    }
    return CM_OK;
}
