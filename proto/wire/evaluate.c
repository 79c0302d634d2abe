/* evaluate.c: see evaluate.h. */
#include "proto/wire/evaluate.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum {
    PID = 16,
    CAMID = 17,
    WANT_SCORES = 18,
    DTYPE = 19,
    HEIGHT = 20,
    WIDTH = 21,
    CHANNELS = 22,
    PAYLOAD_CRC32C = 23,
    FIELDS = 8,
};

static enum cm_err check(const struct pr_evaluate *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_query_pid(m->pid, e);
    return rc ? rc : pr_check_map(m->dtype, m->height, m->width, m->channels, e);
}

enum cm_err pr_evaluate_pack(const struct pr_evaluate *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_EVALUATE, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_write_key(&w, PID);
    pr_write_i64(&w, m->pid);
    pr_write_key(&w, CAMID);
    pr_write_i64(&w, m->camid);
    pr_write_key(&w, WANT_SCORES);
    pr_write_bool(&w, m->want_scores);
    pr_put_u64(&w, DTYPE, m->dtype);
    pr_put_u64(&w, HEIGHT, m->height);
    pr_put_u64(&w, WIDTH, m->width);
    pr_put_u64(&w, CHANNELS, m->channels);
    pr_put_u64(&w, PAYLOAD_CRC32C, m->payload_crc32c);
    return pr_writer_close(&w, out);
}

enum cm_err pr_evaluate_unpack(struct cm_bytes header, struct pr_evaluate *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_EVALUATE, e);
    *out = (struct pr_evaluate){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->pid = pr_get_i64(&f, PID, "pid");
    out->camid = pr_get_i32(&f, CAMID, "camid");
    out->want_scores = pr_get_bool(&f, WANT_SCORES, "want_scores");
    out->dtype = pr_get_u32(&f, DTYPE, "dtype");
    out->height = pr_get_u32(&f, HEIGHT, "height");
    out->width = pr_get_u32(&f, WIDTH, "width");
    out->channels = pr_get_u32(&f, CHANNELS, "channels");
    out->payload_crc32c = pr_get_u32(&f, PAYLOAD_CRC32C, "payload_crc32c");
    if (!r.rc)
        r.rc = check(out, e);
    return pr_reader_close(&r);
}

enum cm_err pr_evaluate_check_payload(const struct pr_evaluate *m, struct cm_bytes payload,
                                      struct cm_error *e)
{
    uint64_t floats = (uint64_t)m->height * m->width * m->channels;
    return pr_check_payload("the feature map", payload, floats, m->dtype, m->payload_crc32c, e);
}
