/* scores.c: see scores.h. */
#include "proto/wire/scores.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <string.h>

enum { SHARD = 16, FIRST_IMAGE = 17, COUNT = 18, PAYLOAD_CRC32C = 19, FIELDS = 4 };

static enum cm_err check(const struct pr_scores *m, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("shard", m->shard.v, 0, CM_SHARDS_MAX - 1, e);
    if (!rc)
        rc = pr_check_range("count", m->count, 1, CM_SCORES_MAX, e);
    return rc ? rc : pr_check_range("first_image", m->first_image, 0, CM_IMAGES_MAX - m->count, e);
}

enum cm_err pr_scores_pack(const struct pr_scores *m, struct pr_buffer *out, struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_SCORES, m->id, m->epoch, FIELDS, e);
    if (!w.rc)
        w.rc = check(m, e);
    pr_put_u64(&w, SHARD, m->shard.v);
    pr_put_u64(&w, FIRST_IMAGE, m->first_image);
    pr_put_u64(&w, COUNT, m->count);
    pr_put_u64(&w, PAYLOAD_CRC32C, m->payload_crc32c);
    return pr_writer_close(&w, out);
}

enum cm_err pr_scores_unpack(struct cm_bytes header, struct pr_scores *out, struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_SCORES, e);
    *out = (struct pr_scores){.id = r.envelope.id, .epoch = r.envelope.epoch};
    out->shard.v = pr_get_u32(&f, SHARD, "shard");
    out->first_image = pr_get_u64(&f, FIRST_IMAGE, "first_image");
    out->count = pr_get_u32(&f, COUNT, "count");
    out->payload_crc32c = pr_get_u32(&f, PAYLOAD_CRC32C, "payload_crc32c");
    if (!r.rc)
        r.rc = check(out, e);
    return pr_reader_close(&r);
}

enum cm_err pr_scores_check_payload(const struct pr_scores *m, struct cm_bytes payload,
                                    struct cm_error *e)
{
    enum cm_err rc = pr_check_payload("the frame of scores", payload, m->count, CM_DTYPE_F32,
                                      m->payload_crc32c, e);
    for (uint32_t i = 0; i < m->count && !rc; i++) {
        struct cm_hit hit = {.image = m->first_image + i};
        /* A frame of a socket may begin anywhere. */
        memcpy(&hit.score, (const char *)payload.data + i * sizeof hit.score, sizeof hit.score);
        rc = pr_check_hit(&hit, NULL, e);
    }
    return rc;
}
