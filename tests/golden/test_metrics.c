/* The figures of the real set against those that the authors' own evaluation code gave.
 *
 * Their scores stand in scores.npy: what a cluster would count in them is counted here, image by
 * image. The files are in $VITRINE_SHARED, or in ../shared; without them nothing runs. */
#include "proto/file/csv.h"
#include "tests/support/matrix.h"
#include "tests/support/oracle.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512 };

static struct cm_error e;

/* The labels of the set's file of this name, which has `rows` rows. */
static struct cli_label *read_labels(const char *name, size_t rows)
{
    char path[PATH_BYTES], file[64];
    struct cli_label *labels = calloc(rows, sizeof *labels);
    struct cm_image_meta meta;
    struct pr_csv *csv;
    bool end = false;
    size_t count = 0;
    snprintf(file, sizeof file, "data/grocery/%.40s", name);
    cr_assert(test_shared(file, path, sizeof path));
    cr_assert_eq(pr_csv_open(&csv, path, PR_NAMES_CSV, &e), CM_OK, "%s", e.text);
    for (;; count++) {
        cr_assert_eq(pr_csv_next(csv, &meta, &end, &e), CM_OK, "%s", e.text);
        if (end)
            break;
        cr_assert(count < rows, "%s has more than %zu rows", name, rows);
        labels[count] = (struct cli_label){meta.pid, meta.camid};
    }
    cr_assert_eq(count, rows);
    pr_csv_close(csv);
    return labels;
}

static json_t *read_json(const char *name)
{
    char path[PATH_BYTES], file[64];
    snprintf(file, sizeof file, "data/grocery/%.40s", name);
    cr_assert(test_shared(file, path, sizeof path));
    json_t *root = json_load_file(path, 0, NULL);
    cr_assert(root != NULL, "%s", path);
    return root;
}

static void same_mean(const json_t *theirs, const char *key, double ours, double allowed)
{
    double right = json_number_value(json_object_get(theirs, key));
    cr_assert(fabs(ours - right) <= allowed, "%s is %.12f, not %.12f", key, ours, right);
}

static void same_count(const json_t *theirs, const char *key, uint64_t ours)
{
    uint64_t right = (uint64_t)json_integer_value(json_object_get(theirs, key));
    cr_assert_eq(ours, right, "%s is %zu, not %zu", key, (size_t)ours, (size_t)right);
}

static void compare(const struct cli_summary *s, const json_t *theirs)
{
    same_mean(theirs, "rank1", s->cmc[0], 1e-9);
    same_mean(theirs, "rank5", s->cmc[4], 1e-9);
    same_mean(theirs, "rank10", s->cmc[9], 1e-9);
    same_mean(theirs, "rank20", s->cmc[19], 1e-9);
    same_mean(theirs, "mAP", s->map, 1e-6);
    same_mean(theirs, "mINP", s->minp, 1e-6);
    same_count(theirs, "queries", s->queries);
    same_count(theirs, "valid_queries", s->valid_queries);
    same_count(theirs, "gallery", s->gallery);
    same_count(theirs, "junk_pairs", s->junk_pairs);
    same_count(theirs, "queries_with_junk", s->queries_with_junk);
    same_count(theirs, "pid_minus1_dropped", s->pid_minus1_dropped);
    same_count(theirs, "distractors_pid0", s->distractors_pid0);
}

/* The whole set with these labels. */
static struct cli_summary evaluate(const struct test_matrix *scores, const char *query_csv,
                                   const char *gallery_csv)
{
    struct cli_label *query = read_labels(query_csv, scores->rows);
    struct cli_label *gallery = read_labels(gallery_csv, scores->columns);
    struct cli_query_figures *figures = calloc(scores->rows, sizeof *figures);
    struct cli_summary sum;
    for (size_t q = 0; q < scores->rows; q++) {
        struct test_row row = {query[q], scores->columns, gallery,
                               scores->values + q * scores->columns};
        struct pr_census census;
        struct pr_counts_list counts;
        test_census_of(&row, &census, &counts);
        cr_assert_eq(cli_figures_of(&census, &counts, &figures[q], &e), CM_OK, "%s", e.text);
        free(counts.items);
    }
    cr_assert_eq(cli_summary_of(figures, scores->rows, &sum, &e), CM_OK, "%s", e.text);
    free(figures);
    free(query);
    free(gallery);
    return sum;
}

Test(metrics, grocery)
{
    char path[PATH_BYTES];
    struct test_matrix scores;
    if (!test_shared("data/grocery/scores.npy", path, sizeof path))
        return;
    cr_assert_eq(test_matrix_read(&scores, path, &e), CM_OK, "%s", e.text);
    json_t *theirs = read_json("metrics.json"), *junk = read_json("metrics_junk.json");
    struct cli_summary s = evaluate(&scores, "query.csv", "gallery.csv");
    compare(&s, theirs);
    s = evaluate(&scores, "query_junk.csv", "gallery_junk.csv");
    compare(&s, junk);
    same_mean(junk, "mAP_trapezoid", s.map_trapezoid, 1e-9);
    fprintf(stderr, "golden: mAP %.10f (by trapezoids %.10f), theirs %.10f (%.10f)\n", s.map,
            s.map_trapezoid, json_number_value(json_object_get(junk, "mAP")),
            json_number_value(json_object_get(junk, "mAP_trapezoid")));
    json_decref(theirs);
    json_decref(junk);
    test_matrix_free(&scores);
}
