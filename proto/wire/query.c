/* query.c: see query.h. */
#include "proto/wire/query.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum {
    K = 16,
    DEADLINE_MS = 17,
    DTYPE = 18,
    HEIGHT = 19,
    WIDTH = 20,
    CHANNELS = 21,
    PAYLOAD_CRC32C = 22,
    FIELDS = 7,
};

static enum cm_err check(const struct pr_query *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("k", m->k, 1, CM_K_MAX, e);
    if (!rc)
        rc = pr_check_range("deadline_ms", m->deadline_ms, 1, CM_DEADLINE_MS_MAX, e);
    return rc ? rc : pr_check_map(m->dtype, m->height, m->width, m->channels, e);
}

enum cm_err pr_query_pack(const struct pr_query *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_QUERY, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, K, m->k);
    pr_put_u64(&w, DEADLINE_MS, m->deadline_ms);
    pr_put_u64(&w, DTYPE, m->dtype);
    pr_put_u64(&w, HEIGHT, m->height);
    pr_put_u64(&w, WIDTH, m->width);
    pr_put_u64(&w, CHANNELS, m->channels);
    pr_put_u64(&w, PAYLOAD_CRC32C, m->payload_crc32c);
    return pr_writer_close(&w, out);
}

enum cm_err pr_query_unpack(struct cm_bytes header, struct pr_query *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_QUERY, e);
    *out = (struct pr_query){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->k = pr_get_u32(&f, K, "k");
    out->deadline_ms = pr_get_u32(&f, DEADLINE_MS, "deadline_ms");
    out->dtype = pr_get_u32(&f, DTYPE, "dtype");
    out->height = pr_get_u32(&f, HEIGHT, "height");
    out->width = pr_get_u32(&f, WIDTH, "width");
    out->channels = pr_get_u32(&f, CHANNELS, "channels");
    out->payload_crc32c = pr_get_u32(&f, PAYLOAD_CRC32C, "payload_crc32c");
    if (!r.rc)
        r.rc = check(out, e);
    return pr_reader_close(&r);
}

enum cm_err pr_query_check_payload(const struct pr_query *m, struct cm_bytes payload,
                                   struct cm_error *e)
{
    uint64_t floats = (uint64_t)m->height * m->width * m->channels;
    return pr_check_payload("the feature map", payload, floats, m->dtype, m->payload_crc32c, e);
}
