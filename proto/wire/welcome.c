/* welcome.c: see welcome.h. */
#include "proto/wire/welcome.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { HEARTBEAT_MS = 16, DEAD_AFTER_MS = 17, FIELDS = 2 };

static enum cm_err check(const struct pr_welcome *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("heartbeat_ms", m->heartbeat_ms, 1, PR_HEARTBEAT_MS_MAX, e);
    if (rc)
        return rc;
    return pr_check_range("dead_after_ms", m->dead_after_ms, m->heartbeat_ms, PR_DEAD_AFTER_MS_MAX,
                          e);
}

enum cm_err pr_welcome_pack(const struct pr_welcome *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_WELCOME, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, HEARTBEAT_MS, m->heartbeat_ms);
    pr_put_u64(&w, DEAD_AFTER_MS, m->dead_after_ms);
    return pr_writer_close(&w, out);
}

enum cm_err pr_welcome_unpack(struct cm_bytes header, struct pr_welcome *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_WELCOME, e);
    *out = (struct pr_welcome){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->heartbeat_ms = pr_get_u32(&f, HEARTBEAT_MS, "heartbeat_ms");
    out->dead_after_ms = pr_get_u32(&f, DEAD_AFTER_MS, "dead_after_ms");
    if (!r.rc)
        r.rc = check(out, e);
    return pr_reader_close(&r);
}
