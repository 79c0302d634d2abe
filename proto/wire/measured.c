/* measured.c: see measured.h. */
#include "proto/wire/measured.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum {
    IMAGES = 16,
    SHARDS = 17,
    CENSUS = 18,
    OVERFLOWED = CENSUS + PR_CENSUS_KEYS,
    MIXED = 23,
    QUEUE_US = 24,
    PROJECT_US = 25,
    SCORE_US = 26,
    TOTAL_US = 27,
    WORKER_BYTES = 28,
    MISSING = 29,
    POSITIVES = 30,
    COUNTS = 31,
    GALLERY = 32,
    FIELDS = 17,
};

static enum cm_err check_missing(const struct pr_measured *m, struct cm_error *e)
{
    enum cm_err rc = pr_missing_check(m->missing, m->missing_count, m->shards, e);
    for (size_t i = 0; i < m->missing_count && !rc; i++)
        if (m->missing[i].images_scored != 0)
            rc = cm_fail(e, CM_EFORMAT, "missing shard %u: %llu images scored; it must be none",
                         m->missing[i].shard.v, (unsigned long long)m->missing[i].images_scored);
    return rc;
}

/* What pr_counts_list_check cannot know: that the counts are of the whole gallery. */
static enum cm_err check_counts(const struct pr_measured *m, struct cm_error *e)
{
    if (m->counts.count != m->positives.count)
        return cm_fail(e, CM_EFORMAT, "counts for %zu of %zu positives", m->counts.count,
                       m->positives.count);
    enum cm_err rc = pr_counts_list_check(&m->counts, e);
    for (size_t i = 0; i < m->counts.count && !rc; i++) {
        const struct pr_counts *c = &m->counts.items[i];
        rc = pr_check_range("equal", c->equal, c->equal_lower + 1, m->census.valid, e);
        if (!rc)
            rc = pr_check_range("higher", c->higher, 0, m->census.valid - c->equal, e);
        if (rc)
            return cm_wrap(e, rc, "counts %zu", i);
    }
    return rc;
}

static enum cm_err check(const struct pr_measured *m, struct cm_error *e)
{
    uint64_t scored = m->missing_count == 0 ? m->images : 0;
    enum cm_err rc = pr_check_range("images", m->images, 1, CM_IMAGES_MAX, e);
    if (!rc)
        rc = pr_check_range("shards", m->shards, 1, CM_SHARDS_MAX, e);
    if (!rc)
        rc = check_missing(m, e);
    if (!rc)
        rc = pr_census_check(&m->census, scored, m->positives.count, e);
    if (!rc)
        rc = pr_check_range("overflowed", m->overflowed, 0, scored, e);
    if (!rc)
        rc = pr_positives_check(&m->positives, e);
    return rc ? rc : check_counts(m, e);
}

enum cm_err pr_measured_pack(const struct pr_measured *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_MEASURED, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, IMAGES, m->images);
    pr_put_u64(&w, SHARDS, m->shards);
    pr_census_write(&w, CENSUS, &m->census);
    pr_put_u64(&w, OVERFLOWED, m->overflowed);
    pr_write_key(&w, MIXED);
    pr_write_bool(&w, m->mixed);
    pr_put_u64(&w, QUEUE_US, m->queue_us);
    pr_put_u64(&w, PROJECT_US, m->project_us);
    pr_put_u64(&w, SCORE_US, m->score_us);
    pr_put_u64(&w, TOTAL_US, m->total_us);
    pr_put_u64(&w, WORKER_BYTES, m->worker_bytes);
    pr_write_key(&w, MISSING);
    pr_missing_write(&w, m->missing, m->missing_count);
    pr_write_key(&w, POSITIVES);
    pr_positives_write(&w, &m->positives);
    pr_write_key(&w, COUNTS);
    pr_counts_list_write(&w, &m->counts);
    pr_write_key(&w, GALLERY);
    pr_write_fingerprint(&w, &m->gallery);
    return pr_writer_close(&w, out);
}

enum cm_err pr_measured_unpack(struct cm_bytes header, struct pr_measured *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_MEASURED, e);
    *out = (struct pr_measured){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->gallery = pr_get_fingerprint(&f, GALLERY, "gallery");
    out->images = pr_get_u64(&f, IMAGES, "images");
    out->shards = pr_get_u32(&f, SHARDS, "shards");
    pr_census_read(&f, CENSUS, &out->census);
    out->overflowed = pr_get_u64(&f, OVERFLOWED, "overflowed");
    out->mixed = pr_get_bool(&f, MIXED, "mixed");
    out->queue_us = pr_get_u64(&f, QUEUE_US, "queue_us");
    out->project_us = pr_get_u64(&f, PROJECT_US, "project_us");
    out->score_us = pr_get_u64(&f, SCORE_US, "score_us");
    out->total_us = pr_get_u64(&f, TOTAL_US, "total_us");
    out->worker_bytes = pr_get_u64(&f, WORKER_BYTES, "worker_bytes");
    pr_missing_read(&f, MISSING, &out->missing, &out->missing_count);
    pr_positives_read(&f, POSITIVES, &out->positives);
    pr_counts_list_read(&f, COUNTS, &out->counts);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_measured_fini(out);
    return rc;
}

void pr_measured_fini(struct pr_measured *m)
{
    free(m->missing);
    pr_positives_fini(&m->positives);
    pr_counts_list_fini(&m->counts);
    *m = (struct pr_measured){0};
}
