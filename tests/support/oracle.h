/* oracle.h: the figures of an evaluation once more, in the most naive way, from whole rows of
 * scores. Quadratic, and in no way related to ops/cli/metrics.c. Failures stop the test. */
#ifndef TEST_ORACLE_H
#define TEST_ORACLE_H

#include "ops/cli/metrics.h"

#include <stdbool.h>
#include <stddef.h>

/* One query's scores against a whole labelled gallery; an image's id is its place. */
struct test_row {
    struct cli_label query;
    size_t images;
    const struct cli_label *gallery; /* [images] */
    const double *scores;            /* [images], none NaN */
};

/* Does image `i` count for this query, and is it right? */
bool test_is_valid(const struct test_row *r, size_t i);
bool test_is_right(const struct test_row *r, size_t i);

/* What a cluster would report of the row: by the words of ranks.h and positives.h, one image
 * against all others. Frees: pr_counts_list's items with free(). */
void test_census_of(const struct test_row *r, struct pr_census *census,
                    struct pr_counts_list *counts);

/* The query's figures: AP from precision and recall at each threshold, its trapezoids and the ranks
 * by walking down the sorted list. */
void test_figures_of(const struct test_row *r, struct cli_query_figures *out);

/* The sums over queries, each walked down again for each rank of the CMC. */
void test_summary_of(const struct test_row *rows, size_t queries, struct cli_summary *out);

/* Stops the test where the two differ: counts at all, means by more than 1e-12. */
void test_same_figures(const struct cli_query_figures *ours, const struct cli_query_figures *right);
void test_same_summary(const struct cli_summary *ours, const struct cli_summary *right);

#endif
