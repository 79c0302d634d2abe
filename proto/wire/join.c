/* join.c: see join.h. */
#include "proto/wire/join.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { NODE = 16, JOIN_FIELDS = 1 };
enum { GALLERY = 16, SOURCES = 17, GIVERS_FIELDS = 2 };

enum cm_err pr_join_pack(const struct pr_join *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_JOIN, (struct cm_query_id){0}, 0, JOIN_FIELDS, e);
    if (!w.rc)
        w.rc = pr_check_node(m->node, e);
    pr_write_key(&w, NODE);
    pr_write_text(&w, m->node, 1, CM_NODE_BYTES_MAX);
    return pr_writer_close(&w, out);
}

enum cm_err pr_join_unpack(struct cm_bytes header, struct pr_join *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_JOIN, e);
    *out = (struct pr_join){0};
    pr_copy_text(&f, NODE, "node", out->node, CM_NODE_BYTES_MAX);
    if (!r.rc)
        r.rc = pr_check_node(out->node, e);
    return pr_reader_close(&r);
}

enum cm_err pr_givers_pack(const struct pr_givers *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_GIVERS, (struct cm_query_id){0}, m->epoch, GIVERS_FIELDS, e);
    if (!w.rc)
        w.rc = pr_sources_check(&m->sources, e);
    pr_write_key(&w, GALLERY);
    pr_write_fingerprint(&w, &m->gallery);
    pr_sources_write(&w, SOURCES, &m->sources);
    return pr_writer_close(&w, out);
}

enum cm_err pr_givers_unpack(struct cm_bytes header, struct pr_givers *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_GIVERS, e);
    *out = (struct pr_givers){.epoch = r.envelope.epoch};
    out->gallery = pr_get_fingerprint(&f, GALLERY, "gallery");
    pr_sources_read(&f, SOURCES, &out->sources);
    return pr_reader_close(&r);
}
