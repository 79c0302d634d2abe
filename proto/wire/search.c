/* search.c: see search.h. */
#include "proto/wire/search.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/shards.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum { K = 16, TIME_LEFT_US = 17, DTYPE = 18, PAYLOAD_CRC32C = 19, SHARDS = 20, FIELDS = 5 };

static enum cm_err check(const struct pr_search *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("k", m->k, 1, CM_K_MAX, e);
    if (!rc)
        rc = pr_check_range("time_left_us", m->time_left_us, 1, UINT64_C(1000) * CM_DEADLINE_MS_MAX,
                            e);
    if (!rc)
        rc = pr_check_dtype(m->dtype, e);
    return rc ? rc : pr_shards_check(m->shards, m->shards_count, e);
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
    pr_shards_write(&w, m->shards, m->shards_count);
    return pr_writer_close(&w, out);
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
    pr_shards_read(&f, SHARDS, &out->shards, &out->shards_count);
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
    return pr_check_payload("the feature map", payload, cm_map_floats(g), m->dtype,
                            m->payload_crc32c, e);
}
