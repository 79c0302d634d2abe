/* gather.c: see gather.h. */
#include "coordinator/gather.h"

#include "common/assert.h"
#include "common/mem.h"
#include "coordinator/evaluation.h"
#include "coordinator/members.h"

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
        .deadline_ns = now_ns + query->deadline_ms * UINT64_C(1000000),
    };
    return CM_OK;
}

enum cm_err co_gather_new_evaluation(struct co_gather **out, const struct pr_evaluate *evaluate,
                                     const struct cm_peer *client, struct cm_blob *payload,
                                     uint64_t now_ns, struct cm_error *e)
{
    const struct pr_query query = {
        .id = evaluate->id,
        .dtype = evaluate->dtype,
        .payload_crc32c = evaluate->payload_crc32c,
    };
    enum cm_err rc = co_gather_new(out, &query, client, payload, now_ns, e);
    if (rc)
        return rc;
    (*out)->deadline_ns = UINT64_MAX;
    rc = co_evaluation_new(&(*out)->evaluation, evaluate, e);
    if (rc) {
        co_gather_free(*out);
        *out = NULL;
    }
    return rc;
}

/* A hit's name is ours once it is in a gather; everybody else only reads it. */
static void free_name(struct pr_hit *hit)
{
    free((char *)(uintptr_t)hit->meta.name);
}

static void free_hits(struct pr_hit *hits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free_name(&hits[i]);
    free(hits);
}

void co_gather_free(struct co_gather *g)
{
    if (!g)
        return;
    cm_blob_unref(&g->payload);
    free_hits(g->hits, g->hits_count);
    co_evaluation_free(g->evaluation);
    free(g->slots);
    free(g->parts);
    free(g);
}

enum cm_err co_gather_open(struct co_gather *g, uint32_t shards, uint64_t now_ns,
                           struct cm_error *e)
{
    void *slots;
    enum cm_err rc = cm_new(&slots, shards, sizeof *g->slots, e);
    if (rc)
        return rc;
    g->slots = slots;
    g->slots_count = g->slots_open = g->homeless = shards;
    for (uint32_t s = 0; s < shards; s++)
        g->slots[s] = (struct co_slot){.homeless = true,
                                       .part = CO_NO_PART,
                                       .second = CO_NO_PART,
                                       .avoid = CO_NO_MEMBER,
                                       .reason = PR_REASON_NO_WORKER};
    g->dispatched_ns = now_ns;
    g->look_ns = UINT64_MAX;
    return CM_OK;
}

enum cm_err co_gather_add_part(struct co_gather *g, uint32_t member, uint32_t *part,
                               struct cm_error *e)
{
    if (g->parts_count == g->parts_room) {
        uint32_t room = g->parts_room ? 2 * g->parts_room : 4;
        struct co_part *grown = realloc(g->parts, room * sizeof *grown);
        if (!grown)
            return cm_fail(e, CM_ENOMEM, "cannot note who was asked");
        g->parts = grown;
        g->parts_room = room;
    }
    *part = g->parts_count++;
    /* The counts that it will owe keep an evaluation's part open. */
    g->parts[*part] =
        (struct co_part){.member = member, .attempt = g->attempts, .open = g->evaluation ? 1 : 0};
    return CM_OK;
}

static void end_homelessness(struct co_gather *g, struct co_slot *slot)
{
    g->homeless -= slot->homeless;
    slot->homeless = false;
}

/* A slot is open, or is not open any more, for a part that was asked for it; CO_NO_PART: nobody. */
static void open_part(struct co_gather *g, uint32_t part, const struct co_slot *slot)
{
    if (part == CO_NO_PART)
        return;
    g->parts[part].open++;
    g->parts[part].images_left += slot->images;
}

static void close_part(struct co_gather *g, uint32_t part, const struct co_slot *slot)
{
    if (part == CO_NO_PART)
        return;
    CM_ASSERT(g->parts[part].open > 0 && g->parts[part].images_left >= slot->images);
    g->parts[part].open--;
    g->parts[part].images_left -= slot->images;
}

void co_gather_assign(struct co_gather *g, uint32_t shard, uint32_t part)
{
    struct co_slot *slot = &g->slots[shard];
    CM_ASSERT(slot->homeless || (slot->part != CO_NO_PART && slot->second == CO_NO_PART));
    *(slot->homeless ? &slot->part : &slot->second) = part;
    end_homelessness(g, slot);
    open_part(g, part, slot);
    g->parts[part].images += slot->images;
}

void co_gather_close_slot(struct co_gather *g, uint32_t shard, enum pr_reason reason)
{
    struct co_slot *slot = &g->slots[shard];
    if (slot->closed)
        return;
    end_homelessness(g, slot);
    slot->closed = true;
    slot->reason = reason;
    g->slots_open--;
    if (reason && g->evaluation)
        g->evaluation->failed = true;
    close_part(g, slot->part, slot);
    close_part(g, slot->second, slot);
}

static bool has_slots(const struct co_gather *g, uint32_t part)
{
    for (uint32_t s = 0; s < g->slots_count; s++)
        if (g->slots[s].part == part)
            return true;
    return false;
}

uint32_t co_gather_part_of(const struct co_gather *g, uint32_t shard, uint32_t member)
{
    const struct co_slot *slot = &g->slots[shard];
    if (slot->part != CO_NO_PART && g->parts[slot->part].member == member)
        return slot->part;
    if (slot->second != CO_NO_PART && g->parts[slot->second].member == member)
        return slot->second;
    return CO_NO_PART;
}

uint32_t co_gather_rival_of(const struct co_gather *g, uint32_t shard, uint32_t part)
{
    const struct co_slot *slot = &g->slots[shard];
    return slot->part == part ? slot->second : slot->part;
}

void co_gather_orphan(struct co_gather *g, uint32_t shard, uint32_t part, enum pr_reason reason,
                      uint32_t avoid)
{
    struct co_slot *slot = &g->slots[shard];
    CM_ASSERT(!slot->closed && part != CO_NO_PART && co_slot_is_of(slot, part));
    close_part(g, part, slot);
    slot->part = co_gather_rival_of(g, shard, part);
    slot->second = CO_NO_PART;
    slot->avoid = avoid;
    if (slot->part != CO_NO_PART)
        return;
    slot->homeless = true;
    slot->reason = reason;
    g->homeless++;
    if (g->evaluation && !has_slots(g, part))
        g->parts[part].open = 0;
}

void co_gather_fail_part(struct co_gather *g, uint32_t part, enum pr_reason reason)
{
    for (uint32_t s = 0; s < g->slots_count; s++) {
        if (g->slots[s].part != part)
            continue;
        co_gather_close_slot(g, s, reason);
        g->slots[s].reason = reason; /* also where it had closed well */
    }
    g->evaluation->failed = true;
}

/* Has a part told of a shard whose counts it owes? */
static bool has_closed(const struct co_gather *g, uint32_t part)
{
    for (uint32_t s = 0; s < g->slots_count; s++)
        if (g->slots[s].part == part && g->slots[s].closed)
            return true;
    return false;
}

void co_gather_lose(struct co_gather *g, uint32_t member)
{
    for (uint32_t p = 0; p < g->parts_count; p++) {
        if (g->parts[p].member != member)
            continue;
        g->parts[p].gone = true;
        if (g->parts[p].open == 0)
            continue;
        bool irreplaceable = g->evaluation && (g->evaluation->want_scores || has_closed(g, p));
        if (irreplaceable) /* the scores that it kept are gone with it */
            co_gather_fail_part(g, p, PR_REASON_WORKER_LOST);
        for (uint32_t s = 0; s < g->slots_count && !irreplaceable; s++)
            if (co_slot_is_of(&g->slots[s], p) && !g->slots[s].closed)
                co_gather_orphan(g, s, p, PR_REASON_WORKER_LOST, CO_NO_MEMBER);
        g->parts[p].open = 0;
        g->parts[p].images_left = 0;
    }
}

bool co_gather_may_retry(const struct co_gather *g)
{
    return g->attempts < CO_ATTEMPTS_MAX;
}

bool co_gather_may_hedge(const struct co_gather *g)
{
    return !g->evaluation && g->attempts < CO_ATTEMPTS_MAX / 2;
}

bool co_gather_is_over(const struct co_gather *g)
{
    return g->evaluation ? co_evaluation_is_over(g) : g->slots_open == 0;
}

/* The k best of two ordered lists, by a walk along both; `from_theirs` says where each came from.
 */
static void choose_hits(const struct co_gather *g, const struct pr_hits *theirs, size_t room,
                        struct pr_hit *merged, bool *from_theirs)
{
    size_t ours_at = 0, theirs_at = 0;
    for (size_t n = 0; n < room; n++) {
        bool take_ours = theirs_at == theirs->count ||
                         (ours_at < g->hits_count &&
                          cm_hit_before(&g->hits[ours_at].hit, &theirs->items[theirs_at].hit));
        from_theirs[n] = !take_ours;
        merged[n] = take_ours ? g->hits[ours_at++] : theirs->items[theirs_at++];
    }
}

/* Gives the first `count` hits that came from them names of their own; all of them or none. */
static enum cm_err copy_names(struct pr_hit *merged, const bool *from_theirs, size_t count,
                              struct cm_error *e)
{
    for (size_t i = 0; i < count; i++) {
        char *name;
        if (!from_theirs[i])
            continue;
        enum cm_err rc = cm_copy_text(&name, merged[i].meta.name, e);
        if (rc) {
            while (i-- > 0)
                if (from_theirs[i])
                    free_name(&merged[i]);
            return rc;
        }
        merged[i].meta.name = name;
    }
    return CM_OK;
}

/* Merges a result's hits (best first) into ours, keeping at most k: names of ours move, names of
 * theirs are copied when kept. Changes nothing on failure. */
static enum cm_err merge_hits(struct co_gather *g, const struct pr_hits *theirs, struct cm_error *e)
{
    size_t both = g->hits_count + theirs->count, room = both < g->k ? both : g->k;
    void *merged_p = NULL, *from_p = NULL;
    enum cm_err rc = cm_new(&merged_p, room, sizeof *g->hits, e);
    if (!rc)
        rc = cm_new(&from_p, room, sizeof(bool), e);
    struct pr_hit *merged = merged_p;
    bool *from_theirs = from_p;
    if (!rc) {
        choose_hits(g, theirs, room, merged, from_theirs);
        rc = copy_names(merged, from_theirs, room, e);
    }
    if (rc) {
        free(merged);
    } else {
        size_t kept = 0; /* the best of ours stay; the rest of them go */
        for (size_t i = 0; i < room; i++)
            kept += !from_theirs[i];
        for (size_t i = kept; i < g->hits_count; i++)
            free_name(&g->hits[i]);
        free(g->hits);
        g->hits = merged;
        g->hits_count = room;
    }
    free(from_theirs);
    return rc;
}

void co_gather_note_class(struct co_gather *g, const char *numeric_class)
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

enum cm_err co_gather_check_sender(const struct co_gather *g, uint32_t shard, uint32_t member,
                                   struct cm_query_id id, struct cm_error *e)
{
    CM_ASSERT(shard < g->slots_count);
    uint32_t part = co_gather_part_of(g, shard, member);
    if (part == CO_NO_PART || co_part_id(g, part).v != id.v)
        return cm_fail(e, CM_EMISMATCH, "shard %u was asked of another worker", shard);
    if (g->slots[shard].closed)
        return cm_fail(e, CM_EEXIST, "shard %u has its answer", shard);
    return CM_OK;
}

void co_gather_reopen_slot(struct co_gather *g, uint32_t shard)
{
    struct co_slot *slot = &g->slots[shard];
    size_t kept = 0;
    CM_ASSERT(slot->closed);
    for (size_t i = 0; i < g->hits_count && slot->images_scored > 0; i++) {
        if (co_slot_has(slot, g->hits[i].hit.image))
            free_name(&g->hits[i]);
        else
            g->hits[kept++] = g->hits[i];
    }
    g->hits_count = slot->images_scored > 0 ? kept : g->hits_count;
    g->overflowed -= slot->overflowed;
    slot->overflowed = slot->images_scored = 0;
    slot->closed = false;
    g->slots_open++;
    open_part(g, slot->part, slot);
    open_part(g, slot->second, slot);
}

static void close_with(struct co_gather *g, const struct pr_scored *scored, enum pr_reason reason)
{
    struct co_slot *slot = &g->slots[scored->shard.v];
    co_gather_close_slot(g, scored->shard.v, reason);
    slot->images_scored = scored->images_scored;
    slot->overflowed = scored->overflowed;
    g->overflowed += scored->overflowed;
}

enum cm_err co_gather_on_result(struct co_gather *g, const char *numeric_class,
                                const struct pr_result *result, struct cm_error *e)
{
    uint64_t scored = 0;
    enum cm_err rc = merge_hits(g, &result->hits, e);
    for (size_t i = 0; i < result->shards_count && rc; i++)
        co_gather_close_slot(g, result->shards[i].shard.v, PR_REASON_INTERNAL);
    if (rc)
        return rc;
    for (size_t i = 0; i < result->shards_count; i++) {
        close_with(g, &result->shards[i], result->reason);
        scored += result->shards[i].images_scored;
    }
    if (scored)
        co_gather_note_class(g, numeric_class);
    raise_to(&g->timings.project_us, result->project_us);
    raise_to(&g->timings.score_us, result->score_us);
    return CM_OK;
}

enum cm_err co_gather_missing(const struct co_gather *g, struct pr_missing_shard **out,
                              size_t *count, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, g->slots_count, sizeof **out, e);
    *out = p;
    *count = 0;
    for (uint32_t s = 0; !rc && s < g->slots_count; s++) {
        const struct co_slot *slot = &g->slots[s];
        bool known = slot->closed || slot->homeless;
        enum pr_reason reason = known ? slot->reason : PR_REASON_DEADLINE;
        if (reason != PR_REASON_NONE)
            (*out)[(*count)++] =
                (struct pr_missing_shard){{s}, reason, slot->images_scored, slot->images};
    }
    return rc;
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
    enum cm_err rc = co_gather_missing(g, &out->missing, &out->missing_count, e);
    if (rc)
        return rc;
    for (uint32_t s = 0; s < g->slots_count; s++)
        out->images_scored += g->slots[s].images_scored;
    out->shards_scored = g->slots_count - (uint32_t)out->missing_count;
    return CM_OK;
}
