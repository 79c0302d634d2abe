/* refuse.c: see refuse.h. */
#include "proto/wire/refuse.h"

#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { REASON = 16, TEXT = 17, FIELDS = 2 };

const char *pr_refusal_name(enum pr_refusal reason)
{
    switch (reason) {
#define PR_REFUSAL_CASE(name, number, text) \
    case PR_REFUSAL_##name:                 \
        return text;
        PR_REFUSAL_MAP(PR_REFUSAL_CASE)
#undef PR_REFUSAL_CASE
    }
    return NULL;
}

static enum cm_err check(const struct pr_refuse *m, struct cm_error *e)
{
    if (!pr_refusal_name(m->reason))
        return cm_fail(e, CM_EFORMAT, "unknown refusal %u", (unsigned)m->reason);
    return CM_OK;
}

enum cm_err pr_refuse_pack(const struct pr_refuse *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_REFUSE, (struct cm_query_id){0}, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, REASON, m->reason);
    pr_write_key(&w, TEXT);
    pr_write_text(&w, m->text, 0, CM_TEXT_BYTES_MAX);
    return pr_writer_close(&w, out);
}

enum cm_err pr_refuse_unpack(struct cm_bytes header, struct pr_refuse *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_REFUSE, e);
    *out = (struct pr_refuse){.epoch = r.envelope.epoch};
    out->reason = pr_get_u32(&f, REASON, "reason");
    pr_copy_text(&f, TEXT, "text", out->text, CM_TEXT_BYTES_MAX);
    if (!r.rc)
        r.rc = check(out, e);
    return pr_reader_close(&r);
}
