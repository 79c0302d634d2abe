/* evaluation.c: see evaluation.h. */
#include "coordinator/evaluation.h"

#include "common/assert.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

enum cm_err co_evaluation_new(struct co_evaluation **out, const struct pr_evaluate *evaluate,
                              struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    **out = (struct co_evaluation){
        .pid = evaluate->pid,
        .camid = evaluate->camid,
        .want_scores = evaluate->want_scores,
    };
    return CM_OK;
}

void co_evaluation_free(struct co_evaluation *v)
{
    if (!v)
        return;
    free(v->positives.items);
    free(v->counts);
    free(v);
}

bool co_evaluation_is_over(const struct co_gather *g)
{
    const struct co_evaluation *v = g->evaluation;
    bool counted = v->counting ? v->parts_owing == 0 : v->positives.count == 0;
    return v->failed || (g->slots_open == 0 && counted);
}

bool co_evaluation_may_count(const struct co_gather *g)
{
    const struct co_evaluation *v = g->evaluation;
    return !v->failed && !v->counting && g->slots_open == 0 && v->positives.count > 0;
}

static enum cm_err append(struct co_evaluation *v, const struct pr_positives *more,
                          struct cm_error *e)
{
    size_t count = v->positives.count + more->count;
    if (count > CM_POSITIVES_MAX)
        return cm_fail(e, CM_ELIMIT, "the query has more than %u right images", CM_POSITIVES_MAX);
    if (count > v->positives_room) {
        size_t room = 2 * count;
        void *grown = realloc(v->positives.items, room * sizeof *v->positives.items);
        if (!grown)
            return cm_fail(e, CM_ENOMEM, "cannot keep %zu right images", count);
        v->positives.items = grown;
        v->positives_room = room;
    }
    if (more->count)
        memcpy(v->positives.items + v->positives.count, more->items,
               more->count * sizeof *more->items);
    v->positives.count = count;
    return CM_OK;
}

static void add_census(struct pr_census *to, const struct pr_census *more)
{
    to->valid += more->valid;
    to->same_camera += more->same_camera;
    to->junk += more->junk;
    to->distractors += more->distractors;
}

static void raise_to(uint64_t *longest, uint64_t value)
{
    if (value > *longest)
        *longest = value;
}

enum cm_err co_evaluation_on_positives(struct co_gather *g, uint32_t member,
                                       const char *numeric_class,
                                       const struct pr_positives_message *message,
                                       struct cm_error *e)
{
    struct co_evaluation *v = g->evaluation;
    enum cm_err rc = co_gather_check_sender(g, message->shard.v, member, message->id, e);
    if (rc)
        return rc;
    rc = append(v, &message->positives, e);
    co_gather_close_slot(g, message->shard.v, rc ? PR_REASON_INTERNAL : message->reason);
    if (rc || message->reason)
        return rc;
    g->slots[message->shard.v].images_scored = message->images;
    g->overflowed += message->overflowed;
    add_census(&v->census, &message->census);
    co_gather_note_class(g, numeric_class);
    raise_to(&g->timings.project_us, message->project_us);
    raise_to(&g->timings.score_us, message->score_us);
    return CM_OK;
}

enum cm_err co_evaluation_begin_count(struct co_gather *g, struct cm_error *e)
{
    struct co_evaluation *v = g->evaluation;
    void *p;
    CM_ASSERT(co_evaluation_may_count(g));
    enum cm_err rc = cm_new(&p, v->positives.count, sizeof *v->counts, e);
    if (rc)
        return rc;
    v->counts = p;
    cm_hits_sort(v->positives.items, v->positives.count);
    v->counting = true;
    for (uint32_t i = 0; i < g->parts_count; i++)
        v->parts_owing += g->parts[i].open > 0;
    return CM_OK;
}

/* No more images can be counted than the part's shards have. */
static enum cm_err check_sums(const struct co_gather *g, uint32_t part,
                              const struct pr_counts_list *counts, struct cm_error *e)
{
    uint64_t images = 0;
    for (uint32_t s = 0; s < g->slots_count; s++)
        images += g->slots[s].part == part ? g->slots[s].images : 0;
    for (size_t i = 0; i < counts->count; i++)
        if (counts->items[i].higher > images ||
            counts->items[i].equal > images - counts->items[i].higher)
            return cm_fail(e, CM_EFORMAT, "counts of more images than its shards have");
    return CM_OK;
}

enum cm_err co_evaluation_on_counts(struct co_gather *g, uint32_t member,
                                    const struct pr_counts_message *message, struct cm_error *e)
{
    struct co_evaluation *v = g->evaluation;
    uint32_t part = 0;
    while (part < g->parts_count &&
           (g->parts[part].member != member || co_part_id(g, part).v != message->id.v))
        part++;
    if (!v->counting || part == g->parts_count)
        return cm_fail(e, CM_EMISMATCH, "counts that nobody asked for");
    if (g->parts[part].open == 0)
        return cm_fail(e, CM_EEXIST, "the worker has counted");
    if (message->counts.count != v->positives.count)
        return cm_fail(e, CM_EMISMATCH, "counts for %zu right images; there are %zu",
                       message->counts.count, v->positives.count);
    enum cm_err rc = check_sums(g, part, &message->counts, e);
    if (rc) {
        co_gather_fail_part(g, part, PR_REASON_INTERNAL);
        return rc;
    }
    for (size_t i = 0; i < v->positives.count; i++) {
        v->counts[i].higher += message->counts.items[i].higher;
        v->counts[i].equal_lower += message->counts.items[i].equal_lower;
        v->counts[i].equal += message->counts.items[i].equal;
    }
    g->parts[part].open = 0;
    v->parts_owing--;
    return CM_OK;
}

enum cm_err co_evaluation_measured(const struct co_gather *g, uint64_t images,
                                   struct pr_measured *out, struct cm_error *e)
{
    const struct co_evaluation *v = g->evaluation;
    *out = (struct pr_measured){
        .id = g->client_id,
        .images = images,
        .shards = g->slots_count,
        .mixed = g->mixed,
        .queue_us = g->timings.queue_us,
        .project_us = g->timings.project_us,
        .score_us = g->timings.score_us,
        .worker_bytes = v->worker_bytes,
    };
    if (!v->failed) {
        out->census = v->census;
        out->overflowed = g->overflowed;
        out->positives = v->positives;
        out->counts = (struct pr_counts_list){.items = v->counts, .count = v->positives.count};
    }
    /* Slots that were still open when another closed badly are nobody's fault: they are not named.
     */
    enum cm_err rc = co_gather_missing(g, &out->missing, &out->missing_count, e);
    size_t kept = 0;
    for (size_t i = 0; !rc && i < out->missing_count; i++) {
        out->missing[i].images_scored = 0;
        if (g->slots[out->missing[i].shard.v].closed)
            out->missing[kept++] = out->missing[i];
    }
    out->missing_count = kept;
    return rc;
}
