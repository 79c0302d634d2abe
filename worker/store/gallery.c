/* gallery.c: see gallery.h. */
#include "worker/store/gallery.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/io/file.h"
#include "common/limits.h"
#include "common/mem.h"
#include "proto/file/safetensors.h"
#include "proto/file/shard_format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cm_err st_path(char **out, const char *dir, const char *file, struct cm_error *e)
{
    size_t room = strlen(dir) + strlen(file) + 2;
    void *p;
    enum cm_err rc = cm_new(&p, room, 1, e);
    *out = p;
    if (!rc)
        snprintf(*out, room, "%s/%s", dir, file);
    return rc;
}

/* The whole of one of the gallery's small files. */
static enum cm_err read_file(const char *dir, const char *file, size_t max, void **data,
                             size_t *size, struct cm_error *e)
{
    char *path;
    *data = NULL;
    enum cm_err rc = st_path(&path, dir, file, e);
    if (!rc)
        rc = io_read_file(path, max, data, size, e);
    free(path);
    return rc;
}

enum cm_err st_gallery_open_file(struct st_gallery *g, const char *dir, const char *file,
                                 struct cm_error *e)
{
    *g = (struct st_gallery){0};
    void *text;
    size_t size;
    enum cm_err rc = read_file(dir, file, CM_MANIFEST_BYTES_MAX, &text, &size, e);
    if (rc)
        return cm_wrap(e, rc, "'%s' is not a gallery (make one with 'vitrine import')", dir);
    rc = cm_copy_text(&g->dir, dir, e);
    if (!rc) {
        rc = pr_manifest_read(&g->manifest, text, size, e);
        if (rc)
            rc = cm_wrap(e, rc, "%s/%s", dir, file);
    }
    free(text);
    return rc;
}

enum cm_err st_gallery_open(struct st_gallery *g, const char *dir, struct cm_error *e)
{
    return st_gallery_open_file(g, dir, PR_MANIFEST_FILE, e);
}

void st_gallery_close(struct st_gallery *g)
{
    free(g->dir);
    pr_manifest_fini(&g->manifest);
    *g = (struct st_gallery){0};
}

/* The model from the bytes of a weights file. */
static enum cm_err model_of_file(const struct pr_manifest *m, const void *data, size_t size,
                                 struct sc_model **out, struct cm_error *e)
{
    struct pr_weights_header h;
    struct cm_geometry g;
    if (size < sizeof h)
        return cm_fail(e, CM_ECORRUPT, "%zu bytes are less than the header's %zu", size, sizeof h);
    memcpy(&h, data, sizeof h);
    enum cm_err rc = pr_weights_header_check(&h, &g, e);
    if (rc)
        return rc;
    const char *payload = (const char *)data + sizeof h;
    if (h.payload_bytes != size - sizeof h)
        return cm_fail(e, CM_ECORRUPT, "the header promises %llu bytes of weights, %zu are there",
                       (unsigned long long)h.payload_bytes, size - sizeof h);
    if (cm_crc32c(0, payload, size - sizeof h) != h.payload_crc32c)
        return cm_fail(e, CM_ECORRUPT, "block 0: the weights do not match their checksum");
    if (memcmp(h.model_fingerprint, m->model.bytes, sizeof h.model_fingerprint) != 0 ||
        !cm_geometry_equal(&g, &m->geometry))
        return cm_fail(e, CM_EMISMATCH, "these are the weights of another model");
    return sc_model_load(out, &g, payload, size - sizeof h, e);
}

enum cm_err st_gallery_model_file(const struct st_gallery *g, const char *file,
                                  struct sc_model **out, struct cm_error *e)
{
    *out = NULL;
    void *data;
    size_t size;
    size_t want = PR_PAGE_BYTES + sc_model_block_bytes(&g->manifest.geometry);
    enum cm_err rc = read_file(g->dir, file, want, &data, &size, e);
    if (rc)
        return rc;
    rc = model_of_file(&g->manifest, data, size, out, e);
    free(data);
    if (rc)
        return cm_wrap(e, rc, "%s/%s", g->dir, file);
    rc = sc_model_set_precision(*out, g->manifest.precision, e);
    if (rc) {
        sc_model_free(*out);
        *out = NULL;
    }
    return rc;
}

enum cm_err st_gallery_model(const struct st_gallery *g, struct sc_model **out, struct cm_error *e)
{
    return st_gallery_model_file(g, PR_WEIGHTS_FILE, out, e);
}

enum cm_err st_read_model(const char *path, struct sc_model **out, struct cm_error *e)
{
    struct pr_safetensors *file;
    *out = NULL;
    enum cm_err rc = pr_safetensors_read(&file, path, e);
    if (rc)
        return rc;
    rc = sc_model_fold(out, pr_safetensors_weights(file), e);
    pr_safetensors_free(file);
    return rc ? cm_wrap(e, rc, "%s", path) : CM_OK;
}

uint64_t st_first_image(const struct pr_manifest *m, uint32_t index)
{
    uint64_t first = 0;
    for (uint32_t i = 0; i < index; i++)
        first += m->shards[i].images;
    return first;
}
