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

/* A missing shard is a tuple of these. */
enum { M_SHARD, M_REASON, M_IMAGES_SCORED, M_IMAGES, MISSING_VALUES };

static enum cm_err check_missing_shard(const struct pr_answer *m, size_t i, struct cm_error *e)
{
    const struct pr_missing_shard *shard = &m->missing[i];
    if (shard->shard.v >= m->shards)
        return cm_fail(e, CM_EFORMAT, "shard %u of a gallery of %u", shard->shard.v, m->shards);
    if (i > 0 && shard->shard.v <= shard[-1].shard.v)
        return cm_fail(e, CM_EFORMAT, "shard %u comes after shard %u; they must ascend",
                       shard->shard.v, shard[-1].shard.v);
    if (shard->reason == PR_REASON_NONE)
        return cm_fail(e, CM_EFORMAT, "shard %u is missing without a reason", shard->shard.v);
    enum cm_err rc = pr_check_coverage(shard->reason, shard->images_scored, shard->images, e);
    return rc ? cm_wrap(e, rc, "missing shard %u", shard->shard.v) : CM_OK;
}

static enum cm_err check_shards(const struct pr_answer *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shards", m->shards, 1, CM_SHARDS_MAX, e);
    if (!rc && (uint64_t)m->shards_scored + m->missing_count != m->shards)
        rc = cm_fail(e, CM_EFORMAT, "%u shards scored and %zu missing do not make %u",
                     m->shards_scored, m->missing_count, m->shards);
    for (size_t i = 0; i < m->missing_count && !rc; i++)
        rc = check_missing_shard(m, i, e);
    return rc;
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

static void write_missing(struct pr_writer *w, const struct pr_answer *m)
{
    pr_write_key(w, MISSING);
    pr_write_list(w, m->missing_count);
    for (size_t i = 0; i < m->missing_count && !w->rc; i++) {
        pr_write_list(w, MISSING_VALUES);
        pr_write_u64(w, m->missing[i].shard.v);
        pr_write_u64(w, m->missing[i].reason);
        pr_write_u64(w, m->missing[i].images_scored);
        pr_write_u64(w, m->missing[i].images);
    }
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
    write_missing(&w, m);
    pr_write_key(&w, HITS);
    pr_hits_write(&w, &m->hits);
    write_timings(&w, &m->timings);
    return pr_writer_close(&w, out);
}

static void read_missing(struct pr_fields *f, struct pr_answer *out)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, MISSING, "missing shards", CM_SHARDS_MAX);
    out->missing = pr_reader_new(r, list.count, sizeof *out->missing);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields shard;
        pr_item_tuple(r, &list, i, MISSING_VALUES, &shard);
        out->missing[i].shard.v = pr_get_u32(&shard, M_SHARD, "shard");
        out->missing[i].reason = pr_get_u32(&shard, M_REASON, "reason");
        out->missing[i].images_scored = pr_get_u64(&shard, M_IMAGES_SCORED, "images_scored");
        out->missing[i].images = pr_get_u64(&shard, M_IMAGES, "images");
        pr_reader_where(r, "missing shard", i);
    }
    out->missing_count = r->rc ? 0 : list.count;
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
    read_missing(&f, out);
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
