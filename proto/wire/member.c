/* member.c: see member.h. */
#include "proto/wire/member.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

/* Keys of the inner map. */
enum {
    NODE = 0,
    INCARNATION = 1,
    STATE = 2,
    NUMERIC_CLASS = 3,
    THREADS = 4,
    CREDITS = 5,
    INFLIGHT = 6,
    SHARDS = 7,
    IMAGES = 8,
    SEARCHES_DONE = 9,
    PAIRS_SCORED = 10,
    SILENT_MS = 11,
    PLACED = 12,
    ASSIGNED = 13,
    MOVING = 14,
    QUEUED = 15,
    MEMORY_BYTES = 16,
    SLOW = 17,
    BLOCKS_SCORED = 18,
    BLOCKS_LATE = 19,
    CANCELLED = 20,
    EXPIRED = 21,
    FIELDS = 22,
};

const char *pr_member_state_name(enum pr_member_state state)
{
    switch (state) {
#define PR_MEMBER_STATE_CASE(name, number, text) \
    case PR_MEMBER_##name:                       \
        return text;
        PR_MEMBER_STATE_MAP(PR_MEMBER_STATE_CASE)
#undef PR_MEMBER_STATE_CASE
    }
    return NULL;
}

enum cm_err pr_member_check(const struct pr_member *m, struct cm_error *e)
{
    uint32_t least = m->state != PR_MEMBER_AWAY; /* nothing is known of one that is */
    enum cm_err rc = pr_check_node(m->node, e);
    if (!rc && !pr_member_state_name(m->state))
        rc = cm_fail(e, CM_EFORMAT, "unknown member state %u", (unsigned)m->state);
    if (!rc)
        rc = pr_check_class(m->numeric_class, e);
    if (!rc)
        rc = pr_check_range("threads", m->threads, least, UINT32_MAX, e);
    if (!rc)
        rc = pr_check_range("credits", m->credits, least, UINT32_MAX, e);
    if (!rc)
        rc = pr_check_range("shards", m->shards, 0, CM_SHARDS_MAX, e);
    if (!rc)
        rc = pr_check_range("assigned", m->assigned, 0, CM_SHARDS_MAX, e);
    if (!rc)
        rc = pr_check_range("moving", m->moving, 0, m->assigned, e);
    return rc ? rc : pr_check_range("images", m->images, 0, CM_IMAGES_MAX, e);
}

void pr_member_write(struct pr_writer *w, const struct pr_member *m)
{
    pr_write_map(w, FIELDS);
    pr_write_key(w, NODE);
    pr_write_text(w, m->node, 1, CM_NODE_BYTES_MAX);
    pr_put_u64(w, INCARNATION, m->incarnation);
    pr_put_u64(w, STATE, m->state);
    pr_write_key(w, NUMERIC_CLASS);
    pr_write_text(w, m->numeric_class, 1, CM_CLASS_BYTES_MAX);
    pr_put_u64(w, THREADS, m->threads);
    pr_put_u64(w, CREDITS, m->credits);
    pr_put_u64(w, INFLIGHT, m->inflight);
    pr_put_u64(w, SHARDS, m->shards);
    pr_put_u64(w, IMAGES, m->images);
    pr_put_u64(w, SEARCHES_DONE, m->searches_done);
    pr_put_u64(w, PAIRS_SCORED, m->pairs_scored);
    pr_put_u64(w, SILENT_MS, m->silent_ms);
    pr_write_key(w, PLACED);
    pr_write_bool(w, m->placed);
    pr_put_u64(w, ASSIGNED, m->assigned);
    pr_put_u64(w, MOVING, m->moving);
    pr_put_u64(w, QUEUED, m->queued);
    pr_put_u64(w, MEMORY_BYTES, m->memory_bytes);
    pr_write_key(w, SLOW);
    pr_write_bool(w, m->slow);
    pr_put_u64(w, BLOCKS_SCORED, m->work.blocks_scored);
    pr_put_u64(w, BLOCKS_LATE, m->work.blocks_late);
    pr_put_u64(w, CANCELLED, m->work.cancelled);
    pr_put_u64(w, EXPIRED, m->work.expired);
}

void pr_member_read(struct pr_fields *f, struct pr_member *m)
{
    pr_copy_text(f, NODE, "node", m->node, CM_NODE_BYTES_MAX);
    m->incarnation = pr_get_u64(f, INCARNATION, "incarnation");
    m->state = pr_get_u32(f, STATE, "state");
    pr_copy_text(f, NUMERIC_CLASS, "numeric_class", m->numeric_class, CM_CLASS_BYTES_MAX);
    m->threads = pr_get_u32(f, THREADS, "threads");
    m->credits = pr_get_u32(f, CREDITS, "credits");
    m->inflight = pr_get_u32(f, INFLIGHT, "inflight");
    m->shards = pr_get_u32(f, SHARDS, "shards");
    m->images = pr_get_u64(f, IMAGES, "images");
    m->searches_done = pr_get_u64(f, SEARCHES_DONE, "searches_done");
    m->pairs_scored = pr_get_u64(f, PAIRS_SCORED, "pairs_scored");
    m->silent_ms = pr_get_u64(f, SILENT_MS, "silent_ms");
    m->placed = pr_get_bool(f, PLACED, "placed");
    m->assigned = pr_get_u32(f, ASSIGNED, "assigned");
    m->moving = pr_get_u32(f, MOVING, "moving");
    m->queued = pr_get_u32(f, QUEUED, "queued");
    m->memory_bytes = pr_get_u64(f, MEMORY_BYTES, "memory_bytes");
    m->slow = pr_get_bool(f, SLOW, "slow");
    m->work.blocks_scored = pr_get_u64(f, BLOCKS_SCORED, "blocks_scored");
    m->work.blocks_late = pr_get_u64(f, BLOCKS_LATE, "blocks_late");
    m->work.cancelled = pr_get_u64(f, CANCELLED, "cancelled");
    m->work.expired = pr_get_u64(f, EXPIRED, "expired");
}
