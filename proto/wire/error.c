/* error.c: see error.h. */
#include "proto/wire/error.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum { CODE = 16, TEXT = 17, RETRY_AFTER_MS = 18, FIELDS = 3 };

const char *pr_error_name(enum pr_error_code code)
{
    switch (code) {
#define PR_ERROR_CASE(name, number, text) \
    case PR_ERROR_##name:                 \
        return text;
        PR_ERROR_MAP(PR_ERROR_CASE)
#undef PR_ERROR_CASE
    }
    return NULL;
}

static enum cm_err check(const struct pr_error *m, struct cm_error *e)
{
    if (!pr_error_name(m->code))
        return cm_fail(e, CM_EFORMAT, "unknown error code %u", (unsigned)m->code);
    return pr_check_range("retry_after_ms", m->retry_after_ms, 0, CM_DEADLINE_MS_MAX, e);
}

enum cm_err pr_error_pack(const struct pr_error *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_ERROR, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, CODE, m->code);
    pr_write_key(&w, TEXT);
    pr_write_text(&w, m->text, 0, CM_TEXT_BYTES_MAX);
    pr_put_u64(&w, RETRY_AFTER_MS, m->retry_after_ms);
    return pr_writer_close(&w, out);
}

enum cm_err pr_error_unpack(struct cm_bytes header, struct pr_error *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_ERROR, e);
    *out = (struct pr_error){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->code = pr_get_u32(&f, CODE, "code");
    pr_copy_text(&f, TEXT, "text", out->text, CM_TEXT_BYTES_MAX);
    out->retry_after_ms = pr_get_u32(&f, RETRY_AFTER_MS, "retry_after_ms");
    if (!r.rc)
        r.rc = check(out, e);
    return pr_reader_close(&r);
}
