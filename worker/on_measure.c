/* on_measure.c: an evaluation at a worker: score and keep, tell the positives, count. */
#include "common/checksum.h"
#include "common/mem.h"
#include "proto/wire/count.h"
#include "proto/wire/measure.h"
#include "proto/wire/scores.h"
#include "worker/core.h"

#include <inttypes.h>
#include <stdlib.h>

/* Sends a packed message and releases it. */
static enum cm_err send_packed(struct wk_core *w, enum cm_err rc, struct pr_buffer *packed,
                               struct cm_blob *payload, struct cm_error *e)
{
    if (!rc)
        rc = w->io.send(w->io.ctx, pr_buffer_bytes(packed), payload, e);
    pr_buffer_fini(packed);
    return rc;
}

/* --- the first round -------------------------------------------------------------------------- */

/* Scores first .. first + count - 1 of a part. */
static enum cm_err send_scores(struct wk_core *w, const struct wk_search *s,
                               const struct wk_part *part, uint64_t first, uint32_t count,
                               struct cm_error *e)
{
    const float *scores = part->tally.scores + first;
    struct pr_scores message = {
        .id = s->id,
        .shard = {part->shard},
        .first_image = part->tally.first_image + first,
        .count = count,
        .payload_crc32c = cm_crc32c(0, scores, count * sizeof *scores),
    };
    struct cm_blob *payload;
    struct pr_buffer packed;
    enum cm_err rc = cm_blob_copy(&payload, scores, count * sizeof *scores, e);
    if (rc)
        return rc;
    rc = send_packed(w, pr_scores_pack(&message, &packed, e), &packed, payload, e);
    cm_blob_unref(&payload);
    return rc;
}

static enum cm_err send_all_scores(struct wk_core *w, const struct wk_search *s,
                                   const struct wk_part *part, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (uint64_t first = 0; !rc && first < part->tally.images; first += CM_SCORES_MAX) {
        uint64_t left = part->tally.images - first;
        rc = send_scores(w, s, part, first, left < CM_SCORES_MAX ? (uint32_t)left : CM_SCORES_MAX,
                         e);
    }
    return rc;
}

/* The POSITIVES that say no more than why a shard is not scored. */
static enum cm_err send_no_positives(struct wk_core *w, struct cm_query_id id, uint32_t shard,
                                     uint64_t images, enum pr_reason reason, struct cm_error *e)
{
    struct pr_positives_message message = {
        .id = id, .shard = {shard}, .reason = reason, .images = images};
    struct pr_buffer packed;
    return send_packed(w, pr_positives_pack(&message, &packed, e), &packed, NULL, e);
}

void wk_decline_measured(struct wk_core *w, struct cm_query_id id, uint32_t shard, uint64_t images,
                         enum pr_reason reason)
{
    struct cm_error e;
    if (send_no_positives(w, id, shard, images, reason, &e))
        cm_log(w->log, CM_LOG_DEBUG, "decline_unsent", "msg=\"%s\"", e.text);
}

enum cm_err wk_send_positives(struct wk_core *w, const struct wk_search *s, struct wk_part *part,
                              enum pr_reason reason, struct cm_error *e)
{
    const struct wk_held *held = &w->held[part->shard];
    const struct wk_labels labels = {w->io.meta, w->io.ctx, part->shard};
    if (reason)
        return send_no_positives(w, s->id, held->shard, held->images, reason, e);
    enum cm_err rc = s->want_scores ? send_all_scores(w, s, part, e) : CM_OK;
    if (!rc)
        rc = wk_tally_seal(&part->tally, s->pid, s->camid, &labels, e);
    if (rc)
        return rc;
    struct pr_positives_message message = {
        .id = s->id,
        .shard = {held->shard},
        .images = held->images,
        .census = part->tally.census,
        .overflowed = part->overflowed,
        .queue_us = s->queue_us,
        .project_us = s->project_us,
        .score_us = s->scoring_ns ? (wk_now(w) - s->scoring_ns) / 1000 : 0,
        .positives = part->tally.found,
    };
    struct pr_buffer packed;
    return send_packed(w, pr_positives_pack(&message, &packed, e), &packed, NULL, e);
}

static enum cm_err check_map(const struct wk_core *w, const struct pr_measure *message,
                             const struct cm_blob *map, struct cm_error *e)
{
    if (!map)
        return cm_fail(e, CM_EFORMAT, "an evaluation without a map");
    struct cm_bytes bytes = {cm_blob_data(map), cm_blob_size(map)};
    return pr_measure_check_payload(message, &w->config.gallery.geometry, bytes, e);
}

void wk_on_measure(struct wk_core *w, struct cm_bytes header, struct cm_blob *payload)
{
    struct pr_measure message;
    struct cm_error e;
    enum cm_err rc = pr_measure_unpack(header, &message, &e);
    if (!rc) {
        struct wk_ask ask = {
            .id = message.id,
            .measure = true,
            .pid = message.pid,
            .camid = message.camid,
            .want_scores = message.want_scores,
            .dtype = message.dtype,
            .shards = message.shards,
            .shards_count = message.shards_count,
        };
        rc = check_map(w, &message, payload, &e);
        if (rc)
            wk_decline(w, &ask, PR_REASON_INTERNAL);
        else
            rc = wk_take(w, &ask, payload, &e);
    }
    if (rc)
        wk_on_garbage(w, e.text);
    pr_measure_fini(&message);
    wk_schedule(w);
}

/* --- the second round ------------------------------------------------------------------------- */

static enum cm_err count(struct wk_core *w, const struct wk_search *s,
                         const struct pr_positives *positives, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, positives->count + 1, sizeof(struct pr_counts), e);
    if (rc)
        return rc;
    struct pr_counts *counts = p;
    for (uint32_t i = 0; i < s->parts_count; i++)
        if (s->parts[i].told)
            wk_tally_count(&s->parts[i].tally, positives, counts);
    wk_tally_sum(counts, positives->count);
    struct pr_counts_message message = {.id = s->id,
                                        .counts = {.items = counts, .count = positives->count}};
    struct pr_buffer packed;
    rc = send_packed(w, pr_counts_pack(&message, &packed, e), &packed, NULL, e);
    free(counts);
    return rc;
}

void wk_on_count(struct wk_core *w, struct cm_bytes header)
{
    struct pr_count message;
    struct cm_error e;
    if (pr_count_unpack(header, &message, &e)) {
        wk_on_garbage(w, e.text);
        return;
    }
    struct wk_search *s = wk_find_search(w, message.id);
    if (s && s->state == WK_TALLIED) {
        if (count(w, s, &message.positives, &e))
            cm_log(w->log, CM_LOG_WARN, "counts_unsent", "query=%" PRIu64 " msg=\"%s\"", s->id.v,
                   e.text);
        w->searches_done++;
        wk_end_search(w, s);
    } else {
        wk_on_garbage(w, "a COUNT of what was not measured here");
    }
    pr_count_fini(&message);
}
