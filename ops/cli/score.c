/* score.c: `vitrine score`: the whole matrix of scores, for checking and for small sets. */
#include "common/geometry.h"
#include "common/mem.h"
#include "ops/cli/cli.h"
#include "ops/cli/progress.h"
#include "proto/file/npy.h"
#include "proto/file/npy_writer.h"
#include "worker/score/scorer.h"
#include "worker/store/gallery.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Gallery images packed at a time: bounds the memory whatever the gallery's size. */
enum { BLOCK_IMAGES = 64 };

struct score_args {
    const char *model, *query, *gallery, *out, *precision;
};

/* One run's open files and buffers. */
struct score_run {
    struct sc_model *model;
    struct sc_scratch *scratch;
    struct pr_npy *query, *gallery;
    float *map;    /* one raw map */
    void *queries; /* all queries, packed */
    void *block;   /* BLOCK_IMAGES gallery images, packed */
    float *scores; /* [queries][gallery images] */
    size_t stride;
};

static enum cm_err check_maps(const struct sc_model *m, const struct pr_npy *n, struct cm_error *e)
{
    return cm_geometry_check_map(&m->geometry, n->input.path, n->height, n->width, n->channels, e);
}

static enum cm_err open_inputs(struct score_run *r, const struct score_args *args,
                               struct cm_error *e)
{
    enum cm_err rc = st_read_model(args->model, &r->model, e);
    if (!rc)
        rc = pr_npy_open(&r->query, args->query, e);
    if (!rc)
        rc = pr_npy_open(&r->gallery, args->gallery, e);
    if (!rc)
        rc = check_maps(r->model, r->query, e);
    if (!rc)
        rc = check_maps(r->model, r->gallery, e);
    return rc;
}

static enum cm_err new_buffers(struct score_run *r, struct cm_error *e)
{
    void *p = NULL;
    r->stride = cm_round_up(sc_packed_bytes(r->model), CM_ALIGN);
    enum cm_err rc = sc_scratch_new(&r->scratch, r->model, e);
    if (!rc)
        rc = cm_new_aligned(&p, r->query->image_floats, sizeof(float), e);
    r->map = p;
    if (!rc)
        rc = cm_new_aligned(&r->queries, r->query->images, r->stride, e);
    if (!rc)
        rc = cm_new_aligned(&r->block, BLOCK_IMAGES, r->stride, e);
    p = NULL;
    if (!rc)
        rc = cm_new_aligned(&p, r->query->images, r->gallery->images * sizeof(float), e);
    r->scores = p;
    return rc ? cm_wrap(e, rc,
                        "%" PRIu64 " x %" PRIu64 " pairs are too many for this memory; use "
                        "import and search",
                        r->query->images, r->gallery->images)
              : CM_OK;
}

/* Reads and packs images first .. first + count - 1. */
static enum cm_err pack(struct score_run *r, const struct pr_npy *n, uint64_t first, size_t count,
                        void *out, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        rc = pr_npy_read(n, first + i, 1, r->map, e);
        if (rc)
            return rc;
        rc = sc_pack(r->model, r->scratch, r->map, (char *)out + i * r->stride, e);
        if (rc)
            rc = cm_wrap(e, rc, "%s: image %" PRIu64, n->input.path, first + i);
    }
    return rc;
}

static enum cm_err score_all(struct score_run *r, struct cm_error *e)
{
    uint64_t queries = r->query->images, images = r->gallery->images;
    struct cli_progress progress;
    cli_progress_start(&progress, "pairs", queries * images);
    enum cm_err rc = pack(r, r->query, 0, queries, r->queries, e);
    for (uint64_t first = 0; !rc && first < images; first += BLOCK_IMAGES) {
        size_t count = images - first < BLOCK_IMAGES ? images - first : BLOCK_IMAGES;
        rc = pack(r, r->gallery, first, count, r->block, e);
        for (uint64_t q = 0; !rc && q < queries; q++) {
            sc_score(r->model, r->scratch, (char *)r->queries + q * r->stride, r->block, r->stride,
                     count, r->scores + q * images + first);
            cli_progress_at(&progress, first * queries + (q + 1) * count, 0);
        }
    }
    cli_progress_end(&progress);
    return rc;
}

/* A full disk or a folder that is not there should show before the work, not after it. */
static enum cm_err try_out(const struct score_run *r, const char *path, struct cm_error *e)
{
    struct pr_npy_writer *w;
    enum cm_err rc = pr_npy_writer_open(&w, path, r->query->images, r->gallery->images, e);
    if (!rc)
        pr_npy_writer_close(w);
    return rc;
}

static enum cm_err write_scores(const struct score_run *r, const char *path, struct cm_error *e)
{
    struct pr_npy_writer *w;
    enum cm_err rc = pr_npy_writer_open(&w, path, r->query->images, r->gallery->images, e);
    if (rc)
        return rc;
    rc = pr_npy_writer_add(w, r->scores, r->query->images, e);
    if (!rc)
        rc = pr_npy_writer_commit(w, e);
    pr_npy_writer_close(w);
    return rc;
}

static enum cm_err run(const struct score_args *args, struct cm_error *e)
{
    struct score_run r = {0};
    enum cm_precision precision = cm_precision_of_name(args->precision);
    if (!precision)
        return cm_fail(e, CM_EUSAGE, "--precision is '%s'; there are f32, bf16 and int8",
                       args->precision);
    enum cm_err rc = open_inputs(&r, args, e);
    if (!rc)
        rc = sc_model_set_precision(r.model, precision, e);
    if (!rc)
        rc = new_buffers(&r, e);
    if (!rc)
        rc = try_out(&r, args->out, e);
    if (!rc)
        rc = score_all(&r, e);
    if (!rc)
        rc = write_scores(&r, args->out, e);
    free(r.map);
    free(r.queries);
    free(r.block);
    free(r.scores);
    sc_scratch_free(r.scratch);
    pr_npy_close(r.query);
    pr_npy_close(r.gallery);
    sc_model_free(r.model);
    return rc;
}

int cli_score(int argc, char **argv)
{
    struct score_args a = {.precision = "f32"};
    const struct cm_option options[] = {
        {"model", 'm', CM_OPTION_TEXT, true, "FILE", "trained weights, .safetensors", 0, 0,
         &a.model},
        {"query", 'q', CM_OPTION_TEXT, true, "FILE", "query maps, .npy [q,h,w,c]", 0, 0, &a.query},
        {"gallery", 'g', CM_OPTION_TEXT, true, "FILE", "gallery maps, .npy [g,h,w,c]", 0, 0,
         &a.gallery},
        {"out", 'o', CM_OPTION_TEXT, true, "FILE", "where the scores go, .npy float32 [q,g]", 0, 0,
         &a.out},
        {"precision", 'p', CM_OPTION_TEXT, false, "NAME", "arithmetic: f32 (default), bf16 or int8",
         0, 0, &a.precision},
    };
    const struct cm_command command = {
        .name = "vitrine score",
        .usage = "--model M.safetensors --query Q.npy --gallery G.npy --out S.npy",
        .about = "Scores every query against every gallery image and writes the whole matrix. All\n"
                 "scores are held in memory: for a large gallery use import and search.\n"
                 "A higher score is a better match; it is the raw score, before any sigmoid.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cm_error e;
    if (run(&a, &e))
        return cm_command_fail(&command, &e);
    return CM_EXIT_OK;
}
