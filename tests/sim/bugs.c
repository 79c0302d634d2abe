/* bugs.c: see bugs.h. */
#include "tests/sim/bugs.h"

#include "common/assert.h"
#include "coordinator/evaluation.h"
#include "proto/wire/hello.h"
#include "proto/wire/place.h"
#include "proto/wire/result.h"
#include "tests/sim/world.h"

#include <stdlib.h>
#include <string.h>

struct sim_bug {
    const char *name, *what;
    unsigned (*into_coordinator)(struct sim *, const struct sim_conn *, struct sim_message *);
    unsigned (*leaving_coordinator)(struct sim *, struct cm_peer *, struct sim_message *);
    unsigned (*leaving_worker)(struct sim *, struct sim_worker *, struct sim_message *);
    bool (*swallows_end)(struct sim *, const struct cm_peer *);
    void (*job)(struct sim *, struct sim_worker *, struct wk_job *);
    void (*step)(struct sim *);
    bool forgets_map, trusts_parts;
};

/* --- messages unpacked, changed, packed again ------------------------------------------------- */

static void repack(struct sim_message *m, enum cm_err packing, const struct pr_buffer *packed)
{
    CM_ASSERT(packing == CM_OK);
    sim_message_repack(m, packed->data, packed->size);
}

/* The coordinator gets a message once more than the network brought it. */
static struct co_gather *get_once(struct sim *sim, const struct sim_conn *from,
                                  const struct sim_message *m)
{
    co_on_message(sim->co.core, &from->peer, m->header, m->payload);
    return co_find_open(sim->co.core, m->envelope.id);
}

/* --- bugs of the coordinator ------------------------------------------------------------------ */

/* Does the process of this search owe all shards of a result? */
static bool owes(const struct sim_ask *ask, const struct pr_result *result)
{
    for (size_t i = 0; i < result->shards_count; i++) {
        uint32_t shard = result->shards[i].shard.v;
        if (!(ask->shards >> shard & 1) || ask->results_count[shard] > 0)
            return false;
    }
    return true;
}

/* Another search for which this process owes the shards. */
static const struct sim_ask *next_ask(const struct sim *sim, uint64_t process,
                                      const struct pr_result *result)
{
    for (unsigned i = 0; i < sim->ledger.asks_count; i++)
        if (sim->ledger.asks[i].process == process && owes(&sim->ledger.asks[i], result))
            return &sim->ledger.asks[i];
    return NULL;
}

static unsigned late_result(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct pr_result result;
    struct pr_buffer packed;
    struct cm_error e;
    if (m->envelope.type != PR_RESULT || co_find_open(sim->co.core, m->envelope.id))
        return 1;
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    const struct sim_ask *ask = next_ask(sim, from->process, &result);
    if (ask) {
        result.id.v = ask->id;
        repack(m, pr_result_pack(&result, &packed, &e), &packed);
    }
    pr_result_fini(&result);
    return 1;
}

/* Forgets that a slot is closed, but not what closed it. */
static void reopen(struct co_gather *g, struct co_slot *slot)
{
    const uint32_t asked[] = {slot->part, slot->second};
    slot->closed = false;
    g->slots_open++;
    for (size_t i = 0; i < 2; i++) {
        if (asked[i] == CO_NO_PART)
            continue;
        g->parts[asked[i]].open++;
        g->parts[asked[i]].images_left += slot->images;
    }
}

static unsigned result_twice(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct pr_result result;
    struct cm_error e;
    if (m->envelope.type != PR_RESULT)
        return 1;
    struct co_gather *g = get_once(sim, from, m);
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    for (size_t i = 0; g && i < result.shards_count; i++) {
        struct co_slot *slot = &g->slots[result.shards[i].shard.v];
        if (slot->closed && slot->part != CO_NO_PART)
            reopen(g, slot);
    }
    pr_result_fini(&result);
    return g != NULL;
}

/* Takes a RESULT for one shard in as if its slot had not been given to another worker. */
static void take_declined(struct co_gather *g, uint32_t part, const struct pr_result *result)
{
    struct co_slot *slot = &g->slots[result->shards[0].shard.v], now = *slot;
    struct co_part owing = g->parts[part];
    uint32_t slots_open = g->slots_open, homeless = g->homeless;
    struct cm_error e;
    *slot = (struct co_slot){
        .part = part, .second = CO_NO_PART, .first_image = now.first_image, .images = now.images};
    g->parts[part].open++;
    g->parts[part].images_left += now.images;
    CM_ASSERT(co_gather_on_result(g, g->numeric_class, result, &e) == CM_OK);
    *slot = now;
    g->parts[part] = owing;
    g->slots_open = slots_open;
    g->homeless = homeless;
}

static unsigned retry_twice(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct pr_result result;
    struct cm_error e;
    struct co_gather *g = co_find_open(sim->co.core, m->envelope.id);
    if (m->envelope.type != PR_RESULT || !g)
        return 1;
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    struct co_slot *slot = &g->slots[result.shards[0].shard.v];
    uint32_t part = slot->part;
    g = get_once(sim, from, m);
    bool alone = result.shards_count == 1;
    if (g && alone && part != CO_NO_PART && slot->part != part && !slot->closed)
        take_declined(g, part, &result);
    pr_result_fini(&result);
    return 0;
}

static unsigned counts_twice(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    if (m->envelope.type != PR_COUNTS)
        return 1;
    uint32_t member = co_members_find(&sim->co.core->members, &from->peer), p = 0;
    struct co_gather *g = get_once(sim, from, m);
    while (g && p < g->parts_count && (g->parts[p].member != member || g->parts[p].open > 0))
        p++;
    if (!g || p == g->parts_count)
        return 0;
    g->parts[p].open++;
    g->evaluation->parts_owing++;
    return 1;
}

static unsigned hole(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct pr_positives_message positives;
    struct pr_buffer packed;
    struct cm_error e;
    (void)sim, (void)from;
    if (m->envelope.type != PR_POSITIVES)
        return 1;
    CM_ASSERT(pr_positives_unpack(m->header, &positives, &e) == CM_OK);
    if (positives.reason && positives.images > 0) {
        positives.reason = PR_REASON_NONE;
        positives.census.valid = positives.images;
        repack(m, pr_positives_pack(&positives, &packed, &e), &packed);
    }
    pr_positives_message_fini(&positives);
    return 1;
}

static unsigned no_credits(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct pr_hello hello;
    struct pr_buffer packed;
    struct cm_error e;
    (void)sim, (void)from;
    if (m->envelope.type != PR_HELLO)
        return 1;
    CM_ASSERT(pr_hello_unpack(m->header, &hello, &e) == CM_OK);
    hello.credits *= 3;
    repack(m, pr_hello_pack(&hello, &packed, &e), &packed);
    pr_hello_fini(&hello);
    return 1;
}

/* The coordinator gets a message without seeing the queries that wait. */
static unsigned get_blindly(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct co_list *waiting = &sim->co.core->waiting, hidden = *waiting;
    waiting->head = waiting->tail = NULL;
    waiting->count = 0;
    co_on_message(sim->co.core, &from->peer, m->header, m->payload);
    while (hidden.tail) {
        struct co_gather *g = hidden.tail;
        co_list_remove(&hidden, g);
        co_list_insert(waiting, NULL, g);
    }
    return 0;
}

static unsigned no_queue_limit(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    return m->envelope.type == PR_QUERY ? get_blindly(sim, from, m) : 1;
}

static unsigned evaluations_first(struct sim *sim, const struct sim_conn *from,
                                  struct sim_message *m)
{
    if (m->envelope.type != PR_RESULT)
        return 1;
    get_blindly(sim, from, m);
    co_scatter_waiting(sim->co.core);
    return 0;
}

/* All that wait have the same turn: then they are dispatched in the order in which they came. */
static void no_turns(struct sim *sim)
{
    if (!sim->co.core)
        return;
    sim->co.core->waiting.turn = 0;
    for (struct co_gather *g = sim->co.core->waiting.head; g; g = g->next)
        g->turn = 0;
}

static unsigned busy_for_good(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    struct pr_error error;
    struct pr_buffer packed;
    struct cm_error e;
    (void)sim, (void)to;
    if (m->envelope.type != PR_ERROR)
        return 1;
    CM_ASSERT(pr_error_unpack(m->header, &error, &e) == CM_OK);
    error.retry_after_ms = 0;
    repack(m, pr_error_pack(&error, &packed, &e), &packed);
    return 1;
}

/* Deadlines count from dispatch again. */
static void patient_deadlines(struct sim *sim)
{
    if (!sim->co.core)
        return;
    for (struct co_gather *g = sim->co.core->waiting.head; g; g = g->next)
        g->deadline_ns = sim->now_ns + g->deadline_after_ns;
}

static unsigned lost_cancel(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    (void)sim, (void)to;
    return m->envelope.type != PR_CANCEL;
}

static unsigned answer_twice(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    (void)sim, (void)to;
    return m->envelope.type == PR_ANSWER ? 2 : 1;
}

static unsigned lost_reply(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    (void)to;
    return m->envelope.type != PR_ANSWER || !sim_chance(sim, 2);
}

static unsigned short_ranking(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    struct pr_answer answer;
    struct pr_buffer packed;
    struct cm_error e;
    (void)sim, (void)to;
    if (m->envelope.type != PR_ANSWER)
        return 1;
    CM_ASSERT(pr_answer_unpack(m->header, &answer, &e) == CM_OK);
    if (answer.hits.count > 1 && answer.missing_count > 0) {
        answer.hits.count--;
        repack(m, pr_answer_pack(&answer, &packed, &e), &packed);
    }
    pr_answer_fini(&answer);
    return 1;
}

static unsigned wrong_client(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    const struct sim_host *h = &sim->clients[0].host;
    if (m->envelope.type == PR_ANSWER && h->conn && sim_chance(sim, 5))
        *to = h->conn->peer;
    return 1;
}

/* The one who comes second in a race counts as well. */
static unsigned rival_counts(struct sim *sim, const struct sim_conn *from, struct sim_message *m)
{
    struct pr_result result;
    struct cm_error e;
    struct co_gather *g = co_find_open(sim->co.core, m->envelope.id);
    if (m->envelope.type != PR_RESULT || !g)
        return 1;
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    uint32_t member = co_members_find(&sim->co.core->members, &from->peer);
    for (size_t i = 0; i < result.shards_count; i++) {
        struct co_slot *slot = &g->slots[result.shards[i].shard.v];
        uint32_t part = co_gather_part_of(g, result.shards[i].shard.v, member);
        if (slot->closed && part != CO_NO_PART && slot->second != CO_NO_PART)
            reopen(g, slot);
    }
    pr_result_fini(&result);
    return 1;
}

static void free_hedges(struct sim *sim)
{
    if (sim->co.core)
        sim->co.core->hedge_room = SIM_SHARDS_MAX * CO_HEDGE_COST;
}

static void count_members(struct sim *sim)
{
    if (sim->co.core)
        sim->co.core->epoch = sim->co.core->members.count;
}

static void hasty_start(struct sim *sim)
{
    if (sim->co.core)
        sim->co.core->settled = true;
}

static void no_deadline(struct sim *sim)
{
    if (!sim->co.core)
        return;
    for (struct co_gather *g = sim->co.core->open.head; g; g = g->next)
        if (g->arrived_ns % 8 == 0)
            g->deadline_ns = UINT64_MAX;
}

/* As it was when common/io/links.c passed over the end of a connection whose peer had dialled
 * again.
 */
static bool untold_end(struct sim *sim, const struct cm_peer *who)
{
    return sim_net_find(sim, who) != NULL;
}

/* --- bugs of the worker ----------------------------------------------------------------------- */

static void corrupt_counts(struct sim *sim, struct sim_worker *w, struct wk_job *job)
{
    (void)sim, (void)w;
    if (job->outcome == CM_ECORRUPT)
        job->outcome = CM_OK;
}

static unsigned overclaim(struct sim *sim, struct sim_worker *w, struct sim_message *m)
{
    struct pr_result result;
    struct pr_buffer packed;
    struct cm_error e;
    (void)sim, (void)w;
    if (m->envelope.type != PR_RESULT)
        return 1;
    CM_ASSERT(pr_result_unpack(m->header, &result, &e) == CM_OK);
    if (result.reason && result.shards[0].images_scored > 0) {
        result.reason = PR_REASON_NONE;
        result.shards[0].images_scored = result.shards[0].images;
        repack(m, pr_result_pack(&result, &packed, &e), &packed);
    }
    pr_result_fini(&result);
    return 1;
}

static void hurried_leaver(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        if (sim->workers[i].core && sim->workers[i].leaving)
            sim_worker_end(sim, &sim->workers[i], false);
}

/* The coordinator lets go of a shard as soon as its new home was told to get it. */
static unsigned hasty_drop(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    struct pr_place place;
    struct pr_buffer packed;
    struct cm_error e;
    if (m->envelope.type != PR_PLACE || pr_place_unpack(m->header, &place, &e))
        return 1;
    for (uint32_t i = 0; place.sources.count > 0 && i < sim->co.core->members.end; i++) {
        const struct co_member *member = &sim->co.core->members.slots[i];
        if (!member->used || strcmp(member->hello.endpoint, place.sources.endpoints[0]) != 0)
            continue;
        place.sources.count = 0;
        *to = member->peer;
        repack(m, pr_place_pack(&place, &packed, &e), &packed);
    }
    return 1;
}

/* An order comes late, and is obeyed: the worker has forgotten what it saw since. */
static unsigned stale_order(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    if (m->envelope.type == PR_PLACE && !sim->stale) {
        sim->stale = sim_message_copy(m);
        sim->stale_to = *to;
    }
    if (m->envelope.type != PR_HEARTBEAT || !sim->stale || !cm_peer_equal(to, &sim->stale_to) ||
        !sim_chance(sim, 30))
        return 1;
    void *data = malloc(sim->stale->header.size);
    CM_ASSERT(data != NULL);
    memcpy(data, sim->stale->header.data, sim->stale->header.size);
    sim_message_repack(m, data, sim->stale->header.size);
    m->envelope.epoch = sim->state.epoch; /* the bug is the worker's: this check is not asked */
    return 1;
}

static void forget_orders(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        if (sim->workers[i].core)
            sim->workers[i].core->place_epoch = 0;
}

static const struct sim_bug table[] = {
    {.name = "late-result",
     .what = "a RESULT for a search that is over counts for the next one",
     .into_coordinator = late_result},
    {.name = "result-twice",
     .what = "a RESULT that comes twice counts twice",
     .into_coordinator = result_twice},
    {.name = "retry-twice",
     .what =
         "what a worker scored of a shard before it declined counts beside its replica's RESULT",
     .into_coordinator = retry_twice},
    {.name = "counts-twice",
     .what = "COUNTS that come twice count twice",
     .into_coordinator = counts_twice},
    {.name = "hole",
     .what = "an evaluation goes on over a shard that was not scored",
     .into_coordinator = hole},
    {.name = "rival-counts",
     .what = "of two workers that were asked for a late shard both count",
     .into_coordinator = rival_counts},
    {.name = "free-hedges",
     .what = "any number of late shards may be asked for twice",
     .step = free_hedges},
    {.name = "no-credits",
     .what = "a worker gets more searches than it granted",
     .into_coordinator = no_credits},
    {.name = "no-queue-limit",
     .what = "any number of queries may wait",
     .into_coordinator = no_queue_limit},
    {.name = "evaluations-first",
     .what = "evaluations get the credit that comes back first",
     .into_coordinator = evaluations_first},
    {.name = "no-turns",
     .what = "queries are dispatched as they came, whoever asked",
     .step = no_turns},
    {.name = "busy-for-good",
     .what = "who is refused as busy is not told when to come again",
     .leaving_coordinator = busy_for_good},
    {.name = "patient-deadline",
     .what = "a deadline stands still while its query waits",
     .step = patient_deadlines},
    {.name = "lost-cancel",
     .what = "workers never hear that nobody waits any longer",
     .leaving_coordinator = lost_cancel},
    {.name = "answer-twice",
     .what = "a query is answered twice",
     .leaving_coordinator = answer_twice},
    {.name = "lost-reply",
     .what = "now and then a query is never answered",
     .leaving_coordinator = lost_reply},
    {.name = "short-ranking",
     .what = "a partial answer lacks its last hit",
     .leaving_coordinator = short_ranking},
    {.name = "wrong-client",
     .what = "an answer goes to somebody else",
     .leaving_coordinator = wrong_client},
    {.name = "stale-epoch",
     .what = "the epoch counts the members, and so goes back",
     .step = count_members},
    {.name = "hasty-start",
     .what = "a coordinator that was started again asks whoever is there already",
     .step = hasty_start},
    {.name = "no-deadline",
     .what = "the deadlines of some queries are forgotten",
     .step = no_deadline},
    {.name = "untold-end",
     .what = "a worker whose connection broke is not missed if it dials fast enough",
     .swallows_end = untold_end},
    {.name = "overclaim",
     .what = "a worker that ran out of time says that it scored all",
     .leaving_worker = overclaim},
    {.name = "corrupt-counts",
     .what = "a block that cannot be read is counted",
     .job = corrupt_counts},
    {.name = "forgotten-map",
     .what = "the map is saved once, and never again",
     .forgets_map = true},
    {.name = "half-owned",
     .what = "a shard of which a part is there is served after a crash",
     .trusts_parts = true},
    {.name = "hasty-drop",
     .what = "a shard is let go of before its new home has it",
     .leaving_coordinator = hasty_drop},
    {.name = "stale-order",
     .what = "a worker obeys an order that is older than what it obeyed before",
     .leaving_coordinator = stale_order,
     .step = forget_orders},
    {.name = "hurried-leaver",
     .what = "a worker that leaves does not finish what it has",
     .step = hurried_leaver},
};

enum { BUGS = sizeof table / sizeof table[0] };

const struct sim_bug *sim_bug_at(unsigned i)
{
    return i < BUGS ? &table[i] : NULL;
}

const struct sim_bug *sim_bug_named(const char *name)
{
    for (unsigned i = 0; i < BUGS; i++)
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

const char *sim_bug_name(const struct sim_bug *bug)
{
    return bug->name;
}

const char *sim_bug_what(const struct sim_bug *bug)
{
    return bug->what;
}

unsigned sim_bug_into_coordinator(struct sim *sim, const struct sim_conn *from,
                                  struct sim_message *m)
{
    return sim->bug && sim->bug->into_coordinator ? sim->bug->into_coordinator(sim, from, m) : 1;
}

unsigned sim_bug_leaving_coordinator(struct sim *sim, struct cm_peer *to, struct sim_message *m)
{
    bool asked = sim->bug && sim->bug->leaving_coordinator;
    return asked ? sim->bug->leaving_coordinator(sim, to, m) : 1;
}

unsigned sim_bug_leaving_worker(struct sim *sim, struct sim_worker *w, struct sim_message *m)
{
    return sim->bug && sim->bug->leaving_worker ? sim->bug->leaving_worker(sim, w, m) : 1;
}

bool sim_bug_swallows_end(struct sim *sim, const struct cm_peer *who)
{
    return sim->bug && sim->bug->swallows_end && sim->bug->swallows_end(sim, who);
}

void sim_bug_job(struct sim *sim, struct sim_worker *w, struct wk_job *job)
{
    if (sim->bug && sim->bug->job)
        sim->bug->job(sim, w, job);
}

bool sim_bug_forgets_map(const struct sim *sim)
{
    return sim->bug && sim->bug->forgets_map;
}

bool sim_bug_trusts_parts(const struct sim *sim)
{
    return sim->bug && sim->bug->trusts_parts;
}

void sim_bug_step(struct sim *sim)
{
    if (sim->bug && sim->bug->step)
        sim->bug->step(sim);
}
