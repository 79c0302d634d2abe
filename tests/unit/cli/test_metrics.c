/* The figures of an evaluation: by hand, against a naive oracle, and what no ranking has. */
#include "ops/cli/agreement.h"
#include "tests/support/oracle.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES_MAX = 70, QUERIES_MAX = 6 };

static void assert_near(double value, double right, const char *what)
{
    cr_assert(fabs(value - right) < 1e-12, "%s is %.17g, not %.17g", what, value, right);
}

static struct cli_query_figures figures(struct pr_census census, struct pr_counts *counts,
                                        size_t positives)
{
    struct cli_query_figures f;
    struct cm_error e;
    struct pr_counts_list l = {counts, positives};
    cr_assert_eq(cli_figures_of(&census, &l, &f, &e), CM_OK, "%s", e.text);
    return f;
}

/* Right images at ranks 2, 3 and 6 of 8. */
Test(metrics, by_hand)
{
    struct pr_counts counts[] = {{1, 0, 1}, {2, 0, 1}, {5, 0, 1}};
    struct cli_query_figures f = figures((struct pr_census){8, 2, 1, 3}, counts, 3);
    /* Precision at the hits: 1/2, 2/3, 3/6. */
    assert_near(f.ap, (1.0 / 2 + 2.0 / 3 + 3.0 / 6) / 3, "AP");
    /* Before the hits: 0 of 1, 1 of 2, 2 of 5. */
    assert_near(f.ap_trapezoid,
                ((0 + 1.0 / 2) / 2 + (1.0 / 2 + 2.0 / 3) / 2 + (2.0 / 5 + 3.0 / 6) / 2) / 3,
                "AP by trapezoids");
    assert_near(f.inp, 3.0 / 6, "INP");
    cr_assert(f.first_rank == 2 && f.last_rank == 6 && f.positives == 3);
    cr_assert(f.census.valid == 8 && f.census.same_camera == 2 && f.census.junk == 1);
}

/* Scores 9 + - | 7 + | 5 - + - +: '+' is right, ids ascend within a score. */
Test(metrics, ties_by_hand)
{
    struct pr_counts counts[] = {{0, 0, 2}, {2, 0, 1}, {3, 1, 4}, {3, 3, 4}};
    struct cli_query_figures f = figures((struct pr_census){7, 0, 0, 0}, counts, 4);
    /* Thresholds 9, 7, 5: recall rises by 1/4, 1/4, 2/4; precision 1/2, 2/3, 4/7. */
    assert_near(f.ap, 1.0 / 4 * 1 / 2 + 1.0 / 4 * 2 / 3 + 2.0 / 4 * 4 / 7, "AP");
    /* Ranks 1, 3, 5, 7: precision before 1 (nothing), 1/2, 2/4, 3/6; after 1/1, 2/3, 3/5, 4/7. */
    assert_near(f.ap_trapezoid,
                ((1 + 1.0) / 2 + (1.0 / 2 + 2.0 / 3) / 2 + (2.0 / 4 + 3.0 / 5) / 2 +
                 (3.0 / 6 + 4.0 / 7) / 2) /
                    4,
                "AP by trapezoids");
    assert_near(f.inp, 4.0 / 7, "INP");
    cr_assert(f.first_rank == 1 && f.last_rank == 7);
}

Test(metrics, the_best_and_the_least)
{
    struct pr_counts first = {0, 0, 1}, last = {UINT64_C(1) << 39, 9, 10};
    struct cli_query_figures f = figures((struct pr_census){.valid = 1}, &first, 1);
    cr_assert(f.ap == 1 && f.ap_trapezoid == 1 && f.inp == 1 && f.first_rank == 1);
    f = figures((struct pr_census){.valid = (UINT64_C(1) << 39) + 10}, &last, 1);
    double n = (double)((UINT64_C(1) << 39) + 10);
    cr_assert(f.ap == 1 / n && f.inp == 1 / n && f.ap_trapezoid == 1 / n / 2);
    f = figures((struct pr_census){5, 1, 0, 0}, NULL, 0);
    cr_assert(f.positives == 0 && f.ap == 0 && f.inp == 0 && f.first_rank == 0);
    cr_assert(f.census.same_camera == 1, "the census counts all the same");
}

/* Two right images with these counts, of 10 valid images. */
static void assert_impossible(struct pr_counts a, struct pr_counts b)
{
    struct pr_counts items[] = {a, b};
    struct pr_counts_list l = {items, 2};
    struct pr_census census = {.valid = 10};
    struct cli_query_figures f, zero = {0};
    struct cm_error e;
    cr_assert_eq(cli_figures_of(&census, &l, &f, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "no ranking of 10 valid images"), "%s", e.text);
    cr_assert_eq(memcmp(&f, &zero, sizeof f), 0);
}

Test(metrics, refuses_what_no_ranking_has)
{
    const struct pr_counts best = {0, 0, 1}, tied = {3, 1, 4};
    assert_impossible(best, (struct pr_counts){10, 0, 0}); /* not even equal to itself */
    assert_impossible(best, (struct pr_counts){10, 0, 1}); /* 11 of 10 */
    assert_impossible(best, (struct pr_counts){8, 0, 3});
    assert_impossible(best, (struct pr_counts){UINT64_MAX, 0, 2});
    assert_impossible(best, (struct pr_counts){2, 0, UINT64_MAX});
    assert_impossible(best, (struct pr_counts){2, 3, 3}); /* all equal ones are before it */
    assert_impossible(best, best);                        /* in one place twice */
    assert_impossible(tied, (struct pr_counts){3, 0, 4}); /* not by id */
    assert_impossible(tied,
                      (struct pr_counts){3, 2, 5}); /* of one score, of two numbers of equals */
    assert_impossible(tied, (struct pr_counts){6, 0, 1}); /* an equal one of the first is missing */
    assert_impossible((struct pr_counts){5, 0, 1}, (struct pr_counts){4, 0, 1});
    figures((struct pr_census){.valid = 10}, (struct pr_counts[]){tied, {7, 0, 3}}, 2);
}

Test(metrics, relations)
{
    const struct cli_label q = {7, 1}, distractor = {0, 1}, junk = {-1, 1};
    cr_assert_eq(cli_relation_of(&q, &(struct cli_label){7, 2}), CLI_RIGHT);
    cr_assert_eq(cli_relation_of(&q, &q), CLI_SAME_CAMERA);
    cr_assert_eq(cli_relation_of(&q, &(struct cli_label){8, 1}), CLI_WRONG);
    cr_assert_eq(cli_relation_of(&q, &distractor), CLI_WRONG);
    cr_assert_eq(cli_relation_of(&q, &junk), CLI_JUNK);
    cr_assert_eq(cli_relation_of(&distractor, &(struct cli_label){0, 2}), CLI_WRONG);
    cr_assert_eq(cli_relation_of(&junk, &(struct cli_label){-1, 2}), CLI_JUNK);
}

/* --- against the oracle -------------------------------------------------------------------------
 */

/* A random set: a gallery, some queries, their scores. */
struct set {
    struct cli_label gallery[IMAGES_MAX], query[QUERIES_MAX];
    double scores[QUERIES_MAX * IMAGES_MAX];
    struct test_row rows[QUERIES_MAX];
    size_t images, queries;
};

static double random_score(struct test_random *r, bool finite)
{
    static const double few[] = {-INFINITY, -2.5, -1, -0.0, 0, 0.5, 3};
    switch (test_random_below(r, 4)) {
    case 0:
        return (double)test_random_float(r, -4, 4);
    default:
        return few[finite + test_random_below(r, 7 - finite)];
    }
}

static void fill(struct set *s, struct test_random *r, size_t images, bool finite)
{
    int64_t pids = 1 + (int64_t)test_random_below(r, 5);
    s->images = images;
    s->queries = 1 + test_random_below(r, QUERIES_MAX);
    for (size_t i = 0; i < images; i++)
        s->gallery[i] = (struct cli_label){(int64_t)test_random_below(r, (uint64_t)pids + 2) - 1,
                                           (int32_t)test_random_below(r, 3)};
    for (size_t q = 0; q < s->queries; q++) {
        s->query[q] = (struct cli_label){1 + (int64_t)test_random_below(r, (uint64_t)pids + 1),
                                         (int32_t)test_random_below(r, 3)};
        if (test_random_below(r, 40) == 0)
            s->query[q].pid = -(int64_t)test_random_below(r, 2);
        double *scores = s->scores + q * images;
        for (size_t i = 0; i < images; i++)
            scores[i] = random_score(r, finite);
        s->rows[q] = (struct test_row){s->query[q], images, s->gallery, scores};
    }
}

static void check_set(const struct set *s)
{
    struct cli_query_figures ours[QUERIES_MAX];
    struct cli_summary sum, right_sum, again;
    struct cm_error e;
    struct cli_labels labels = {s->queries, s->images, s->query, s->gallery};
    for (size_t q = 0; q < s->queries; q++) {
        struct pr_census census;
        struct pr_counts_list counts;
        struct cli_query_figures right;
        test_census_of(&s->rows[q], &census, &counts);
        cr_assert_eq(cli_figures_of(&census, &counts, &ours[q], &e), CM_OK, "%s", e.text);
        test_figures_of(&s->rows[q], &right);
        test_same_figures(&ours[q], &right);
        free(counts.items);
    }
    test_summary_of(s->rows, s->queries, &right_sum);
    enum cm_err rc = cli_summary_of(ours, s->queries, &sum, &e);
    cr_assert_eq(rc, right_sum.valid_queries ? CM_OK : CM_EMISMATCH, "%s", e.text);
    test_same_summary(&sum, &right_sum);
    cr_assert_eq(cli_quality_of(&labels, s->scores, &again, &e), rc, "%s", e.text);
    cr_assert_eq(memcmp(&sum, &again, sizeof sum), 0, "from the matrix itself, the same bits");
}

Test(metrics, small_sets_agree_with_the_oracle)
{
    struct test_random r = {1};
    static struct set s;
    for (size_t i = 0; i < 6000; i++) {
        fill(&s, &r, 1 + test_random_below(&r, 14), i % 2);
        check_set(&s);
    }
}

Test(metrics, larger_sets_agree_with_the_oracle)
{
    struct test_random r = {2};
    static struct set s;
    for (size_t i = 0; i < 150; i++) {
        fill(&s, &r, 50 + test_random_below(&r, IMAGES_MAX - 49), i % 2);
        check_set(&s);
    }
}

/* --- sums ---------------------------------------------------------------------------------------
 */

/* Query 2 was not measured (pid 0), query 3 has no right image; of the others the first right image
 * has ranks 1, 4, 51 and 50. */
Test(metrics, sums_by_hand)
{
    struct cli_query_figures f[6] = {0};
    struct pr_counts a = {0, 0, 1}, b = {3, 0, 1}, c = {50, 0, 1}, d = {49, 0, 1};
    struct cli_summary s;
    struct cm_error e;
    f[0] = figures((struct pr_census){98, 2, 5, 7}, &a, 1);
    f[1] = figures((struct pr_census){100, 0, 5, 7}, &b, 1);
    f[3] = figures((struct pr_census){99, 1, 5, 7}, NULL, 0);
    f[4] = figures((struct pr_census){100, 0, 5, 7}, &c, 1);
    f[5] = figures((struct pr_census){100, 0, 5, 7}, &d, 1);
    cr_assert_eq(cli_summary_of(f, 6, &s, &e), CM_OK, "%s", e.text);
    cr_assert(s.queries == 6 && s.valid_queries == 4 && s.gallery == 100);
    cr_assert(s.junk_pairs == 3 && s.queries_with_junk == 2);
    cr_assert(s.pid_minus1_dropped == 5 && s.distractors_pid0 == 7);
    assert_near(s.map, (1 + 1.0 / 4 + 1.0 / 51 + 1.0 / 50) / 4, "mAP");
    assert_near(s.map_trapezoid, (1 + 1.0 / 8 + 1.0 / 102 + 1.0 / 100) / 4, "mAP by trapezoids");
    assert_near(s.minp, (1 + 1.0 / 4 + 1.0 / 51 + 1.0 / 50) / 4, "mINP");
    assert_near(s.cmc[0], 1.0 / 4, "Rank-1");
    assert_near(s.cmc[2], 1.0 / 4, "Rank-3");
    assert_near(s.cmc[3], 2.0 / 4, "Rank-4");
    assert_near(s.cmc[48], 2.0 / 4, "Rank-49");
    assert_near(s.cmc[49], 3.0 / 4, "Rank-50");
}

Test(metrics, sums_refuse_two_galleries_and_none)
{
    struct cli_query_figures f[3] = {0};
    struct pr_counts a = {0, 0, 1};
    struct cli_summary s;
    struct cm_error e;
    f[0] = figures((struct pr_census){9, 1, 2, 3}, &a, 1);
    f[2] = figures((struct pr_census){10, 0, 2, 3}, &a, 1);
    cr_assert_eq(cli_summary_of(f, 3, &s, &e), CM_OK, "%s", e.text);
    const struct pr_census others[] = {{11, 0, 2, 3}, {9, 0, 3, 3}, {10, 0, 2, 4}, {10, 0, 3, 3}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        f[2].census = others[i];
        cr_assert_eq(cli_summary_of(f, 3, &s, &e), CM_EMISMATCH);
        cr_assert(strstr(e.text, "query 2 saw "), "%s", e.text);
        cr_assert(strstr(e.text, "before it saw 12, 2 and 3"), "%s", e.text);
    }
    f[0] = f[2] = figures((struct pr_census){9, 1, 2, 3}, NULL, 0);
    cr_assert_eq(cli_summary_of(f, 3, &s, &e), CM_EMISMATCH);
    cr_assert(strstr(e.text, "no query has an image of its pid by another camera"), "%s", e.text);
    cr_assert(s.queries == 3 && s.valid_queries == 0 && s.gallery == 10 && s.junk_pairs == 2);
    cr_assert_eq(cli_summary_of(f, 0, &s, &e), CM_EMISMATCH);
}
