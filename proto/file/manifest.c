/* manifest.c: see manifest.h. */
#include "proto/file/manifest.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/file/sealed.h"
#include "proto/file/shard_format.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_NAME "vitrine-gallery"

const char *pr_shard_file(uint32_t index, char out[PR_SHARD_FILE_BYTES])
{
    snprintf(out, PR_SHARD_FILE_BYTES, "shard-%05" PRIu32 ".vts", index);
    return out;
}

enum cm_err pr_manifest_fingerprint(const struct pr_manifest *m, struct cm_fingerprint *out,
                                    struct cm_error *e)
{
    struct cm_hash *hash;
    enum cm_err rc = cm_hash_new(&hash, e);
    if (rc)
        return rc;
    uint32_t precision = m->precision;
    cm_hash_add(hash, m->model.bytes, sizeof m->model.bytes);
    cm_hash_add(hash, &precision, sizeof precision);
    for (uint32_t i = 0; i < m->shards_count; i++) {
        cm_hash_add(hash, &m->shards[i].images, sizeof m->shards[i].images);
        cm_hash_add(hash, m->shards[i].content.bytes, sizeof m->shards[i].content.bytes);
    }
    *out = cm_hash_get(hash);
    cm_hash_free(hash);
    return CM_OK;
}

static json_t *shards_json(const struct pr_manifest *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->shards_count; i++) {
        const struct pr_manifest_shard *s = &m->shards[i];
        char file[PR_SHARD_FILE_BYTES], content[CM_FINGERPRINT_TEXT_BYTES];
        json_t *row = json_pack("{s:s, s:I, s:I, s:s}", "file", pr_shard_file(i, file), "images",
                                (json_int_t)s->images, "bytes", (json_int_t)s->bytes, "content",
                                cm_fingerprint_text(&s->content, content));
        if (json_array_append_new(list, row) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *manifest_json(const struct pr_manifest *m)
{
    const struct cm_geometry *g = &m->geometry;
    char model[CM_FINGERPRINT_TEXT_BYTES], gallery[CM_FINGERPRINT_TEXT_BYTES];
    cm_fingerprint_text(&m->model, model);
    cm_fingerprint_text(&m->gallery, gallery);
    return json_pack("{s:s, s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:I, s:i, s:s, s:s, s:s, s:o}",
                     "format", FORMAT_NAME, "version", PR_FORMAT_VERSION, "matcher",
                     cm_matcher_name(g->matcher), "precision", cm_precision_name(m->precision),
                     "height", (int)g->height, "width", (int)g->width, "channels", (int)g->channels,
                     "layers", (int)g->layers, "ff", (int)g->ff, "images", (json_int_t)m->images,
                     "images_per_block", (int)m->images_per_block, "model", model, "fingerprint",
                     gallery, "weights", PR_WEIGHTS_FILE, "shards", shards_json(m));
}

enum cm_err pr_manifest_write(const struct pr_manifest *m, char **text, struct cm_error *e)
{
    return pr_sealed_write(manifest_json(m), text, e);
}

static enum cm_err get_u32(const json_t *object, const char *key, uint32_t max, uint32_t *out,
                           struct cm_error *e)
{
    uint64_t value = 0;
    enum cm_err rc = pr_json_count(object, key, 1, max, &value, e);
    *out = (uint32_t)value;
    return rc;
}

static enum cm_err get_geometry(const json_t *root, struct pr_manifest *m, struct cm_error *e)
{
    struct cm_geometry *g = &m->geometry;
    const char *matcher = "", *precision = "";
    enum cm_err rc = pr_json_text(root, "matcher", &matcher, e);
    if (!rc)
        rc = pr_json_text(root, "precision", &precision, e);
    if (!rc)
        rc = get_u32(root, "height", CM_SIDE_MAX, &g->height, e);
    if (!rc)
        rc = get_u32(root, "width", CM_SIDE_MAX, &g->width, e);
    if (!rc)
        rc = get_u32(root, "channels", CM_CHANNELS_MAX, &g->channels, e);
    if (!rc)
        rc = get_u32(root, "layers", CM_LAYERS_MAX, &g->layers, e);
    if (rc)
        return rc;
    g->matcher = cm_matcher_of_name(matcher);
    m->precision = cm_precision_of_name(precision);
    if (!m->precision)
        return cm_fail(e, CM_EVERSION, "unknown precision \"%s\"", precision);
    if (g->matcher != CM_QACONV)
        rc = get_u32(root, "ff", CM_FF_MAX, &g->ff, e);
    return rc ? rc : cm_geometry_check(g, e);
}

static enum cm_err get_shards(const json_t *root, struct pr_manifest *m, struct cm_error *e)
{
    const json_t *list = json_object_get(root, "shards");
    size_t n = json_array_size(list);
    if (n == 0 || n > CM_SHARDS_MAX)
        return cm_fail(e, CM_EFORMAT, "\"shards\" is not a list of 1 to %u", CM_SHARDS_MAX);
    void *p;
    enum cm_err rc = cm_new(&p, n, sizeof *m->shards, e);
    m->shards = p;
    m->shards_count = (uint32_t)n;
    uint64_t sum = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        const json_t *row = json_array_get(list, i);
        struct pr_manifest_shard *s = &m->shards[i];
        rc = pr_json_count(row, "images", 1, CM_IMAGES_MAX, &s->images, e);
        if (!rc)
            rc = pr_json_count(row, "bytes", 1, INT64_MAX, &s->bytes, e);
        if (!rc)
            rc = pr_json_fingerprint(row, "content", &s->content, e);
        if (rc)
            return cm_wrap(e, rc, "shard %zu", i);
        sum += s->images;
    }
    if (!rc && sum != m->images)
        rc = cm_fail(e, CM_EFORMAT, "the shards hold %" PRIu64 " images, \"images\" says %" PRIu64,
                     sum, m->images);
    return rc;
}

static enum cm_err get_fields(const json_t *root, struct pr_manifest *m, struct cm_error *e)
{
    const char *format;
    enum cm_err rc = pr_json_text(root, "format", &format, e);
    if (!rc && strcmp(format, FORMAT_NAME) != 0)
        rc = cm_fail(e, CM_EFORMAT, "\"format\" is \"%.64s\", not \"" FORMAT_NAME "\"", format);
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    if (!rc && version != PR_FORMAT_VERSION)
        rc = cm_fail(e, CM_EVERSION, "gallery format version %lld; this program reads version %d",
                     (long long)version, PR_FORMAT_VERSION);
    if (!rc)
        rc = get_geometry(root, m, e);
    if (!rc)
        rc = pr_json_count(root, "images", 1, CM_IMAGES_MAX, &m->images, e);
    if (!rc)
        rc = get_u32(root, "images_per_block", CM_BLOCK_IMAGES_MAX, &m->images_per_block, e);
    if (!rc)
        rc = pr_json_fingerprint(root, "model", &m->model, e);
    if (!rc)
        rc = pr_json_fingerprint(root, "fingerprint", &m->gallery, e);
    if (!rc)
        rc = get_shards(root, m, e);
    struct cm_fingerprint want = {{0}};
    if (!rc)
        rc = pr_manifest_fingerprint(m, &want, e);
    if (!rc && !cm_fingerprint_equal(&want, &m->gallery))
        rc = cm_fail(e, CM_ECORRUPT, "\"fingerprint\" is not that of the model and shards listed");
    return rc;
}

enum cm_err pr_manifest_read(struct pr_manifest *m, const char *text, size_t size,
                             struct cm_error *e)
{
    *m = (struct pr_manifest){0};
    json_t *root;
    enum cm_err rc = pr_sealed_read(text, size, &root, e);
    if (rc)
        return rc;
    rc = get_fields(root, m, e);
    json_decref(root);
    return rc;
}

void pr_manifest_fini(struct pr_manifest *m)
{
    free(m->shards);
    *m = (struct pr_manifest){0};
}
