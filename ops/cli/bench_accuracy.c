/* bench_accuracy.c: `vitrine bench accuracy`: what each precision costs, in scores and in ranks. */
#include "common/geometry.h"
#include "common/mem.h"
#include "common/options.h"
#include "ops/cli/agreement.h"
#include "ops/cli/bench.h"
#include "ops/cli/json.h"
#include "ops/cli/pairs.h"
#include "proto/file/csv.h"
#include "proto/file/npy_header.h"
#include "worker/score/kernels/table.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILES = 5, PRECISIONS = CM_INT8 /* numbered from 1 */ };

/* The set's files; without a flag of its own, each has its name in the folder. */
enum file { QUERY, QUERY_META, GALLERY, GALLERY_META, SCORES64 };
static const char *const file_names[FILES] = {"query.npy", "query.csv", "gallery.npy",
                                              "gallery.csv", "scores64.npy"};

struct accuracy_args {
    const char *model, *data, *precision;
    const char *files[FILES];
    bool json;
};

struct accuracy_run {
    char *paths[FILES];
    struct cli_pairs pairs;
    struct cli_label *query, *gallery;
    struct cli_labels labels;
    double *reference, *scores; /* [queries][images] */
    struct cli_summary quality; /* of the reference */
    json_t *cases;
    bool json;
    bool wanted[PRECISIONS + 1];
};

/* --- inputs -------------------------------------------------------------------------------------
 */

static enum cm_err find_files(struct accuracy_run *r, const struct accuracy_args *args,
                              struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (int i = 0; !rc && i < FILES; i++) {
        if (args->files[i])
            rc = cm_copy_text(&r->paths[i], args->files[i], e);
        else if (!args->data)
            rc = cm_fail(e, CM_EUSAGE, "where is %s? Give --data, or each file", file_names[i]);
        else if (asprintf(&r->paths[i], "%s/%s", args->data, file_names[i]) < 0) {
            r->paths[i] = NULL;
            rc = cm_fail(e, CM_ENOMEM, "out of memory");
        }
    }
    return rc;
}

/* The labels of `count` images. */
static enum cm_err read_labels(const char *path, size_t count, struct cli_label **out,
                               struct cm_error *e)
{
    struct pr_csv *csv = NULL;
    struct cm_image_meta meta;
    void *labels;
    size_t rows = 0;
    bool end = false;
    enum cm_err rc = cm_new(&labels, count, sizeof **out, e);
    *out = labels;
    if (!rc)
        rc = pr_csv_open(&csv, path, PR_NAMES_CSV, e);
    while (!rc && (rc = pr_csv_next(csv, &meta, &end, e)) == CM_OK && !end) {
        if (rows < count)
            (*out)[rows] = (struct cli_label){.pid = meta.pid, .camid = meta.camid};
        rows++;
    }
    pr_csv_close(csv);
    if (!rc && rows != count)
        rc = cm_fail(e, CM_EMISMATCH, "%s: labels of %zu images, but there are %zu maps", path,
                     rows, count);
    return rc;
}

static enum cm_err read_matrix(struct pr_input *in, size_t rows, size_t columns, double *out,
                               struct cm_error *e)
{
    struct pr_npy_header h;
    char shape[PR_NPY_SHAPE_TEXT_BYTES];
    size_t bytes = rows * columns * sizeof *out;
    enum cm_err rc = pr_npy_header_read(&h, in, e);
    if (rc)
        return rc;
    if (strcmp(h.descr, "<f8") != 0 || h.fortran_order || h.rank != 2 || h.dims[0] != rows ||
        h.dims[1] != columns)
        return cm_fail(e, CM_EMISMATCH,
                       "is %s of '%s'%s, but for these maps it must be (%zu, %zu) of '<f8'",
                       pr_npy_shape_text(&h, shape), h.descr,
                       h.fortran_order ? " in Fortran order" : "", rows, columns);
    if (in->size != h.data_offset + bytes)
        return cm_fail(e, CM_EFORMAT, "has %" PRIu64 " bytes, but its header says %" PRIu64,
                       in->size, h.data_offset + bytes);
    rc = pr_input_read(in, h.data_offset, out, bytes, e);
    for (size_t i = 0; !rc && i < rows * columns; i++)
        if (!isfinite(out[i]))
            rc = cm_fail(e, CM_EFORMAT, "query %zu, image %zu: the score is not finite",
                         i / columns, i % columns);
    return rc;
}

static enum cm_err read_reference(struct accuracy_run *r, struct cm_error *e)
{
    struct pr_input in = {.fd = -1};
    const char *path = r->paths[SCORES64];
    enum cm_err rc = pr_input_open(&in, path, e);
    if (rc)
        return cm_wrap(e, rc, "%s", path);
    rc = read_matrix(&in, r->labels.queries, r->labels.images, r->reference, e);
    pr_input_close(&in);
    return rc ? cm_wrap(e, rc, "%s", path) : CM_OK;
}

static enum cm_err open_set(struct accuracy_run *r, const struct accuracy_args *args,
                            struct cm_error *e)
{
    void *reference = NULL, *scores = NULL;
    enum cm_err rc = find_files(r, args, e);
    if (!rc)
        rc = cli_pairs_open(&r->pairs, args->model, r->paths[QUERY], r->paths[GALLERY], e);
    if (rc)
        return rc;
    size_t queries = r->pairs.query->images, images = r->pairs.gallery->images;
    rc = read_labels(r->paths[QUERY_META], queries, &r->query, e);
    if (!rc)
        rc = read_labels(r->paths[GALLERY_META], images, &r->gallery, e);
    if (!rc)
        rc = cm_new_aligned(&reference, queries, images * sizeof(double), e);
    r->reference = reference;
    if (!rc)
        rc = cm_new_aligned(&scores, queries, images * sizeof(double), e);
    r->scores = scores;
    r->labels = (struct cli_labels){queries, images, r->query, r->gallery};
    if (!rc)
        rc = read_reference(r, e);
    return rc ? rc : cli_quality_of(&r->labels, r->reference, &r->quality, e);
}

static void close_set(struct accuracy_run *r)
{
    for (int i = 0; i < FILES; i++)
        free(r->paths[i]);
    cli_pairs_close(&r->pairs);
    free(r->query);
    free(r->gallery);
    free(r->reference);
    free(r->scores);
    json_decref(r->cases);
}

/* --- what is measured and printed ---------------------------------------------------------------
 */

static enum cm_err score(struct accuracy_run *r, enum cm_precision precision, struct cm_error *e)
{
    size_t images = r->labels.images, count = r->labels.queries * images;
    enum cm_err rc = cli_pairs_set_precision(&r->pairs, precision, e);
    if (!rc)
        rc = cli_pairs_score(&r->pairs, e);
    for (size_t i = 0; !rc && i < count; i++) {
        r->scores[i] = (double)r->pairs.scores[i];
        if (!isfinite(r->scores[i]))
            rc = cm_fail(e, CM_EFORMAT, "%s: query %zu, image %zu: the score is not finite",
                         cm_precision_name(precision), i / images, i % images);
    }
    return rc;
}

static double map_points(const struct accuracy_run *r, const struct cli_summary *q)
{
    return (q->map - r->quality.map) * 100;
}

static json_t *case_json(const struct accuracy_run *r, enum cm_precision precision,
                         const struct cli_agreement *a, const struct cli_summary *q)
{
    return json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:f, s:I, s:f, s:f, s:I, s:f, s:I}",
                     "precision", cm_precision_name(precision), "kernel",
                     sc_kernel_name(r->pairs.model), "error_max", a->error_max, "error_mean",
                     a->error_mean, "error_p99", a->error_p99, "map", q->map, "map_points",
                     map_points(r, q), "rank1", q->cmc[0], "first_changed",
                     (json_int_t)a->first_changed, "top20_overlap", a->top_overlap, "bound",
                     a->bound, "swaps", (json_int_t)a->swaps, "swap_margin", a->swap_margin,
                     "swaps_above_bound", (json_int_t)a->swaps_above);
}

static void print_head(const struct accuracy_run *r)
{
    printf("%zu queries, %zu images; float64: mAP %.4f, Rank-1 %.4f of %zu queries\n"
           "%-5s %-11s %9s %9s %9s %7s %8s %7s %6s %7s %9s %8s %9s %6s\n",
           r->labels.queries, r->labels.images, r->quality.map * 100, r->quality.cmc[0] * 100,
           r->quality.valid_queries, "prec.", "kernel", "max err.", "mean", "p99", "mAP", "points",
           "Rank-1", "firsts", "top 20", "bound", "swaps", "margin", "above");
}

static void print_case(const struct accuracy_run *r, enum cm_precision precision,
                       const struct cli_agreement *a, const struct cli_summary *q)
{
    printf("%-5s %-11s %9.2e %9.2e %9.2e %7.3f %+8.4f %7.3f %6zu %7.4f %9.2e %8" PRIu64
           " %9.2e %6" PRIu64 "\n",
           cm_precision_name(precision), sc_kernel_name(r->pairs.model), a->error_max,
           a->error_mean, a->error_p99, q->map * 100, map_points(r, q), q->cmc[0] * 100,
           a->first_changed, a->top_overlap, a->bound, a->swaps, a->swap_margin, a->swaps_above);
    fflush(stdout);
}

static enum cm_err measure(struct accuracy_run *r, enum cm_precision precision, struct cm_error *e)
{
    struct cli_agreement a;
    struct cli_summary q;
    enum cm_err rc = score(r, precision, e);
    if (!rc)
        rc = cli_agreement_of(r->labels.queries, r->labels.images, r->reference, r->scores, &a, e);
    if (!rc)
        rc = cli_quality_of(&r->labels, r->scores, &q, e);
    if (rc)
        return rc;
    if (!r->json)
        print_case(r, precision, &a, &q);
    else if (json_array_append_new(r->cases, case_json(r, precision, &a, &q)) != 0)
        return cm_fail(e, CM_ENOMEM, "cannot build the JSON");
    return CM_OK;
}

static enum cm_err print_json(const struct accuracy_run *r, struct cm_error *e)
{
    const struct cli_summary *q = &r->quality;
    return cli_print_json(
        json_pack("{s:I, s:I, s:{s:f, s:f, s:I}, s:O}", "queries", (json_int_t)r->labels.queries,
                  "images", (json_int_t)r->labels.images, "float64", "map", q->map, "rank1",
                  q->cmc[0], "queries", (json_int_t)q->valid_queries, "precisions", r->cases),
        e);
}

static enum cm_err measure_all(struct accuracy_run *r, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    if (!r->json)
        print_head(r);
    for (int p = 1; !rc && p <= PRECISIONS; p++)
        if (r->wanted[p])
            rc = measure(r, (enum cm_precision)p, e);
    return !rc && r->json ? print_json(r, e) : rc;
}

/* The precision of this name; or (NULL) all that there is a kernel for: VITRINE_KERNEL may name one
 * that not every precision has. */
static enum cm_err choose_precisions(struct accuracy_run *r, const char *name, struct cm_error *e)
{
    const struct sc_kernel *kernel;
    enum cm_precision only = name ? cm_precision_of_name(name) : 0;
    bool any = false;
    if (name && !only)
        return cm_fail(e, CM_EUSAGE, "--precision is '%s'; there are f32, bf16 and int8", name);
    for (int p = 1; p <= PRECISIONS; p++) {
        r->wanted[p] = (!only || p == (int)only) &&
                       sc_kernel_choose(&kernel, (enum cm_precision)p, e) == CM_OK;
        any |= r->wanted[p];
    }
    return any ? CM_OK : sc_kernel_choose(&kernel, only ? only : CM_F32, e);
}

static enum cm_err run(const struct accuracy_args *args, struct cm_error *e)
{
    struct accuracy_run r = {.json = args->json, .cases = json_array()};
    enum cm_err rc = choose_precisions(&r, args->precision, e);
    if (!rc)
        rc = open_set(&r, args, e);
    if (!rc)
        rc = measure_all(&r, e);
    close_set(&r);
    return rc;
}

int cli_bench_accuracy(int argc, char **argv)
{
    struct accuracy_args a = {0};
    const struct cm_option options[] = {
        {"model", 'm', CM_OPTION_TEXT, true, "FILE", "trained weights, .safetensors", 0, 0,
         &a.model},
        {"data", 'd', CM_OPTION_TEXT, false, "DIR",
         "folder of query.npy, query.csv, gallery.npy,\ngallery.csv and scores64.npy", 0, 0,
         &a.data},
        {"query", 'q', CM_OPTION_TEXT, false, "FILE", "query maps, .npy [q,h,w,c]", 0, 0,
         &a.files[QUERY]},
        {"query-meta", 0, CM_OPTION_TEXT, false, "FILE", "their labels, .csv", 0, 0,
         &a.files[QUERY_META]},
        {"gallery", 'g', CM_OPTION_TEXT, false, "FILE", "gallery maps, .npy [g,h,w,c]", 0, 0,
         &a.files[GALLERY]},
        {"gallery-meta", 0, CM_OPTION_TEXT, false, "FILE", "their labels, .csv", 0, 0,
         &a.files[GALLERY_META]},
        {"scores64", 's', CM_OPTION_TEXT, false, "FILE", "the right scores, .npy float64 [q,g]", 0,
         0, &a.files[SCORES64]},
        {"precision", 'p', CM_OPTION_TEXT, false, "NAME", "f32, bf16 or int8 alone (default: all)",
         0, 0, &a.precision},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &a.json},
    };
    const struct cm_command command = {
        .name = "vitrine bench accuracy",
        .usage = "--model M.safetensors --data DIR",
        .about =
            "Scores a whole set in each precision and compares with scores in float64: errors,\n"
            "mAP and its difference in points, Rank-1, queries whose first image is another,\n"
            "and what the 20 first have in common. A swap is a pair of images whose order\n"
            "changed; 'margin' is the largest float64 difference of one, 'bound' twice the\n"
            "largest error, 'above' the swaps of more than that. For mAP and Rank-1 a query's\n"
            "own pid and camera are dropped, and images of pid -1.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cm_error e;
    return run(&a, &e) ? cm_command_fail(&command, &e) : CM_EXIT_OK;
}
