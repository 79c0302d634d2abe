/* on_worker.c: what workers say, and their end. */
#include "coordinator/core.h"
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/refuse.h"
#include "proto/wire/welcome.h"

#include "common/geometry.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void co_refuse(struct co_core *c, const struct cm_peer *to, const char *node,
               enum pr_refusal reason, const char *text)
{
    struct pr_refuse message = {.epoch = c->epoch, .reason = reason};
    struct pr_buffer packed;
    struct cm_error e;
    snprintf(message.text, sizeof message.text, "%s", text);
    c->counters.refused++;
    cm_log(c->log, CM_LOG_WARN, "worker_refused", "worker=%s msg=\"%s\"", node, text);
    co_tell(c, to, pr_refuse_pack(&message, &packed, &e), &packed, &e);
}

/* Is the worker's gallery ours? The first worker's gallery becomes the cluster's. */
static enum cm_err check_gallery(const struct co_core *c, const struct pr_hello *hello,
                                 enum pr_refusal *reason, struct cm_error *e)
{
    char ours[CM_FINGERPRINT_TEXT_BYTES], theirs[CM_FINGERPRINT_TEXT_BYTES];
    const struct pr_gallery_info *mine = &c->gallery, *its = &hello->gallery;
    if (!cm_fingerprint_equal(&mine->model, &its->model)) {
        *reason = PR_REFUSAL_MODEL;
        return cm_fail(e, CM_EMISMATCH, "this cluster serves model %s, the worker's is %s",
                       cm_fingerprint_text(&mine->model, ours),
                       cm_fingerprint_text(&its->model, theirs));
    }
    *reason = PR_REFUSAL_GALLERY;
    if (!cm_fingerprint_equal(&mine->gallery, &its->gallery) || mine->images != its->images ||
        mine->shards != its->shards)
        return cm_fail(e, CM_EMISMATCH,
                       "this cluster serves gallery %s (%" PRIu64 " images, %u shards), the "
                       "worker's is %s (%" PRIu64 " images, %u shards)",
                       cm_fingerprint_text(&mine->gallery, ours), mine->images, mine->shards,
                       cm_fingerprint_text(&its->gallery, theirs), its->images, its->shards);
    return CM_OK;
}

/* Does the worker compute the same bits as those already here? */
static enum cm_err check_class(const struct co_core *c, const struct pr_hello *hello,
                               struct cm_error *e)
{
    for (uint32_t i = 0; i < c->members.end && !c->config.allow_mixed; i++) {
        const struct co_member *m = &c->members.slots[i];
        if (m->used && strcmp(m->hello.node, hello->node) != 0 &&
            strcmp(m->hello.numeric_class, hello->numeric_class) != 0)
            return cm_fail(e, CM_EMISMATCH,
                           "the cluster computes in numeric class %s, the worker in %s: the last "
                           "bits of scores would depend on who computes them; set "
                           "VITRINE_KERNEL alike on all machines, or start the coordinator "
                           "with --allow-mixed",
                           m->hello.numeric_class, hello->numeric_class);
    }
    return CM_OK;
}

/* Has a later process taken the worker's name? Let in, each would push the other out for ever. */
static enum cm_err check_name(const struct co_core *c, const struct pr_hello *hello,
                              struct cm_error *e)
{
    uint32_t member = co_members_find_node(&c->members, hello->node);
    if (member == CO_NO_MEMBER)
        return CM_OK;
    const struct co_member *m = &c->members.slots[member];
    if (m->hello.incarnation == hello->incarnation || m->replaced != hello->incarnation)
        return CM_OK;
    return cm_fail(
        e, CM_EEXIST,
        "a worker that started later has taken the name %s: give each a --node of its own",
        hello->node);
}

static enum cm_err check_hello(const struct co_core *c, const struct pr_hello *hello,
                               enum pr_refusal *reason, struct cm_error *e)
{
    *reason = PR_REFUSAL_VERSION;
    if (hello->version_min > PR_VERSION || hello->version_max < PR_VERSION)
        return cm_fail(e, CM_EVERSION, "the worker speaks protocol versions %u to %u, this is %d",
                       hello->version_min, hello->version_max, PR_VERSION);
    enum cm_err rc = c->map.shards_count > 0 ? check_gallery(c, hello, reason, e) : CM_OK;
    if (rc)
        return rc;
    *reason = PR_REFUSAL_NOT_PLACING;
    if (hello->held_count == 0 && !c->config.places)
        return cm_fail(e, CM_EUSAGE,
                       "the worker has no shard, and this coordinator, which was "
                       "started without --state FILE, gives it none");
    *reason = PR_REFUSAL_SHARDS;
    rc = co_shardmap_check(&c->map, hello, e);
    if (rc)
        return rc;
    *reason = PR_REFUSAL_CLASS;
    rc = check_class(c, hello, e);
    if (rc)
        return rc;
    *reason = PR_REFUSAL_NAME;
    return check_name(c, hello, e);
}

static enum cm_err adopt_gallery(struct co_core *c, const struct pr_hello *hello,
                                 struct cm_error *e)
{
    if (c->has_gallery)
        return CM_OK;
    enum cm_err rc = CM_OK;
    if (c->map.shards_count == 0)
        rc = co_shardmap_init(&c->map, hello->gallery.shards, e);
    if (!rc && c->config.places && c->placement.shards_count == 0)
        rc = co_placement_init(&c->placement, hello->gallery.shards, e);
    if (rc)
        return rc;
    char text[CM_FINGERPRINT_TEXT_BYTES];
    c->gallery = hello->gallery;
    c->has_gallery = true;
    cm_log(c->log, CM_LOG_INFO, "gallery", "fingerprint=%s matcher=%s images=%" PRIu64 " shards=%u",
           cm_fingerprint_text(&c->gallery.gallery, text),
           cm_matcher_name(c->gallery.geometry.matcher), c->gallery.images, c->gallery.shards);
    return CM_OK;
}

/* Enters an accepted worker. Consumes *hello. */
static enum cm_err enter(struct co_core *c, const struct cm_peer *from, struct pr_hello *hello,
                         uint64_t replaced, struct cm_error *e)
{
    uint32_t member;
    enum cm_err rc = adopt_gallery(c, hello, e);
    if (!rc)
        rc = co_members_add(&c->members, from, hello, c->map.shards_count, co_now(c), &member, e);
    if (rc)
        return rc;
    struct co_member *m = &c->members.slots[member];
    m->replaced = replaced;
    rc = co_shardmap_add(&c->map, member, &m->hello, e);
    if (!rc)
        rc = co_enter_node(c, member, e);
    if (rc) {
        co_shardmap_remove(&c->map, member);
        co_members_remove(&c->members, member);
        return rc;
    }
    co_next_epoch(c);
    c->settled |= c->map.covered == c->map.shards_count;
    cm_log(c->log, CM_LOG_INFO, "worker_joined",
           "worker=%s shards=%u images=%" PRIu64 " threads=%u class=%s workers=%u covered=%u/%u",
           m->hello.node, m->shards, m->images, m->hello.threads, m->hello.numeric_class,
           c->members.count, c->map.covered, c->map.shards_count);
    return CM_OK;
}

/* Tells a member that it is one. Errors: those of co_send. */
static enum cm_err welcome(struct co_core *c, const struct co_member *m, struct cm_error *e)
{
    struct pr_welcome message = {
        .id = m->hello.id,
        .epoch = c->epoch,
        .heartbeat_ms = (uint32_t)(c->config.heartbeat_ns / 1000000),
        .dead_after_ms = (uint32_t)(c->config.dead_after_ns / 1000000),
    };
    struct pr_buffer packed;
    enum cm_err rc = pr_welcome_pack(&message, &packed, e);
    return rc ? rc : co_send(c, &m->peer, &packed, NULL, e);
}

/* Is this one more HELLO of a member that has not seen its WELCOME yet? It may have searches since
 * the first one, and will answer them. */
static bool is_repeated(const struct co_core *c, uint32_t member, const struct pr_hello *hello)
{
    return member != CO_NO_MEMBER &&
           c->members.slots[member].hello.incarnation == hello->incarnation &&
           strcmp(c->members.slots[member].hello.node, hello->node) == 0;
}

/* A worker that says HELLO again, from the same address or after a restart under the same name,
 * first loses what it had: its answers to earlier questions will not come. Returns the incarnation
 * that it replaces. */
static uint64_t forget_former_self(struct co_core *c, const struct cm_peer *from,
                                   const struct pr_hello *hello)
{
    uint64_t replaced = hello->incarnation;
    uint32_t member = co_members_find_node(&c->members, hello->node);
    if (member != CO_NO_MEMBER) {
        const struct co_member *m = &c->members.slots[member];
        bool same = m->hello.incarnation == hello->incarnation;
        replaced = same ? m->replaced : m->hello.incarnation;
        co_lose_member(c, member, same ? "dialled again" : "started again");
    }
    member = co_members_find(&c->members, from);
    if (member != CO_NO_MEMBER)
        co_lose_member(c, member, "has another name now");
    return replaced;
}

/* Makes a worker a member. On failure *reason is for its REFUSE. */
static enum cm_err take_in(struct co_core *c, const struct cm_peer *from, struct pr_hello *hello,
                           enum pr_refusal *reason, struct cm_error *e)
{
    uint32_t member = co_members_find(&c->members, from);
    if (is_repeated(c, member, hello)) {
        (void)co_hear(c, member); /* whoever called looks at what waits */
        return CM_OK;
    }
    enum cm_err rc = check_hello(c, hello, reason, e);
    if (rc)
        return rc;
    uint64_t replaced = forget_former_self(c, from, hello);
    *reason = PR_REFUSAL_FULL;
    return enter(c, from, hello, replaced, e);
}

/* Answers HELLO number `id` of a member. If that made it one, and it cannot be told, it is none: it
 * would take what it is asked from now on for something asked in an earlier membership. */
static void greet(struct co_core *c, const struct cm_peer *from, uint64_t id)
{
    struct cm_error e;
    uint32_t member = co_members_find(&c->members, from);
    if (welcome(c, &c->members.slots[member], &e) && c->members.slots[member].hello.id.v == id)
        co_lose_member(c, member, "cannot be told that it is a member");
}

void co_on_hello(struct co_core *c, const struct cm_peer *from, struct cm_bytes header)
{
    struct pr_hello hello;
    struct cm_error e;
    enum pr_refusal reason;
    if (pr_hello_unpack(header, &hello, &e)) {
        co_on_garbage(c, from, e.text);
        return;
    }
    uint64_t id = hello.id.v;
    if (take_in(c, from, &hello, &reason, &e))
        co_refuse(c, from, hello.node, reason, e.text);
    else
        greet(c, from, id);
    co_reconcile(c);
    co_scatter_waiting(c);
    pr_hello_fini(&hello);
}

void co_on_heartbeat(struct co_core *c, uint32_t member, struct cm_bytes header)
{
    struct co_member *m = &c->members.slots[member];
    struct pr_heartbeat heartbeat;
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = pr_heartbeat_unpack(header, &heartbeat, &e);
    if (rc) {
        co_on_garbage(c, &m->peer, e.text);
        return;
    }
    m->searches_done = heartbeat.searches_done;
    m->pairs_scored = heartbeat.pairs_scored;
    m->queued = heartbeat.searches_queued;
    m->memory_bytes = heartbeat.memory_bytes;
    m->work = heartbeat.work;
    /* It knows nothing of the order: that was lost on its way. */
    if (heartbeat.fetching == 0 && co_now(c) - m->ordered_ns > 2 * c->config.heartbeat_ns)
        m->order = CO_NO_SHARD;
    heartbeat = (struct pr_heartbeat){.epoch = c->epoch};
    co_tell(c, &m->peer, pr_heartbeat_pack(&heartbeat, &packed, &e), &packed, &e);
    co_reconcile_member(c, member);
}

void co_on_leaving(struct co_core *c, uint32_t member)
{
    struct co_member *m = &c->members.slots[member];
    if (m->state == PR_MEMBER_LEAVING)
        return;
    m->state = PR_MEMBER_LEAVING;
    co_next_epoch(c);
    cm_log(c->log, CM_LOG_INFO, "worker_leaving", "worker=%s", m->hello.node);
    co_release_leaver(c, member);
    co_scatter_waiting(c); /* those that waited for its credit go without it */
}

bool co_owes(const struct co_core *c, uint32_t member)
{
    for (const struct co_gather *g = c->open.head; g; g = g->next)
        for (uint32_t p = 0; p < g->parts_count; p++)
            if (g->parts[p].member == member && g->parts[p].open > 0)
                return true;
    return false;
}

void co_release_leaver(struct co_core *c, uint32_t member)
{
    if (c->members.slots[member].state == PR_MEMBER_LEAVING && !co_owes(c, member))
        co_lose_member(c, member, "finished");
}

void co_lose_member(struct co_core *c, uint32_t member, const char *why)
{
    struct co_member *m = &c->members.slots[member];
    bool clean = m->state == PR_MEMBER_LEAVING;
    co_shardmap_remove(&c->map, member);
    cm_log(c->log, clean ? CM_LOG_INFO : CM_LOG_WARN, clean ? "worker_left" : "worker_lost",
           "worker=%s why=\"%s\" workers=%u covered=%u/%u", m->hello.node, why,
           c->members.count - 1, c->map.covered, c->map.shards_count);
    for (struct co_gather *g = c->open.head, *next; g; g = next) {
        next = g->next;
        co_gather_lose(g, member);
        if (!g->evaluation)
            co_schedule_look(c, g, false);
        co_finish_if_complete(c, g);
    }
    co_leave_node(c, member);
    co_members_remove(&c->members, member);
    co_next_epoch(c);
    co_reconcile(c);
}
