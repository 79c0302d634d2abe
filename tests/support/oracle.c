/* oracle.c: see oracle.h. */
#include "tests/support/oracle.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool test_is_valid(const struct test_row *r, size_t i)
{
    const struct cli_label *g = &r->gallery[i];
    return g->pid != -1 && !(g->pid == r->query.pid && g->camid == r->query.camid);
}

bool test_is_right(const struct test_row *r, size_t i)
{
    return test_is_valid(r, i) && r->gallery[i].pid != 0 && r->gallery[i].pid == r->query.pid;
}

/* Images that count, or right ones alone, in [least, most]. */
static size_t count_within(const struct test_row *r, bool right, double least, double most)
{
    size_t n = 0;
    for (size_t i = 0; i < r->images; i++)
        if (test_is_valid(r, i) && (!right || test_is_right(r, i)))
            n += r->scores[i] >= least && r->scores[i] <= most;
    return n;
}

/* Of those that count: the best after `after` in our order (higher score, then lower id);
 * r->images if there is none. `after` = r->images: the best of all. */
static size_t next_best(const struct test_row *r, size_t after)
{
    size_t best = r->images;
    for (size_t i = 0; i < r->images; i++) {
        if (!test_is_valid(r, i))
            continue;
        bool later = after == r->images || r->scores[i] < r->scores[after] ||
                     (r->scores[i] == r->scores[after] && i > after);
        if (later && (best == r->images || r->scores[i] > r->scores[best]))
            best = i;
    }
    return best;
}

void test_census_of(const struct test_row *r, struct pr_census *census,
                    struct pr_counts_list *counts)
{
    *census = (struct pr_census){0};
    *counts = (struct pr_counts_list){calloc(r->images + 1, sizeof *counts->items), 0};
    for (size_t i = 0; i < r->images; i++) {
        census->valid += test_is_valid(r, i);
        census->junk += r->gallery[i].pid == -1;
        census->distractors += r->gallery[i].pid == 0;
        census->same_camera += r->gallery[i].pid != -1 && !test_is_valid(r, i);
    }
    for (size_t i = next_best(r, r->images); i < r->images; i = next_best(r, i)) {
        if (!test_is_right(r, i))
            continue;
        struct pr_counts *c = &counts->items[counts->count++];
        for (size_t j = 0; j < r->images; j++) {
            c->higher += test_is_valid(r, j) && r->scores[j] > r->scores[i];
            c->equal += test_is_valid(r, j) && r->scores[j] == r->scores[i];
            c->equal_lower += test_is_valid(r, j) && r->scores[j] == r->scores[i] && j < i;
        }
    }
}

/* Sum over all thresholds, from the highest score down, of the step in recall times precision. */
static double area_of_steps(const struct test_row *r, double positives)
{
    double area = 0, recall = 0, top = INFINITY;
    while (count_within(r, false, -INFINITY, INFINITY) > count_within(r, false, top, INFINITY)) {
        double threshold = -INFINITY; /* the highest score below the last threshold */
        for (size_t i = 0; i < r->images; i++)
            if (test_is_valid(r, i) && r->scores[i] < top)
                threshold = fmax(threshold, r->scores[i]);
        double right = (double)count_within(r, true, threshold, INFINITY);
        double all = (double)count_within(r, false, threshold, INFINITY);
        area += (right / positives - recall) * (right / all);
        recall = right / positives;
        top = threshold;
    }
    return area;
}

/* Down the ranked list, image by image: the Oxford buildings' evaluation, whose way Market's is. */
static double area_of_trapezoids(const struct test_row *r, double positives)
{
    double area = 0, old_recall = 0, old_precision = 1, right = 0, seen = 0;
    for (size_t i = next_best(r, r->images); i < r->images; i = next_best(r, i)) {
        right += test_is_right(r, i);
        seen++;
        double recall = right / positives, precision = right / seen;
        area += (recall - old_recall) * (old_precision + precision) / 2;
        old_recall = recall;
        old_precision = precision;
    }
    return area;
}

void test_figures_of(const struct test_row *r, struct cli_query_figures *out)
{
    struct pr_counts_list counts;
    uint64_t rank = 0;
    *out = (struct cli_query_figures){0};
    test_census_of(r, &out->census, &counts);
    free(counts.items);
    for (size_t i = next_best(r, r->images); i < r->images; i = next_best(r, i)) {
        rank++;
        if (!test_is_right(r, i))
            continue;
        out->positives++;
        out->last_rank = rank;
        if (out->positives == 1)
            out->first_rank = rank;
    }
    if (!out->positives)
        return;
    out->ap = area_of_steps(r, (double)out->positives);
    out->ap_trapezoid = area_of_trapezoids(r, (double)out->positives);
    out->inp = (double)out->positives / (double)out->last_rank;
}

/* Is one of the first `ranks` images that count right? */
static bool is_found(const struct test_row *r, size_t ranks)
{
    size_t i = next_best(r, r->images);
    for (; ranks-- > 0 && i < r->images; i = next_best(r, i))
        if (test_is_right(r, i))
            return true;
    return false;
}

void test_summary_of(const struct test_row *rows, size_t queries, struct cli_summary *out)
{
    *out = (struct cli_summary){.queries = queries};
    for (size_t q = 0; q < queries; q++) {
        struct cli_query_figures f;
        test_figures_of(&rows[q], &f);
        out->gallery = rows[q].images - f.census.junk;
        out->pid_minus1_dropped = f.census.junk;
        out->distractors_pid0 = f.census.distractors;
        out->junk_pairs += f.census.same_camera;
        out->queries_with_junk += f.census.same_camera != 0;
        out->valid_queries += f.positives != 0;
        out->map += f.ap;
        out->map_trapezoid += f.ap_trapezoid;
        out->minp += f.inp;
        for (size_t r = 0; r < CLI_CMC_RANKS; r++)
            out->cmc[r] += is_found(&rows[q], r + 1);
    }
    for (size_t r = 0; out->valid_queries && r < CLI_CMC_RANKS; r++)
        out->cmc[r] /= (double)out->valid_queries;
    if (!out->valid_queries)
        return;
    out->map /= (double)out->valid_queries;
    out->map_trapezoid /= (double)out->valid_queries;
    out->minp /= (double)out->valid_queries;
}

static void assert_near(double ours, double right, const char *what)
{
    cr_assert(fabs(ours - right) <= 1e-12, "%s is %.17g, not %.17g", what, ours, right);
}

void test_same_figures(const struct cli_query_figures *ours, const struct cli_query_figures *right)
{
    cr_assert_eq(memcmp(&ours->census, &right->census, sizeof ours->census), 0, "census");
    cr_assert_eq(ours->positives, right->positives, "positives");
    cr_assert_eq(ours->first_rank, right->first_rank, "first rank is %zu, not %zu",
                 (size_t)ours->first_rank, (size_t)right->first_rank);
    cr_assert_eq(ours->last_rank, right->last_rank, "last rank is %zu, not %zu",
                 (size_t)ours->last_rank, (size_t)right->last_rank);
    assert_near(ours->ap, right->ap, "AP");
    assert_near(ours->ap_trapezoid, right->ap_trapezoid, "AP by trapezoids");
    assert_near(ours->inp, right->inp, "INP");
}

void test_same_summary(const struct cli_summary *ours, const struct cli_summary *right)
{
    cr_assert_eq(ours->queries, right->queries, "queries");
    cr_assert_eq(ours->valid_queries, right->valid_queries, "valid queries");
    cr_assert_eq(ours->gallery, right->gallery, "gallery");
    cr_assert_eq(ours->junk_pairs, right->junk_pairs, "junk pairs");
    cr_assert_eq(ours->queries_with_junk, right->queries_with_junk, "queries with junk");
    cr_assert_eq(ours->pid_minus1_dropped, right->pid_minus1_dropped, "pid -1");
    cr_assert_eq(ours->distractors_pid0, right->distractors_pid0, "pid 0");
    assert_near(ours->map, right->map, "mAP");
    assert_near(ours->map_trapezoid, right->map_trapezoid, "mAP by trapezoids");
    assert_near(ours->minp, right->minp, "mINP");
    for (size_t r = 0; r < CLI_CMC_RANKS; r++)
        assert_near(ours->cmc[r], right->cmc[r], "CMC");
}
