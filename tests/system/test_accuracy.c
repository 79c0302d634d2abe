/* `vitrine bench accuracy`: its figures on a golden case, and what it refuses. */
#include "tests/support/matrix.h"
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#define GOLDEN "tests/golden/data/tm_12x4_d64/"

enum { QUERIES = 5, IMAGES = 9 };

/* The golden case as a folder of the names that --data asks for, with labels. */
struct set {
    struct test_folder folder;
    char model[TEST_PATH_BYTES], path[TEST_PATH_BYTES];
};

static char *set_path(struct set *s, const char *name)
{
    return test_path(&s->folder, name, s->path);
}

static void set_init(struct set *s)
{
    static const char *const files[] = {"query.npy", "gallery.npy", "scores64.npy"};
    char from[TEST_PATH_BYTES], name[TEST_PATH_BYTES];
    test_folder_init(&s->folder);
    test_source(GOLDEN "model.safetensors", s->model, sizeof s->model);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(name, sizeof name, GOLDEN "%s", files[i]);
        test_copy(test_source(name, from, sizeof from), set_path(s, files[i]));
    }
    test_labels(set_path(s, "query.csv"), "query", QUERIES);
    test_labels(set_path(s, "gallery.csv"), "image", IMAGES);
}

static json_t *measured(const struct set *s)
{
    struct test_run r;
    TEST_RUN(&r, "vitrine", "bench", "accuracy", "--model", s->model, "--data", s->folder.path,
             "--json");
    cr_assert_eq(r.code, 0, "%s", r.err);
    json_t *root = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(root != NULL, "%s", r.out);
    test_run_fini(&r);
    return root;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    cr_assert(json_is_number(value), "no number '%s'", key);
    return json_number_value(value);
}

/* The largest error of what `score` writes in f32. */
static double largest_error(struct set *s)
{
    struct test_run r;
    struct test_matrix scores, reference;
    struct cm_error e;
    char query[TEST_PATH_BYTES], gallery[TEST_PATH_BYTES];
    double largest = 0;
    test_path(&s->folder, "query.npy", query);
    test_path(&s->folder, "gallery.npy", gallery);
    TEST_RUN(&r, "vitrine", "score", "--model", s->model, "--query", query, "--gallery", gallery,
             "--out", set_path(s, "s.npy"));
    cr_assert_eq(r.code, 0, "%s", r.err);
    test_run_fini(&r);
    cr_assert_eq(test_matrix_read(&scores, s->path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(test_matrix_read(&reference, set_path(s, "scores64.npy"), &e), CM_OK, "%s",
                 e.text);
    for (size_t i = 0; i < QUERIES * IMAGES; i++)
        largest = fmax(largest, fabs(scores.values[i] - reference.values[i]));
    test_matrix_free(&scores);
    test_matrix_free(&reference);
    return largest;
}

Test(accuracy, json_of_a_golden_case)
{
    static const char *const names[] = {"f32", "bf16", "int8"};
    static const char *const keys[] = {
        "error_max",     "error_mean",    "error_p99", "map",   "map_points",  "rank1",
        "first_changed", "top20_overlap", "bound",     "swaps", "swap_margin", "swaps_above_bound"};
    struct set s;
    set_init(&s);
    json_t *root = measured(&s);
    const json_t *cases = json_object_get(root, "precisions");
    const json_t *right = json_object_get(root, "float64");
    cr_assert_eq((int)number(root, "queries"), QUERIES);
    cr_assert_eq((int)number(root, "images"), IMAGES);
    cr_assert_eq((int)number(right, "queries"), QUERIES - 2, "two are of pid 0, a distractor");
    cr_assert_eq(json_array_size(cases), 3);
    for (size_t i = 0; i < 3; i++) {
        const json_t *c = json_array_get(cases, i);
        cr_assert_str_eq(json_string_value(json_object_get(c, "precision")), names[i]);
        cr_assert(json_is_string(json_object_get(c, "kernel")));
        for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
            cr_assert(number(c, keys[k]) >= 0 || strcmp(keys[k], "map_points") == 0, "%s", keys[k]);
        cr_assert_eq(json_object_size(c), sizeof keys / sizeof *keys + 2);
        cr_assert(fabs(100 * (number(c, "map") - number(right, "map")) - number(c, "map_points")) <
                  1e-6);
    }
    double f32 = number(json_array_get(cases, 0), "error_max");
    double written = largest_error(&s);
    cr_assert(f32 > 0 && f32 < 1e-5, "f32's largest error is %g", f32);
    cr_assert(fabs(f32 - written) < 1e-8 * written, "%.9g, but score's is %.9g", f32, written);
    for (size_t i = 1; i < 3; i++) {
        double error = number(json_array_get(cases, i), "error_max");
        cr_assert(error > 100 * f32 && error < 0.5, "%s's largest error is %g", names[i], error);
    }
    json_decref(root);
    test_folder_fini(&s.folder);
}

static void refused(const struct set *s, const char *flag, const char *value, int code,
                    const char *what, const char *part)
{
    test_refused((const char *const[]){"vitrine", "bench", "accuracy", "--model", s->model,
                                       "--data", s->folder.path, flag, value, NULL},
                 &(struct test_refusal){code, what, part});
}

Test(accuracy, refusals)
{
    enum { USAGE = 64, DATA = 65, NOINPUT = 66 };
    struct set s;
    char scores[TEST_PATH_BYTES], wrong[TEST_PATH_BYTES];
    set_init(&s);
    test_source(GOLDEN "scores.npy", scores, sizeof scores);
    refused(&s, "--precision", "f16", USAGE, "--precision", "there are f32, bf16 and int8");
    refused(&s, "--scores64", scores, DATA, scores,
            "is (5, 9) of '<f4', but for these maps it must be (5, 9) of '<f8'");
    refused(&s, "--gallery-meta", "no-such-file", NOINPUT, "no-such-file", "No such file");
    test_labels(test_path(&s.folder, "few.csv", wrong), "image", IMAGES - 1);
    refused(&s, "--gallery-meta", wrong, DATA, wrong, "labels of 8 images, but there are 9 maps");
    test_labels(wrong, "image", IMAGES + 1);
    refused(&s, "--gallery-meta", wrong, DATA, wrong, "labels of 10 images, but there are 9 maps");
    double nan = NAN;
    set_path(&s, "scores64.npy");
    test_patch(s.path, test_size(s.path) - sizeof nan, &nan, sizeof nan);
    refused(&s, "--precision", "f32", DATA, s.path, "query 4, image 8: the score is not finite");
    test_resize(s.path, test_size(s.path) - 1);
    refused(&s, "--precision", "f32", DATA, s.path, "bytes, but its header says");
    test_refused((const char *const[]){"vitrine", "bench", "accuracy", "--model", s.model, NULL},
                 &(struct test_refusal){USAGE, "--data", "where is query.npy?"});
    test_folder_fini(&s.folder);
}
