/* agreement.c: see agreement.h. */
#include "ops/cli/agreement.h"

#include "common/mem.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/* One image in a ranking. */
struct place {
    double score;
    size_t row;
};

/* One query's two rankings. */
struct rankings {
    struct place *reference, *scores; /* [images] each, best first */
    size_t *rank;                     /* [images]: by row, the place among `scores` */
};

static int better_first(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void rank_images(const double *scores, size_t images, struct place *out)
{
    for (size_t i = 0; i < images; i++)
        out[i] = (struct place){scores[i], i};
    qsort(out, images, sizeof *out, better_first);
}

/* --- quality ------------------------------------------------------------------------------------
 */

static void add_query(const struct cli_labels *l, const struct cli_label *query,
                      const struct place *places, struct cli_quality *sum)
{
    size_t seen = 0, right = 0;
    double precisions = 0;
    bool first_right = false;
    for (size_t i = 0; i < l->images; i++) {
        const struct cli_label *image = &l->gallery[places[i].row];
        if (image->pid == query->pid && image->camid == query->camid)
            continue;
        seen++;
        if (image->pid != query->pid)
            continue;
        right++;
        first_right |= seen == 1;
        precisions += (double)right / (double)seen;
    }
    if (!right)
        return;
    sum->queries++;
    sum->map += precisions / (double)right;
    sum->rank1 += first_right;
}

enum cm_err cli_quality_of(const struct cli_labels *l, const double *scores,
                           struct cli_quality *out, struct cm_error *e)
{
    void *places;
    *out = (struct cli_quality){0};
    enum cm_err rc = cm_new(&places, l->images, sizeof(struct place), e);
    if (rc)
        return rc;
    for (size_t q = 0; q < l->queries; q++) {
        rank_images(scores + q * l->images, l->images, places);
        add_query(l, &l->query[q], places, out);
    }
    free(places);
    if (!out->queries)
        return cm_fail(e, CM_EMISMATCH,
                       "no query has an image of its pid by another camera in the gallery, so "
                       "there is no mAP; are these the labels of these images?");
    out->map /= (double)out->queries;
    out->rank1 /= (double)out->queries;
    return CM_OK;
}

/* --- agreement ----------------------------------------------------------------------------------
 */

static enum cm_err measure_errors(size_t count, const double *reference, const double *scores,
                                  struct cli_agreement *out, struct cm_error *e)
{
    void *p;
    double sum = 0;
    enum cm_err rc = cm_new(&p, count, sizeof(double), e);
    if (rc)
        return rc;
    double *errors = p;
    for (size_t i = 0; i < count; i++) {
        errors[i] = fabs(scores[i] - reference[i]);
        sum += errors[i];
    }
    qsort(errors, count, sizeof *errors, ascending);
    out->error_max = errors[count - 1];
    out->error_mean = sum / (double)count;
    out->error_p99 = errors[(count - 1) * 99 / 100];
    out->bound = 2 * out->error_max;
    free(errors);
    return CM_OK;
}

static double overlap(const struct rankings *r, size_t images)
{
    size_t top = images < CLI_AGREEMENT_TOP ? images : CLI_AGREEMENT_TOP, both = 0;
    for (size_t i = 0; i < top; i++)
        both += r->rank[r->reference[i].row] < top;
    return (double)both / (double)top;
}

static void count_swaps(const struct rankings *r, size_t images, struct cli_agreement *out)
{
    for (size_t i = 0; i < images; i++) {
        const struct place *a = &r->reference[i];
        for (size_t j = i + 1; j < images; j++) {
            const struct place *b = &r->reference[j];
            double margin = a->score - b->score;
            if (r->rank[a->row] < r->rank[b->row] || margin <= 0)
                continue;
            out->swaps++;
            out->swaps_above += margin > out->bound;
            out->swap_margin = fmax(out->swap_margin, margin);
        }
    }
}

static void compare_rankings(const struct rankings *r, size_t images, struct cli_agreement *out)
{
    for (size_t i = 0; i < images; i++)
        r->rank[r->scores[i].row] = i;
    out->first_changed += r->reference[0].row != r->scores[0].row;
    out->top_overlap += overlap(r, images);
    count_swaps(r, images, out);
}

enum cm_err cli_agreement_of(size_t queries, size_t images, const double *reference,
                             const double *scores, struct cli_agreement *out, struct cm_error *e)
{
    void *places = NULL, *rank = NULL;
    *out = (struct cli_agreement){0};
    enum cm_err rc = measure_errors(queries * images, reference, scores, out, e);
    if (!rc)
        rc = cm_new(&places, 2 * images, sizeof(struct place), e);
    if (!rc)
        rc = cm_new(&rank, images, sizeof(size_t), e);
    for (size_t q = 0; !rc && q < queries; q++) {
        struct rankings r = {places, (struct place *)places + images, rank};
        rank_images(reference + q * images, images, r.reference);
        rank_images(scores + q * images, images, r.scores);
        compare_rankings(&r, images, out);
    }
    out->top_overlap /= (double)queries;
    free(places);
    free(rank);
    return rc;
}
