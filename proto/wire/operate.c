/* operate.c: see operate.h. */
#include "proto/wire/operate.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { NODE = 16, FORCE = 17, DRAIN_FIELDS = 2 };
enum { REPLICAS = 16, REPLICAS_FIELDS = 1 };
enum { WANTED = 16, NODES = 17, MOVES = 18, PLACED_FIELDS = 3 };

enum cm_err pr_drain_pack(const struct pr_drain *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_DRAIN, m->id, 0, DRAIN_FIELDS, e);
    if (!w.rc)
        w.rc = pr_check_node(m->node, e);
    pr_write_key(&w, NODE);
    pr_write_text(&w, m->node, 1, CM_NODE_BYTES_MAX);
    pr_write_key(&w, FORCE);
    pr_write_bool(&w, m->force);
    return pr_writer_close(&w, out);
}

enum cm_err pr_drain_unpack(struct cm_bytes header, struct pr_drain *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_DRAIN, e);
    *out = (struct pr_drain){.id = r.envelope.id};
    pr_copy_text(&f, NODE, "node", out->node, CM_NODE_BYTES_MAX);
    out->force = pr_get_bool(&f, FORCE, "force");
    if (!r.rc)
        r.rc = pr_check_node(out->node, e);
    return pr_reader_close(&r);
}

enum cm_err pr_replicas_pack(const struct pr_replicas *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_REPLICAS, m->id, 0, REPLICAS_FIELDS, e);
    if (!w.rc)
        w.rc = pr_check_range("replicas", m->replicas, 1, CM_REPLICAS_MAX, e);
    pr_put_u64(&w, REPLICAS, m->replicas);
    return pr_writer_close(&w, out);
}

enum cm_err pr_replicas_unpack(struct cm_bytes header, struct pr_replicas *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_REPLICAS, e);
    *out = (struct pr_replicas){.id = r.envelope.id};
    out->replicas = pr_get_u32(&f, REPLICAS, "replicas");
    if (!r.rc)
        r.rc = pr_check_range("replicas", out->replicas, 1, CM_REPLICAS_MAX, e);
    return pr_reader_close(&r);
}

static enum cm_err check_placed(const struct pr_placed *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("replicas", m->replicas, 1, CM_REPLICAS_MAX, e);
    return rc ? rc : pr_check_range("nodes", m->nodes, 0, CM_MEMBERS_MAX, e);
}

enum cm_err pr_placed_pack(const struct pr_placed *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_PLACED, m->id, m->epoch, PLACED_FIELDS, e);
    if (!w.rc)
        w.rc = check_placed(m, e);
    pr_put_u64(&w, WANTED, m->replicas);
    pr_put_u64(&w, NODES, m->nodes);
    pr_put_u64(&w, MOVES, m->moves);
    return pr_writer_close(&w, out);
}

enum cm_err pr_placed_unpack(struct cm_bytes header, struct pr_placed *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_PLACED, e);
    *out = (struct pr_placed){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->replicas = pr_get_u32(&f, WANTED, "replicas");
    out->nodes = pr_get_u32(&f, NODES, "nodes");
    out->moves = pr_get_u32(&f, MOVES, "moves");
    if (!r.rc)
        r.rc = check_placed(out, e);
    return pr_reader_close(&r);
}
