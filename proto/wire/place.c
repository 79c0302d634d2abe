/* place.c: see place.h. */
#include "proto/wire/place.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { SHARD = 16, SOURCES = 17, PLACE_FIELDS = 2 };
enum { FIRST_IMAGE = 17, IMAGES = 18, TEXT = 19, HOLDS_FIELDS = 4 };

static enum cm_err check_place(const struct pr_place *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shard", m->shard.v, 0, CM_SHARDS_MAX - 1, e);
    return rc ? rc : pr_sources_check(&m->sources, e);
}

enum cm_err pr_place_pack(const struct pr_place *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_PLACE, (struct cm_query_id){0}, m->epoch, PLACE_FIELDS, e);
    if (!w.rc)
        w.rc = check_place(m, e);
    pr_put_u64(&w, SHARD, m->shard.v);
    pr_sources_write(&w, SOURCES, &m->sources);
    return pr_writer_close(&w, out);
}

enum cm_err pr_place_unpack(struct cm_bytes header, struct pr_place *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_PLACE, e);
    *out = (struct pr_place){.epoch = r.envelope.epoch};
    out->shard.v = pr_get_u32(&f, SHARD, "shard");
    pr_sources_read(&f, SOURCES, &out->sources);
    if (!r.rc)
        r.rc = check_place(out, e);
    return pr_reader_close(&r);
}

static enum cm_err check_holds(const struct pr_holds *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shard", m->shard.v, 0, CM_SHARDS_MAX - 1, e);
    if (!rc)
        rc = pr_check_range("images", m->images, 0, CM_IMAGES_MAX, e);
    if (!rc)
        rc = pr_check_range("first_image", m->first_image, 0,
                            m->images ? CM_IMAGES_MAX - m->images : 0, e);
    return rc;
}

enum cm_err pr_holds_pack(const struct pr_holds *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_HOLDS, (struct cm_query_id){0}, 0, HOLDS_FIELDS, e);
    if (!w.rc)
        w.rc = check_holds(m, e);
    pr_put_u64(&w, SHARD, m->shard.v);
    pr_put_u64(&w, FIRST_IMAGE, m->first_image);
    pr_put_u64(&w, IMAGES, m->images);
    pr_write_key(&w, TEXT);
    pr_write_text(&w, m->text, 0, CM_TEXT_BYTES_MAX);
    return pr_writer_close(&w, out);
}

enum cm_err pr_holds_unpack(struct cm_bytes header, struct pr_holds *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_HOLDS, e);
    *out = (struct pr_holds){0};
    out->shard.v = pr_get_u32(&f, SHARD, "shard");
    out->first_image = pr_get_u64(&f, FIRST_IMAGE, "first_image");
    out->images = pr_get_u64(&f, IMAGES, "images");
    pr_copy_text(&f, TEXT, "text", out->text, CM_TEXT_BYTES_MAX);
    if (!r.rc)
        r.rc = check_holds(out, e);
    return pr_reader_close(&r);
}
