/* agreement.c: see agreement.h. */
#include "ops/cli/agreement.h"

#include "common/mem.h"

#include <math.h>
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

/* One query's ranking, and the counts of its positives. */
struct ranked {
    struct place *places;     /* [images], best first */
    struct pr_counts *counts; /* [images], as many as there are positives are used */
};

/* Counts what lies between two different scores: places first .. end - 1. `c` has what came before
 * them. */
static void count_equals(const struct cli_labels *l, size_t query, const struct ranked *r,
                         size_t first, size_t end, struct pr_census *c,
                         struct pr_counts_list *counts)
{
    uint64_t higher = c->valid;
    size_t known = counts->count;
    for (size_t i = first; i < end; i++) {
        const struct cli_label *image = &l->gallery[r->places[i].row];
        enum cli_relation relation = cli_relation_of(&l->query[query], image);
        if (relation == CLI_RIGHT)
            counts->items[counts->count++] =
                (struct pr_counts){.higher = higher, .equal_lower = c->valid - higher};
        c->valid += relation == CLI_RIGHT || relation == CLI_WRONG;
        c->same_camera += relation == CLI_SAME_CAMERA;
        c->junk += relation == CLI_JUNK;
        c->distractors += image->pid == 0;
    }
    for (size_t i = known; i < counts->count; i++)
        counts->items[i].equal = c->valid - higher;
}

static enum cm_err figures_of_row(const struct cli_labels *l, size_t query, const double *scores,
                                  const struct ranked *r, struct cli_query_figures *out,
                                  struct cm_error *e)
{
    struct pr_census census = {0};
    struct pr_counts_list counts = {r->counts, 0};
    rank_images(scores, l->images, r->places);
    for (size_t first = 0, end = 0; first < l->images; first = end) {
        while (end < l->images && r->places[end].score == r->places[first].score)
            end++;
        count_equals(l, query, r, first, end, &census, &counts);
    }
    return cli_figures_of(&census, &counts, out, e);
}

enum cm_err cli_quality_of(const struct cli_labels *l, const double *scores,
                           struct cli_summary *out, struct cm_error *e)
{
    void *figures = NULL, *places = NULL, *counts = NULL;
    *out = (struct cli_summary){0};
    enum cm_err rc = cm_new(&figures, l->queries, sizeof(struct cli_query_figures), e);
    if (!rc)
        rc = cm_new(&places, l->images, sizeof(struct place), e);
    if (!rc)
        rc = cm_new(&counts, l->images, sizeof(struct pr_counts), e);
    for (size_t q = 0; !rc && q < l->queries; q++)
        rc = figures_of_row(l, q, scores + q * l->images, &(struct ranked){places, counts},
                            (struct cli_query_figures *)figures + q, e);
    if (!rc)
        rc = cli_summary_of(figures, l->queries, out, e);
    free(figures);
    free(places);
    free(counts);
    return rc;
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
