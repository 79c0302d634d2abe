/* gallery_info.c: see gallery_info.h. */
#include "proto/wire/gallery_info.h"

#include "common/geometry.h"
#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

/* Keys of the inner map. */
enum {
    GALLERY = 0,
    MODEL = 1,
    MATCHER = 2,
    HEIGHT = 3,
    WIDTH = 4,
    CHANNELS = 5,
    LAYERS = 6,
    FF = 7,
    PRECISION = 8,
    IMAGES = 9,
    SHARDS = 10,
    FIELDS = 11,
};

enum cm_err pr_gallery_info_check(const struct pr_gallery_info *g, struct cm_error *e)
{
    enum cm_err rc = cm_geometry_check(&g->geometry, e);
    if (!rc && !cm_precision_name(g->precision))
        rc = cm_fail(e, CM_EFORMAT, "unknown precision %u", (unsigned)g->precision);
    if (!rc)
        rc = pr_check_range("images", g->images, 1, CM_IMAGES_MAX, e);
    if (!rc)
        rc = pr_check_range("shards", g->shards, 1, CM_SHARDS_MAX, e);
    return rc ? cm_wrap(e, rc, "gallery") : CM_OK;
}

void pr_gallery_info_write(struct pr_writer *w, const struct pr_gallery_info *g)
{
    pr_write_map(w, FIELDS);
    pr_write_key(w, GALLERY);
    pr_write_fingerprint(w, &g->gallery);
    pr_write_key(w, MODEL);
    pr_write_fingerprint(w, &g->model);
    pr_put_u64(w, MATCHER, g->geometry.matcher);
    pr_put_u64(w, HEIGHT, g->geometry.height);
    pr_put_u64(w, WIDTH, g->geometry.width);
    pr_put_u64(w, CHANNELS, g->geometry.channels);
    pr_put_u64(w, LAYERS, g->geometry.layers);
    pr_put_u64(w, FF, g->geometry.ff);
    pr_put_u64(w, PRECISION, g->precision);
    pr_put_u64(w, IMAGES, g->images);
    pr_put_u64(w, SHARDS, g->shards);
}

void pr_gallery_info_read(struct pr_fields *f, unsigned key, struct pr_gallery_info *g)
{
    struct pr_fields in;
    pr_get_map(f, key, "gallery", &in);
    g->gallery = pr_get_fingerprint(&in, GALLERY, "gallery fingerprint");
    g->model = pr_get_fingerprint(&in, MODEL, "model fingerprint");
    g->geometry.matcher = pr_get_u32(&in, MATCHER, "matcher");
    g->geometry.height = pr_get_u32(&in, HEIGHT, "height");
    g->geometry.width = pr_get_u32(&in, WIDTH, "width");
    g->geometry.channels = pr_get_u32(&in, CHANNELS, "channels");
    g->geometry.layers = pr_get_u32(&in, LAYERS, "layers");
    g->geometry.ff = pr_get_u32(&in, FF, "ff");
    g->precision = pr_get_u32(&in, PRECISION, "precision");
    g->images = pr_get_u64(&in, IMAGES, "images");
    g->shards = pr_get_u32(&in, SHARDS, "shards");
}
