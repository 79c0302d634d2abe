/* What an evaluation says: the table, the rows of CSV, the JSON. */
#include "ops/cli/tables.h"
#include "ops/cli/textfile.h"
#include "proto/file/csv.h"
#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Two queries that count, and one that does not. */
struct sample {
    struct cli_query_figures figures[3];
    struct cm_image_meta labels[3];
    struct cli_summary sum;
    struct cli_evaluation v;
};

static void begin(struct sample *s)
{
    struct pr_counts a[] = {{0, 0, 1}, {2, 0, 1}}, b[] = {{6, 1, 2}};
    struct cm_error e;
    *s = (struct sample){
        .labels = {{.name = "a, \"b\" |c|.jpg", .pid = 7, .camid = 1},
                   {.name = "no,ne.jpg", .pid = -1, .camid = -2},
                   {.name = "gr\xc3\xbc\xc3\x9f"
                            "e.jpg ",
                    .pid = INT64_MAX,
                    .camid = INT32_MIN}},
    };
    cr_assert_eq(cli_figures_of(&(struct pr_census){98, 2, 5, 7}, &(struct pr_counts_list){a, 2},
                                &s->figures[0], &e),
                 CM_OK);
    cr_assert_eq(cli_figures_of(&(struct pr_census){100, 0, 5, 7}, &(struct pr_counts_list){b, 1},
                                &s->figures[2], &e),
                 CM_OK);
    cr_assert_eq(cli_summary_of(s->figures, 3, &s->sum, &e), CM_OK, "%s", e.text);
    s->v = (struct cli_evaluation){.test = "market1501",
                                   .summary = &s->sum,
                                   .figures = s->figures,
                                   .labels = s->labels,
                                   .ms_per_query = -1};
}

static void assert_table(const struct cli_evaluation *v, const char *right)
{
    struct cli_textfile t;
    struct cm_error e;
    cr_assert_eq(cli_textfile_open(&t, &e), CM_OK);
    cli_table_print(v, t.file);
    cr_assert_eq(cli_textfile_end(&t, &e), CM_OK);
    cr_assert_str_eq(t.data, right);
    cli_textfile_close(&t);
}

/* AP: (1 + 2/3) / 2 and 1/8; INP: 2/3 and 1/8; first hits at ranks 1 and 8. */
Test(tables, table)
{
    struct sample s;
    begin(&s);
    assert_table(
        &s.v,
        "| Dataset    | Rank-1 | Rank-5 | Rank-10 | Rank-20 |   mAP |  mINP | Queries | Gallery |\n"
        "|:-----------|-------:|-------:|--------:|--------:|------:|------:|--------:|--------:|\n"
        "| market1501 |  50.00 |  50.00 |  100.00 |  100.00 | 47.92 | 39.58 |       2 |     100 |\n"
        "2 of 3 queries have a right image and count. Dropped: 2 images of a query's own pid and "
        "camid (queries with such images: 1). Dropped from the gallery: 5 images of pid -1. "
        "Distractors (pid 0): 7.\n"
        "CMC: same pid and same camid dropped, pid -1 dropped, first match, equal scores by lower "
        "id; mAP: finite sum over thresholds (scikit-learn's average_precision_score); mINP: "
        "positives / rank of the hardest one\n");
}

Test(tables, table_of_all_columns_and_a_hostile_name)
{
    struct sample s;
    begin(&s);
    s.v.train = "gr\xc3\xbcn|\x1b[31m";
    s.v.test = "x";
    s.v.trapezoid = true;
    s.v.ms_per_query = 12.345;
    s.sum = (struct cli_summary){.queries = 1,
                                 .valid_queries = 1,
                                 .gallery = 12345678,
                                 .map = 1,
                                 .map_trapezoid = 0.999,
                                 .minp = 0.05};
    assert_table(
        &s.v,
        "| Dataset          | Rank-1 | Rank-5 | Rank-10 | Rank-20 |    mAP | mAP_trapezoid | "
        "mINP | Queries |  Gallery | ms/query |\n"
        "|:-----------------|-------:|-------:|--------:|--------:|-------:|--------------:|"
        "-----:|--------:|---------:|---------:|\n"
        "| gr\xc3\xbcn\\|?[31m -> x |   0.00 |   0.00 |    0.00 |    0.00 | 100.00 | "
        "        99.90 | 5.00 |       1 | 12345678 |     12.3 |\n"
        "1 of 1 queries have a right image and count.\n"
        "CMC: same pid and same camid dropped, pid -1 dropped, first match, equal scores by lower "
        "id; mAP: finite sum over thresholds (scikit-learn's average_precision_score); "
        "mAP_trapezoid: as in the Market-1501 evaluation code; mINP: positives / rank of the "
        "hardest one\n");
}

Test(tables, names)
{
    char name[64], little[6];
    struct cli_evaluation v = {.train = "a", .test = "b"};
    cr_assert_str_eq(cli_evaluation_name(&v, name, sizeof name), "a -> b");
    cr_assert_str_eq(cli_evaluation_name(&v, little, sizeof little), "a -> ");
    v.train = NULL;
    cr_assert_str_eq(cli_evaluation_name(&v, name, sizeof name), "b");
    v.test = NULL;
    cr_assert_str_eq(cli_evaluation_name(&v, name, sizeof name), "-");
    cr_assert(strstr(cli_definitions(true), "Market-1501") != NULL);
    cr_assert(strstr(cli_definitions(false), "Market-1501") == NULL);
}

static char *csv_of(const struct cli_evaluation *v, const struct test_folder *f)
{
    char path[TEST_PATH_BYTES];
    struct cm_error e;
    size_t size;
    cr_assert_eq(cli_queries_csv(v, test_path(f, "q.csv", path), &e), CM_OK, "%s", e.text);
    cr_assert_eq(test_folder_count(f), 1, "no temporary file is left");
    return test_read(path, &size);
}

Test(tables, csv)
{
    struct sample s;
    struct test_folder f;
    begin(&s);
    test_folder_init(&f);
    char *text = csv_of(&s.v, &f);
    cr_assert_str_eq(text, "query,name,pid,camid,ap,first_hit,positives,inp\n"
                           "0,\"a, \"\"b\"\" |c|.jpg\",7,1,0.83333333333333326,1,2,"
                           "0.66666666666666663\n"
                           "1,\"no,ne.jpg\",-1,-2,,,0,\n"
                           "2,\"gr\xc3\xbc\xc3\x9f"
                           "e.jpg \",9223372036854775807,-2147483648,0.125,8,1,0.125\n");
    free(text);
    s.v.trapezoid = true;
    text = csv_of(&s.v, &f);
    cr_assert(strstr(text, ",ap,ap_trapezoid,first_hit,") != NULL);
    cr_assert(strstr(text, "-2,,,,0,\n") != NULL, "as many fields in each row");
    cr_assert(strstr(text, "-2147483648,0.125,0.0625,8,1,0.125\n") != NULL, "%s", text);
    free(text);
    test_folder_fini(&f);
}

/* What we write is what we read. */
Test(tables, csv_reads_back)
{
    struct sample s;
    struct test_folder f;
    struct pr_csv *csv;
    struct cm_image_meta m;
    struct cm_error e;
    char path[TEST_PATH_BYTES];
    bool end;
    begin(&s);
    test_folder_init(&f);
    free(csv_of(&s.v, &f));
    cr_assert_eq(pr_csv_open(&csv, test_path(&f, "q.csv", path), PR_NAMES_CSV, &e), CM_OK, "%s",
                 e.text);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(pr_csv_next(csv, &m, &end, &e), CM_OK, "%s", e.text);
        cr_assert_str_eq(m.name, s.labels[i].name);
        cr_assert(m.pid == s.labels[i].pid && m.camid == s.labels[i].camid);
    }
    pr_csv_close(csv);
    test_folder_fini(&f);
}

Test(tables, csv_refuses_bad_places)
{
    struct sample s;
    struct test_folder f;
    struct cm_error e;
    char path[TEST_PATH_BYTES];
    begin(&s);
    test_folder_init(&f);
    cr_assert_eq(cli_queries_csv(&s.v, f.path, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "is a directory") != NULL, "%s", e.text);
    cr_assert_eq(cli_queries_csv(&s.v, test_path(&f, "none/q.csv", path), &e), CM_EIO);
    cr_assert(strstr(e.text, "is missing") != NULL, "%s", e.text);
    cr_assert_eq(test_folder_count(&f), 0);
    test_folder_fini(&f);
}

static void assert_keys(const json_t *root, const char *const *keys, size_t count)
{
    cr_assert_eq(json_object_size(root), count);
    for (size_t i = 0; i < count; i++)
        cr_assert(json_object_get(root, keys[i]) != NULL, "no %s", keys[i]);
}

/* Seventeen digits and back: the same bits. */
Test(tables, json)
{
    static const char *const keys[] = {"rank1",
                                       "rank5",
                                       "rank10",
                                       "rank20",
                                       "mAP",
                                       "mINP",
                                       "queries",
                                       "valid_queries",
                                       "gallery",
                                       "junk_pairs",
                                       "queries_with_junk",
                                       "pid_minus1_dropped",
                                       "distractors_pid0",
                                       "definitions",
                                       "mAP_trapezoid"};
    enum { KEYS = sizeof keys / sizeof *keys };
    struct sample s;
    begin(&s);
    s.sum.map = 0.1 + 0.2;
    json_t *root = cli_summary_json(&s.sum, true), *plain = cli_summary_json(&s.sum, false);
    assert_keys(root, keys, KEYS);
    assert_keys(plain, keys, KEYS - 1);
    char *text = json_dumps(root, JSON_REAL_PRECISION(17));
    json_t *again = json_loads(text, 0, NULL);
    cr_assert(json_real_value(json_object_get(again, "mAP")) == s.sum.map, "%s", text);
    cr_assert(json_real_value(json_object_get(again, "mINP")) == s.sum.minp, "%s", text);
    cr_assert(json_real_value(json_object_get(again, "mAP_trapezoid")) == s.sum.map_trapezoid);
    cr_assert(json_real_value(json_object_get(again, "rank10")) == s.sum.cmc[9]);
    cr_assert_eq(json_integer_value(json_object_get(again, "queries")), 3);
    cr_assert_eq(json_integer_value(json_object_get(again, "valid_queries")), 2);
    cr_assert_eq(json_integer_value(json_object_get(again, "pid_minus1_dropped")), 5);
    cr_assert_eq(json_integer_value(json_object_get(again, "distractors_pid0")), 7);
    cr_assert_str_eq(json_string_value(json_object_get(again, "definitions")),
                     cli_definitions(true));
    free(text);
    json_decref(again);
    json_decref(root);
    json_decref(plain);
}
