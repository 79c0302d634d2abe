/* coordinator.h: the coordinator's process: the real core, killed, stopped, frozen, started again.
 */
#ifndef SIM_COORDINATOR_H
#define SIM_COORDINATOR_H

#include "common/types.h"
#include "coordinator/core.h"
#include "tests/sim/net.h"

#include <stdbool.h>
#include <stdint.h>

struct sim_coordinator {
    struct co_core *core; /* NULL while no process runs */
    uint64_t start_ns;    /* when this process started; while none runs, when the next one does */
    bool settled;         /* every shard was served once, or settle_ns are over */
    uint64_t frozen_until_ns;
    bool stopping; /* SIGTERM came */
    uint64_t stop_by_ns;
    uint64_t epoch;    /* the highest that this process has sent */
    uint64_t requests; /* shards that it has asked for, of queries; */
    uint64_t hedges;   /* as hedges, by its own word */
};

/* A new process. */
void sim_coordinator_start(struct sim *sim);
/* It dies, or ends; the next one starts after a while. Nothing if none runs. */
void sim_coordinator_end(struct sim *sim, bool dies);
/* SIGTERM: it takes no more, finishes what it has, and ends. */
void sim_coordinator_stop(struct sim *sim);
void sim_coordinator_freeze(struct sim *sim, uint64_t until_ns);

/* A message arrives; borrowed. */
void sim_coordinator_get(struct sim *sim, struct sim_conn *from, struct sim_message *m);
/* The end of a connection is told. */
void sim_coordinator_on_end(struct sim *sim, const struct cm_peer *who);

/* Offers what it does next to the agenda. */
void sim_coordinator_offer(struct sim *sim);

#endif
