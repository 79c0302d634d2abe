/* search.c: see search.h. */
#include "worker/search.h"

#include "common/mem.h"

#include <math.h>
#include <stdlib.h>

static enum cm_err init_part(struct wk_part *part, uint32_t held, uint32_t k,
                             const struct wk_held *shard, struct cm_error *e)
{
    void *p;
    part->held = held;
    part->blocks_left = shard->blocks;
    enum cm_err rc = cm_new(&p, shard->blocks, sizeof *part->taken, e);
    part->taken = p;
    return rc ? rc : cm_topk_init(&part->topk, k < shard->images ? k : shard->images, e);
}

static enum cm_err init_parts(struct wk_search *s, const struct pr_search *message,
                              const uint32_t *held_of, const struct wk_config *config,
                              struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, message->shards_count, sizeof *s->parts, e);
    s->parts = p;
    for (size_t i = 0; !rc && i < message->shards_count; i++) {
        s->parts_count = s->parts_open = (uint32_t)i + 1;
        rc = init_part(&s->parts[i], held_of[i], s->k, &config->held[held_of[i]], e);
    }
    return rc;
}

enum cm_err wk_search_new(struct wk_search **out, const struct pr_search *message,
                          const uint32_t *held_of, const struct wk_config *config,
                          struct cm_blob *map, uint64_t now_ns, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_search *s = *out = p;
    if (rc)
        return rc;
    *s = (struct wk_search){
        .id = message->id,
        .k = message->k,
        .arrived_ns = now_ns,
        .deadline_ns = now_ns + message->time_left_us * 1000,
        .dtype = message->dtype,
        .map = cm_blob_ref(map),
    };
    rc = cm_new_aligned(&s->packed, config->packed_bytes, 1, e);
    if (!rc)
        rc = init_parts(s, message, held_of, config, e);
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
    }
    free(s->parts);
    free(s->packed);
    cm_blob_unref(&s->map);
    free(s);
}

struct wk_part *wk_search_part(struct wk_search *s, uint32_t held)
{
    /* Parts ascend by shard, as SEARCH lists them and as held shards stand. */
    uint32_t low = 0, high = s->parts_count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (s->parts[middle].held < held)
            low = middle + 1;
        else
            high = middle;
    }
    return low < s->parts_count && s->parts[low].held == held ? &s->parts[low] : NULL;
}

uint64_t wk_part_free_block(struct wk_part *part, uint64_t blocks)
{
    while (part->next < blocks && part->taken[part->next])
        part->next++;
    return part->next < blocks ? part->next : UINT64_MAX;
}

void wk_part_add(struct wk_part *part, const float *scores, size_t count, uint64_t first_image)
{
    for (size_t i = 0; i < count; i++) {
        part->overflowed += isfinite(scores[i]) ? 0 : 1;
        cm_topk_push(&part->topk, (struct cm_hit){scores[i], first_image + i});
    }
    part->images_scored += count;
}
