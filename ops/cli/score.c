/* score.c: `vitrine score`: the whole matrix of scores, for checking and for small sets. */
#include "common/geometry.h"
#include "ops/cli/cli.h"
#include "ops/cli/pairs.h"
#include "proto/file/npy_writer.h"

struct score_args {
    const char *model, *query, *gallery, *out, *precision;
};

/* A full disk or a folder that is not there should show before the work, not after it. */
static enum cm_err try_out(const struct cli_pairs *p, const char *path, struct cm_error *e)
{
    struct pr_npy_writer *w;
    enum cm_err rc = pr_npy_writer_open(&w, path, p->query->images, p->gallery->images, e);
    if (!rc)
        pr_npy_writer_close(w);
    return rc;
}

static enum cm_err write_scores(const struct cli_pairs *p, const char *path, struct cm_error *e)
{
    struct pr_npy_writer *w;
    enum cm_err rc = pr_npy_writer_open(&w, path, p->query->images, p->gallery->images, e);
    if (rc)
        return rc;
    rc = pr_npy_writer_add(w, p->scores, p->query->images, e);
    if (!rc)
        rc = pr_npy_writer_commit(w, e);
    pr_npy_writer_close(w);
    return rc;
}

static enum cm_err run(const struct score_args *args, struct cm_error *e)
{
    struct cli_pairs p = {0};
    enum cm_precision precision = cm_precision_of_name(args->precision);
    if (!precision)
        return cm_fail(e, CM_EUSAGE, "--precision is '%s'; there are f32, bf16 and int8",
                       args->precision);
    enum cm_err rc = cli_pairs_open(&p, args->model, args->query, args->gallery, e);
    if (!rc)
        rc = cli_pairs_set_precision(&p, precision, e);
    if (!rc)
        rc = try_out(&p, args->out, e);
    if (!rc)
        rc = cli_pairs_score(&p, e);
    if (!rc)
        rc = write_scores(&p, args->out, e);
    cli_pairs_close(&p);
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
