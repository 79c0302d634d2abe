/* verify.c: `vitrine verify`: every byte of a gallery against its checksums. */
#include "worker/store/verify.h"
#include "ops/cli/cli.h"
#include "ops/cli/json.h"
#include "ops/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>

/* What the callbacks need. */
struct verify_run {
    struct cli_progress progress;
    json_t *faults; /* NULL without --json */
};

static void on_fault(void *ctx, const char *text)
{
    struct verify_run *run = ctx;
    cli_progress_end(&run->progress);
    fprintf(stderr, "vitrine verify: %s\n", text);
    if (run->faults)
        json_array_append_new(run->faults, cli_json_path(text));
}

static void on_progress(void *ctx, uint64_t done, uint64_t bytes)
{
    struct verify_run *run = ctx;
    run->progress.total = bytes;
    cli_progress_at(&run->progress, done, 0);
}

static enum cm_err print_result(const char *dir, struct verify_run *run,
                                const struct st_verified *v, struct cm_error *e)
{
    if (run->faults)
        return cli_print_json(json_pack("{s:o, s:b, s:I, s:I, s:I, s:O}", "gallery",
                                        cli_json_path(dir), "sound", v->faults == 0, "files",
                                        (json_int_t)v->files, "blocks", (json_int_t)v->blocks,
                                        "bytes", (json_int_t)v->bytes, "faults", run->faults),
                              e);
    printf("%s: %" PRIu64 " files, %" PRIu64 " blocks, %" PRIu64 " bytes of features: %s", dir,
           v->files, v->blocks, v->bytes, v->faults ? "NOT SOUND, " : "sound\n");
    if (v->faults)
        printf("%" PRIu64 " faults\n", v->faults);
    return CM_OK;
}

int cli_verify(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    const struct cm_option options[] = {
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &json},
    };
    const struct cm_command command = {
        .name = "vitrine verify",
        .usage = "DIR [--json]",
        .about =
            "Reads every byte of the gallery in DIR and holds it against its checksums. Names\n"
            "each file and block that is not as it was written.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
        .positional = "DIR",
        .positional_out = &dir,
        .exits = "  65  something is corrupt\n",
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct verify_run run = {.faults = json ? json_array() : NULL};
    struct st_verify_options o = {on_fault, on_progress, &run};
    struct st_verified verified;
    struct cm_error e;
    cli_progress_start(&run.progress, "bytes", 0);
    enum cm_err rc = st_verify(dir, &o, &verified, &e);
    cli_progress_end(&run.progress);
    if (!rc)
        rc = print_result(dir, &run, &verified, &e);
    json_decref(run.faults);
    if (rc)
        return cm_command_fail(&command, &e);
    return verified.faults ? CM_EXIT_DATA : CM_EXIT_OK;
}
