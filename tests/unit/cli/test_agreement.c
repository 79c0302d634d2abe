/* The figures of a ranking, and of two that differ, by hand. */
#include "ops/cli/agreement.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static void assert_near(double value, double right, const char *what)
{
    cr_assert(fabs(value - right) < 1e-12, "%s is %.17g, not %.17g", what, value, right);
}

/* The first query's ranking, by row: 1 (junk), 3, 0, 4, 2; 0 and 2 are right, second and fourth.
 * With the tie, 2 and 4 are one threshold. Image 5 is junk to everybody. */
Test(agreement, quality_drops_junk_and_groups_ties)
{
    static const struct cli_label gallery[] = {{7, 2}, {7, 1}, {7, 3}, {8, 1}, {9, 2}, {-1, 9}};
    static const struct cli_label query[] = {{7, 1}, {5, 1}, {8, 2}};
    static const double scores[3][6] = {
        {3, 9, 1, 4, 2, 10}, {1, 2, 3, 4, 5, 6}, {0, -1, -2, 0.5, -3, 0}};
    static const double tied[6] = {3, 9, 2, 4, 2, 10};
    struct cli_labels l = {3, 6, query, gallery};
    struct cli_summary q;
    struct cm_error e;
    cr_assert_eq(cli_quality_of(&l, scores[0], &q, &e), CM_OK, "%s", e.text);
    cr_assert_eq(q.valid_queries, 2, "a query without a right image counts");
    assert_near(q.map, ((1.0 / 2 + 2.0 / 4) / 2 + 1) / 2, "mAP");
    assert_near(q.cmc[0], 0.5, "Rank-1");
    l.queries = 1;
    cr_assert_eq(cli_quality_of(&l, tied, &q, &e), CM_OK, "%s", e.text);
    assert_near(q.map, (1.0 / 2 + 2.0 / 4) / 2, "mAP with a tie");
    assert_near(q.minp, 2.0 / 3, "in mINP, 2 comes before 4");
}

Test(agreement, quality_of_nothing)
{
    static const struct cli_label gallery[] = {{7, 1}, {8, 1}}, query[] = {{7, 1}};
    static const double scores[] = {1, 2};
    struct cli_labels l = {1, 2, query, gallery};
    struct cli_summary q;
    struct cm_error e;
    cr_assert_eq(cli_quality_of(&l, scores, &q, &e), CM_EMISMATCH);
    cr_assert(strstr(e.text, "no query has an image of its pid by another camera"), "%s", e.text);
}

/* One query's first place changes by a margin of 0.25; the other's tie is no swap. */
Test(agreement, errors_and_swaps)
{
    static const double reference[2][4] = {{4, 3.75, 2, 1}, {1, 1, 3, 2}};
    static const double scores[2][4] = {{3.75, 4, 2, 1}, {1, 1.125, 3, 2}};
    struct cli_agreement a;
    struct cm_error e;
    cr_assert_eq(cli_agreement_of(2, 4, reference[0], scores[0], &a, &e), CM_OK, "%s", e.text);
    assert_near(a.error_max, 0.25, "largest error");
    assert_near(a.error_mean, 0.625 / 8, "mean error");
    assert_near(a.error_p99, 0.25, "p99");
    assert_near(a.bound, 0.5, "bound");
    cr_assert_eq(a.first_changed, 1);
    cr_assert_eq(a.swaps, 1);
    assert_near(a.swap_margin, 0.25, "margin");
    cr_assert_eq(a.swaps_above, 0);
    assert_near(a.top_overlap, 1, "overlap of fewer than 20 images");
}

/* Of 40 images, the 20th and the 21st change places, and the 1st with the 2nd. */
Test(agreement, top_overlap)
{
    double reference[40], scores[40];
    struct cli_agreement a;
    struct cm_error e;
    for (int i = 0; i < 40; i++)
        reference[i] = scores[i] = -i;
    scores[19] = -20;
    scores[20] = -19;
    scores[0] = -1;
    scores[1] = 0;
    cr_assert_eq(cli_agreement_of(1, 40, reference, scores, &a, &e), CM_OK, "%s", e.text);
    assert_near(a.top_overlap, 19.0 / 20, "overlap");
    cr_assert_eq(a.swaps, 2);
    assert_near(a.error_mean, 4.0 / 40, "mean error");
}
