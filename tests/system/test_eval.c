/* test_eval.c: `vitrine eval` over real clusters: the figures are those of the whole matrix,
 * however the gallery is cut, and those that the authors' own code gave. */
#include "proto/file/csv.h"
#include "tests/support/eval.h"
#include "tests/support/files.h"
#include "tests/support/inputs.h"
#include "tests/support/matrix.h"
#include "tests/support/oracle.h"
#include "tests/support/weights_file.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 512, LABELS_MAX = 1024 };

static size_t read_labels(const char *path, struct cli_label *out)
{
    struct pr_csv *csv;
    struct cm_image_meta meta;
    struct cm_error e;
    size_t count = 0;
    cr_assert_eq(pr_csv_open(&csv, path, PR_NAMES_CSV, &e), CM_OK, "%s", e.text);
    for (bool end = false;; count++) {
        cr_assert_eq(pr_csv_next(csv, &meta, &end, &e), CM_OK, "%s", e.text);
        if (end)
            break;
        cr_assert(count < LABELS_MAX);
        out[count] = (struct cli_label){meta.pid, meta.camid};
    }
    pr_csv_close(csv);
    return count;
}

/* The figures by the oracle, from a matrix on disk and labels. */
static void oracle(const char *scores, const char *query_labels, const char *gallery_labels,
                   struct cli_summary *out)
{
    static struct cli_label query[LABELS_MAX], gallery[LABELS_MAX];
    static struct test_row rows[LABELS_MAX];
    struct test_matrix m;
    struct cm_error e;
    cr_assert_eq(test_matrix_read(&m, scores, &e), CM_OK, "%s", e.text);
    cr_assert_eq(read_labels(query_labels, query), m.rows);
    cr_assert_eq(read_labels(gallery_labels, gallery), m.columns);
    for (size_t q = 0; q < m.rows; q++)
        rows[q] = (struct test_row){query[q], m.columns, gallery, m.values + q * m.columns};
    test_summary_of(rows, m.rows, out);
    test_matrix_free(&m);
}

static void check_mean(const json_t *figures, const char *key, double expected, double allowed)
{
    double value = json_number_value(json_object_get(figures, key));
    cr_assert(fabs(value - expected) <= allowed, "%s is %.15g, not %.15g", key, value, expected);
}

static void check_figures(const char *path, const struct cli_summary *s)
{
    json_t *figures = json_load_file(path, 0, NULL);
    cr_assert(figures != NULL, "%s", path);
    check_mean(figures, "rank1", s->cmc[0], 1e-12);
    check_mean(figures, "rank5", s->cmc[4], 1e-12);
    check_mean(figures, "rank10", s->cmc[9], 1e-12);
    check_mean(figures, "rank20", s->cmc[19], 1e-12);
    check_mean(figures, "mAP", s->map, 1e-12);
    check_mean(figures, "mAP_trapezoid", s->map_trapezoid, 1e-12);
    check_mean(figures, "mINP", s->minp, 1e-12);
    cr_assert_eq(test_number(figures, "queries"), (json_int_t)s->queries);
    cr_assert_eq(test_number(figures, "valid_queries"), (json_int_t)s->valid_queries);
    cr_assert_eq(test_number(figures, "gallery"), (json_int_t)s->gallery);
    json_decref(figures);
}

/* One sample, three cuts: one result, which is the oracle's on the matrix of `vitrine score`. */
Test(eval, the_figures_do_not_depend_on_the_cut)
{
    static const struct {
        unsigned shards;
        const char *workers;
    } cuts[] = {{1, "1"}, {3, "3"}, {7, "2"}};
    struct test_cluster c;
    struct test_run r;
    struct cli_summary right;
    char query[PATH_BYTES], labels[PATH_BYTES], gallery_labels[PATH_BYTES];
    test_eval_init(&c);
    test_source(test_labelled.query, query, sizeof query);
    test_source(test_labelled.query_labels, labels, sizeof labels);
    test_source(test_labelled.gallery_labels, gallery_labels, sizeof gallery_labels);
    test_score(&c, &test_labelled, "s.npy");
    oracle("s.npy", labels, gallery_labels, &right);
    for (size_t i = 0; i < 3; i++) {
        char gallery[16], json[16], csv[16], scores[16];
        snprintf(gallery, sizeof gallery, "g%zu", i);
        snprintf(json, sizeof json, "%zu.json", i);
        snprintf(csv, sizeof csv, "%zu.csv", i);
        snprintf(scores, sizeof scores, "%zu.npy", i);
        test_import(&c, gallery, &test_labelled, 1, cuts[i].shards);
        struct test_ask a = {
            gallery, NULL, query,  labels,
            json,    csv,  scores, {"--workers", cuts[i].workers, "--map", "trapezoid"}};
        cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
        cr_assert(strstr(r.out, "| Rank-1 |") && strstr(r.out, "| mAP_trapezoid |"), "%s", r.out);
        test_run_fini(&r);
        check_figures(json, &right);
        test_same_files("0.json", json);
        test_same_files("0.csv", csv);
        test_same_files("s.npy", scores);
    }
    test_eval_fini(&c);
}

/* The page has the figures and a ranking for each chosen query; pictures that are there are in it.
 */
Test(eval, the_report_is_one_page)
{
    struct test_cluster c;
    struct test_run r;
    char query[PATH_BYTES], labels[PATH_BYTES];
    size_t size, pictures = 0;
    test_eval_init(&c);
    test_source(test_labelled.query, query, sizeof query);
    test_source(test_labelled.query_labels, labels, sizeof labels);
    test_import(&c, "g", &test_labelled, 1, 3);
    cr_assert_eq(system("mkdir -p i/grocery160/test/Packages/Juice/Bravo-Apple-Juice"), 0);
    test_write("i/grocery160/test/Packages/Juice/Bravo-Apple-Juice/Bravo-Apple-Juice_001.jpg",
               "\xff\xd8\xff\xe0 not much of a picture", 26);
    struct test_ask a = {
        "g",  NULL, query, labels,
        NULL, NULL, NULL,  {"--report", "r", "--images", "i", "--test", "<Market & Co>"}};
    cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
    cr_assert(strstr(r.err, "r/index.html is written") != NULL, "%s", r.err);
    test_run_fini(&r);
    char *page = test_read("r/index.html", &size);
    cr_assert(strstr(page, "&lt;Market &amp; Co&gt;") && !strstr(page, "<Market"));
    cr_assert(strstr(page, "89.29") && strstr(page, "81.37"), "the figures");
    for (const char *at = page; (at = strstr(at, "data:image/jpeg;base64,")) != NULL; at++)
        pictures++;
    cr_assert_geq(pictures, 1);
    cr_assert(!strstr(page, "http://") && !strstr(page, "https://"), "it loads something");
    free(page);
    test_eval_fini(&c);
}

/* --- the real set ------------------------------------------------------------------------------
 */

/* Against the figures of the authors' own code, with both sets of labels. */
static void real_set(unsigned shards)
{
    static const char *const sets[2][3] = {
        {"gallery.csv", "query.csv", "metrics.json"},
        {"gallery_junk.csv", "query_junk.csv", "metrics_junk.json"}};
    static const char *const means[] = {"rank1", "rank5", "rank10", "rank20"};
    static const char *const counts[] = {"queries",    "valid_queries",     "gallery",
                                         "junk_pairs", "queries_with_junk", "distractors_pid0"};
    struct test_cluster c;
    struct test_run r;
    char file[64], dir[PATH_BYTES], query[PATH_BYTES], model[PATH_BYTES], gallery[PATH_BYTES],
        labels[PATH_BYTES], query_labels[PATH_BYTES], metrics[PATH_BYTES], number[8];
    if (!test_shared("data/grocery", dir, sizeof dir) ||
        !test_shared("data/model/model.safetensors", model, sizeof model))
        return;
    if (test_is_slow() && shards != 3)
        return;
    test_eval_init(&c);
    snprintf(number, sizeof number, "%u", shards);
    test_shared("data/grocery/query.npy", query, sizeof query);
    test_shared("data/grocery/gallery.npy", gallery, sizeof gallery);
    for (size_t set = test_is_slow(); set < 2; set++) {
        char *const paths[3] = {labels, query_labels, metrics};
        for (size_t i = 0; i < 3; i++) {
            snprintf(file, sizeof file, "data/grocery/%s", sets[set][i]);
            cr_assert(test_shared(file, paths[i], PATH_BYTES));
        }
        const char *out = set ? "g1" : "g0";
        cr_assert_eq(TEST_RUN(&r, "vitrine", "import", "--model", model, "--features", gallery,
                              "--meta", labels, "--out", out, "--shards", number),
                     0, "%s", r.err);
        test_run_fini(&r);
        struct test_ask a = {out,      NULL, query, query_labels,
                             "m.json", NULL, NULL,  {"--map", "trapezoid"}};
        cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
        test_run_fini(&r);
        json_t *ours = json_load_file("m.json", 0, NULL);
        json_t *theirs = json_load_file(metrics, 0, NULL);
        cr_assert(ours && theirs);
        for (size_t i = 0; i < 4; i++)
            check_mean(ours, means[i], json_number_value(json_object_get(theirs, means[i])), 1e-9);
        check_mean(ours, "mAP", json_number_value(json_object_get(theirs, "mAP")), 1e-6);
        check_mean(ours, "mINP", json_number_value(json_object_get(theirs, "mINP")), 1e-6);
        for (size_t i = 0; i < 6; i++)
            cr_assert_eq(test_number(ours, counts[i]), test_number(theirs, counts[i]), "%s",
                         counts[i]);
        if (set == 1) {
            check_mean(ours, "mAP_trapezoid",
                       json_number_value(json_object_get(theirs, "mAP_trapezoid")), 1e-6);
            cr_assert_eq(test_number(ours, "pid_minus1_dropped"), 21);
        }
        json_decref(ours);
        json_decref(theirs);
    }
    test_eval_fini(&c);
}

Test(eval, the_real_set_in_one_shard)
{
    real_set(1);
}

Test(eval, the_real_set_in_three_shards)
{
    real_set(3);
}

Test(eval, the_real_set_in_seven_shards)
{
    real_set(7);
}

/* --- what does not grow ----------------------------------------------------------------------- */

/* Writes `images` maps of one number each, and labels: image i has pid 1 where i is below `right`,
 * else pids of its own. */
static void write_tiny(const char *npy, const char *csv, size_t images, size_t right)
{
    char shape[64];
    float *maps = malloc(images * sizeof *maps);
    FILE *f = fopen(csv, "w");
    cr_assert(maps && f);
    fprintf(f, "name,pid,camid\n");
    for (size_t i = 0; i < images; i++) {
        maps[i] = (float)(i % 1009) / 100 - 5;
        fprintf(f, "i%zu,%zu,0\n", i, i < right ? 1 : i + 2);
    }
    cr_assert_eq(fclose(f), 0);
    snprintf(shape, sizeof shape, "%zu, 1, 1, 1", images);
    test_npy(npy, "<f4", false, shape, maps, images * sizeof *maps);
    free(maps);
}

/* What an evaluation over a gallery of this size costs beside scoring. */
struct cost {
    json_int_t memory_bytes; /* of the coordinator */
    double worker_bytes;     /* that came from workers */
};

static struct cost measure(struct test_cluster *c, const char *model, size_t images)
{
    struct test_run r;
    struct cost cost;
    write_tiny("g.npy", "g.csv", images, 5);
    cr_assert_eq(TEST_RUN(&r, "vitrine", "import", "--model", model, "--features", "g.npy",
                          "--meta", "g.csv", "--out", "g", "--shards", "4"),
                 0, "%s", r.err);
    test_run_fini(&r);
    test_coordinator_start(c, "ipc", NULL);
    test_worker_start(c, 0, "g", NULL, NULL);
    test_wait_exact(c, "shards_covered", 4);
    struct test_ask a = {NULL,     c->endpoint, "q.npy", "q.csv",
                         "q.json", NULL,        NULL,    {"--progress-json"}};
    cr_assert_eq(test_eval(&r, &a), 0, "%s", r.err);
    const char *at = strstr(r.err, "\"bytes_from_workers\":");
    cr_assert(at != NULL, "%s", r.err);
    cost.worker_bytes = strtod(at + strlen("\"bytes_from_workers\":"), NULL);
    cost.memory_bytes = test_status_number(c, "memory_bytes");
    test_run_fini(&r);
    test_worker_kill(c, 0);
    test_coordinator_kill(c);
    cr_assert_eq(TEST_RUN(&r, "/bin/rm", "-r", "g"), 0);
    test_run_fini(&r);
    return cost;
}

/* A hundred times the images, the same positives: the same bytes from the workers, the same memory
 * in the coordinator. */
Test(eval, neither_wire_nor_coordinator_grows_with_the_gallery)
{
    static const struct cm_geometry tiny = {CM_QACONV, 1, 1, 1, 1, 0};
    struct test_cluster c;
    char model[PATH_BYTES];
    test_eval_init(&c);
    struct test_weights weights;
    test_weights_init(&weights, &tiny, 1);
    test_weights_save(&weights, "m.safetensors");
    test_weights_free(&weights);
    snprintf(model, sizeof model, "%s/m.safetensors", c.dir);
    write_tiny("q.npy", "q.csv", 3, 3);
    cr_assert_eq(system("sed -i 's/,0$/,1/' q.csv"), 0); /* by another camera */
    struct cost small = measure(&c, model, 10000), large = measure(&c, model, 1000000);
    cr_assert(small.worker_bytes > 100 && large.worker_bytes < small.worker_bytes * 1.2,
              "%.0f bytes from workers, %.0f", small.worker_bytes, large.worker_bytes);
    cr_assert(large.memory_bytes < small.memory_bytes + small.memory_bytes / 5,
              "%lld bytes in the coordinator, then %lld", (long long)small.memory_bytes,
              (long long)large.memory_bytes);
    test_eval_fini(&c);
}
