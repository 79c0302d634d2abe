/* positives.c: see positives.h. */
#include "proto/wire/positives.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum {
    SHARD = 16,
    REASON = 17,
    IMAGES = 18,
    CENSUS = 19,
    OVERFLOWED = CENSUS + PR_CENSUS_KEYS,
    QUEUE_US = 24,
    PROJECT_US = 25,
    SCORE_US = 26,
    POSITIVES = 27,
    FIELDS = 12,
};

static enum cm_err check(const struct pr_positives_message *m, struct cm_error *e)
{
    uint64_t scored = m->reason == PR_REASON_NONE ? m->images : 0;
    enum cm_err rc = pr_check_range("shard", m->shard.v, 0, CM_SHARDS_MAX - 1, e);
    if (!rc)
        rc = pr_check_coverage(m->reason, scored, m->images, e);
    if (!rc)
        rc = pr_census_check(&m->census, scored, m->positives.count, e);
    if (!rc)
        rc = pr_check_range("overflowed", m->overflowed, 0, scored, e);
    return rc ? rc : pr_positives_check(&m->positives, e);
}

enum cm_err pr_positives_pack(const struct pr_positives_message *m, struct pr_buffer *out,
                              struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_POSITIVES, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, SHARD, m->shard.v);
    pr_put_u64(&w, REASON, m->reason);
    pr_put_u64(&w, IMAGES, m->images);
    pr_census_write(&w, CENSUS, &m->census);
    pr_put_u64(&w, OVERFLOWED, m->overflowed);
    pr_put_u64(&w, QUEUE_US, m->queue_us);
    pr_put_u64(&w, PROJECT_US, m->project_us);
    pr_put_u64(&w, SCORE_US, m->score_us);
    pr_write_key(&w, POSITIVES);
    pr_positives_write(&w, &m->positives);
    return pr_writer_close(&w, out);
}

enum cm_err pr_positives_unpack(struct cm_bytes header, struct pr_positives_message *out,
                                struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_POSITIVES, e);
    *out = (struct pr_positives_message){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->shard.v = pr_get_u32(&f, SHARD, "shard");
    out->reason = pr_get_u32(&f, REASON, "reason");
    out->images = pr_get_u64(&f, IMAGES, "images");
    pr_census_read(&f, CENSUS, &out->census);
    out->overflowed = pr_get_u64(&f, OVERFLOWED, "overflowed");
    out->queue_us = pr_get_u64(&f, QUEUE_US, "queue_us");
    out->project_us = pr_get_u64(&f, PROJECT_US, "project_us");
    out->score_us = pr_get_u64(&f, SCORE_US, "score_us");
    pr_positives_read(&f, POSITIVES, &out->positives);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_positives_message_fini(out);
    return rc;
}

void pr_positives_message_fini(struct pr_positives_message *m)
{
    pr_positives_fini(&m->positives);
    *m = (struct pr_positives_message){0};
}
