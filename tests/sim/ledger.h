/* ledger.h: what was asked of the coordinator, what it asked of workers and what they said, written
 * down at its door. Against it every reply is checked. A request's number, which its map carries,
 * tells what belongs together; nothing here is the coordinator's own word. */
#ifndef SIM_LEDGER_H
#define SIM_LEDGER_H

#include "common/types.h"
#include "tests/sim/net.h"
#include "tests/sim/plan.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SIM_REQUESTS_MAX = 2048, /* that nobody has replied to */
    SIM_ASKS_MAX = 4096,
    SIM_RESULTS_MAX = 3, /* for one shard of an ask; in a fair world there is one */
};

/* One QUERY or EVALUATE that reached the coordinator. */
struct sim_request {
    struct cm_peer client;
    uint64_t client_id;
    uint64_t number; /* of the map */
    bool evaluation;
    uint32_t k;
    uint64_t arrived_ns;
    uint64_t deadline_after_ns;
    uint64_t deadline_ns; /* of a query, from its arrival; else, or doubled, UINT64_MAX */
    bool dispatched;      /* workers were asked for it */
    /* While it is the first of its client's kind that waits: how many of each other client were
     * dispatched. */
    uint32_t passed[SIM_CLIENTS_MAX];
    bool doubled; /* it was sent again before the reply: whose that is, nobody can tell from here */
    bool quiet;   /* it came when everything had to be whole */
};

/* One SEARCH or MEASURE that the coordinator sent. */
struct sim_ask {
    uint64_t id, number;
    uint64_t process; /* who was asked */
    uint32_t shards;  /* for what: a bit each */
    /* The RESULTs for each shard that reached the coordinator from that process: what each is
     * about. */
    unsigned results_count[SIM_SHARDS_MAX];
    uint64_t results[SIM_SHARDS_MAX][SIM_RESULTS_MAX];
};

struct sim_ledger {
    struct sim_request requests[SIM_REQUESTS_MAX]; /* [requests_count] in order of arrival */
    unsigned requests_count;
    struct sim_ask asks[SIM_ASKS_MAX]; /* [asks_count] those of requests that are here */
    unsigned asks_count;
};

/* A message is about to be handed to the coordinator. `process` sent it. */
void sim_ledger_note(struct sim *sim, const struct cm_peer *from, uint64_t process,
                     const struct sim_message *m);
/* The coordinator sends SEARCH or MEASURE. Gives the number of shards that it asks for. */
unsigned sim_ledger_ask(struct sim *sim, const struct cm_peer *to, const struct sim_message *m);
/* The oldest request of this client under this number, or NULL. */
const struct sim_request *sim_ledger_request(const struct sim_ledger *l,
                                             const struct cm_peer *client, uint64_t client_id);
/* It has its reply. */
void sim_ledger_close(struct sim_ledger *l, const struct sim_request *r);
/* How many of this client wait for a reply. */
unsigned sim_ledger_count(const struct sim_ledger *l, const struct cm_peer *client);
/* What this process was asked under this id, with this shard in it; or NULL. */
struct sim_ask *sim_ledger_find(struct sim_ledger *l, uint64_t id, uint64_t process,
                                uint32_t shard);
/* A client is gone; the coordinator is. */
void sim_ledger_forget(struct sim_ledger *l, const struct cm_peer *client);
void sim_ledger_clear(struct sim_ledger *l);

#endif
