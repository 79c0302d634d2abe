/* coordinator.c: the coordinator's life and its dispatcher, see coordinator.h. */
#include "coordinator/coordinator.h"

#include "common/mem.h"
#include "coordinator/core.h"
#include "proto/wire/control.h"
#include "proto/wire/envelope.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum cm_err co_new(struct co_core **out, const struct co_config *config, const struct co_io *io,
                   const struct cm_log *log, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    (*out)->config = *config;
    (*out)->io = *io;
    (*out)->log = log;
    (*out)->next_id = config->first_id;
    (*out)->started_ns = co_now(*out);
    (*out)->settled = config->settle_ns == 0;
    for (uint32_t n = 0; n < CM_MEMBERS_MAX; n++)
        (*out)->member_of[n] = CO_NO_MEMBER;
    if (config->places)
        rc = co_restore(*out, config->map, e);
    (*out)->config.map = NULL;
    if (rc) {
        co_free(*out);
        *out = NULL;
    }
    return rc;
}

static void free_list(struct co_list *list)
{
    while (list->head) {
        struct co_gather *g = list->head;
        co_list_remove(list, g);
        co_gather_free(g);
    }
}

void co_free(struct co_core *c)
{
    if (!c)
        return;
    free_list(&c->waiting);
    free_list(&c->evaluations);
    free_list(&c->open);
    co_members_fini(&c->members);
    co_shardmap_fini(&c->map);
    co_placement_fini(&c->placement);
    free(c);
}

void co_list_insert(struct co_list *list, struct co_gather *before, struct co_gather *g)
{
    g->prev = before;
    g->next = before ? before->next : list->head;
    *(g->prev ? &g->prev->next : &list->head) = g;
    *(g->next ? &g->next->prev : &list->tail) = g;
    list->count++;
}

void co_list_append(struct co_list *list, struct co_gather *g)
{
    co_list_insert(list, list->tail, g);
}

void co_list_remove(struct co_list *list, struct co_gather *g)
{
    *(g->prev ? &g->prev->next : &list->head) = g->next;
    *(g->next ? &g->next->prev : &list->tail) = g->prev;
    g->next = g->prev = NULL;
    list->count--;
}

struct co_list *co_waiting_list(struct co_core *c, const struct co_gather *g)
{
    return g->evaluation ? &c->evaluations : &c->waiting;
}

enum cm_err co_send(struct co_core *c, const struct cm_peer *to, struct pr_buffer *packed,
                    struct cm_blob *payload, struct cm_error *e)
{
    struct cm_bytes header = {packed->data, packed->size};
    enum cm_err rc = c->io.send(c->io.ctx, to, header, payload, e);
    pr_buffer_fini(packed);
    return rc;
}

void co_tell(struct co_core *c, const struct cm_peer *to, enum cm_err packing,
             struct pr_buffer *packed, struct cm_error *e)
{
    enum cm_err rc = packing ? packing : co_send(c, to, packed, NULL, e);
    if (rc)
        cm_log(c->log, CM_LOG_DEBUG, "unsent", "msg=\"%s\"", e->text);
}

void co_send_error(struct co_core *c, const struct cm_peer *to, struct cm_query_id id,
                   enum pr_error_code code, uint32_t retry_after_ms, const char *text)
{
    struct cm_error e;
    struct pr_buffer packed;
    struct pr_error message = {
        .id = id, .epoch = c->epoch, .code = code, .retry_after_ms = retry_after_ms};
    snprintf(message.text, sizeof message.text, "%s", text);
    c->counters.errors++;
    c->counters.busy += code == PR_ERROR_BUSY;
    co_tell(c, to, pr_error_pack(&message, &packed, &e), &packed, &e);
}

struct co_gather *co_find_open(struct co_core *c, struct cm_query_id id)
{
    struct co_gather *g = c->open.head;
    while (g && id.v - g->id.v >= CO_ATTEMPTS_MAX) /* wraps for a smaller one */
        g = g->next;
    return g;
}

void co_on_garbage(struct co_core *c, const struct cm_peer *from, const char *why)
{
    uint64_t missed;
    c->counters.garbage++;
    if (cm_log_rate_pass(&c->garbage_rate, co_now(c), CO_LOG_PERIOD_NS, &missed))
        cm_log(c->log, CM_LOG_WARN, "garbage", "peer_bytes=%u msg=\"%s\" unreported=%" PRIu64,
               from->size, why, missed);
}

void co_on_disconnect(struct co_core *c, const struct cm_peer *who)
{
    uint64_t missed;
    uint32_t member = co_members_find(&c->members, who);
    uint32_t dropped = co_forget_client(c, who);
    c->counters.disconnects++;
    if (member != CO_NO_MEMBER)
        co_lose_member(c, member, "disconnected");
    else if (cm_log_rate_pass(&c->disconnect_rate, co_now(c), CO_LOG_SELDOM_NS, &missed))
        cm_log(c->log, CM_LOG_INFO, "disconnected", "queries_dropped=%u unreported=%" PRIu64,
               dropped, missed);
    co_scatter_waiting(c);
}

/* A worker's message from somebody who is no member: a worker that outlived a restart of ours, or
 * its own funeral. It is asked to introduce itself again. */
static void ask_who(struct co_core *c, const struct cm_peer *from)
{
    struct cm_error e;
    struct pr_buffer packed;
    struct pr_control message = {.type = PR_REHELLO, .epoch = c->epoch};
    co_tell(c, from, pr_control_pack(&message, &packed, &e), &packed, &e);
}

static void on_member_message(struct co_core *c, const struct cm_peer *from,
                              const struct pr_envelope *envelope, struct cm_bytes header,
                              struct cm_blob *payload)
{
    uint32_t member = co_members_find(&c->members, from);
    if (member == CO_NO_MEMBER) {
        ask_who(c, from);
        return;
    }
    if (co_hear(c, member))
        co_scatter_waiting(c); /* it may be asked again */
    if (!c->members.slots[member].used)
        return; /* it was, and could not be reached */
    switch (envelope->type) {
    case PR_HEARTBEAT:
        co_end_probes(c);
        /* What a leaver owed may have been cancelled, or have run out of time. */
        co_release_leaver(c, member);
        if (c->members.slots[member].estranged) {
            co_lose_member(c, member, "does not hear what it is told");
            co_scatter_waiting(c);
        }
        if (c->members.slots[member].used)
            co_on_heartbeat(c, member, header);
        else
            ask_who(c, from);
        return;
    case PR_LEAVING:
        co_on_leaving(c, member);
        return;
    case PR_HOLDS:
        co_on_holds(c, member, header);
        return;
    case PR_POSITIVES:
        co_on_positives(c, member, header);
        return;
    case PR_COUNTS:
        co_on_counts(c, member, header);
        return;
    case PR_SCORES:
        co_on_scores(c, member, header, payload);
        return;
    default:
        co_on_result(c, member, header);
    }
}

void co_on_message(struct co_core *c, const struct cm_peer *from, struct cm_bytes header,
                   struct cm_blob *payload)
{
    struct pr_envelope envelope;
    struct cm_error e;
    enum cm_err rc = pr_peek(header, &envelope, &e);
    if (rc == CM_EVERSION && envelope.type == PR_HELLO) {
        co_refuse(c, from, "(unknown)", PR_REFUSAL_VERSION, e.text);
        return;
    }
    if (rc == CM_EVERSION)
        co_send_error(c, from, envelope.id, PR_ERROR_VERSION, 0, e.text);
    if (rc) {
        co_on_garbage(c, from, e.text);
        return;
    }
    switch (envelope.type) {
    case PR_HELLO:
        co_on_hello(c, from, header);
        return;
    case PR_HEARTBEAT:
    case PR_LEAVING:
    case PR_HOLDS:
    case PR_RESULT:
    case PR_POSITIVES:
    case PR_COUNTS:
    case PR_SCORES:
        on_member_message(c, from, &envelope, header, payload);
        return;
    case PR_EVALUATE:
        co_on_evaluate(c, from, envelope.id, header, payload);
        return;
    case PR_QUERY:
        co_on_query(c, from, envelope.id, header, payload);
        return;
    case PR_JOIN:
        co_on_join(c, from, header);
        return;
    case PR_DRAIN:
        co_on_drain(c, from, envelope.id, header);
        return;
    case PR_REPLICAS:
        co_on_replicas(c, from, envelope.id, header);
        return;
    case PR_STATUS_REQUEST:
        co_on_status_request(c, from, envelope.id);
        return;
    default:
        co_on_garbage(c, from, "a message that only a coordinator sends");
    }
}

/* Silence is judged at a second look, a quarter of a heartbeat after a first one. Had we been
 * stopped ourselves, the first would come before the messages that wait, and find everybody dead.
 */
static uint64_t second_look_ns(const struct co_core *c)
{
    return c->config.heartbeat_ns / 4;
}

/* When a member has to be looked at next, if nothing comes from it: first when two heartbeats are
 * missing, or when it is nearly dead if that is sooner. */
static uint64_t next_look_ns(const struct co_core *c, const struct co_member *m)
{
    uint64_t dead_ns = m->heard_ns + c->config.dead_after_ns;
    uint64_t missing_ns = m->heard_ns + 2 * c->config.heartbeat_ns;
    uint64_t first_ns = dead_ns - second_look_ns(c), second_ns = m->doubted_ns + second_look_ns(c);
    if (!m->doubted_ns)
        return missing_ns < first_ns ? missing_ns : first_ns;
    return m->silent && dead_ns > second_ns ? dead_ns : second_ns;
}

static void look_at(struct co_core *c, uint32_t member, uint64_t now)
{
    struct co_member *m = &c->members.slots[member];
    if (!m->used || now < next_look_ns(c, m))
        return;
    if (!m->doubted_ns)
        m->doubted_ns = now;
    else if (now - m->heard_ns >= c->config.dead_after_ns)
        co_lose_member(c, member, "silent");
    else
        co_fall_silent(c, member);
}

void co_on_tick(struct co_core *c)
{
    uint64_t now = co_now(c);
    c->settled |= now - c->started_ns >= c->config.settle_ns;
    for (uint32_t i = 0; i < c->members.end; i++)
        look_at(c, i, now);
    co_placement_tick(c);
    for (struct co_gather *g = c->open.head, *next; g; g = next) {
        next = g->next;
        if (now >= g->deadline_ns)
            co_finish(c, g);
    }
    co_end_probes(c);
    co_judge(c);
    co_expire_waiting(c);
    co_scatter_waiting(c);
}

uint64_t co_next_wakeup_ns(const struct co_core *c)
{
    uint64_t next = co_placement_wakeup_ns(c);
    if (!c->settled && c->started_ns + c->config.settle_ns < next)
        next = c->started_ns + c->config.settle_ns;
    for (uint32_t i = 0; i < c->members.end; i++) {
        const struct co_member *m = &c->members.slots[i];
        if (m->used && next_look_ns(c, m) < next)
            next = next_look_ns(c, m);
    }
    for (const struct co_gather *g = c->open.head; g; g = g->next) {
        uint64_t first = g->look_ns < g->deadline_ns ? g->look_ns : g->deadline_ns;
        if (first < next)
            next = first;
    }
    for (const struct co_gather *g = c->waiting.head; g; g = g->next)
        if (co_stop_ns(g) < next)
            next = co_stop_ns(g);
    return next;
}

void co_close(struct co_core *c)
{
    c->closed = true;
    while (c->evaluations.head) {
        struct co_gather *g = c->evaluations.head;
        co_turn_away(c, &g->client, g->client_id);
        co_list_remove(&c->evaluations, g);
        co_gather_free(g);
    }
    for (struct co_gather *g = c->open.head, *next; g; g = next) {
        next = g->next;
        if (!g->evaluation)
            continue;
        co_turn_away(c, &g->client, g->client_id);
        co_abandon(c, g);
    }
    co_scatter_waiting(c); /* there is credit again */
}

bool co_idle(const struct co_core *c)
{
    return c->waiting.count == 0 && c->evaluations.count == 0 && c->open.count == 0;
}
