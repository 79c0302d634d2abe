/* result.c: see result.h. */
#include "proto/wire/result.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum {
    SHARD = 16,
    REASON = 17,
    IMAGES_SCORED = 18,
    IMAGES = 19,
    OVERFLOWED = 20,
    QUEUE_US = 21,
    PROJECT_US = 22,
    SCORE_US = 23,
    HITS = 24,
    FIELDS = 9,
};

static enum cm_err check(const struct pr_result *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shard", m->shard.v, 0, CM_SHARDS_MAX - 1, e);
    if (!rc)
        rc = pr_check_coverage(m->reason, m->images_scored, m->images, e);
    if (!rc)
        rc = pr_check_range("overflowed", m->overflowed, 0, m->images_scored, e);
    if (!rc)
        rc = pr_check_range("the number of hits", m->hits.count, 0, m->images_scored, e);
    return rc ? rc : pr_hits_check(&m->hits, e);
}

enum cm_err pr_result_pack(const struct pr_result *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_RESULT, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, SHARD, m->shard.v);
    pr_put_u64(&w, REASON, m->reason);
    pr_put_u64(&w, IMAGES_SCORED, m->images_scored);
    pr_put_u64(&w, IMAGES, m->images);
    pr_put_u64(&w, OVERFLOWED, m->overflowed);
    pr_put_u64(&w, QUEUE_US, m->queue_us);
    pr_put_u64(&w, PROJECT_US, m->project_us);
    pr_put_u64(&w, SCORE_US, m->score_us);
    pr_write_key(&w, HITS);
    pr_hits_write(&w, &m->hits);
    return pr_writer_close(&w, out);
}

enum cm_err pr_result_unpack(struct cm_bytes header, struct pr_result *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_RESULT, e);
    *out = (struct pr_result){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->shard.v = pr_get_u32(&f, SHARD, "shard");
    out->reason = pr_get_u32(&f, REASON, "reason");
    out->images_scored = pr_get_u64(&f, IMAGES_SCORED, "images_scored");
    out->images = pr_get_u64(&f, IMAGES, "images");
    out->overflowed = pr_get_u64(&f, OVERFLOWED, "overflowed");
    out->queue_us = pr_get_u64(&f, QUEUE_US, "queue_us");
    out->project_us = pr_get_u64(&f, PROJECT_US, "project_us");
    out->score_us = pr_get_u64(&f, SCORE_US, "score_us");
    pr_hits_read(&f, HITS, &out->hits);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_result_fini(out);
    return rc;
}

void pr_result_fini(struct pr_result *m)
{
    pr_hits_fini(&m->hits);
    *m = (struct pr_result){0};
}
