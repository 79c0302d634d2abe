/* inspect.c: `vitrine inspect`: what a gallery holds, from its manifest. */
#include "common/geometry.h"
#include "ops/cli/cli.h"
#include "ops/cli/json.h"
#include "proto/file/shard_format.h"
#include "worker/store/gallery.h"

#include <inttypes.h>
#include <jansson.h>

static uint64_t total_bytes(const struct pr_manifest *m)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < m->shards_count; i++)
        bytes += m->shards[i].bytes;
    return bytes;
}

static void print_text(const char *dir, const struct pr_manifest *m)
{
    char gallery[CM_FINGERPRINT_TEXT_BYTES], model[CM_FINGERPRINT_TEXT_BYTES];
    const struct cm_geometry *g = &m->geometry;
    printf("%s\n", dir);
    printf("  gallery      %s\n", cm_fingerprint_text(&m->gallery, gallery));
    printf("  model        %s (%s)\n", cm_fingerprint_text(&m->model, model),
           cm_matcher_name(g->matcher));
    printf("  maps         %u x %u tokens, %u layers of %u channels, ff %u\n", g->height, g->width,
           g->layers, g->channels, g->ff);
    printf("  precision    %s, %" PRIu64 " bytes an image\n", cm_precision_name(m->precision),
           pr_image_stride(g, m->precision));
    printf("  images       %" PRIu64 "\n", m->images);
    printf("  shards       %u, blocks of %u images\n", m->shards_count, m->images_per_block);
    printf("  bytes        %" PRIu64 "\n\n", total_bytes(m));
    printf("  %5s  %12s  %12s  %14s  %s\n", "shard", "first image", "images", "bytes", "content");
    uint64_t first = 0;
    for (uint32_t i = 0; i < m->shards_count; i++) {
        const struct pr_manifest_shard *s = &m->shards[i];
        char content[CM_FINGERPRINT_TEXT_BYTES];
        printf("  %5u  %12" PRIu64 "  %12" PRIu64 "  %14" PRIu64 "  %s\n", i, first, s->images,
               s->bytes, cm_fingerprint_text(&s->content, content));
        first += s->images;
    }
}

static json_t *shards_json(const struct pr_manifest *m)
{
    json_t *list = json_array();
    uint64_t first = 0;
    for (uint32_t i = 0; i < m->shards_count; i++) {
        const struct pr_manifest_shard *s = &m->shards[i];
        char content[CM_FINGERPRINT_TEXT_BYTES];
        json_array_append_new(list,
                              json_pack("{s:i, s:I, s:I, s:I, s:s}", "shard", (int)i, "first_image",
                                        (json_int_t)first, "images", (json_int_t)s->images, "bytes",
                                        (json_int_t)s->bytes, "content",
                                        cm_fingerprint_text(&s->content, content)));
        first += s->images;
    }
    return list;
}

static enum cm_err print_json(const char *dir, const struct pr_manifest *m, struct cm_error *e)
{
    char gallery[CM_FINGERPRINT_TEXT_BYTES], model[CM_FINGERPRINT_TEXT_BYTES];
    const struct cm_geometry *g = &m->geometry;
    json_t *root = json_pack(
        "{s:o, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:I, s:i, s:I, s:o}", "gallery",
        cli_json_path(dir), "fingerprint", cm_fingerprint_text(&m->gallery, gallery), "model",
        cm_fingerprint_text(&m->model, model), "matcher", cm_matcher_name(g->matcher), "precision",
        cm_precision_name(m->precision), "height", (int)g->height, "width", (int)g->width,
        "channels", (int)g->channels, "layers", (int)g->layers, "ff", (int)g->ff, "image_bytes",
        (json_int_t)pr_image_stride(g, m->precision), "images", (json_int_t)m->images,
        "images_per_block", (int)m->images_per_block, "bytes", (json_int_t)total_bytes(m), "shards",
        shards_json(m));
    return cli_print_json(root, e);
}

int cli_inspect(int argc, char **argv)
{
    const char *dir = NULL;
    bool json = false;
    const struct cm_option options[] = {
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &json},
    };
    const struct cm_command command = {
        .name = "vitrine inspect",
        .usage = "DIR [--json]",
        .about =
            "Prints what the gallery in DIR holds: model, sizes, precision, shards, fingerprints.\n"
            "Reads the manifest only; 'vitrine verify' reads everything.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
        .positional = "DIR",
        .positional_out = &dir,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct st_gallery gallery;
    struct cm_error e;
    enum cm_err rc = st_gallery_open(&gallery, dir, &e);
    if (!rc && json)
        rc = print_json(dir, &gallery.manifest, &e);
    else if (!rc)
        print_text(dir, &gallery.manifest);
    st_gallery_close(&gallery);
    return rc ? cm_command_fail(&command, &e) : CM_EXIT_OK;
}
