/* client.h: a client's process: it asks and asks again by the rules of `vitrine search`
 * (ops/cli/search.c) or of `vitrine eval` (ops/cli/eval_run.c), and looks at what it gets. */
#ifndef SIM_CLIENT_H
#define SIM_CLIENT_H

#include "common/blob.h"
#include "tests/sim/net.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    SIM_SEARCH_WINDOW = 4,
    SIM_EVAL_WINDOW = 16,
    SIM_FLOOD_WINDOW = 320, /* one that obeys no window: more than the coordinator lets wait */
};

/* One request on its way. */
struct sim_flight {
    bool used;
    uint64_t id, number;
    uint32_t k, deadline_ms; /* of a query */
    uint64_t sent_ns;
    uint64_t again_ns;      /* when it is sent (again); 0: it is out */
    uint64_t end_ns;        /* of a query: its deadline, from the first try */
    uint64_t rest_ns;       /* of a query: how long it rests next time */
    bool kept;              /* of a query: it has a partial answer, and hopes for a better one */
    uint64_t images_scored; /* then: what the best so far covers */
    uint64_t scores;        /* that came of it */
    unsigned faults;
    struct cm_blob *map;
};

struct sim_client {
    struct sim *sim;
    struct sim_host host;
    uint64_t start_ns; /* while no process runs: when the next one starts */
    bool open;         /* it has seen the cluster's status */
    bool evaluates, wants_scores;
    struct sim_flight flights[SIM_FLOOD_WINDOW]; /* [window] */
    unsigned window;
    unsigned coverage;            /* the least that satisfies it, in a hundred */
    uint64_t ask_ns, patience_ns; /* how long a silence is until it asks why; until it gives up */
    uint64_t next_id, total;      /* queries that it began, that it has */
    uint64_t next_new_ns;         /* when it has the next one ready */
    uint64_t heard_ns;
    uint64_t asked_ns; /* when it last asked for the status */
    bool starved; /* a shard is not served: one evaluation asks again, the others wait for it */
    uint64_t wake_ns;
    uint64_t status_id;
};

/* No process runs yet; the first one starts soon. */
void sim_client_init(struct sim *sim, unsigned index);
/* A process dies or ends; the next one starts after a while. Nothing if none runs. */
void sim_client_end(struct sim *sim, struct sim_client *c, bool dies);
void sim_client_freeze(struct sim *sim, struct sim_client *c, uint64_t until_ns);
/* It asks far more at once than the coordinator lets wait. */
void sim_client_flood(struct sim *sim, struct sim_client *c);

/* Requests that it waits for. */
unsigned sim_client_flights(const struct sim_client *c);

/* A message arrives; borrowed. */
void sim_client_get(struct sim *sim, struct sim_client *c, const struct sim_message *m);

/* Offers what it does next to the agenda. */
void sim_client_offer(struct sim *sim, struct sim_client *c);

#endif
