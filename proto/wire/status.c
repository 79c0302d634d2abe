/* status.c: see status.h. */
#include "proto/wire/status.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum {
    UPTIME_MS = 16,
    GALLERY = 17, /* the only optional field of version 1 */
    SHARDS_COVERED = 18,
    QUERIES = 19,
    ANSWERS = 20,
    PARTIAL = 21,
    ERRORS = 22,
    GARBAGE = 23,
    REFUSED = 24,
    QUERIES_WAITING = 25,
    QUERIES_INFLIGHT = 26,
    MEMBERS = 27,
    DISCONNECTS = 28,
    QUERIES_YOURS = 29,
    MEMORY_BYTES = 30,
    REPLICAS = 31,
    SHARDS_WHOLE = 32,
    HEDGES = 33,
    HEDGES_WON = 34,
    BUSY = 35,
    EXPIRED = 36,
    PACE_US = 37,
    CLIENTS_WAITING = 38,
    MOST_WAITING = 39,
    FIELDS = 23, /* without GALLERY */
};

static enum cm_err check(const struct pr_status *m, struct cm_error *e)
{
    enum cm_err rc = m->has_gallery ? pr_gallery_info_check(&m->gallery, e) : CM_OK;
    if (!rc)
        rc = pr_check_range("shards_covered", m->shards_covered, 0,
                            m->has_gallery ? m->gallery.shards : 0, e);
    if (!rc)
        rc = pr_check_range("replicas", m->replicas, 0, CM_REPLICAS_MAX, e);
    if (!rc)
        rc = pr_check_range("shards_whole", m->shards_whole, 0, m->replicas ? m->shards_covered : 0,
                            e);
    if (!rc)
        rc = pr_check_range("hedges_won", m->counters.hedges_won, 0, m->counters.hedges, e);
    if (!rc)
        rc = pr_check_range("clients_waiting", m->clients_waiting, 0, m->queries_waiting, e);
    if (!rc)
        rc = pr_check_range("most_waiting", m->most_waiting, 0, m->queries_waiting, e);
    if (!rc)
        rc = pr_check_range("the number of members", m->members_count, 0, CM_MEMBERS_MAX, e);
    for (size_t i = 0; i < m->members_count && !rc; i++) {
        rc = pr_member_check(&m->members[i], e);
        if (rc)
            return cm_wrap(e, rc, "member %zu", i);
    }
    return rc;
}

static void write_counters(struct pr_writer *w, const struct pr_counters *c)
{
    pr_put_u64(w, QUERIES, c->queries);
    pr_put_u64(w, ANSWERS, c->answers);
    pr_put_u64(w, PARTIAL, c->partial);
    pr_put_u64(w, ERRORS, c->errors);
    pr_put_u64(w, GARBAGE, c->garbage);
    pr_put_u64(w, REFUSED, c->refused);
    pr_put_u64(w, DISCONNECTS, c->disconnects);
    pr_put_u64(w, HEDGES, c->hedges);
    pr_put_u64(w, HEDGES_WON, c->hedges_won);
    pr_put_u64(w, BUSY, c->busy);
    pr_put_u64(w, EXPIRED, c->expired);
}

enum cm_err pr_status_pack(const struct pr_status *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_STATUS, m->id, m->epoch, m->has_gallery ? FIELDS + 1 : FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, UPTIME_MS, m->uptime_ms);
    if (m->has_gallery) {
        pr_write_key(&w, GALLERY);
        pr_gallery_info_write(&w, &m->gallery);
    }
    pr_put_u64(&w, SHARDS_COVERED, m->shards_covered);
    write_counters(&w, &m->counters);
    pr_put_u64(&w, QUERIES_WAITING, m->queries_waiting);
    pr_put_u64(&w, QUERIES_INFLIGHT, m->queries_inflight);
    pr_put_u64(&w, QUERIES_YOURS, m->queries_yours);
    pr_put_u64(&w, MEMORY_BYTES, m->memory_bytes);
    pr_put_u64(&w, REPLICAS, m->replicas);
    pr_put_u64(&w, SHARDS_WHOLE, m->shards_whole);
    pr_put_u64(&w, PACE_US, m->pace_us);
    pr_put_u64(&w, CLIENTS_WAITING, m->clients_waiting);
    pr_put_u64(&w, MOST_WAITING, m->most_waiting);
    pr_write_key(&w, MEMBERS);
    pr_write_list(&w, m->members_count);
    for (size_t i = 0; i < m->members_count && !w.rc; i++)
        pr_member_write(&w, &m->members[i]);
    return pr_writer_close(&w, out);
}

static void read_counters(struct pr_fields *f, struct pr_counters *c)
{
    c->queries = pr_get_u64(f, QUERIES, "queries");
    c->answers = pr_get_u64(f, ANSWERS, "answers");
    c->partial = pr_get_u64(f, PARTIAL, "partial");
    c->errors = pr_get_u64(f, ERRORS, "errors");
    c->garbage = pr_get_u64(f, GARBAGE, "garbage");
    c->refused = pr_get_u64(f, REFUSED, "refused");
    c->disconnects = pr_get_u64(f, DISCONNECTS, "disconnects");
    c->hedges = pr_get_u64(f, HEDGES, "hedges");
    c->hedges_won = pr_get_u64(f, HEDGES_WON, "hedges_won");
    c->busy = pr_get_u64(f, BUSY, "busy");
    c->expired = pr_get_u64(f, EXPIRED, "expired");
}

static void read_members(struct pr_fields *f, struct pr_status *out)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, MEMBERS, "members", CM_MEMBERS_MAX);
    out->members = pr_reader_new(r, list.count, sizeof *out->members);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields member;
        pr_item_map(r, &list, i, &member);
        pr_member_read(&member, &out->members[i]);
        pr_reader_where(r, "member", i);
    }
    out->members_count = r->rc ? 0 : list.count;
}

enum cm_err pr_status_unpack(struct cm_bytes header, struct pr_status *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_STATUS, e);
    *out = (struct pr_status){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->uptime_ms = pr_get_u64(&f, UPTIME_MS, "uptime_ms");
    out->has_gallery = pr_has(&f, GALLERY);
    if (out->has_gallery)
        pr_gallery_info_read(&f, GALLERY, &out->gallery);
    out->shards_covered = pr_get_u32(&f, SHARDS_COVERED, "shards_covered");
    read_counters(&f, &out->counters);
    out->queries_waiting = pr_get_u32(&f, QUERIES_WAITING, "queries_waiting");
    out->queries_inflight = pr_get_u32(&f, QUERIES_INFLIGHT, "queries_inflight");
    out->queries_yours = pr_get_u32(&f, QUERIES_YOURS, "queries_yours");
    out->memory_bytes = pr_get_u64(&f, MEMORY_BYTES, "memory_bytes");
    out->replicas = pr_get_u32(&f, REPLICAS, "replicas");
    out->shards_whole = pr_get_u32(&f, SHARDS_WHOLE, "shards_whole");
    out->pace_us = pr_get_u64(&f, PACE_US, "pace_us");
    out->clients_waiting = pr_get_u32(&f, CLIENTS_WAITING, "clients_waiting");
    out->most_waiting = pr_get_u32(&f, MOST_WAITING, "most_waiting");
    read_members(&f, out);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_status_fini(out);
    return rc;
}

void pr_status_fini(struct pr_status *m)
{
    free(m->members);
    *m = (struct pr_status){0};
}
