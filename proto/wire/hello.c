/* hello.c: see hello.h. */
#include "proto/wire/hello.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum {
    NODE = 16,
    INCARNATION = 17,
    VERSION_MIN = 18,
    VERSION_MAX = 19,
    GALLERY = 20,
    NUMERIC_CLASS = 21,
    THREADS = 22,
    CREDITS = 23,
    HELD = 24,
    PLACED = 25,
    ENDPOINT = 26,
    FIELDS = 11,
};

/* A held shard is a tuple of these. */
enum { SHARD, FIRST_IMAGE, IMAGES, HELD_VALUES };

static enum cm_err check_held_shard(const struct pr_hello *m, size_t i, struct cm_error *e)
{
    const struct pr_held_shard *held = &m->held[i];
    uint64_t total = m->gallery.images;
    if (held->shard.v >= m->gallery.shards)
        return cm_fail(e, CM_EFORMAT, "shard %u of a gallery of %u", held->shard.v,
                       m->gallery.shards);
    if (i > 0 && held->shard.v <= held[-1].shard.v)
        return cm_fail(e, CM_EFORMAT, "shard %u comes after shard %u; they must ascend",
                       held->shard.v, held[-1].shard.v);
    if (held->images == 0 || held->images > total || held->first_image > total - held->images)
        return cm_fail(e, CM_EFORMAT, "shard %u claims %llu images from %llu of a gallery of %llu",
                       held->shard.v, (unsigned long long)held->images,
                       (unsigned long long)held->first_image, (unsigned long long)total);
    return CM_OK;
}

static enum cm_err check_held(const struct pr_hello *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of held shards", m->held_count, !m->placed,
                                    m->gallery.shards, e);
    for (size_t i = 0; i < m->held_count && !rc; i++)
        rc = check_held_shard(m, i, e);
    return rc;
}

static enum cm_err check(const struct pr_hello *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_node(m->node, e);
    if (!rc)
        rc = pr_check_range("version_min", m->version_min, 1, UINT32_MAX, e);
    if (!rc)
        rc = pr_check_range("version_max", m->version_max, m->version_min, UINT32_MAX, e);
    if (!rc)
        rc = pr_gallery_info_check(&m->gallery, e);
    if (!rc)
        rc = pr_check_class(m->numeric_class, e);
    if (!rc)
        rc = pr_check_range("threads", m->threads, 1, UINT32_MAX, e);
    if (!rc)
        rc = pr_check_range("credits", m->credits, 1, UINT32_MAX, e);
    return rc ? rc : check_held(m, e);
}

static void write_held(struct pr_writer *w, const struct pr_hello *m)
{
    pr_write_key(w, HELD);
    pr_write_list(w, m->held_count);
    for (size_t i = 0; i < m->held_count && !w->rc; i++) {
        pr_write_list(w, HELD_VALUES);
        pr_write_u64(w, m->held[i].shard.v);
        pr_write_u64(w, m->held[i].first_image);
        pr_write_u64(w, m->held[i].images);
    }
}

enum cm_err pr_hello_pack(const struct pr_hello *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_HELLO, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_write_key(&w, NODE);
    pr_write_text(&w, m->node, 1, CM_NODE_BYTES_MAX);
    pr_put_u64(&w, INCARNATION, m->incarnation);
    pr_put_u64(&w, VERSION_MIN, m->version_min);
    pr_put_u64(&w, VERSION_MAX, m->version_max);
    pr_write_key(&w, GALLERY);
    pr_gallery_info_write(&w, &m->gallery);
    pr_write_key(&w, NUMERIC_CLASS);
    pr_write_text(&w, m->numeric_class, 1, CM_CLASS_BYTES_MAX);
    pr_put_u64(&w, THREADS, m->threads);
    pr_put_u64(&w, CREDITS, m->credits);
    write_held(&w, m);
    pr_write_key(&w, PLACED);
    pr_write_bool(&w, m->placed);
    pr_write_key(&w, ENDPOINT);
    pr_write_text(&w, m->endpoint, 0, CM_ENDPOINT_BYTES_MAX);
    return pr_writer_close(&w, out);
}

static void read_held(struct pr_fields *f, struct pr_hello *out)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, HELD, "held shards", CM_SHARDS_MAX);
    out->held = pr_reader_new(r, list.count, sizeof *out->held);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields held;
        pr_item_tuple(r, &list, i, HELD_VALUES, &held);
        out->held[i].shard.v = pr_get_u32(&held, SHARD, "shard");
        out->held[i].first_image = pr_get_u64(&held, FIRST_IMAGE, "first image");
        out->held[i].images = pr_get_u64(&held, IMAGES, "images");
        pr_reader_where(r, "held shard", i);
    }
    out->held_count = r->rc ? 0 : list.count;
}

enum cm_err pr_hello_unpack(struct cm_bytes header, struct pr_hello *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_HELLO, e);
    *out = (struct pr_hello){.id = r.envelope.id, .epoch = r.envelope.epoch};
    pr_copy_text(&f, NODE, "node", out->node, CM_NODE_BYTES_MAX);
    out->incarnation = pr_get_u64(&f, INCARNATION, "incarnation");
    out->version_min = pr_get_u32(&f, VERSION_MIN, "version_min");
    out->version_max = pr_get_u32(&f, VERSION_MAX, "version_max");
    pr_gallery_info_read(&f, GALLERY, &out->gallery);
    pr_copy_text(&f, NUMERIC_CLASS, "numeric_class", out->numeric_class, CM_CLASS_BYTES_MAX);
    out->threads = pr_get_u32(&f, THREADS, "threads");
    out->credits = pr_get_u32(&f, CREDITS, "credits");
    read_held(&f, out);
    out->placed = pr_get_bool(&f, PLACED, "placed");
    pr_copy_text(&f, ENDPOINT, "endpoint", out->endpoint, CM_ENDPOINT_BYTES_MAX);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_hello_fini(out);
    return rc;
}

void pr_hello_fini(struct pr_hello *m)
{
    free(m->held);
    *m = (struct pr_hello){0};
}
