/* control.c: see control.h. */
#include "proto/wire/control.h"

#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

static enum cm_err check_type(enum pr_type type, struct cm_error *e)
{
    if (type == PR_REHELLO || type == PR_LEAVING || type == PR_DISMISS || type == PR_CANCEL ||
        type == PR_STATUS_REQUEST)
        return CM_OK;
    return cm_fail(e, CM_EUSAGE, "message type %u is not one without fields", (unsigned)type);
}

enum cm_err pr_control_pack(const struct pr_control *m, struct pr_buffer *out, struct cm_error *e)
{
    *out = (struct pr_buffer){0};
    enum cm_err rc = check_type(m->type, e);
    if (rc)
        return rc;
    struct pr_writer w;
    pr_writer_open(&w, m->type, m->id, m->epoch, 0, e);
    return pr_writer_close(&w, out);
}

enum cm_err pr_control_unpack(struct cm_bytes header, enum pr_type type, struct pr_control *out,
                              struct cm_error *e)
{
    *out = (struct pr_control){0};
    enum cm_err rc = check_type(type, e);
    if (rc)
        return rc;
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, type, e);
    if (!r.rc)
        *out = (struct pr_control){.type = type, .id = r.envelope.id, .epoch = r.envelope.epoch};
    return pr_reader_close(&r);
}
