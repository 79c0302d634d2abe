/* on_evaluation.c: an evaluation's messages, from workers and to them. What clients say of it comes
 * in on_client.c. */
#include "common/geometry.h"
#include "coordinator/core.h"
#include "coordinator/evaluation.h"
#include "proto/wire/scores.h"

#include <inttypes.h>

/* Sends COUNT to every worker that holds scores. One that cannot be told fails the evaluation. */
static void send_counts(struct co_core *c, struct co_gather *g)
{
    for (uint32_t p = 0; p < g->parts_count; p++) {
        const struct co_member *m = &c->members.slots[g->parts[p].member];
        struct pr_count message = {
            .id = co_part_id(g, p), .epoch = c->epoch, .positives = g->evaluation->positives};
        struct pr_buffer packed;
        struct cm_error e;
        if (g->parts[p].open == 0)
            continue; /* it has no shard of this any more */
        enum cm_err rc = pr_count_pack(&message, &packed, &e);
        if (!rc)
            rc = co_send(c, &m->peer, &packed, NULL, &e);
        if (!rc)
            continue;
        cm_log(c->log, CM_LOG_WARN, "count_unsent", "worker=%s msg=\"%s\"", m->hello.node, e.text);
        co_gather_fail_part(g, p, PR_REASON_WORKER_LOST);
        return;
    }
}

void co_advance(struct co_core *c, struct co_gather *g)
{
    struct cm_error e;
    if (!g->evaluation || !co_evaluation_may_count(g))
        return;
    if (co_evaluation_begin_count(g, &e)) {
        cm_log(c->log, CM_LOG_ERROR, "count_failed", "query=%" PRIu64 " msg=\"%s\"", g->id.v,
               e.text);
        g->evaluation->failed = true;
        g->slots[0].reason = PR_REASON_INTERNAL;
        return;
    }
    send_counts(c, g);
}

/* The open evaluation that a message belongs to, or NULL. */
static struct co_gather *find(struct co_core *c, struct cm_query_id id, struct cm_error *e)
{
    struct co_gather *g = co_find_open(c, id);
    if (g && g->evaluation)
        return g;
    cm_fail(e, CM_ENOENT, "evaluation %" PRIu64 " is over", id.v);
    return NULL;
}

/* The end of a worker's message: what is wrong with it is logged, and the evaluation goes on. */
static void settle(struct co_core *c, uint32_t member, struct co_gather *g, enum cm_err rc,
                   const struct cm_error *e)
{
    uint64_t missed;
    if (rc && cm_log_rate_pass(&c->late_rate, co_now(c), CO_LOG_PERIOD_NS, &missed))
        cm_log(c->log, CM_LOG_INFO, "result_dropped", "worker=%s msg=\"%s\" unreported=%" PRIu64,
               c->members.slots[member].hello.node, e->text, missed);
    if (g && rc == CM_ELIMIT) { /* too many right images: it would be so again */
        co_send_error(c, &g->client, g->client_id, PR_ERROR_BAD_QUERY, 0, e->text);
        co_abandon(c, g);
    } else if (g) {
        co_advance(c, g);
        co_finish_if_complete(c, g);
    }
    co_release_leaver(c, member);
    co_scatter_waiting(c);
}

static enum cm_err check_positives(const struct co_core *c, const struct pr_positives_message *m,
                                   struct cm_error *e)
{
    if (m->shard.v >= c->map.shards_count)
        return cm_fail(e, CM_EFORMAT, "positives of shard %u of %u", m->shard.v,
                       c->map.shards_count);
    const struct co_shard *s = &c->map.shards[m->shard.v];
    if (m->images != s->images && m->images != 0)
        return cm_fail(e, CM_EFORMAT, "positives over %" PRIu64 " images; shard %u has %" PRIu64,
                       m->images, m->shard.v, s->images);
    for (size_t i = 0; i < m->positives.count; i++)
        if (m->positives.items[i].image - s->first_image >= s->images)
            return cm_fail(e, CM_EFORMAT, "image %" PRIu64 " is not in shard %u",
                           m->positives.items[i].image, m->shard.v);
    return CM_OK;
}

/* A shard that one member cannot count another one may. */
static enum cm_err take_positives(struct co_core *c, struct co_gather *g, uint32_t member,
                                  const struct pr_positives_message *m, struct cm_error *e)
{
    enum cm_err rc = co_gather_check_sender(g, m->shard.v, member, m->id, e);
    if (rc || (m->reason && co_retry_elsewhere(c, g, m->shard.v, member, m->reason)))
        return rc;
    return co_evaluation_on_positives(g, member, c->members.slots[member].hello.numeric_class, m,
                                      e);
}

void co_on_positives(struct co_core *c, uint32_t member, struct cm_bytes header)
{
    struct pr_positives_message message;
    struct cm_error e;
    enum cm_err rc = pr_positives_unpack(header, &message, &e);
    if (!rc)
        rc = check_positives(c, &message, &e);
    if (rc) {
        co_on_garbage(c, &c->members.slots[member].peer, e.text);
        pr_positives_message_fini(&message);
        return;
    }
    if (!message.reason)
        co_speed_add(&c->members.slots[member].speed, message.images, co_now(c));
    struct co_gather *g = find(c, message.id, &e);
    if (g) {
        g->evaluation->worker_bytes += header.size;
        rc = take_positives(c, g, member, &message, &e);
    }
    if (message.reason == PR_REASON_CORRUPT)
        co_distrust(c, member, message.shard.v);
    settle(c, member, g, g ? rc : CM_ENOENT, &e);
    pr_positives_message_fini(&message);
}

void co_on_counts(struct co_core *c, uint32_t member, struct cm_bytes header)
{
    struct pr_counts_message message;
    struct cm_error e;
    enum cm_err rc = pr_counts_unpack(header, &message, &e);
    if (rc) {
        co_on_garbage(c, &c->members.slots[member].peer, e.text);
        pr_counts_fini(&message);
        return;
    }
    struct co_gather *g = find(c, message.id, &e);
    if (g) {
        g->evaluation->worker_bytes += header.size;
        rc = co_evaluation_on_counts(g, member, &message, &e);
    }
    settle(c, member, g, g ? rc : CM_ENOENT, &e);
    pr_counts_fini(&message);
}

/* Are these scores of images in a shard that the member was asked for and has not answered yet? */
static enum cm_err check_scores(const struct co_core *c, const struct co_gather *g, uint32_t member,
                                const struct pr_scores *m, struct cm_error *e)
{
    if (!g->evaluation->want_scores)
        return cm_fail(e, CM_EMISMATCH, "scores that nobody asked for");
    enum cm_err rc = co_gather_check_sender(g, m->shard.v, member, m->id, e);
    if (rc)
        return rc;
    const struct co_shard *s = &c->map.shards[m->shard.v];
    if (m->first_image < s->first_image || m->first_image + m->count > s->first_image + s->images)
        return cm_fail(e, CM_EFORMAT, "scores of images that are not in shard %u", m->shard.v);
    return CM_OK;
}

/* Passes scores on, under the client's own id. If they cannot be, the shard is missing. */
static enum cm_err pass_on(struct co_core *c, struct co_gather *g, struct pr_scores *m,
                           struct cm_blob *payload, struct cm_error *e)
{
    struct pr_buffer packed;
    m->id = g->client_id;
    m->epoch = c->epoch;
    enum cm_err rc = pr_scores_pack(m, &packed, e);
    if (!rc)
        rc = co_send(c, &g->client, &packed, payload, e);
    if (rc)
        co_gather_close_slot(g, m->shard.v,
                             rc == CM_EBUSY ? PR_REASON_OVERLOAD : PR_REASON_INTERNAL);
    return rc;
}

void co_on_scores(struct co_core *c, uint32_t member, struct cm_bytes header,
                  struct cm_blob *payload)
{
    struct pr_scores message;
    struct cm_error e;
    struct cm_bytes bytes = {NULL, 0};
    if (payload)
        bytes = (struct cm_bytes){cm_blob_data(payload), cm_blob_size(payload)};
    enum cm_err rc = pr_scores_unpack(header, &message, &e);
    if (!rc && message.shard.v >= c->map.shards_count)
        rc = cm_fail(&e, CM_EFORMAT, "scores of shard %u of %u", message.shard.v,
                     c->map.shards_count);
    if (!rc)
        rc = pr_scores_check_payload(&message, bytes, &e);
    if (rc) {
        co_on_garbage(c, &c->members.slots[member].peer, e.text);
        return;
    }
    struct co_gather *g = find(c, message.id, &e);
    rc = g ? check_scores(c, g, member, &message, &e) : CM_ENOENT;
    if (!rc)
        rc = pass_on(c, g, &message, payload, &e);
    settle(c, member, g, rc, &e);
}
