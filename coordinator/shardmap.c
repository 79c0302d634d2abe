/* shardmap.c: see shardmap.h. */
#include "coordinator/shardmap.h"

#include "common/assert.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdlib.h>

enum cm_err co_shardmap_init(struct co_shardmap *map, uint32_t shards, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, shards, sizeof *map->shards, e);
    *map = (struct co_shardmap){.shards_count = rc ? 0 : shards, .shards = p};
    return rc;
}

void co_shardmap_fini(struct co_shardmap *map)
{
    for (uint32_t s = 0; s < map->shards_count; s++)
        free(map->shards[s].holders);
    free(map->shards);
    *map = (struct co_shardmap){0};
}

/* Does a worker see a shard where others have seen it? */
static enum cm_err check_same(const struct co_shard *known, const struct pr_held_shard *held,
                              struct cm_error *e)
{
    if (known->first_image == held->first_image && known->images == held->images)
        return CM_OK;
    return cm_fail(e, CM_EMISMATCH,
                   "shard %" PRIu32 " is images %" PRIu64 " to %" PRIu64 " here, but %" PRIu64
                   " to %" PRIu64 " at the worker",
                   held->shard.v, known->first_image, known->first_image + known->images - 1,
                   held->first_image, held->first_image + held->images - 1);
}

enum cm_err co_shardmap_check(const struct co_shardmap *map, const struct pr_hello *hello,
                              struct cm_error *e)
{
    uint64_t end = 0; /* of the images of the shards so far, known here or there */
    size_t at = 0;
    for (uint32_t s = 0; s < hello->gallery.shards; s++) {
        bool is_held = at < hello->held_count && hello->held[at].shard.v == s;
        bool is_known = s < map->shards_count && map->shards[s].images > 0;
        const struct pr_held_shard *held = is_held ? &hello->held[at++] : NULL;
        const struct co_shard *known = is_known ? &map->shards[s] : NULL;
        enum cm_err rc = held && known ? check_same(known, held, e) : CM_OK;
        if (rc)
            return rc;
        if (!held && !known)
            continue;
        uint64_t first = held ? held->first_image : known->first_image;
        if (first < end)
            return cm_fail(e, CM_EMISMATCH,
                           "shard %" PRIu32 " begins at image %" PRIu64
                           ", but shards before it go to %" PRIu64,
                           s, first, end - 1);
        end = first + (held ? held->images : known->images);
    }
    return CM_OK;
}

static enum cm_err add_holder(struct co_shard *s, uint32_t member, struct cm_error *e)
{
    if (s->holders_count == s->holders_room) {
        uint32_t room = s->holders_room ? 2 * s->holders_room : 2;
        uint32_t *grown = realloc(s->holders, room * sizeof *grown);
        if (!grown)
            return cm_fail(e, CM_ENOMEM, "cannot grow a shard's list of workers");
        s->holders = grown;
        s->holders_room = room;
    }
    s->holders[s->holders_count++] = member;
    return CM_OK;
}

enum cm_err co_shardmap_put(struct co_shardmap *map, uint32_t member,
                            const struct pr_held_shard *held, struct cm_error *e)
{
    struct co_shard *s = &map->shards[held->shard.v];
    enum cm_err rc = add_holder(s, member, e);
    if (rc)
        return rc;
    s->first_image = held->first_image;
    s->images = held->images;
    map->covered += s->holders_count == 1;
    return CM_OK;
}

enum cm_err co_shardmap_add(struct co_shardmap *map, uint32_t member, const struct pr_hello *hello,
                            struct cm_error *e)
{
    for (size_t i = 0; i < hello->held_count; i++) {
        enum cm_err rc = co_shardmap_put(map, member, &hello->held[i], e);
        if (rc) {
            co_shardmap_remove(map, member);
            return rc;
        }
    }
    return CM_OK;
}

void co_shardmap_take(struct co_shardmap *map, uint32_t member, uint32_t shard)
{
    struct co_shard *s = &map->shards[shard];
    uint32_t kept = 0;
    for (uint32_t h = 0; h < s->holders_count; h++)
        if (s->holders[h] != member)
            s->holders[kept++] = s->holders[h];
    map->covered -= s->holders_count > 0 && kept == 0;
    s->holders_count = kept;
}

void co_shardmap_remove(struct co_shardmap *map, uint32_t member)
{
    for (uint32_t i = 0; i < map->shards_count; i++)
        co_shardmap_take(map, member, i);
}
