/* check_turns.c: nobody starves behind another, and who is refused is told so at once. See
 * checks.h.
 */
#include "proto/wire/error.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>

/* Between two of a client's dispatches, or until its first, at most so many of another's. */
enum { PASSED_MAX = 2 };

/* The client with this address; SIM_CLIENTS_MAX: it has another one by now. */
static unsigned index_of(const struct sim *sim, const struct cm_peer *peer)
{
    unsigned i = 0;
    while (i < SIM_CLIENTS_MAX &&
           !(sim->clients[i].host.conn && cm_peer_equal(&sim->clients[i].host.conn->peer, peer)))
        i++;
    return i;
}

/* Does it wait, and is it the first of its client and kind that does? */
static bool is_first(const struct sim_ledger *l, const struct sim_request *r)
{
    if (r->dispatched)
        return false;
    for (const struct sim_request *q = l->requests; q < r; q++)
        if (!q->dispatched && q->evaluation == r->evaluation &&
            cm_peer_equal(&q->client, &r->client))
            return false;
    return true;
}

/* A request that came twice is dispatched twice, which cannot be told apart from here: it makes no
 * statement about its client's turns until both have their reply. */
static bool has_doubled(const struct sim_ledger *l, const struct cm_peer *client)
{
    for (unsigned i = 0; i < l->requests_count; i++)
        if (l->requests[i].doubled && cm_peer_equal(&l->requests[i].client, client))
            return true;
    return false;
}

void sim_check_turn(struct sim *sim, const struct sim_request *r)
{
    struct sim_ledger *l = &sim->ledger;
    unsigned who = index_of(sim, &r->client);
    if (!sim_plan_is_fair(&sim->plan) || r->doubled || who == SIM_CLIENTS_MAX)
        return;
    for (unsigned i = 0; i < l->requests_count; i++) {
        struct sim_request *q = &l->requests[i];
        if (cm_peer_equal(&q->client, &r->client) || !is_first(l, q))
            continue;
        if (has_doubled(l, &q->client)) {
            q->passed[who] = 0;
            continue;
        }
        if (r->evaluation && !q->evaluation)
            sim_fail(sim, "evaluation %" PRIu64 " goes before query %" PRIu64, r->number,
                     q->number);
        if (r->evaluation == q->evaluation && ++q->passed[who] > PASSED_MAX)
            sim_fail(sim, "request %" PRIu64 " of %s is the third that goes before %" PRIu64,
                     r->number, sim->clients[who].host.name, q->number);
    }
}

/* A coordinator that ends lets go of evaluations that it has let in. */
void sim_check_refusal(struct sim *sim, const struct sim_request *r, const struct pr_error *error)
{
    if (error->code != PR_ERROR_BUSY)
        return;
    sim->sums.busy++;
    if (error->retry_after_ms == 0)
        sim_fail(sim, "request %" PRIu64 " is refused for good: %s", r->number, error->text);
    if (r->arrived_ns != sim->now_ns && !r->doubled && !sim->co.stopping)
        sim_fail(sim, "request %" PRIu64 " is refused %.1f ms after it came", r->number,
                 (double)(sim->now_ns - r->arrived_ns) / 1e6);
}
