/* count.c: see count.h. */
#include "proto/wire/count.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

/* Of COUNT and of COUNTS the one field. */
enum { POSITIVES = 16, COUNTS = 16, FIELDS = 1 };

static enum cm_err check_count(const struct pr_count *m, struct cm_error *e)
{
    enum cm_err rc =
        pr_check_range("the number of positives", m->positives.count, 1, CM_POSITIVES_MAX, e);
    return rc ? rc : pr_positives_check(&m->positives, e);
}

static enum cm_err check_counts(const struct pr_counts_message *m, struct cm_error *e)
{
    enum cm_err rc =
        pr_check_range("the number of counts", m->counts.count, 1, CM_POSITIVES_MAX, e);
    return rc ? rc : pr_counts_list_check(&m->counts, e);
}

enum cm_err pr_count_pack(const struct pr_count *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_COUNT, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check_count(m, e);
    pr_write_key(&w, POSITIVES);
    pr_positives_write(&w, &m->positives);
    return pr_writer_close(&w, out);
}

enum cm_err pr_counts_pack(const struct pr_counts_message *m, struct pr_buffer *out,
                           struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_COUNTS, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check_counts(m, e);
    pr_write_key(&w, COUNTS);
    pr_counts_list_write(&w, &m->counts);
    return pr_writer_close(&w, out);
}

enum cm_err pr_count_unpack(struct cm_bytes header, struct pr_count *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_COUNT, e);
    *out = (struct pr_count){.id = r.envelope.id, .epoch = r.envelope.epoch};
    pr_positives_read(&f, POSITIVES, &out->positives);
    if (!r.rc)
        r.rc = check_count(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_count_fini(out);
    return rc;
}

enum cm_err pr_counts_unpack(struct cm_bytes header, struct pr_counts_message *out,
                             struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_COUNTS, e);
    *out = (struct pr_counts_message){.id = r.envelope.id, .epoch = r.envelope.epoch};
    pr_counts_list_read(&f, COUNTS, &out->counts);
    if (!r.rc)
        r.rc = check_counts(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_counts_fini(out);
    return rc;
}

void pr_count_fini(struct pr_count *m)
{
    pr_positives_fini(&m->positives);
    *m = (struct pr_count){0};
}

void pr_counts_fini(struct pr_counts_message *m)
{
    pr_counts_list_fini(&m->counts);
    *m = (struct pr_counts_message){0};
}
