/* heartbeat.c: see heartbeat.h. */
#include "proto/wire/heartbeat.h"

#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum {
    SEARCHES_QUEUED = 16,
    SEARCHES_DONE = 17,
    PAIRS_SCORED = 18,
    FETCHING = 19,
    MEMORY_BYTES = 20,
    BLOCKS_SCORED = 21,
    BLOCKS_LATE = 22,
    CANCELLED = 23,
    EXPIRED = 24,
    FIELDS = 9
};

enum cm_err pr_heartbeat_pack(const struct pr_heartbeat *m, struct pr_buffer *out,
                              struct cm_error *e)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_HEARTBEAT, (struct cm_query_id){0}, m->epoch, FIELDS, e);
    pr_put_u64(&w, SEARCHES_QUEUED, m->searches_queued);
    pr_put_u64(&w, SEARCHES_DONE, m->searches_done);
    pr_put_u64(&w, PAIRS_SCORED, m->pairs_scored);
    pr_put_u64(&w, FETCHING, m->fetching);
    pr_put_u64(&w, MEMORY_BYTES, m->memory_bytes);
    pr_put_u64(&w, BLOCKS_SCORED, m->work.blocks_scored);
    pr_put_u64(&w, BLOCKS_LATE, m->work.blocks_late);
    pr_put_u64(&w, CANCELLED, m->work.cancelled);
    pr_put_u64(&w, EXPIRED, m->work.expired);
    return pr_writer_close(&w, out);
}

enum cm_err pr_heartbeat_unpack(struct cm_bytes header, struct pr_heartbeat *out,
                                struct cm_error *e)
{
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, header, PR_HEARTBEAT, e);
    *out = (struct pr_heartbeat){.epoch = r.envelope.epoch};
    out->searches_queued = pr_get_u32(&f, SEARCHES_QUEUED, "searches_queued");
    out->searches_done = pr_get_u64(&f, SEARCHES_DONE, "searches_done");
    out->pairs_scored = pr_get_u64(&f, PAIRS_SCORED, "pairs_scored");
    out->fetching = pr_get_u32(&f, FETCHING, "fetching");
    out->memory_bytes = pr_get_u64(&f, MEMORY_BYTES, "memory_bytes");
    out->work.blocks_scored = pr_get_u64(&f, BLOCKS_SCORED, "blocks_scored");
    out->work.blocks_late = pr_get_u64(&f, BLOCKS_LATE, "blocks_late");
    out->work.cancelled = pr_get_u64(&f, CANCELLED, "cancelled");
    out->work.expired = pr_get_u64(&f, EXPIRED, "expired");
    return pr_reader_close(&r);
}
