/* measure.c: see measure.h. */
#include "proto/wire/measure.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/shards.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

enum {
    PID = 16,
    CAMID = 17,
    WANT_SCORES = 18,
    DTYPE = 19,
    PAYLOAD_CRC32C = 20,
    SHARDS = 21,
    FIELDS = 6,
};

static enum cm_err check(const struct pr_measure *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_query_pid(m->pid, e);
    if (!rc)
        rc = pr_check_dtype(m->dtype, e);
    return rc ? rc : pr_shards_check(m->shards, m->shards_count, e);
}

enum cm_err pr_measure_pack(const struct pr_measure *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_MEASURE, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_write_key(&w, PID);
    pr_write_i64(&w, m->pid);
    pr_write_key(&w, CAMID);
    pr_write_i64(&w, m->camid);
    pr_write_key(&w, WANT_SCORES);
    pr_write_bool(&w, m->want_scores);
    pr_put_u64(&w, DTYPE, m->dtype);
    pr_put_u64(&w, PAYLOAD_CRC32C, m->payload_crc32c);
    pr_write_key(&w, SHARDS);
    pr_shards_write(&w, m->shards, m->shards_count);
    return pr_writer_close(&w, out);
}

enum cm_err pr_measure_unpack(struct cm_bytes header, struct pr_measure *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_MEASURE, e);
    *out = (struct pr_measure){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->pid = pr_get_i64(&f, PID, "pid");
    out->camid = pr_get_i32(&f, CAMID, "camid");
    out->want_scores = pr_get_bool(&f, WANT_SCORES, "want_scores");
    out->dtype = pr_get_u32(&f, DTYPE, "dtype");
    out->payload_crc32c = pr_get_u32(&f, PAYLOAD_CRC32C, "payload_crc32c");
    pr_shards_read(&f, SHARDS, &out->shards, &out->shards_count);
    if (!r.rc)
        r.rc = check(out, e);
    enum cm_err rc = pr_reader_close(&r);
    if (rc)
        pr_measure_fini(out);
    return rc;
}

void pr_measure_fini(struct pr_measure *m)
{
    free(m->shards);
    *m = (struct pr_measure){0};
}

enum cm_err pr_measure_check_payload(const struct pr_measure *m, const struct cm_geometry *g,
                                     struct cm_bytes payload, struct cm_error *e)
{
    return pr_check_payload("the feature map", payload, cm_map_floats(g), m->dtype,
                            m->payload_crc32c, e);
}
