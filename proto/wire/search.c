/* search.c: see search.h. */
#include "proto/wire/search.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum { K = 16, TIME_LEFT_US = 17, DTYPE = 18, PAYLOAD_CRC32C = 19, SHARDS = 20, FIELDS = 5 };

static enum cm_err check_shards(const struct pr_search *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of shards", m->shards_count, 1, CM_SHARDS_MAX, e);
    for (size_t i = 0; i < m->shards_count && !rc; i++) {
        rc = pr_check_range("shard", m->shards[i].v, 0, CM_SHARDS_MAX - 1, e);
        if (!rc && i > 0 && m->shards[i].v <= m->shards[i - 1].v)
            rc = cm_fail(e, CM_EFORMAT, "shard %u comes after shard %u; they must ascend",
                         m->shards[i].v, m->shards[i - 1].v);
    }
    return rc;
}

static enum cm_err check(const struct pr_search *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("k", m->k, 1, CM_K_MAX, e);
    if (!rc)
        rc = pr_check_range("time_left_us", m->time_left_us, 1, UINT64_C(1000) * CM_DEADLINE_MS_MAX,
                            e);
    if (!rc)
        rc = pr_check_dtype(m->dtype, e);
    return rc ? rc : check_shards(m, e);
}

enum cm_err pr_search_pack(const struct pr_search *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_SEARCH, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, K, m->k);
    pr_put_u64(&w, TIME_LEFT_US, m->time_left_us);
    pr_put_u64(&w, DTYPE, m->dtype);
    pr_put_u64(&w, PAYLOAD_CRC32C, m->payload_crc32c);
    pr_write_key(&w, SHARDS);
    pr_write_list(&w, m->shards_count);
    for (size_t i = 0; i < m->shards_count && !w.rc; i++)
        pr_write_u64(&w, m->shards[i].v);
    return pr_writer_close(&w, out);
}

static void read_shards(struct pr_fields *f, struct pr_search *out)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, SHARDS, "shards", CM_SHARDS_MAX);
    out->shards = pr_reader_new(r, list.count, sizeof *out->shards);
    for (size_t i = 0; i < list.count && !r->rc; i++)
        out->shards[i].v = pr_item_u32(r, &list, i, "shard");
    out->shards_count = r->rc ? 0 : list.count;
}

enum cm_err pr_search_unpack(struct cm_bytes header, struct pr_search *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_SEARCH, e);
    *out = (struct pr_search){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->k = pr_get_u32(&f, K, "k");
    out->time_left_us = pr_get_u64(&f, TIME_LEFT_US, "time_left_us");
    out->dtype = pr_get_u32(&f, DTYPE, "dtype");
    out->payload_crc32c = pr_get_u32(&f, PAYLOAD_CRC32C, "payload_crc32c");
    read_shards(&f, out);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_search_fini(out);
    return rc;
}

void pr_search_fini(struct pr_search *m)
{
    free(m->shards);
    *m = (struct pr_search){0};
}

enum cm_err pr_search_check_payload(const struct pr_search *m, const struct cm_geometry *g,
                                    struct cm_bytes payload, struct cm_error *e)
{
    return pr_check_payload(payload, cm_map_floats(g), m->dtype, m->payload_crc32c, e);
}
