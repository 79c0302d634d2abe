/* tally.c: see tally.h. */
#include "worker/tally.h"

#include "common/limits.h"
#include "common/mem.h"

#include <math.h>
#include <stdlib.h>

enum { POSITIVES_ROOM = 16 }; /* to begin with */

enum cm_err wk_tally_init(struct wk_tally *t, uint64_t first_image, uint64_t images,
                          struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, images, sizeof *t->scores, e);
    *t = (struct wk_tally){.images = images, .first_image = first_image, .scores = p};
    return rc;
}

void wk_tally_fini(struct wk_tally *t)
{
    free(t->scores);
    free(t->found.items);
    *t = (struct wk_tally){0};
}

void wk_tally_add(struct wk_tally *t, const float *scores, size_t count, uint64_t first)
{
    for (size_t i = 0; i < count; i++)
        t->scores[first + i] = isfinite(scores[i]) ? scores[i] : -INFINITY;
}

static enum cm_err keep_positive(struct wk_tally *t, uint64_t number, struct cm_error *e)
{
    size_t n = t->found.count;
    if (n == CM_POSITIVES_MAX)
        return cm_fail(e, CM_ELIMIT, "a query with more than %u right images in one shard",
                       CM_POSITIVES_MAX);
    if (n == 0 || (n >= POSITIVES_ROOM && (n & (n - 1)) == 0)) { /* full: 0, 16, 32, ... */
        size_t room = n ? 2 * n : POSITIVES_ROOM;
        void *grown = realloc(t->found.items, room * sizeof *t->found.items);
        if (!grown)
            return cm_fail(e, CM_ENOMEM, "cannot keep the right images of a query");
        t->found.items = grown;
    }
    t->found.items[n] = (struct cm_hit){t->scores[number], t->first_image + number};
    t->found.count++;
    return CM_OK;
}

enum cm_err wk_tally_seal(struct wk_tally *t, int64_t pid, int32_t camid,
                          const struct wk_labels *labels, struct cm_error *e)
{
    for (uint64_t i = 0; i < t->images; i++) {
        struct cm_image_meta meta = labels->at(labels->ctx, labels->shard, i);
        bool junk = meta.pid == -1, same_camera = meta.pid == pid && meta.camid == camid;
        t->census.junk += junk;
        t->census.same_camera += same_camera;
        if (junk || same_camera) {
            t->scores[i] = NAN;
            continue;
        }
        t->census.valid++;
        t->census.distractors += meta.pid == 0;
        enum cm_err rc = meta.pid == pid ? keep_positive(t, i, e) : CM_OK;
        if (rc)
            return rc;
    }
    cm_hits_sort(t->found.items, t->found.count);
    return CM_OK;
}

/* How many of the first positives, from `from` on, stand before every image of `score` (or at it,
 * if `with_equal`). They descend. */
static size_t skip_higher(const struct pr_positives *p, size_t from, float score, bool with_equal)
{
    size_t low = from, high = p->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        float at = p->items[middle].score;
        if (at > score || (with_equal && at == score))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The first of the positives from..to, which tie, with a higher id than `image`. They ascend. */
static size_t skip_lower_ids(const struct pr_positives *p, size_t from, size_t to, uint64_t image)
{
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (p->items[middle].image <= image)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

void wk_tally_count(const struct wk_tally *t, const struct pr_positives *positives,
                    struct pr_counts *counts)
{
    const float lowest = positives->items[positives->count - 1].score;
    for (uint64_t i = 0; i < t->images; i++) {
        float score = t->scores[i];
        if (!(score >= lowest)) /* before none of them, or dropped */
            continue;
        size_t ties = skip_higher(positives, 0, score, false);
        size_t below = skip_higher(positives, ties, score, true);
        counts[below].higher++; /* it stands before each from here on */
        if (ties == below)
            continue;
        size_t later = skip_lower_ids(positives, ties, below, t->first_image + i);
        counts[ties].equal++;
        counts[below].equal--;
        counts[later].equal_lower++;
        counts[below].equal_lower--;
    }
}

void wk_tally_sum(struct pr_counts *counts, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        counts[i].higher += counts[i - 1].higher;
        counts[i].equal += counts[i - 1].equal;
        counts[i].equal_lower += counts[i - 1].equal_lower;
    }
}
