/* metrics.c: see metrics.h. */
#include "ops/cli/metrics.h"

#include <inttypes.h>
#include <stdbool.h>

enum { DISTRACTOR = 0, JUNK = -1 }; /* pids */

enum cli_relation cli_relation_of(const struct cli_label *query, const struct cli_label *image)
{
    if (image->pid == JUNK)
        return CLI_JUNK;
    if (image->pid != query->pid)
        return CLI_WRONG;
    if (image->camid == query->camid)
        return CLI_SAME_CAMERA;
    return image->pid == DISTRACTOR ? CLI_WRONG : CLI_RIGHT;
}

/* --- one query ----------------------------------------------------------------------------------
 */

/* Can one ranking of `valid` images have `c` for a positive, after `before` (or NULL) for the one
 * that comes before it? */
static bool is_possible(uint64_t valid, const struct pr_counts *before, const struct pr_counts *c)
{
    if (c->higher >= valid || c->equal > valid - c->higher || c->equal_lower >= c->equal)
        return false;
    if (before && before->higher == c->higher)
        return before->equal == c->equal && before->equal_lower < c->equal_lower;
    return !before || before->higher + before->equal <= c->higher;
}

static enum cm_err check_counts(uint64_t valid, const struct pr_counts_list *l, struct cm_error *e)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct pr_counts *c = &l->items[i];
        if (!is_possible(valid, i ? c - 1 : NULL, c))
            return cm_fail(e, CM_EFORMAT,
                           "positive %zu of %zu: no ranking of %" PRIu64
                           " valid images has %" PRIu64 " higher, %" PRIu64 " equal, %" PRIu64
                           " of them of lower id, after the positives before it",
                           i + 1, l->count, valid, c->higher, c->equal, c->equal_lower);
    }
    return CM_OK;
}

/* How many valid images stand before it. */
static uint64_t count_before(const struct pr_counts *c)
{
    return c->higher + c->equal_lower;
}

/* The sum over thresholds of (gain in recall) * precision. Positives of one score have the same
 * number of higher ones, and make one threshold. */
static double finite_sum(const struct pr_counts_list *l)
{
    double sum = 0;
    size_t first = 0; /* of those with this score */
    for (size_t i = 0; i < l->count; i++) {
        const struct pr_counts *c = &l->items[i];
        if (i + 1 < l->count && l->items[i + 1].higher == c->higher)
            continue;
        double precision = (double)(i + 1) / (double)(c->higher + c->equal);
        sum += (double)(i + 1 - first) * precision;
        first = i + 1;
    }
    return sum / (double)l->count;
}

/* Each step of recall gets the mean of the precisions before and after its positive; before the
 * first image precision is 1. */
static double trapezoids(const struct pr_counts_list *l)
{
    double sum = 0;
    for (size_t i = 0; i < l->count; i++) {
        double seen = (double)count_before(&l->items[i]);
        double old = seen > 0 ? (double)i / seen : 1;
        sum += (old + (double)(i + 1) / (seen + 1)) / 2;
    }
    return sum / (double)l->count;
}

enum cm_err cli_figures_of(const struct pr_census *census, const struct pr_counts_list *counts,
                           struct cli_query_figures *out, struct cm_error *e)
{
    *out = (struct cli_query_figures){0};
    enum cm_err rc = check_counts(census->valid, counts, e);
    if (rc)
        return rc;
    out->census = *census;
    out->positives = counts->count;
    if (!counts->count)
        return CM_OK;
    out->first_rank = count_before(&counts->items[0]) + 1;
    out->last_rank = count_before(&counts->items[counts->count - 1]) + 1;
    out->ap = finite_sum(counts);
    out->ap_trapezoid = trapezoids(counts);
    out->inp = (double)counts->count / (double)out->last_rank;
    return CM_OK;
}

/* --- all queries --------------------------------------------------------------------------------
 */

/* Adds one query's census: what it says of the gallery is what the others say. */
static enum cm_err add_census(const struct pr_census *c, size_t query, struct cli_summary *out,
                              struct cm_error *e)
{
    uint64_t images = c->valid + c->same_camera + c->junk;
    uint64_t known = out->gallery + out->pid_minus1_dropped;
    if (!images)
        return CM_OK;
    if (known && (images != known || c->junk != out->pid_minus1_dropped ||
                  c->distractors != out->distractors_pid0))
        return cm_fail(e, CM_EMISMATCH,
                       "query %zu saw %" PRIu64 " images, %" PRIu64 " of pid -1 and %" PRIu64
                       " of pid 0; the queries before it saw %" PRIu64 ", %" PRIu64 " and %" PRIu64,
                       query, images, c->junk, c->distractors, known, out->pid_minus1_dropped,
                       out->distractors_pid0);
    out->gallery = images - c->junk;
    out->pid_minus1_dropped = c->junk;
    out->distractors_pid0 = c->distractors;
    out->junk_pairs += c->same_camera;
    out->queries_with_junk += c->same_camera > 0;
    return CM_OK;
}

static void divide(struct cli_summary *s, const uint64_t *first_at)
{
    double valid = (double)s->valid_queries;
    uint64_t found = 0;
    s->map /= valid;
    s->map_trapezoid /= valid;
    s->minp /= valid;
    for (size_t r = 0; r < CLI_CMC_RANKS; r++) {
        found += first_at[r];
        s->cmc[r] = (double)found / valid;
    }
}

enum cm_err cli_summary_of(const struct cli_query_figures *figures, size_t queries,
                           struct cli_summary *out, struct cm_error *e)
{
    uint64_t first_at[CLI_CMC_RANKS] = {
        0}; /* [r]: queries whose first right image has rank r + 1 */
    *out = (struct cli_summary){.queries = queries};
    for (size_t i = 0; i < queries; i++) {
        const struct cli_query_figures *f = &figures[i];
        enum cm_err rc = add_census(&f->census, i, out, e);
        if (rc)
            return rc;
        if (!f->positives)
            continue;
        out->valid_queries++;
        out->map += f->ap;
        out->map_trapezoid += f->ap_trapezoid;
        out->minp += f->inp;
        if (f->first_rank <= CLI_CMC_RANKS)
            first_at[f->first_rank - 1]++;
    }
    if (!out->valid_queries)
        return cm_fail(e, CM_EMISMATCH,
                       "no query has an image of its pid by another camera in the gallery, so "
                       "there is no mAP; are these the labels of these images?");
    divide(out, first_at);
    return CM_OK;
}
