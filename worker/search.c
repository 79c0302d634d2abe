/* search.c: see search.h. */
#include "worker/search.h"

#include "common/mem.h"

#include <math.h>
#include <stdlib.h>

static enum cm_err init_part(struct wk_part *part, const struct wk_search *s,
                             const struct wk_held *held, struct cm_error *e)
{
    void *p;
    part->shard = held->shard;
    part->blocks_left = held->blocks;
    enum cm_err rc = cm_new(&p, held->blocks, sizeof *part->taken, e);
    part->taken = p;
    if (!rc && s->measure)
        rc = wk_tally_init(&part->tally, held->first_image, held->images, e);
    if (!rc && !s->measure)
        rc = cm_topk_init(&part->topk, s->k < held->images ? s->k : held->images, e);
    return rc;
}

static enum cm_err init_parts(struct wk_search *s, const struct wk_ask *ask,
                              const struct wk_held *held, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, ask->shards_count, sizeof *s->parts, e);
    s->parts = p;
    if (!rc && !s->measure) {
        rc = cm_new(&p, ask->shards_count, sizeof *s->telling, e);
        s->telling = p;
    }
    for (size_t i = 0; !rc && i < ask->shards_count; i++) {
        s->parts_count = s->parts_open = (uint32_t)i + 1;
        rc = init_part(&s->parts[i], s, &held[ask->shards[i].v], e);
        s->images = s->images_left += held[ask->shards[i].v].images;
    }
    return rc;
}

enum cm_err wk_search_new(struct wk_search **out, const struct wk_ask *ask,
                          const struct wk_held *held, size_t packed_bytes, struct cm_blob *map,
                          uint64_t now_ns, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_search *s = *out = p;
    if (rc)
        return rc;
    *s = (struct wk_search){
        .id = ask->id,
        .measure = ask->measure,
        .k = ask->k,
        .pid = ask->pid,
        .camid = ask->camid,
        .want_scores = ask->want_scores,
        .arrived_ns = now_ns,
        .deadline_ns = ask->measure ? UINT64_MAX : now_ns + ask->time_left_us * 1000,
        .dtype = ask->dtype,
        .map = cm_blob_ref(map),
        .company = UINT64_MAX,
    };
    rc = cm_new_aligned(&s->packed, packed_bytes, 1, e);
    if (!rc)
        rc = init_parts(s, ask, held, e);
    if (rc) {
        wk_search_free(s);
        *out = NULL;
    }
    return rc;
}

void wk_search_free(struct wk_search *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->parts_count; i++) {
        free(s->parts[i].taken);
        cm_topk_fini(&s->parts[i].topk);
        wk_tally_fini(&s->parts[i].tally);
    }
    free(s->parts);
    free(s->telling);
    free(s->packed);
    cm_blob_unref(&s->map);
    free(s);
}

struct wk_part *wk_search_part(struct wk_search *s, uint32_t shard)
{
    /* Parts ascend by shard, as SEARCH lists them. */
    uint32_t low = 0, high = s->parts_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->parts[middle].shard < shard)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->parts_count && s->parts[low].shard == shard ? &s->parts[low] : NULL;
}

uint64_t wk_part_free_block(struct wk_part *part, uint64_t blocks)
{
    while (part->next < blocks && part->taken[part->next])
        part->next++;
    return part->next < blocks ? part->next : UINT64_MAX;
}

void wk_part_add(struct wk_part *part, bool measure, const float *scores, size_t count,
                 uint64_t shard_first, uint64_t first)
{
    for (size_t i = 0; i < count; i++)
        part->overflowed += isfinite(scores[i]) ? 0 : 1;
    for (size_t i = 0; !measure && i < count; i++)
        cm_topk_push(&part->topk, (struct cm_hit){scores[i], shard_first + first + i});
    if (measure)
        wk_tally_add(&part->tally, scores, count, first);
    part->images_scored += count;
}
