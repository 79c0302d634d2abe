/* scatter.c: from the waiting list to the workers: who is asked for which shard, and when.
 *
 * Credits bound what a worker has to hold: a query waits until every worker that it needs has one.
 * The list is first come, first served, so a large query is not starved by small ones. Evaluations
 * come after all queries, and leave a worker some credits for those. */
#include "common/mem.h"
#include "coordinator/core.h"
#include "coordinator/evaluation.h"
#include "proto/wire/measure.h"
#include "proto/wire/search.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* A worker is told to stop a little before the client's deadline, so that what it finished by then
 * still arrives in time: a tenth of the deadline, at most 50 ms. */
#define MARGIN_MAX_NS UINT64_C(50000000)

/* In place of a member: the slot needs none, or waits for credit. */
enum { NOT_NOW = UINT32_MAX - 1 };

/* Who is asked for what, in one attempt. */
struct plan {
    bool evaluation;
    uint32_t load[CM_MEMBERS_MAX];    /* searches that each member has now */
    uint32_t given[CM_MEMBERS_MAX];   /* shards that this plan asks of each */
    uint32_t part_of[CM_MEMBERS_MAX]; /* its part in this query; CO_NO_PART for none */
    uint32_t members[CM_MEMBERS_MAX]; /* [parts]: the other way round */
    uint32_t parts;
    uint32_t unreachable[CM_MEMBERS_MAX]; /* [unreachable_count]: members that are not connected */
    uint32_t unreachable_count;
    uint32_t *chosen; /* [shards]: the member asked, CO_NO_MEMBER if nobody can be, or NOT_NOW */
    struct cm_shard_id *list; /* room for one part's shards */
};

static void count_load(const struct co_core *c, uint32_t *load)
{
    memset(load, 0, CM_MEMBERS_MAX * sizeof *load);
    for (const struct co_gather *g = c->open.head; g; g = g->next)
        for (uint32_t p = 0; p < g->parts_count; p++)
            load[g->parts[p].member] += g->parts[p].open > 0;
}

/* Searches that a member may have at a time for one more of this plan's kind. */
static uint32_t credits_of(const struct co_member *m, const struct plan *plan)
{
    uint32_t kept_back = m->hello.credits / 4;
    return plan->evaluation ? m->hello.credits - kept_back : m->hello.credits;
}

/* The holder of a shard with the least to do, what this plan has given it counted in, so that one
 * query spreads over replicas too; never `avoid`. CO_NO_MEMBER if nobody
 * who stays holds it, or nobody has credit: then *wait is set. */
static uint32_t choose_holder(const struct co_core *c, const struct co_shard *s,
                              const struct plan *plan, uint32_t avoid, bool *wait)
{
    uint32_t best = CO_NO_MEMBER;
    bool held = false;
    for (uint32_t h = 0; h < s->holders_count; h++) {
        uint32_t m = s->holders[h];
        const struct co_member *member = &c->members.slots[m];
        if (member->state != PR_MEMBER_READY || m == avoid)
            continue;
        held = true;
        if (plan->load[m] < credits_of(member, plan) &&
            (best == CO_NO_MEMBER ||
             plan->load[m] + plan->given[m] < plan->load[best] + plan->given[best]))
            best = m;
    }
    *wait = held && best == CO_NO_MEMBER;
    return best;
}

/* Fills in the plan for the homeless slots of `g`, or for all shards of one that waits (NULL
 * slots). False if a worker that is needed has no credit left, and `all` must have one. */
static bool make_plan(const struct co_core *c, const struct co_gather *g, bool all,
                      struct plan *plan)
{
    count_load(c, plan->load);
    memset(plan->given, 0, sizeof plan->given);
    plan->evaluation = g->evaluation != NULL;
    plan->parts = 0;
    plan->unreachable_count = 0;
    for (uint32_t m = 0; m < CM_MEMBERS_MAX; m++)
        plan->part_of[m] = CO_NO_PART;
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        bool wait;
        plan->chosen[s] = NOT_NOW;
        if (g->slots && !g->slots[s].homeless)
            continue;
        uint32_t avoid = g->slots ? g->slots[s].avoid : CO_NO_MEMBER;
        uint32_t member = choose_holder(c, &c->map.shards[s], plan, avoid, &wait);
        if (wait && all)
            return false;
        if (wait)
            continue;
        plan->chosen[s] = member;
        if (member == CO_NO_MEMBER)
            continue;
        plan->given[member]++;
        if (plan->part_of[member] != CO_NO_PART)
            continue;
        plan->members[plan->parts] = member;
        plan->part_of[member] = plan->parts++;
    }
    return true;
}

static uint64_t time_left_us(const struct co_core *c, const struct co_gather *g)
{
    uint64_t margin_ns = g->deadline_after_ns / 10;
    if (margin_ns > MARGIN_MAX_NS)
        margin_ns = MARGIN_MAX_NS;
    uint64_t end_ns = g->deadline_ns - margin_ns, now = co_now(c);
    uint64_t left_us = end_ns > now ? (end_ns - now) / 1000 : 0;
    return left_us ? left_us : 1;
}

static enum cm_err pack_search(const struct co_core *c, const struct co_gather *g,
                               struct cm_shard_id *list, uint32_t count, struct pr_buffer *packed,
                               struct cm_error *e)
{
    struct pr_search search = {
        .id = {g->id.v + g->attempts},
        .epoch = c->epoch,
        .k = g->k,
        .time_left_us = time_left_us(c, g),
        .dtype = g->dtype,
        .payload_crc32c = g->payload_crc32c,
        .shards = list,
        .shards_count = count,
    };
    return pr_search_pack(&search, packed, e);
}

static enum cm_err pack_measure(const struct co_core *c, const struct co_gather *g,
                                struct cm_shard_id *list, uint32_t count, struct pr_buffer *packed,
                                struct cm_error *e)
{
    struct pr_measure measure = {
        .id = {g->id.v + g->attempts},
        .epoch = c->epoch,
        .pid = g->evaluation->pid,
        .camid = g->evaluation->camid,
        .want_scores = g->evaluation->want_scores,
        .dtype = g->dtype,
        .payload_crc32c = g->payload_crc32c,
        .shards = list,
        .shards_count = count,
    };
    return pr_measure_pack(&measure, packed, e);
}

/* Sends one part's SEARCH or MEASURE. If its member is not connected it is noted, to be forgotten
 * with all that it owes; if sending fails otherwise, the part's slots are homeless again. */
static void send_part(struct co_core *c, struct co_gather *g, uint32_t part, struct plan *plan)
{
    struct cm_shard_id *list = plan->list;
    uint32_t count = 0, member = g->parts[part].member;
    for (uint32_t s = 0; s < g->slots_count; s++)
        if (g->slots[s].part == part)
            list[count++] = (struct cm_shard_id){s};
    const struct co_member *m = &c->members.slots[member];
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = g->evaluation ? pack_measure(c, g, list, count, &packed, &e)
                                   : pack_search(c, g, list, count, &packed, &e);
    if (!rc)
        rc = co_send(c, &m->peer, &packed, g->payload, &e);
    if (!rc)
        return;
    if (rc == CM_EUNAVAIL) {
        plan->unreachable[plan->unreachable_count++] = member;
        return;
    }
    cm_log(c->log, CM_LOG_WARN, "search_unsent", "worker=%s msg=\"%s\"", m->hello.node, e.text);
    enum pr_reason reason = rc == CM_EBUSY ? PR_REASON_OVERLOAD : PR_REASON_INTERNAL;
    for (uint32_t i = 0; i < count; i++)
        co_gather_orphan(g, list[i].v, reason, member);
}

/* Some shard is nowhere, so an evaluation cannot be whole: nobody is asked. */
static bool is_lost_already(const struct co_gather *g)
{
    return g->evaluation && g->evaluation->failed;
}

/* Asks the members of a plan. Whom it could not reach stands in plan->unreachable. */
static enum cm_err carry_out(struct co_core *c, struct co_gather *g, struct plan *plan,
                             struct cm_error *e)
{
    uint32_t first = g->parts_count, part;
    for (uint32_t p = 0; p < plan->parts; p++) {
        enum cm_err rc = co_gather_add_part(g, plan->members[p], &part, e);
        if (rc) {
            g->parts_count = first;
            return rc;
        }
    }
    for (uint32_t s = 0; s < g->slots_count; s++) {
        if (plan->chosen[s] == CO_NO_MEMBER)
            co_gather_close_slot(g, s, g->slots[s].reason);
        else if (plan->chosen[s] != NOT_NOW)
            co_gather_assign(g, s, first + plan->part_of[plan->chosen[s]]);
    }
    for (uint32_t p = first; p < g->parts_count; p++) {
        if (is_lost_already(g))
            g->parts[p].open = 0; /* nobody was asked */
        else
            send_part(c, g, p, plan);
    }
    g->attempts += plan->parts > 0;
    return CM_OK;
}

/* An evaluation keeps credits until it is counted: if it waited for one more, all of them might. So
 * it ends, and its client asks again. */
static void end_without_credit(struct co_gather *g)
{
    for (uint32_t s = 0; g->evaluation && s < g->slots_count; s++)
        if (g->slots[s].homeless)
            co_gather_close_slot(g, s, PR_REASON_OVERLOAD);
}

static enum cm_err dispatch(struct co_core *c, struct co_gather *g, struct plan *plan,
                            struct cm_error *e)
{
    uint64_t now = co_now(c);
    enum cm_err rc = co_gather_open(g, c->map.shards_count, now, e);
    if (rc)
        return rc;
    for (uint32_t s = 0; s < g->slots_count; s++)
        g->slots[s].images = c->map.shards[s].images;
    g->id.v = c->next_id;
    c->next_id += CO_ATTEMPTS_MAX;
    g->timings.queue_us = (now - g->arrived_ns) / 1000;
    rc = carry_out(c, g, plan, e);
    if (rc)
        return rc;
    co_list_remove(co_waiting_list(c, g), g);
    co_list_append(&c->open, g);
    g->timings.scatter_us = (co_now(c) - now) / 1000;
    return CM_OK;
}

static void lose_unreachable(struct co_core *c, const struct plan *plan)
{
    for (uint32_t i = 0; i < plan->unreachable_count; i++)
        co_lose_member(c, plan->unreachable[i], "not connected");
}

/* Finds members for the homeless slots of an open gather; those that nobody holds are closed. False
 * if nothing changed: they wait for credit. */
static bool rescue(struct co_core *c, struct co_gather *g, struct plan *plan)
{
    struct cm_error e;
    uint32_t before = g->homeless;
    if (!co_gather_may_retry(g)) {
        for (uint32_t s = 0; s < g->slots_count; s++)
            if (g->slots[s].homeless)
                co_gather_close_slot(g, s, g->slots[s].reason);
    } else {
        make_plan(c, g, false, plan);
        if (carry_out(c, g, plan, &e)) {
            cm_log(c->log, CM_LOG_ERROR, "retry_failed", "query=%" PRIu64 " msg=\"%s\"", g->id.v,
                   e.text);
            return false; /* the deadline ends it */
        }
        end_without_credit(g);
    }
    bool changed = g->homeless != before || plan->unreachable_count > 0;
    co_advance(c, g);
    co_finish_if_complete(c, g); /* from here on g may be gone */
    lose_unreachable(c, plan);
    return changed;
}

/* Rescues one open gather, the oldest that can be. False if none can. */
static bool rescue_one(struct co_core *c, struct plan *plan)
{
    for (struct co_gather *g = c->open.head, *next; g; g = next) {
        next = g->next;
        plan->unreachable_count = 0;
        if (g->homeless > 0 && rescue(c, g, plan))
            return true;
    }
    return false;
}

bool co_retry_elsewhere(struct co_core *c, struct co_gather *g, uint32_t shard, uint32_t member,
                        enum pr_reason reason)
{
    const struct co_shard *s = &c->map.shards[shard];
    bool other = false;
    for (uint32_t h = 0; h < s->holders_count; h++)
        other |=
            s->holders[h] != member && c->members.slots[s->holders[h]].state == PR_MEMBER_READY;
    if (!other || !co_gather_may_retry(g) || (g->evaluation && g->evaluation->want_scores))
        return false;
    uint32_t part = g->slots[shard].part;
    co_gather_orphan(g, shard, reason, member);
    if (g->evaluation && g->parts[part].open == 0)
        co_cancel_part(c, g, part);
    return true;
}

/* The oldest waiting query or, if none waits, evaluation; the latter fill half the room at most. */
static struct co_gather *next_waiting(const struct co_core *c)
{
    if (c->waiting.head)
        return c->open.count < CM_QUERIES_INFLIGHT ? c->waiting.head : NULL;
    return c->open.count < CM_QUERIES_INFLIGHT / 2 ? c->evaluations.head : NULL;
}

/* Dispatches the next. False if it has to wait on: also while workers of an earlier life of ours
 * find their way back, so that a restart makes no answer partial. */
static bool dispatch_one(struct co_core *c, struct plan *plan)
{
    struct co_gather *g = next_waiting(c);
    if (!c->settled || !g || !make_plan(c, g, true, plan))
        return false;
    struct cm_error e;
    if (dispatch(c, g, plan, &e)) {
        co_send_error(c, &g->client, g->client_id, PR_ERROR_INTERNAL, 0, e.text);
        co_list_remove(co_waiting_list(c, g), g);
        co_gather_free(g);
        return true;
    }
    co_finish_if_complete(c, g); /* from here on g may be gone */
    lose_unreachable(c, plan);
    return true;
}

static bool has_homeless(const struct co_core *c)
{
    const struct co_gather *g = c->open.head;
    while (g && g->homeless == 0)
        g = g->next;
    return g != NULL;
}

void co_scatter_waiting(struct co_core *c)
{
    if (!c->waiting.head && !c->evaluations.head && !has_homeless(c))
        return;
    struct cm_error e;
    struct plan plan = {.chosen = NULL};
    void *chosen = NULL, *list = NULL;
    enum cm_err rc = cm_new(&chosen, c->map.shards_count, sizeof *plan.chosen, &e);
    if (!rc)
        rc = cm_new(&list, c->map.shards_count, sizeof *plan.list, &e);
    plan.chosen = chosen;
    plan.list = list;
    while (!rc && (rescue_one(c, &plan) || dispatch_one(c, &plan))) {
    }
    if (rc)
        cm_log(c->log, CM_LOG_ERROR, "scatter_failed", "msg=\"%s\"", e.text);
    free(chosen);
    free(list);
}
