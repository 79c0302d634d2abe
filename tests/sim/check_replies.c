/* check_replies.c: one reply a request, in time, with reasons; epochs. See checks.h. */
#include "common/assert.h"
#include "proto/wire/error.h"
#include "proto/wire/status.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>

void sim_check_missing(struct sim *sim, const struct sim_request *r,
                       const struct pr_missing_shard *missing, size_t count)
{
    const char *what = r->evaluation ? "evaluation" : "query";
    bool hurried = !r->evaluation && r->deadline_after_ns < 20000 * SIM_MS;
    if (r->quiet && count > 0 && !hurried && sim_plan_is_fair(&sim->plan))
        sim_fail(sim, "%s %" PRIu64 " lacks shard %u (%s) although all should be well", what,
                 r->number, missing[0].shard.v, pr_reason_name(missing[0].reason));
    for (size_t i = 0; i < count; i++)
        if (!(sim->excuses >> missing[i].reason & 1))
            sim_fail(sim, "%s %" PRIu64 " lacks shard %u: %s; nothing happened that explains it",
                     what, r->number, missing[i].shard.v, pr_reason_name(missing[i].reason));
}

static void check_epoch(struct sim *sim, const struct sim_message *m)
{
    uint64_t epoch = m->envelope.epoch;
    if (epoch < sim->co.epoch)
        sim_fail(sim, "epoch %" PRIu64 " after epoch %" PRIu64, epoch, sim->co.epoch);
    sim->co.epoch = epoch;
    if (sim->plan.places_shards && epoch < sim->state.epoch)
        sim_fail(sim, "epoch %" PRIu64 " after epoch %" PRIu64 " of an earlier life", epoch,
                 sim->state.epoch);
    sim->state.epoch = epoch;
}

/* Nobody is asked before every shard was served once, or the time to wait for that is over. */
static void check_settled(struct sim *sim, enum pr_type type)
{
    struct sim_coordinator *co = &sim->co;
    const struct co_shardmap *map = &co->core->map;
    co->settled |= sim->now_ns >= co->start_ns + sim->plan.settle_ns;
    co->settled |= map->shards_count > 0 && map->covered == map->shards_count;
    if (!co->settled && (type == PR_SEARCH || type == PR_MEASURE))
        sim_fail(sim, "workers are asked while %u of %u shards are served, too soon", map->covered,
                 map->shards_count);
}

/* Is this SEARCH there only to see how fast its worker is? */
static bool is_probe(const struct sim *sim, const struct cm_peer *to, uint64_t id)
{
    uint32_t member = co_members_find(&sim->co.core->members, to);
    const struct co_probe *probe = &sim->co.core->members.slots[member].probe;
    return probe->left > 0 && probe->id.v == id;
}

/* Hedges are bought with what is asked for. */
static void check_hedges(struct sim *sim)
{
    uint64_t hedges = sim->co.core->counters.hedges, requests = sim->co.requests;
    sim->sums.hedged += hedges - sim->co.hedges;
    sim->co.hedges = hedges;
    if (hedges > requests * sim->plan.hedge_percent / 100)
        sim_fail(sim, "%" PRIu64 " of %" PRIu64 " shard requests are hedges, over %u %%", hedges,
                 requests, sim->plan.hedge_percent);
}

static void check_status(struct sim *sim, const struct cm_peer *to, const struct sim_message *m)
{
    struct pr_status status;
    struct cm_error e;
    CM_ASSERT(pr_status_unpack(m->header, &status, &e) == CM_OK);
    unsigned waiting = sim_ledger_count(&sim->ledger, to);
    if (status.queries_yours != waiting)
        sim_fail(sim, "STATUS says that %u of a client's requests are open; %u are",
                 status.queries_yours, waiting);
    pr_status_fini(&status);
}

/* An ERROR that is itself not sent, since the client's queue is full, may stand for any reply. */
static void check_content(struct sim *sim, const struct sim_request *r, const struct sim_message *m,
                          enum cm_err rc)
{
    struct cm_error e;
    if (m->envelope.type == PR_ANSWER) {
        struct pr_answer answer;
        CM_ASSERT(pr_answer_unpack(m->header, &answer, &e) == CM_OK);
        sim_check_answer(sim, r, &answer);
        pr_answer_fini(&answer);
    } else if (m->envelope.type == PR_MEASURED) {
        struct pr_measured measured;
        CM_ASSERT(pr_measured_unpack(m->header, &measured, &e) == CM_OK);
        sim_check_measured(sim, r, &measured);
        pr_measured_fini(&measured);
    } else {
        struct pr_error error;
        CM_ASSERT(pr_error_unpack(m->header, &error, &e) == CM_OK);
        bool expected = error.code == PR_ERROR_BUSY || error.code == PR_ERROR_NO_GALLERY;
        sim_check_refusal(sim, r, &error);
        if (!expected && rc != CM_EBUSY && sim_plan_is_fair(&sim->plan))
            sim_fail(sim, "request %" PRIu64 " gets an error: %s", r->number, error.text);
        sim->sums.errors++;
    }
}

static void check_reply(struct sim *sim, const struct cm_peer *to, const struct sim_message *m,
                        enum cm_err rc)
{
    const struct sim_request *r = sim_ledger_request(&sim->ledger, to, m->envelope.id.v);
    bool right_kind =
        r && (m->envelope.type == PR_ERROR || (m->envelope.type == PR_MEASURED) == r->evaluation);
    if (!right_kind) {
        sim_fail(sim, "%.*s gets %s %" PRIu64 ", which answers nothing that it asked", to->size,
                 (const char *)to->bytes, pr_type_name(m->envelope.type), m->envelope.id.v);
        return;
    }
    check_content(sim, r, m, rc);
    if (rc != CM_EBUSY || m->envelope.type == PR_ERROR) /* else an ERROR follows */
        sim_ledger_close(&sim->ledger, r);
}

void sim_check_sent(struct sim *sim, const struct cm_peer *to, const struct sim_message *m,
                    enum cm_err rc)
{
    check_epoch(sim, m);
    check_settled(sim, m->envelope.type);
    struct cm_peer operator= sim_peer("operator");
    if (cm_peer_equal(to, &operator))
        return;
    switch (m->envelope.type) {
    case PR_SEARCH:
        sim->co.requests += sim_ledger_ask(sim, to, m);
        sim->sums.probes += is_probe(sim, to, m->envelope.id.v);
        check_hedges(sim);
        return;
    case PR_MEASURE:
        (void)sim_ledger_ask(sim, to, m);
        return;
    case PR_ANSWER:
    case PR_MEASURED:
    case PR_ERROR:
        check_reply(sim, to, m, rc);
        return;
    case PR_STATUS:
        check_status(sim, to, m);
        return;
    default:
        return;
    }
}

void sim_check_deadlines(struct sim *sim)
{
    if (!sim->co.core)
        return;
    for (unsigned i = 0; i < sim->ledger.requests_count; i++) {
        const struct sim_request *r = &sim->ledger.requests[i];
        if (sim->now_ns > sim_later(r->deadline_ns, sim->co.frozen_until_ns))
            sim_fail(sim, "query %" PRIu64 " is past its deadline and still open", r->number);
    }
}
