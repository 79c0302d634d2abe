/* answer.c: see answer.h. */
#include "proto/wire/answer.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum {
    IMAGES_SCORED = 16,
    IMAGES = 17,
    SHARDS_SCORED = 18,
    SHARDS = 19,
    OVERFLOWED = 20,
    MIXED = 21,
    MISSING = 22,
    HITS = 23,
    QUEUE_US = 24,
    SCATTER_US = 25,
    PROJECT_US = 26,
    SCORE_US = 27,
    GATHER_US = 28,
    MERGE_US = 29,
    TOTAL_US = 30,
    FIELDS = 15,
};

static enum cm_err check_shards(const struct pr_answer *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shards", m->shards, 1, CM_SHARDS_MAX, e);
    if (!rc && (uint64_t)m->shards_scored + m->missing_count != m->shards)
        rc = cm_fail(e, CM_EFORMAT, "%u shards scored and %zu missing do not make %u",
                     m->shards_scored, m->missing_count, m->shards);
    return rc ? rc : pr_missing_check(m->missing, m->missing_count, m->shards, e);
}

static enum cm_err check(const struct pr_answer *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("images", m->images, 1, CM_IMAGES_MAX, e);
    if (!rc)
        rc = pr_check_range("images_scored", m->images_scored, 0, m->images, e);
    if (!rc)
        rc = pr_check_range("overflowed", m->overflowed, 0, m->images_scored, e);
    if (!rc)
        rc = check_shards(m, e);
    if (!rc)
        rc = pr_check_range("the number of hits", m->hits.count, 0, m->images_scored, e);
    return rc ? rc : pr_hits_check(&m->hits, e);
}

static void write_timings(struct pr_writer *w, const struct pr_answer_timings *t)
{
    pr_put_u64(w, QUEUE_US, t->queue_us);
    pr_put_u64(w, SCATTER_US, t->scatter_us);
    pr_put_u64(w, PROJECT_US, t->project_us);
    pr_put_u64(w, SCORE_US, t->score_us);
    pr_put_u64(w, GATHER_US, t->gather_us);
    pr_put_u64(w, MERGE_US, t->merge_us);
    pr_put_u64(w, TOTAL_US, t->total_us);
}

enum cm_err pr_answer_pack(const struct pr_answer *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_ANSWER, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, IMAGES_SCORED, m->images_scored);
    pr_put_u64(&w, IMAGES, m->images);
    pr_put_u64(&w, SHARDS_SCORED, m->shards_scored);
    pr_put_u64(&w, SHARDS, m->shards);
    pr_put_u64(&w, OVERFLOWED, m->overflowed);
    pr_write_key(&w, MIXED);
    pr_write_bool(&w, m->mixed);
    pr_write_key(&w, MISSING);
    pr_missing_write(&w, m->missing, m->missing_count);
    pr_write_key(&w, HITS);
    pr_hits_write(&w, &m->hits);
    write_timings(&w, &m->timings);
    return pr_writer_close(&w, out);
}

static void read_timings(struct pr_fields *f, struct pr_answer_timings *t)
{
    t->queue_us = pr_get_u64(f, QUEUE_US, "queue_us");
    t->scatter_us = pr_get_u64(f, SCATTER_US, "scatter_us");
    t->project_us = pr_get_u64(f, PROJECT_US, "project_us");
    t->score_us = pr_get_u64(f, SCORE_US, "score_us");
    t->gather_us = pr_get_u64(f, GATHER_US, "gather_us");
    t->merge_us = pr_get_u64(f, MERGE_US, "merge_us");
    t->total_us = pr_get_u64(f, TOTAL_US, "total_us");
}

enum cm_err pr_answer_unpack(struct cm_bytes header, struct pr_answer *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_ANSWER, e);
    *out = (struct pr_answer){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->images_scored = pr_get_u64(&f, IMAGES_SCORED, "images_scored");
    out->images = pr_get_u64(&f, IMAGES, "images");
    out->shards_scored = pr_get_u32(&f, SHARDS_SCORED, "shards_scored");
    out->shards = pr_get_u32(&f, SHARDS, "shards");
    out->overflowed = pr_get_u64(&f, OVERFLOWED, "overflowed");
    out->mixed = pr_get_bool(&f, MIXED, "mixed");
    pr_missing_read(&f, MISSING, &out->missing, &out->missing_count);
    pr_hits_read(&f, HITS, &out->hits);
    read_timings(&f, &out->timings);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_answer_fini(out);
    return rc;
}

void pr_answer_fini(struct pr_answer *m)
{
    free(m->missing);
    pr_hits_fini(&m->hits);
    *m = (struct pr_answer){0};
}
