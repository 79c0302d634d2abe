/* eval.c: `vitrine eval`: Rank-k, mAP and mINP of a labelled set of queries over a whole gallery.
 */
#include "common/checksum.h"
#include "common/geometry.h"
#include "common/limits.h"
#include "common/mem.h"
#include "ops/cli/cli.h"
#include "ops/cli/eval_rankings.h"
#include "ops/cli/eval_run.h"
#include "ops/cli/json.h"
#include "ops/cli/local.h"
#include "ops/cli/report.h"
#include "ops/cli/tables.h"
#include "proto/file/csv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct eval_args {
    const char *gallery, *connect, *features, *meta;
    const char *json, *csv, *report, *images_dir, *scores, *journal, *map, *train, *test, *names;
    uint64_t workers, threads;
    bool resume, insecure, progress_json;
};

struct eval {
    const struct eval_args *a;
    struct cli_eval v;
    struct pr_npy *features;
    struct cm_image_meta *labels; /* [v.queries]: names are owned */
    bool trapezoid;
    enum pr_names names;
    char subtitle[128]; /* matcher, precision, size of the gallery */
};

/* --- inputs ----------------------------------------------------------------------------------- */

/* A query without an identity has no right image. */
static enum cm_err check_label(const struct eval *v, uint64_t query,
                               const struct cm_image_meta *meta, struct cm_error *e)
{
    if (meta->pid != 0 && meta->pid != -1)
        return CM_OK;
    return cm_fail(e, CM_EFORMAT,
                   "%s: query %" PRIu64 " (%s) has pid %" PRId64
                   ", which means %s, and only images of the gallery are that: leave it out of the "
                   "queries, or add 1 to all pids if yours count from 0",
                   v->a->meta, query, meta->name, meta->pid, meta->pid ? "junk" : "a distractor");
}

static enum cm_err read_labels(struct eval *v, struct cm_error *e)
{
    struct pr_csv *csv;
    void *p;
    bool end = false;
    uint64_t row = 0;
    enum cm_err rc = cm_new(&p, v->v.queries, sizeof *v->labels, e);
    v->labels = p;
    v->v.labels = v->labels;
    if (!rc)
        rc = pr_csv_open(&csv, v->a->meta, v->names, e);
    if (rc)
        return rc;
    for (; !rc; row++) {
        struct cm_image_meta meta;
        rc = pr_csv_next(csv, &meta, &end, e);
        if (rc || end || row == v->v.queries)
            break;
        char *name = NULL;
        rc = check_label(v, row, &meta, e);
        if (!rc)
            rc = cm_copy_text(&name, meta.name, e);
        v->labels[row] = meta;
        v->labels[row].name = name;
    }
    pr_csv_close(csv);
    if (!rc && (row != v->v.queries || !end))
        rc = cm_fail(e, CM_EMISMATCH, "%s has %s rows than %s has queries (%" PRIu64 ")",
                     v->a->meta, end ? "fewer" : "more", v->a->features, v->v.queries);
    return rc;
}

static enum cm_err open_inputs(struct eval *v, struct cm_error *e)
{
    void *p;
    enum cm_err rc = pr_npy_open(&v->features, v->a->features, e);
    if (rc)
        return rc;
    v->v.features = v->features;
    v->v.queries = v->features->images;
    rc = read_labels(v, e);
    if (!rc)
        rc = cm_new(&p, v->v.queries, sizeof *v->v.figures, e);
    if (!rc)
        v->v.figures = p;
    return rc;
}

/* --- what is on disk from an earlier run ------------------------------------------------------ */

/* Is the query's row of scores in the file, as it was written? If not it is measured again. */
static enum cm_err has_row(const struct eval *v, const struct cli_journal_record *record, bool *out,
                           struct cm_error *e)
{
    uint32_t crc32c = 0;
    enum cm_err rc = pr_npy_writer_row_crc32c(v->v.scores, record->query, &crc32c, e);
    *out = record->has_scores && record->scores_crc32c == crc32c;
    return rc;
}

static enum cm_err take_record(void *ctx, const struct cli_journal_record *record,
                               struct cm_error *e)
{
    struct eval *v = ctx;
    void *map;
    size_t size = v->features->image_bytes;
    if (record->query >= v->v.queries || record->measured.images != v->v.images)
        return cm_fail(e, CM_EMISMATCH, "is of another evaluation");
    if (cli_eval_is_done(&v->v, record->query))
        return CM_OK; /* measured again for its scores: the same */
    enum cm_err rc = cm_new(&map, size, 1, e);
    if (rc)
        return rc;
    rc = pr_npy_read_raw(v->features, record->query, 1, map, e);
    if (!rc && cm_crc32c(0, map, size) != record->map_crc32c)
        rc = cm_fail(e, CM_EMISMATCH, "query %" PRIu64 " has another map now", record->query);
    free(map);
    bool wanted = true;
    if (!rc && v->v.scores)
        rc = has_row(v, record, &wanted, e);
    return rc || !wanted ? rc : cli_eval_take(&v->v, record->query, &record->measured, e);
}

static enum cm_err open_scores(struct eval *v, struct cm_error *e)
{
    return pr_npy_writer_open_partial(&v->v.scores, v->a->scores, v->v.queries, v->v.images,
                                      v->a->resume, e);
}

static enum cm_err open_journal(struct eval *v, const struct pr_status *status, struct cm_error *e)
{
    struct cli_journal_key key = {
        .gallery = status->gallery.gallery,
        .numeric_class = status->members_count ? status->members[0].numeric_class : "",
        .queries = v->v.queries,
    };
    for (uint64_t q = 0; q < v->v.queries; q++) {
        int64_t label[2] = {v->labels[q].pid, v->labels[q].camid};
        key.labels_crc32c = cm_crc32c(key.labels_crc32c, label, sizeof label);
    }
    char path[64], gallery[CM_FINGERPRINT_TEXT_BYTES];
    snprintf(path, sizeof path, "vitrine-eval-%.8s-%08x.journal",
             cm_fingerprint_text(&key.gallery, gallery), key.labels_crc32c);
    return cli_journal_open(&v->v.journal, v->a->journal ? v->a->journal : path, &key, v->a->resume,
                            take_record, v, e);
}

/* --- the evaluation --------------------------------------------------------------------------- */

static enum cm_err check_cluster(struct eval *v, const struct pr_status *status, struct cm_error *e)
{
    if (!status->has_gallery || status->members_count == 0)
        return cm_fail(e, CM_EUNAVAIL,
                       "no worker has joined the coordinator yet: there is no "
                       "gallery to evaluate over");
    v->v.images = status->gallery.images;
    v->v.gallery = status->gallery.gallery;
    snprintf(v->subtitle, sizeof v->subtitle, "%s, %s, %" PRIu64 " images in %u shards",
             cm_matcher_name(status->gallery.geometry.matcher),
             cm_precision_name(status->gallery.precision), v->v.images, status->gallery.shards);
    return cm_geometry_check_map(&status->gallery.geometry, v->a->features, v->features->height,
                                 v->features->width, v->features->channels, e);
}

/* *before becomes the number of queries that were done in an earlier run. */
static enum cm_err evaluate(struct eval *v, const char *endpoint, uint64_t *before,
                            struct cm_error *e)
{
    struct pr_status status = {0};
    enum cm_err rc = cli_client_open(&v->v.client, endpoint, v->a->insecure, &status, e);
    if (!rc)
        rc = cli_client_wait_gallery(v->v.client, &status, e);
    if (!rc)
        rc = check_cluster(v, &status, e);
    if (!rc && v->a->scores && v->a->resume)
        rc = open_scores(v, e); /* what the journal says of it is held against it */
    if (!rc)
        rc = open_journal(v, &status, e);
    pr_status_fini(&status);
    if (!rc && v->a->scores && !v->a->resume)
        rc = open_scores(v, e);
    *before = v->v.done;
    if (!rc)
        rc = cli_eval_run(&v->v, e);
    return rc;
}

static void clean_up(struct eval *v, bool done)
{
    cli_journal_close(v->v.journal, done);
    pr_npy_writer_close(v->v.scores);
    cli_client_close(v->v.client);
    for (uint64_t q = 0; v->labels && q < v->v.queries; q++)
        free((char *)(uintptr_t)v->labels[q].name); /* ours: read_labels copied it */
    free(v->labels);
    free(v->v.figures);
    pr_npy_close(v->features);
}

/* --- what is told of it ------------------------------------------------------------------------
 */

static double ms_per_query(const struct eval *v, uint64_t asked)
{
    return asked ? v->v.seconds * 1000 / (double)asked : -1;
}

/* What an exact evaluation must not hide, on stderr. */
static void warn(const struct eval *v)
{
    if (v->v.mixed)
        fprintf(stderr,
                "vitrine eval: workers of different numeric classes took part: the last bits "
                "of scores, and the order of images that nearly tie, depend on who scored\n");
    if (v->v.overflowed)
        fprintf(stderr,
                "vitrine eval: %" PRIu64 " scores were not finite, and rank last: are model and "
                "features sound?\n",
                v->v.overflowed);
}

static enum cm_err save_json(const struct eval *v, const struct cli_summary *summary,
                             struct cm_error *e)
{
    json_t *root = cli_summary_json(summary, v->trapezoid);
    if (strcmp(v->a->json, "-") == 0)
        return cli_print_json_exact(root, e);
    return cli_save_json_exact(root, v->a->json, e);
}

/* What became of pictures and rankings, on stderr. */
static void say_report(const struct eval *v, const struct cli_thumbnail_counts *n, size_t skipped)
{
    fprintf(stderr, "vitrine eval: %s/index.html is written", v->a->report);
    if (v->a->images_dir)
        fprintf(stderr,
                "; of its pictures %" PRIu64 " are in it, %" PRIu64 " linked, %" PRIu64
                " not found below %s",
                n->embedded, n->linked, n->missing, v->a->images_dir);
    if (skipped)
        fprintf(stderr, "; %zu rankings are left out: the cluster gave no whole answer", skipped);
    fputc('\n', stderr);
}

static enum cm_err write_report(const struct eval *v, const struct cli_evaluation *told,
                                struct cm_error *e)
{
    struct cli_eval_rankings rankings;
    struct cli_thumbnail_counts counts;
    enum cm_err rc = cli_eval_rankings_fetch(&rankings, &v->v, e);
    struct cli_report report = {
        .evaluation = *told,
        .subtitle = v->subtitle,
        .rankings = rankings.items,
        .rankings_count = rankings.count,
        .images = v->a->images_dir,
    };
    if (!rc)
        rc = cli_report_write(&report, v->a->report, &counts, e);
    if (!rc)
        say_report(v, &counts, rankings.skipped);
    cli_eval_rankings_fini(&rankings);
    return rc;
}

static enum cm_err tell(const struct eval *v, uint64_t asked, struct cm_error *e)
{
    struct cli_summary summary;
    enum cm_err rc = cli_summary_of(v->v.figures, v->v.queries, &summary, e);
    if (rc)
        return rc;
    struct cli_evaluation told = {
        .train = v->a->train,
        .test = v->a->test,
        .summary = &summary,
        .figures = v->v.figures,
        .labels = v->labels,
        .trapezoid = v->trapezoid,
        .ms_per_query = ms_per_query(v, asked),
    };
    warn(v);
    if (!v->a->json || strcmp(v->a->json, "-") != 0)
        cli_table_print(&told, stdout);
    if (v->a->json)
        rc = save_json(v, &summary, e);
    if (!rc && v->a->csv)
        rc = cli_queries_csv(&told, v->a->csv, e);
    if (!rc && v->a->report)
        rc = write_report(v, &told, e);
    if (!rc && (fflush(stdout) != 0 || ferror(stdout)))
        rc = cm_fail_errno(e, errno, "cannot write to stdout");
    if (!rc && v->v.scores) /* last: without it the journal is of no use */
        rc = pr_npy_writer_commit(v->v.scores, e);
    return rc;
}

/* --- set-up ------------------------------------------------------------------------------------
 */

static enum cm_err check_args(struct eval *v, struct cm_error *e)
{
    const struct eval_args *a = v->a;
    if (!a->gallery == !a->connect)
        return cm_fail(e, CM_EUSAGE, "give either --gallery DIR or --connect ENDPOINT");
    if (a->connect && a->workers)
        return cm_fail(e, CM_EUSAGE, "--workers goes with --gallery");
    if (a->images_dir && !a->report)
        return cm_fail(e, CM_EUSAGE, "--images goes with --report");
    v->trapezoid = strcmp(a->map, "trapezoid") == 0;
    if (!v->trapezoid && strcmp(a->map, "finite") != 0)
        return cm_fail(e, CM_EUSAGE, "--map is '%s'; it is finite or trapezoid", a->map);
    return pr_names_choose(&v->names, a->names, e);
}

static enum cm_err run(struct eval *v, struct cm_error *e)
{
    const struct eval_args *a = v->a;
    struct cli_local local = {0};
    enum cm_err rc = check_args(v, e);
    if (!rc)
        rc = open_inputs(v, e);
    struct cli_local_options o = {
        .gallery = a->gallery, .workers = a->workers, .threads = a->threads};
    cli_block_signals();
    if (!rc && a->gallery)
        rc = cli_local_start(&local, &o, e);
    uint64_t before = 0;
    v->v.local = a->gallery ? &local : NULL;
    if (!rc)
        rc = evaluate(v, a->gallery ? local.endpoint : a->connect, &before, e);
    if (!rc)
        rc = tell(v, v->v.queries - before, e);
    clean_up(v, !rc);
    cli_local_stop(&local);
    return rc;
}

static int command(struct eval_args *a, const struct cm_option *options, size_t count, int argc,
                   char **argv)
{
    const struct cm_command eval_command = {
        .name = "vitrine eval",
        .usage = "(--gallery DIR [--workers N] | --connect ENDPOINT) --features Q.npy --meta Q.csv",
        .about =
            "Rank-k, mAP and mINP of labelled queries over a whole gallery, exactly, without a\n"
            "matrix of distances: each pair is scored once, where the features lie, and only\n"
            "counts travel. Images of a query's own pid and camid are dropped, and those of pid\n"
            "-1; pid 0 are distractors; queries without a right image do not count. Equal scores:\n"
            "AP takes them together, as scikit-learn does; the rest orders them by lower id.\n"
            "A worker that is lost is waited for; Ctrl-C stops, and --resume goes on.",
        .options = options,
        .options_count = count,
    };
    int exit_code;
    struct cm_error e;
    if (!cm_command_begin(&eval_command, argc, argv, &exit_code))
        return exit_code;
    struct eval v = {.a = a, .v = {.progress_json = a->progress_json}};
    return run(&v, &e) ? cm_command_fail(&eval_command, &e) : CM_EXIT_OK;
}

int cli_eval(int argc, char **argv)
{
    struct eval_args a = {.map = "finite"};
    const struct cm_option options[] = {
        {"gallery", 'g', CM_OPTION_TEXT, false, "DIR",
         "evaluate over this gallery, with a cluster of its own on this machine", 0, 0, &a.gallery},
        {"workers", 'w', CM_OPTION_COUNT, false, "N",
         "its workers (default: one for each CPU, at most one for each shard)", 1, CM_MEMBERS_MAX,
         &a.workers},
        {"threads", 't', CM_OPTION_COUNT, false, "N",
         "compute threads of each (default: the CPUs divided among them)", 1, 1024, &a.threads},
        {"connect", 'c', CM_OPTION_TEXT, false, "ENDPOINT", "evaluate over a running cluster", 0, 0,
         &a.connect},
        {"features", 'f', CM_OPTION_TEXT, true, "FILE",
         "query maps, .npy [q,h,w,c], float16 or float32", 0, 0, &a.features},
        {"meta", 'm', CM_OPTION_TEXT, true, "FILE", "their labels, CSV: name,pid,camid[,timestamp]",
         0, 0, &a.meta},
        {"names", 'n', CM_OPTION_TEXT, false, "SET",
         "read pid and camid off the file names of market1501, msmt17, veri or\n"
         "cuhk03-np; labels may then be a plain list of names, one a line",
         0, 0, &a.names},
        {"json", 0, CM_OPTION_TEXT, false, "FILE",
         "write the figures as JSON, parts of 1 ('-': to stdout, in place of the table)", 0, 0,
         &a.json},
        {"csv", 0, CM_OPTION_TEXT, false, "FILE",
         "write a row for each query: AP, rank of the first hit, positives", 0, 0, &a.csv},
        {"report", 0, CM_OPTION_TEXT, false, "DIR",
         "write DIR/index.html: figures, curves, the hardest queries and their rankings", 0, 0,
         &a.report},
        {"images", 0, CM_OPTION_TEXT, false, "DIR",
         "the images, by their names below DIR, as pictures in the report", 0, 0, &a.images_dir},
        {"scores", 0, CM_OPTION_TEXT, false, "FILE",
         "write the whole matrix of scores, .npy float32 [queries, images], as it comes", 0, 0,
         &a.scores},
        {"map", 0, CM_OPTION_TEXT, false, "KIND",
         "finite: mAP as a finite sum, scikit-learn's, the field's today (default);\n"
         "trapezoid: Market-1501's too",
         0, 0, &a.map},
        {"train", 0, CM_OPTION_TEXT, false, "NAME", "what the model learned from, for the table", 0,
         0, &a.train},
        {"test", 0, CM_OPTION_TEXT, false, "NAME", "what is evaluated, for the table", 0, 0,
         &a.test},
        {"resume", 0, CM_OPTION_FLAG, false, NULL,
         "go on where an earlier run stopped, which left its journal", 0, 0, &a.resume},
        {"journal", 0, CM_OPTION_TEXT, false, "FILE",
         "where what is done is kept until the end (default: vitrine-eval-....journal in\n"
         "this folder, named by gallery and labels)",
         0, 0, &a.journal},
        {"progress-json", 0, CM_OPTION_FLAG, false, NULL,
         "say how far it has come as a line of JSON a second, on stderr", 0, 0, &a.progress_json},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "a coordinator on another machine is fine, although nobody is authenticated", 0, 0,
         &a.insecure},
    };
    return command(&a, options, sizeof options / sizeof *options, argc, argv);
}
