/* results.c: what a search at this worker says of its shards, and when.
 *
 * Shards that are done are told of together, in one RESULT with one ranking over all of them: when
 * the search has no other left, and until then now and then, so that little is lost with a worker.
 * The first RESULT waits for result_every_ns, the second for twice as long, and so on: a search of
 * time t sends sqrt(2 t / result_every_ns) of them. What the coordinator has to do then does not
 * grow with the number of shards, and slowly with the time they take. A shard
 * that was not scored whole goes alone, so that the coordinator may drop its hits and not miss any
 * that they had pushed out. Evaluations say POSITIVES, one for each shard: on_measure.c. */
#include "common/assert.h"
#include "common/mem.h"
#include "worker/core.h"

#include <inttypes.h>
#include <stdlib.h>

/* Shards of one message, where memory for more may be what is missing. The coordinator asks others
 * for those of each message; all of CM_SHARDS_MAX are as many as it may do so for a query. */
enum { DECLINED_MAX = 4096 };

static enum cm_err send_result(struct wk_core *w, const struct pr_result *result,
                               struct cm_error *e)
{
    struct pr_buffer packed;
    enum cm_err rc = pr_result_pack(result, &packed, e);
    if (!rc)
        rc = w->io.send(w->io.ctx, pr_buffer_bytes(&packed), NULL, e);
    pr_buffer_fini(&packed);
    return rc;
}

static bool is_told_next(const struct wk_part *part)
{
    return part->ready && !part->answered;
}

/* --- the ranking ------------------------------------------------------------------------------ */

/* The part that a hit is from. */
static const struct wk_part *part_of(const struct wk_core *w, const struct wk_search *s,
                                     uint64_t image)
{
    uint32_t i = 0;
    while (image - w->held[s->parts[i].shard].first_image >= w->held[s->parts[i].shard].images)
        i++;
    return &s->parts[i];
}

/* The best of the parts that are told of next. */
static enum cm_err choose(const struct wk_search *s, struct cm_topk *best, struct cm_error *e)
{
    size_t count = 0;
    for (uint32_t i = 0; i < s->parts_count; i++)
        count += is_told_next(&s->parts[i]) ? s->parts[i].topk.count : 0;
    enum cm_err rc = cm_topk_init(best, count == 0 ? 1 : count < s->k ? count : s->k, e);
    for (uint32_t i = 0; !rc && i < s->parts_count; i++)
        for (size_t h = 0; is_told_next(&s->parts[i]) && h < s->parts[i].topk.count; h++)
            cm_topk_push(best, s->parts[i].topk.hits[h]);
    if (!rc)
        cm_topk_sort(best);
    return rc;
}

/* The same with their labels, best first; the caller frees the items. */
static enum cm_err rank(const struct wk_core *w, const struct wk_search *s, struct pr_hits *out,
                        struct cm_error *e)
{
    struct cm_topk best;
    void *p = NULL;
    enum cm_err rc = choose(s, &best, e);
    if (!rc)
        rc = cm_new(&p, best.count, sizeof *out->items, e);
    *out = (struct pr_hits){.items = p, .count = rc ? 0 : best.count};
    for (size_t i = 0; i < out->count; i++) {
        uint32_t shard = part_of(w, s, best.hits[i].image)->shard;
        uint64_t number = best.hits[i].image - w->held[shard].first_image;
        out->items[i] = (struct pr_hit){best.hits[i], w->io.meta(w->io.ctx, shard, number)};
    }
    cm_topk_fini(&best);
    return rc;
}

/* --- telling ---------------------------------------------------------------------------------- */

/* One RESULT for the parts that are ready, without hits. */
static struct pr_result describe(const struct wk_core *w, struct wk_search *s,
                                 enum pr_reason reason)
{
    struct pr_result result = {
        .id = s->id,
        .reason = reason,
        .shards = s->telling,
        .queue_us = s->queue_us,
        .project_us = s->project_us,
        .score_us = s->scoring_ns ? (wk_now(w) - s->scoring_ns) / 1000 : 0,
    };
    for (uint32_t i = 0; i < s->parts_count; i++) {
        const struct wk_part *part = &s->parts[i];
        if (is_told_next(part))
            s->telling[result.shards_count++] = (struct pr_scored){
                .shard = {part->shard},
                .images_scored = part->images_scored,
                .images = w->held[part->shard].images,
                .overflowed = part->overflowed,
            };
    }
    return result;
}

/* Says that these shards are not scored. */
static void decline(struct wk_core *w, struct cm_query_id id, struct pr_scored *shards,
                    size_t count, enum pr_reason reason)
{
    struct cm_error e;
    struct pr_result result = {.id = id, .reason = reason, .shards = shards, .shards_count = count};
    for (size_t i = 0; i < count; i++)
        shards[i].images_scored = shards[i].overflowed = 0;
    if (send_result(w, &result, &e))
        cm_log(w->log, CM_LOG_DEBUG, "decline_unsent", "msg=\"%s\"", e.text);
}

static void close_part(struct wk_core *w, struct wk_search *s, struct wk_part *part)
{
    part->answered = true;
    cm_topk_fini(&part->topk);
    wk_unuse_shard(w, part->shard);
    s->parts_open--;
}

/* Sends what the parts that are ready have. Ends the search with its last part. */
static void tell(struct wk_core *w, struct wk_search *s, enum pr_reason reason)
{
    struct cm_error e;
    struct pr_result result = describe(w, s, reason);
    enum cm_err rc = rank(w, s, &result.hits, &e);
    if (!rc)
        rc = send_result(w, &result, &e);
    free(result.hits.items);
    if (rc)
        cm_log(w->log, CM_LOG_WARN, "result_unsent", "query=%" PRIu64 " shards=%zu msg=\"%s\"",
               s->id.v, result.shards_count, e.text);
    if (rc && rc != CM_EBUSY)
        decline(w, s->id, result.shards, result.shards_count, PR_REASON_INTERNAL);
    for (uint32_t i = 0; i < s->parts_count; i++)
        if (is_told_next(&s->parts[i]))
            close_part(w, s, &s->parts[i]);
    s->parts_ready = 0;
    s->told_ns = wk_now(w);
    s->results++;
    if (s->parts_open > 0)
        return;
    w->searches_done++;
    wk_end_search(w, s);
}

static void get_ready(struct wk_search *s, struct wk_part *part)
{
    part->ready = true;
    s->parts_ready++;
}

/* Whole ones first: those that are ready are told of by now. */
static void tell_alone(struct wk_core *w, struct wk_search *s, struct wk_part *part,
                       enum pr_reason reason)
{
    if (s->parts_ready > 0)
        tell(w, s, PR_REASON_NONE);
    get_ready(s, part);
    tell(w, s, reason);
}

uint64_t wk_tell_at_ns(const struct wk_core *w, const struct wk_search *s)
{
    uint64_t since_ns = s->told_ns ? s->told_ns : s->scoring_ns;
    uint64_t wait_ns = (s->results + 1) * w->config.result_every_ns;
    return s->parts_ready > 0 ? since_ns + wait_ns : UINT64_MAX;
}

void wk_tell_due(struct wk_core *w)
{
    for (struct wk_search *s = w->head, *next; s; s = next) {
        next = s->next;
        bool all = s->parts_ready > 0 && s->parts_ready == s->parts_open;
        if (all || wk_now(w) >= wk_tell_at_ns(w, s))
            tell(w, s, PR_REASON_NONE);
    }
}

void wk_answer_late(struct wk_core *w, struct wk_search *s)
{
    uint32_t open;
    w->work.expired++;
    if (s->parts_ready > 0)
        tell(w, s, PR_REASON_NONE);
    for (uint32_t i = 0; i < s->parts_count; i++) /* those that nobody began with: together */
        if (!s->parts[i].answered && s->parts[i].images_scored == 0)
            get_ready(s, &s->parts[i]);
    open = s->parts_open - s->parts_ready;
    if (s->parts_ready > 0)
        tell(w, s, PR_REASON_DEADLINE);
    for (uint32_t i = 0; open > 0; i++) {
        if (s->parts[i].answered)
            continue;
        open--;
        tell_alone(w, s, &s->parts[i], PR_REASON_DEADLINE);
    }
}

/* --- one part --------------------------------------------------------------------------------- */

static void answer_measured(struct wk_core *w, struct wk_search *s, struct wk_part *part,
                            enum pr_reason reason)
{
    struct cm_error e;
    const struct wk_held *held = &w->held[part->shard];
    enum cm_err rc = wk_send_positives(w, s, part, reason, &e);
    if (rc)
        cm_log(w->log, CM_LOG_WARN, "positives_unsent", "query=%" PRIu64 " shard=%u msg=\"%s\"",
               s->id.v, held->shard, e.text);
    if (rc && rc != CM_EBUSY)
        wk_decline_measured(w, s->id, held->shard, held->images, PR_REASON_INTERNAL);
    part->told = !rc && !reason;
    if (!part->told)
        wk_tally_fini(&part->tally); /* somebody else is asked for the shard */
    close_part(w, s, part);
    if (s->parts_open == 0)
        s->state = WK_TALLIED;
}

void wk_answer_all(struct wk_core *w, struct wk_search *s, enum pr_reason reason)
{
    for (uint32_t i = 0; i < s->parts_count; i++)
        if (s->measure)
            answer_measured(w, s, &s->parts[i], reason);
        else
            get_ready(s, &s->parts[i]);
    if (!s->measure)
        tell(w, s, reason);
}

void wk_answer_part(struct wk_core *w, struct wk_search *s, struct wk_part *part,
                    enum pr_reason reason)
{
    if (part->answered)
        return;
    CM_ASSERT(!part->ready);
    if (s->measure)
        answer_measured(w, s, part, reason);
    else if (reason)
        tell_alone(w, s, part, reason);
    else
        get_ready(s, part);
}

void wk_decline(struct wk_core *w, const struct wk_ask *ask, enum pr_reason reason)
{
    struct pr_scored some[DECLINED_MAX];
    size_t count = 0;
    for (size_t i = 0; i < ask->shards_count; i++) {
        uint32_t shard = ask->shards[i].v;
        uint64_t images = wk_is_served(w, shard) ? w->held[shard].images : 0;
        if (ask->measure) {
            wk_decline_measured(w, ask->id, shard, images, reason);
            continue;
        }
        some[count++] = (struct pr_scored){.shard = {shard}, .images = images};
        if (count < DECLINED_MAX && i + 1 < ask->shards_count)
            continue;
        decline(w, ask->id, some, count, reason);
        count = 0;
    }
}
