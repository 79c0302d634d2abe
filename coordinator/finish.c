/* finish.c: the end of a query: its answer, and the word to those still working on it. */
#include "common/assert.h"
#include "coordinator/core.h"
#include "coordinator/evaluation.h"
#include "proto/wire/control.h"

#include <inttypes.h>
#include <stdlib.h>

static enum cm_err send_answer(struct co_core *c, struct co_gather *g, bool *partial,
                               struct cm_error *e)
{
    struct pr_answer answer;
    enum cm_err rc = co_gather_answer(g, c->gallery.images, &answer, e);
    if (rc)
        return rc;
    answer.epoch = c->epoch;
    *partial = answer.missing_count > 0;
    uint64_t now = co_now(c);
    answer.timings.gather_us = (now - g->dispatched_ns) / 1000 - g->timings.scatter_us;
    answer.timings.total_us = (now - g->arrived_ns) / 1000;
    struct pr_buffer packed;
    rc = pr_answer_pack(&answer, &packed, e);
    free(answer.missing);
    return rc ? rc : co_send(c, &g->client, &packed, NULL, e);
}

static enum cm_err send_measured(struct co_core *c, struct co_gather *g, bool *partial,
                                 struct cm_error *e)
{
    struct pr_measured measured;
    enum cm_err rc = co_evaluation_measured(g, c->gallery.images, &measured, e);
    if (rc)
        return rc;
    measured.epoch = c->epoch;
    measured.gallery = c->gallery.gallery;
    measured.total_us = (co_now(c) - g->arrived_ns) / 1000;
    *partial = measured.missing_count > 0;
    struct pr_buffer packed;
    rc = pr_measured_pack(&measured, &packed, e);
    free(measured.missing);
    return rc ? rc : co_send(c, &g->client, &packed, NULL, e);
}

enum cm_err co_cancel(struct co_core *c, const struct cm_peer *to, struct cm_query_id id)
{
    struct pr_control cancel = {.type = PR_CANCEL, .id = id, .epoch = c->epoch};
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = pr_control_pack(&cancel, &packed, &e);
    if (!rc)
        rc = co_send(c, to, &packed, NULL, &e);
    if (rc)
        cm_log(c->log, CM_LOG_DEBUG, "unsent", "msg=\"%s\"", e.text);
    return rc;
}

/* A search ends by itself all the same, at its deadline; but the scores of an evaluation would be
 * kept for ever. */
void co_cancel_part(struct co_core *c, const struct co_gather *g, uint32_t part)
{
    struct co_member *m = &c->members.slots[g->parts[part].member];
    if (co_cancel(c, &m->peer, co_part_id(g, part)))
        m->estranged |= g->evaluation != NULL;
}

/* Tells each worker that still owes something to stop. */
static void cancel_open_parts(struct co_core *c, const struct co_gather *g)
{
    for (uint32_t p = 0; p < g->parts_count; p++) {
        if (g->parts[p].open == 0)
            continue;
        co_time_part(c, g, p, false, true);
        co_cancel_part(c, g, p);
    }
}

void co_finish(struct co_core *c, struct co_gather *g)
{
    struct cm_error e;
    bool partial = false;
    co_note_answer(c, g);
    cancel_open_parts(c, g);
    enum cm_err rc =
        g->evaluation ? send_measured(c, g, &partial, &e) : send_answer(c, g, &partial, &e);
    if (rc == CM_OK) {
        c->counters.answers++;
        c->counters.partial += partial;
    } else if (rc == CM_EUNAVAIL) {
        cm_log(c->log, CM_LOG_INFO, "client_gone", "query=%" PRIu64, g->id.v);
    } else {
        cm_log(c->log, CM_LOG_ERROR, "answer_unsent", "query=%" PRIu64 " msg=\"%s\"", g->id.v,
               e.text);
        co_send_error(c, &g->client, g->client_id, PR_ERROR_INTERNAL, 0, e.text);
    }
    uint64_t missed;
    if (partial && cm_log_rate_pass(&c->partial_rate, co_now(c), CO_LOG_PERIOD_NS, &missed))
        cm_log(c->log, CM_LOG_WARN, "partial", "query=%" PRIu64 " unreported=%" PRIu64, g->id.v,
               missed);
    co_list_remove(&c->open, g);
    co_gather_free(g);
}

void co_abandon(struct co_core *c, struct co_gather *g)
{
    cancel_open_parts(c, g);
    co_list_remove(&c->open, g);
    co_gather_free(g);
}

void co_finish_if_complete(struct co_core *c, struct co_gather *g)
{
    if (co_gather_is_over(g))
        co_finish(c, g);
}
