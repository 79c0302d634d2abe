/* ledger.c: see ledger.h. */
#include "tests/sim/ledger.h"

#include "common/assert.h"
#include "proto/wire/measure.h"
#include "proto/wire/query.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <string.h>

/* --- requests --------------------------------------------------------------------------------- */

/* Those that are the same but for what is left of the deadline answer for each other. */
static void mark_doubled(struct sim_ledger *l, struct sim_request *last)
{
    for (struct sim_request *r = l->requests; r < last; r++) {
        if (r->number != last->number)
            continue;
        r->doubled = last->doubled = true;
        r->deadline_ns = last->deadline_ns = UINT64_MAX;
        if (r->deadline_after_ns < last->deadline_after_ns)
            last->deadline_after_ns = r->deadline_after_ns;
        r->deadline_after_ns = last->deadline_after_ns;
    }
}

static void note_request(struct sim *sim, const struct cm_peer *from, const struct sim_message *m)
{
    struct sim_ledger *l = &sim->ledger;
    struct pr_query query = {.deadline_ms = 0};
    struct cm_error e;
    bool evaluation = m->envelope.type == PR_EVALUATE;
    CM_ASSERT(evaluation || pr_query_unpack(m->header, &query, &e) == CM_OK);
    CM_ASSERT(l->requests_count < SIM_REQUESTS_MAX);
    struct sim_request *r = &l->requests[l->requests_count++];
    *r = (struct sim_request){
        .client = *from,
        .client_id = m->envelope.id.v,
        .number = sim_map_number(m->payload),
        .evaluation = evaluation,
        .k = query.k,
        .arrived_ns = sim->now_ns,
        .deadline_after_ns = query.deadline_ms * SIM_MS,
        .deadline_ns = evaluation ? UINT64_MAX : sim->now_ns + query.deadline_ms * SIM_MS,
        .quiet = sim_is_quiet(sim),
    };
    mark_doubled(l, r);
}

const struct sim_request *sim_ledger_request(const struct sim_ledger *l,
                                             const struct cm_peer *client, uint64_t client_id)
{
    for (unsigned i = 0; i < l->requests_count; i++)
        if (l->requests[i].client_id == client_id && cm_peer_equal(&l->requests[i].client, client))
            return &l->requests[i];
    return NULL;
}

unsigned sim_ledger_count(const struct sim_ledger *l, const struct cm_peer *client)
{
    unsigned count = 0;
    for (unsigned i = 0; i < l->requests_count; i++)
        count += cm_peer_equal(&l->requests[i].client, client);
    return count;
}

static unsigned count_number(const struct sim_ledger *l, uint64_t number)
{
    unsigned count = 0;
    for (unsigned i = 0; i < l->requests_count; i++)
        count += l->requests[i].number == number;
    return count;
}

/* What was asked for a request, once no other has its map. */
static void forget_asks(struct sim_ledger *l, uint64_t number)
{
    unsigned kept = 0;
    if (count_number(l, number) > 0)
        return;
    for (unsigned i = 0; i < l->asks_count; i++)
        if (l->asks[i].number != number) {
            if (kept < i)
                l->asks[kept] = l->asks[i];
            kept++;
        }
    l->asks_count = kept;
}

void sim_ledger_close(struct sim_ledger *l, const struct sim_request *r)
{
    size_t i = (size_t)(r - l->requests);
    uint64_t number = r->number;
    l->requests_count--;
    memmove(&l->requests[i], &l->requests[i + 1], (l->requests_count - i) * sizeof *r);
    forget_asks(l, number);
}

void sim_ledger_forget(struct sim_ledger *l, const struct cm_peer *client)
{
    for (unsigned i = l->requests_count; i-- > 0;)
        if (cm_peer_equal(&l->requests[i].client, client))
            sim_ledger_close(l, &l->requests[i]);
}

void sim_ledger_clear(struct sim_ledger *l)
{
    l->requests_count = l->asks_count = 0;
}

/* --- asks ------------------------------------------------------------------------------------- */

struct sim_ask *sim_ledger_find(struct sim_ledger *l, uint64_t id, uint64_t process, uint32_t shard)
{
    for (unsigned i = 0; i < l->asks_count; i++)
        if (l->asks[i].id == id && l->asks[i].process == process && l->asks[i].shards >> shard & 1)
            return &l->asks[i];
    return NULL;
}

static uint32_t bits_of(const struct cm_shard_id *shards, size_t count)
{
    uint32_t bits = 0;
    for (size_t i = 0; i < count; i++)
        bits |= 1u << shards[i].v;
    return bits;
}

static uint32_t shards_of(const struct sim_message *m)
{
    struct pr_search search;
    struct pr_measure measure;
    struct cm_error e;
    uint32_t bits;
    if (m->envelope.type == PR_SEARCH) {
        CM_ASSERT(pr_search_unpack(m->header, &search, &e) == CM_OK);
        bits = bits_of(search.shards, search.shards_count);
        pr_search_fini(&search);
    } else {
        CM_ASSERT(pr_measure_unpack(m->header, &measure, &e) == CM_OK);
        bits = bits_of(measure.shards, measure.shards_count);
        pr_measure_fini(&measure);
    }
    return bits;
}

/* Workers are asked for a request. */
static void dispatch(struct sim *sim, uint64_t number)
{
    struct sim_ledger *l = &sim->ledger;
    if (count_number(l, number) == 0)
        sim_fail(sim, "workers are asked for request %" PRIu64 ", which nobody waits for", number);
    for (unsigned i = 0; i < l->requests_count; i++) {
        struct sim_request *r = &l->requests[i];
        if (r->number != number || r->dispatched)
            continue;
        r->dispatched = true;
        sim_check_turn(sim, r);
    }
}

unsigned sim_ledger_ask(struct sim *sim, const struct cm_peer *to, const struct sim_message *m)
{
    struct sim_ledger *l = &sim->ledger;
    const struct sim_conn *conn = sim_net_find(sim, to);
    uint64_t number = sim_map_number(m->payload);
    uint32_t shards = shards_of(m);
    dispatch(sim, number);
    for (unsigned i = 0; i < l->asks_count; i++)
        if (l->asks[i].id == m->envelope.id.v &&
            (l->asks[i].shards & shards || l->asks[i].number != number))
            sim_fail(sim, "search %" PRIu64 " asks two workers for a shard, or for two requests",
                     m->envelope.id.v);
    CM_ASSERT(l->asks_count < SIM_ASKS_MAX);
    l->asks[l->asks_count++] = (struct sim_ask){.id = m->envelope.id.v,
                                                .number = number,
                                                .process = conn ? conn->process : 0,
                                                .shards = shards};
    return (unsigned)__builtin_popcount(shards);
}

/* Several shards in one RESULT were all scored whole, or not at all. */
static void note_result(struct sim *sim, uint64_t process, const struct sim_message *m)
{
    struct pr_result result;
    struct cm_error e;
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    for (size_t i = 0; i < result.shards_count; i++) {
        uint32_t shard = result.shards[i].shard.v;
        struct sim_ask *ask = sim_ledger_find(&sim->ledger, result.id.v, process, shard);
        if (ask && ask->results_count[shard] < SIM_RESULTS_MAX)
            ask->results[shard][ask->results_count[shard]++] =
                result.reason == PR_REASON_NONE ? sim_plan_whole(&sim->plan, shard) : m->scored;
    }
    pr_result_fini(&result);
}

void sim_ledger_note(struct sim *sim, const struct cm_peer *from, uint64_t process,
                     const struct sim_message *m)
{
    if (m->envelope.type == PR_QUERY || m->envelope.type == PR_EVALUATE)
        note_request(sim, from, m);
    if (m->envelope.type == PR_RESULT)
        note_result(sim, process, m);
}
