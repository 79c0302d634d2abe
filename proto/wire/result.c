/* result.c: see result.h. */
#include "proto/wire/result.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum {
    SHARDS = 16,
    REASON = 17,
    QUEUE_US = 18,
    PROJECT_US = 19,
    SCORE_US = 20,
    HITS = 21,
    FIELDS = 6,
};

/* A shard is a tuple of these. */
enum { SHARD, IMAGES_SCORED, IMAGES, OVERFLOWED, SHARD_VALUES };

static enum cm_err check_shard(const struct pr_scored *s, enum pr_reason reason, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shard", s->shard.v, 0, CM_SHARDS_MAX - 1, e);
    if (!rc)
        rc = pr_check_coverage(reason, s->images_scored, s->images, e);
    if (!rc)
        rc = pr_check_range("overflowed", s->overflowed, 0, s->images_scored, e);
    return rc ? cm_wrap(e, rc, "shard %u", s->shard.v) : CM_OK;
}

/* The shards, and how many of their images were scored. */
static enum cm_err check_shards(const struct pr_result *m, uint64_t *scored, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of shards", m->shards_count, 1, CM_SHARDS_MAX, e);
    *scored = 0;
    for (size_t i = 0; i < m->shards_count && !rc; i++) {
        const struct pr_scored *s = &m->shards[i];
        rc = check_shard(s, m->reason, e);
        if (!rc && i > 0 && s->shard.v <= m->shards[i - 1].shard.v)
            rc = cm_fail(e, CM_EFORMAT, "shard %u comes after shard %u; they must ascend",
                         s->shard.v, m->shards[i - 1].shard.v);
        *scored += s->images_scored; /* 2^16 of 2^40 at most */
    }
    if (!rc && m->reason && m->shards_count > 1 && *scored > 0)
        rc = cm_fail(e, CM_EFORMAT, "%zu shards share a ranking, and are not whole: %s",
                     m->shards_count, pr_reason_name(m->reason));
    return rc;
}

static enum cm_err check(const struct pr_result *m, struct cm_error *e)
{
    uint64_t scored;
    enum cm_err rc = check_shards(m, &scored, e);
    if (!rc)
        rc = pr_check_range("the number of hits", m->hits.count, 0, scored, e);
    return rc ? rc : pr_hits_check(&m->hits, e);
}

static void write_shards(struct pr_writer *w, const struct pr_result *m)
{
    pr_write_key(w, SHARDS);
    pr_write_list(w, m->shards_count);
    for (size_t i = 0; i < m->shards_count && !w->rc; i++) {
        pr_write_list(w, SHARD_VALUES);
        pr_write_u64(w, m->shards[i].shard.v);
        pr_write_u64(w, m->shards[i].images_scored);
        pr_write_u64(w, m->shards[i].images);
        pr_write_u64(w, m->shards[i].overflowed);
    }
}

static void read_shards(struct pr_fields *f, struct pr_result *m)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, SHARDS, "shards", CM_SHARDS_MAX);
    m->shards = pr_reader_new(r, list.count, sizeof *m->shards);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields shard;
        pr_item_tuple(r, &list, i, SHARD_VALUES, &shard);
        m->shards[i].shard.v = pr_get_u32(&shard, SHARD, "shard");
        m->shards[i].images_scored = pr_get_u64(&shard, IMAGES_SCORED, "images_scored");
        m->shards[i].images = pr_get_u64(&shard, IMAGES, "images");
        m->shards[i].overflowed = pr_get_u64(&shard, OVERFLOWED, "overflowed");
        pr_reader_where(r, "shard", i);
    }
    m->shards_count = r->rc ? 0 : list.count;
}

enum cm_err pr_result_pack(const struct pr_result *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_RESULT, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    write_shards(&w, m);
    pr_put_u64(&w, REASON, m->reason);
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
    read_shards(&f, out);
    out->reason = pr_get_u32(&f, REASON, "reason");
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
    free(m->shards);
    pr_hits_fini(&m->hits);
    *m = (struct pr_result){0};
}
