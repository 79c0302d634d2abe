/* scatter.c: from the waiting list to the workers: who is asked for which shard, and when.
 *
 * Credits bound what a worker has to hold: a query waits until every worker that it needs has one.
 * Nobody overtakes the head of the list (its order: admission.c), so a large query is not starved
 * by small ones. Evaluations come after all queries, and leave a worker some credits for those. */
#include "common/mem.h"
#include "coordinator/core.h"
#include "coordinator/evaluation.h"
#include "coordinator/plan.h"
#include "proto/wire/measure.h"
#include "proto/wire/search.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static uint64_t time_left_us(const struct co_core *c, const struct co_gather *g)
{
    uint64_t end_ns = co_stop_ns(g), now = co_now(c);
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
static void send_part(struct co_core *c, struct co_gather *g, uint32_t part, struct co_plan *plan)
{
    struct cm_shard_id *list = plan->list;
    uint32_t count = 0, member = g->parts[part].member;
    for (uint32_t s = 0; s < g->slots_count; s++)
        if (co_slot_is_of(&g->slots[s], part))
            list[count++] = (struct cm_shard_id){s};
    struct co_member *m = &c->members.slots[member];
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = g->evaluation ? pack_measure(c, g, list, count, &packed, &e)
                                   : pack_search(c, g, list, count, &packed, &e);
    if (plan->images[member] == g->parts[part].images_left && m->probe.left == 0)
        co_speed_begin(&m->speed, co_now(c)); /* it has nothing else */
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
        co_gather_orphan(g, list[i].v, part, reason, member);
}

/* Some shard is nowhere, so an evaluation cannot be whole: nobody is asked. */
static bool is_lost_already(const struct co_gather *g)
{
    return g->evaluation && g->evaluation->failed;
}

/* Asks the members of a plan. Whom it could not reach stands in plan->unreachable. */
static enum cm_err carry_out(struct co_core *c, struct co_gather *g, struct co_plan *plan,
                             struct cm_error *e)
{
    uint32_t first = g->parts_count, part;
    for (uint32_t p = 0; p < plan->parts; p++) {
        enum cm_err rc = co_gather_add_part(g, plan->members[p], &part, e);
        if (rc) {
            g->parts_count = first;
            return rc;
        }
        g->parts[part].sent_ns = co_now(c);
    }
    for (uint32_t s = 0; s < g->slots_count; s++) {
        if (plan->chosen[s] == CO_NO_MEMBER)
            co_gather_close_slot(g, s, g->slots[s].reason);
        else if (plan->chosen[s] != CO_NOT_NOW)
            co_gather_assign(g, s, first + plan->part_of[plan->chosen[s]]);
    }
    for (uint32_t p = first; p < g->parts_count; p++) {
        if (is_lost_already(g))
            g->parts[p].open = 0; /* nobody was asked */
        else
            send_part(c, g, p, plan);
    }
    g->attempts += plan->parts > 0;
    /* If nobody was asked nothing is new: another look at once would find the same. */
    if (!g->evaluation && (plan->parts > 0 || plan->purpose == CO_FOR_LATE))
        co_schedule_look(c, g, plan->purpose == CO_FOR_LATE);
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

/* A demoted member shows what it does: it is sent a share as large as the others', besides. Not
 * before the last such share has come back, or its time is over. */
static void probe(struct co_core *c, struct co_gather *g, uint32_t member, struct co_plan *plan)
{
    struct co_member *m = &c->members.slots[member];
    struct pr_buffer packed;
    struct cm_error e;
    uint32_t count = 0, share = (g->slots_count + plan->parts - 1) / plan->parts;
    for (uint32_t s = 0; s < g->slots_count && count < share; s++)
        if (m->holds[s] == CO_HELD)
            plan->list[count++] = (struct cm_shard_id){s};
    if (count == 0 || !co_gather_may_hedge(g))
        return;
    m->probe = (struct co_probe){.id = {g->id.v + g->attempts},
                                 .left = count,
                                 .sent_ns = co_now(c),
                                 .next_ns = co_probe_end_ns(c, g)};
    if (plan->images[member] == 0)
        co_speed_begin(&m->speed, co_now(c));
    enum cm_err rc = pack_search(c, g, plan->list, count, &packed, &e);
    g->attempts++;
    if (!rc)
        rc = co_send(c, &m->peer, &packed, g->payload, &e);
    if (rc)
        m->probe = (struct co_probe){.next_ns = co_now(c) + CO_PROBE_NS};
}

static void probe_late_members(struct co_core *c, struct co_gather *g, struct co_plan *plan)
{
    for (uint32_t i = 0; i < c->members.end && plan->parts > 0; i++) {
        const struct co_member *m = &c->members.slots[i];
        if (m->used && m->late && !m->silent && m->state == PR_MEMBER_READY &&
            plan->part_of[i] == CO_NO_PART && co_now(c) >= m->probe.next_ns &&
            plan->load[i] < m->hello.credits)
            probe(c, g, i, plan);
    }
}

enum cm_err co_open(struct co_core *c, struct co_gather *g, struct cm_error *e)
{
    uint64_t now = co_now(c);
    enum cm_err rc = co_gather_open(g, c->map.shards_count, now, e);
    if (rc)
        return rc;
    for (uint32_t s = 0; s < g->slots_count; s++) {
        g->slots[s].first_image = c->map.shards[s].first_image;
        g->slots[s].images = c->map.shards[s].images;
    }
    g->id.v = c->next_id;
    c->next_id += CO_ATTEMPTS_MAX;
    g->timings.queue_us = (now - g->arrived_ns) / 1000;
    return CM_OK;
}

static enum cm_err dispatch(struct co_core *c, struct co_gather *g, struct co_plan *plan,
                            struct cm_error *e)
{
    enum cm_err rc = co_open(c, g, e);
    if (!rc)
        rc = carry_out(c, g, plan, e);
    if (rc)
        return rc;
    if (!g->evaluation) {
        co_pay_for_hedges(c, g);
        probe_late_members(c, g, plan);
    }
    co_list_remove(co_waiting_list(c, g), g);
    co_waiting_list(c, g)->turn = g->turn;
    co_list_append(&c->open, g);
    g->timings.scatter_us = (co_now(c) - g->dispatched_ns) / 1000;
    return CM_OK;
}

static void lose_unreachable(struct co_core *c, const struct co_plan *plan)
{
    for (uint32_t i = 0; i < plan->unreachable_count; i++)
        co_lose_member(c, plan->unreachable[i], "not connected");
}

/* Finds members for the homeless slots of an open gather; those that nobody holds are closed. False
 * if nothing changed: they wait for credit. */
static bool rescue(struct co_core *c, struct co_gather *g, struct co_plan *plan)
{
    struct cm_error e;
    uint32_t before = g->homeless;
    if (!co_gather_may_retry(g)) {
        for (uint32_t s = 0; s < g->slots_count; s++)
            if (g->slots[s].homeless)
                co_gather_close_slot(g, s, g->slots[s].reason);
    } else {
        co_plan_make(c, g, CO_FOR_HOMELESS, plan);
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
static bool rescue_one(struct co_core *c, struct co_plan *plan)
{
    for (struct co_gather *g = c->open.head, *next; g; g = next) {
        next = g->next;
        plan->unreachable_count = 0;
        if (g->homeless > 0 && rescue(c, g, plan))
            return true;
    }
    return false;
}

/* Asks second members for what is late. */
static void hedge(struct co_core *c, struct co_gather *g, struct co_plan *plan)
{
    struct cm_error e;
    if (!co_gather_may_hedge(g)) {
        g->look_ns = UINT64_MAX;
        return;
    }
    co_plan_make(c, g, CO_FOR_LATE, plan);
    for (uint32_t s = 0; s < g->slots_count; s++) {
        if (plan->chosen[s] == CO_NOT_NOW)
            continue;
        g->slots[s].hedged = co_is_hedge(c, g, s);
        c->counters.hedges += g->slots[s].hedged;
        c->hedge_room -= g->slots[s].hedged ? CO_HEDGE_COST : 0;
    }
    if (carry_out(c, g, plan, &e)) {
        cm_log(c->log, CM_LOG_ERROR, "hedge_failed", "query=%" PRIu64 " msg=\"%s\"", g->id.v,
               e.text);
        g->look_ns = UINT64_MAX;
    }
    lose_unreachable(c, plan);
}

static bool is_looked_at(const struct co_core *c, const struct co_gather *g)
{
    return g->look_ns <= co_now(c);
}

static bool hedge_one(struct co_core *c, struct co_plan *plan)
{
    struct co_gather *g = c->open.head;
    while (g && !is_looked_at(c, g))
        g = g->next;
    if (g)
        hedge(c, g, plan);
    return g != NULL;
}

/* A part's member declines a slot. If it owes nothing else it may be at something still: at what it
 * keeps for an evaluation, or at shards that others answered first. */
static void take_away(struct co_core *c, struct co_gather *g, uint32_t shard, uint32_t part,
                      enum pr_reason reason)
{
    struct co_part *p = &g->parts[part];
    co_gather_orphan(g, shard, part, reason, p->member);
    p->images -= g->slots[shard].images;
    if (p->open == 0 && (g->evaluation || p->beaten))
        co_cancel_part(c, g, part);
}

bool co_retry_elsewhere(struct co_core *c, struct co_gather *g, uint32_t shard, uint32_t member,
                        enum pr_reason reason)
{
    const struct co_shard *s = &c->map.shards[shard];
    uint32_t part = co_gather_part_of(g, shard, member);
    bool other = false;
    if (co_gather_rival_of(g, shard, part) != CO_NO_PART) {
        take_away(c, g, shard, part, reason);
        co_schedule_look(c, g, false);
        return true;
    }
    for (uint32_t h = 0; h < s->holders_count; h++)
        other |=
            s->holders[h] != member && c->members.slots[s->holders[h]].state == PR_MEMBER_READY;
    if (!other || !co_gather_may_retry(g) || (g->evaluation && g->evaluation->want_scores))
        return false;
    take_away(c, g, shard, part, reason);
    return true;
}

/* The first waiting query or, if none waits, evaluation; the latter fill half the room at most. */
static struct co_gather *next_waiting(const struct co_core *c)
{
    if (c->waiting.head)
        return c->open.count < CM_QUERIES_INFLIGHT ? c->waiting.head : NULL;
    return c->open.count < CM_QUERIES_INFLIGHT / 2 ? c->evaluations.head : NULL;
}

/* Dispatches the next. False if it has to wait on: also while workers of an earlier life of ours
 * find their way back, so that a restart makes no answer partial. */
static bool dispatch_one(struct co_core *c, struct co_plan *plan)
{
    struct co_gather *g = next_waiting(c);
    if (g && co_now(c) >= co_stop_ns(g)) {
        co_expire(c, g);
        return true;
    }
    if (!c->settled || !g || !co_plan_make(c, g, CO_FOR_ALL, plan))
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

/* Does an open gather want another member to be asked? */
static bool is_any_in_need(const struct co_core *c)
{
    const struct co_gather *g = c->open.head;
    while (g && g->homeless == 0 && !is_looked_at(c, g))
        g = g->next;
    return g != NULL;
}

void co_scatter_waiting(struct co_core *c)
{
    if (!c->waiting.head && !c->evaluations.head && !is_any_in_need(c))
        return;
    struct cm_error e;
    struct co_plan plan = {.chosen = NULL};
    void *chosen = NULL, *list = NULL;
    enum cm_err rc = cm_new(&chosen, c->map.shards_count, sizeof *plan.chosen, &e);
    if (!rc)
        rc = cm_new(&list, c->map.shards_count, sizeof *plan.list, &e);
    plan.chosen = chosen;
    plan.list = list;
    while (!rc && (rescue_one(c, &plan) || hedge_one(c, &plan) || dispatch_one(c, &plan))) {
    }
    if (rc)
        cm_log(c->log, CM_LOG_ERROR, "scatter_failed", "msg=\"%s\"", e.text);
    free(chosen);
    free(list);
}
