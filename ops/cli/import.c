/* import.c: `vitrine import`: feature maps and labels in, a gallery out. */
#include "worker/store/import.h"
#include "common/geometry.h"
#include "common/io/cpu.h"
#include "common/limits.h"
#include "common/mem.h"
#include "ops/cli/cli.h"
#include "ops/cli/json.h"
#include "ops/cli/progress.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct import_args {
    const char *model, *out, *precision, *names;
    struct cm_text_list features, meta;
    uint64_t shards, threads;
    bool json;
};

static void on_progress(void *ctx, uint64_t done, uint64_t images, uint64_t bytes)
{
    struct cli_progress *progress = ctx;
    progress->total = images;
    cli_progress_at(progress, done, bytes);
}

static enum cm_err print_made(const struct import_args *a, const struct pr_manifest *m,
                              struct cm_error *e)
{
    char text[CM_FINGERPRINT_TEXT_BYTES];
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m->shards_count; i++)
        bytes += m->shards[i].bytes;
    cm_fingerprint_text(&m->gallery, text);
    if (a->json)
        return cli_print_json(json_pack("{s:o, s:s, s:I, s:i, s:I}", "gallery",
                                        cli_json_path(a->out), "fingerprint", text, "images",
                                        (json_int_t)m->images, "shards", (int)m->shards_count,
                                        "bytes", (json_int_t)bytes),
                              e);
    printf("%s: gallery %s: %" PRIu64 " images in %u shards, %" PRIu64 " bytes\n", a->out, text,
           m->images, m->shards_count, bytes);
    return CM_OK;
}

/* "dir/" means "dir": the last word of the path is what is renamed. */
static enum cm_err trim_slashes(const char *path, char **out, struct cm_error *e)
{
    enum cm_err rc = cm_copy_text(out, path, e);
    for (size_t n = rc ? 0 : strlen(*out); n > 1 && (*out)[n - 1] == '/'; n--)
        (*out)[n - 1] = '\0';
    return rc;
}

static enum cm_err check_args(const struct import_args *a, struct cm_error *e)
{
    size_t from_stdin = 0;
    for (size_t i = 0; i < a->features.count; i++)
        from_stdin += strcmp(a->features.items[i], "-") == 0;
    if (from_stdin > 1)
        return cm_fail(e, CM_EUSAGE,
                       "--features - stands there twice; standard input can be read once");
    if (a->features.count != a->meta.count)
        return cm_fail(e, CM_EUSAGE,
                       "--features stands there %zu times and --meta %zu times; each "
                       "feature file needs its label file, in the same order",
                       a->features.count, a->meta.count);
    if (!cm_precision_of_name(a->precision))
        return cm_fail(e, CM_EUSAGE, "--precision is '%s'; there are f32, bf16 and int8",
                       a->precision);
    return CM_OK;
}

static enum cm_err run(struct import_args *a, struct cm_error *e)
{
    enum pr_names names;
    enum cm_err rc = check_args(a, e);
    if (!rc)
        rc = pr_names_choose(&names, a->names, e);
    if (rc)
        return rc;
    struct cli_progress progress;
    cli_progress_start(&progress, "images", 0);
    struct st_import_options o = {
        .model = a->model,
        .features = a->features.items,
        .meta = a->meta.items,
        .names = names,
        .files = a->features.count,
        .shards = a->shards,
        .threads = (unsigned)a->threads,
        .precision = cm_precision_of_name(a->precision),
        .progress = on_progress,
        .progress_ctx = &progress,
    };
    char *out = NULL;
    struct pr_manifest made;
    rc = trim_slashes(a->out, &out, e);
    o.out = out;
    if (!rc)
        rc = st_import(&o, &made, e);
    cli_progress_end(&progress);
    if (!rc) {
        rc = print_made(a, &made, e);
        pr_manifest_fini(&made);
    }
    free(out);
    return rc;
}

int cli_import(int argc, char **argv)
{
    struct import_args a = {.precision = "f32", .threads = io_cpu_count()};
    const struct cm_option options[] = {
        {"model", 'm', CM_OPTION_TEXT, true, "FILE", "trained weights, .safetensors", 0, 0,
         &a.model},
        {"features", 'f', CM_OPTION_LIST, true, "FILE",
         "feature maps, .npy [n,h,w,c], float16 or float32; may be repeated:\n"
         "an image's id is its row, from 0, over all files in order;\n"
         "a pipe is read as it comes, and - is standard input",
         0, 0, &a.features},
        {"meta", 0, CM_OPTION_LIST, true, "FILE",
         "labels of one feature file, CSV: name,pid,camid[,timestamp]", 0, 0, &a.meta},
        {"names", 'n', CM_OPTION_TEXT, false, "SET",
         "read pid and camid off the file names of market1501, msmt17, veri or\n"
         "cuhk03-np; labels may then be a plain list of names, one a line",
         0, 0, &a.names},
        {"out", 'o', CM_OPTION_TEXT, true, "DIR", "the gallery to make; must not exist", 0, 0,
         &a.out},
        {"shards", 's', CM_OPTION_COUNT, false, "N",
         "cut into N shards (default: 256 MB at most each, and 16 or more where\n"
         "there are images enough)",
         1, CM_SHARDS_MAX, &a.shards},
        {"precision", 'p', CM_OPTION_TEXT, false, "NAME",
         "how features are stored: f32 (default), bf16 or int8", 0, 0, &a.precision},
        {"threads", 't', CM_OPTION_COUNT, false, "N",
         "threads that project (default: the CPUs that this process may use)", 1, 1024, &a.threads},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &a.json},
    };
    const struct cm_command command = {
        .name = "vitrine import",
        .usage = "--model M.safetensors --features G.npy --meta G.csv --out DIR",
        .about =
            "Makes a gallery: projects every feature map once, packs and checksums it, and cuts\n"
            "the whole into shards. The gallery appears whole or not at all; after a kill, run it\n"
            "again.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    struct cm_error e;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    exit_code = run(&a, &e) ? cm_command_fail(&command, &e) : CM_EXIT_OK;
    cm_options_free(&command);
    return exit_code;
}
