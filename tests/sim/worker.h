/* worker.h: a worker's process: the real core, with threads that take their time. */
#ifndef SIM_WORKER_H
#define SIM_WORKER_H

#include "tests/sim/net.h"
#include "tests/sim/placing.h"
#include "tests/sim/plan.h"
#include "worker/core.h"

#include <stdbool.h>
#include <stdint.h>

/* As large as a plan may ask for. */
enum {
    SIM_JOBS_MAX = 4,
    SIM_SCORED_MAX = 2 * CM_WORKER_CREDITS,
};

/* What the threads have scored for one search. */
struct sim_scored {
    const struct wk_search *search; /* told by its address, which serves again later */
    uint64_t id, number;
    uint32_t k;
    uint64_t images[SIM_SHARDS_MAX]; /* a bit each */
};

struct sim_worker {
    struct sim *sim;
    struct sim_host host;
    unsigned place;
    char node[16];
    struct wk_core *core;                /* NULL: no process lives here */
    struct wk_held held[SIM_SHARDS_MAX]; /* by their numbers; images 0: not here */
    char endpoint[24];                   /* where others get shards */
    struct sim_fetch fetch;
    uint64_t ahead_ns; /* its clock's, of everybody else's */
    struct wk_job *jobs[SIM_JOBS_MAX];
    uint64_t jobs_due_ns[SIM_JOBS_MAX];
    uint64_t slow_until_ns; /* its threads take slow_times as long */
    uint64_t slow_times;
    unsigned jobs_out;
    struct sim_scored scored[SIM_SCORED_MAX]; /* of each search that is here, and of some past */
    bool refused;
    bool leaving; /* SIGTERM came */
    uint64_t leave_by_ns;
    bool dismissed;
    uint64_t obeyed_epoch; /* the highest of any PLACE that it got since its WELCOME */
    uint32_t rotten; /* shards that are half there, and served all the same: a planted bug's */
    uint64_t bad_blocks[SIM_SHARDS_MAX]; /* by shard: blocks that cannot be read, a bit each */
};

/* A new process at a place, on a host where none lives. */
void sim_worker_start(struct sim *sim, unsigned index, unsigned place);
/* It dies, or ends. Nothing if none lives there. */
void sim_worker_end(struct sim *sim, struct sim_worker *w, bool dies);
/* SIGTERM: it says LEAVING, finishes what it has, and ends. */
void sim_worker_leave(struct sim *sim, struct sim_worker *w);
void sim_worker_freeze(struct sim *sim, struct sim_worker *w, uint64_t until_ns);

/* The processes that live at a place, and one of them. */
unsigned sim_workers_at(const struct sim *sim, unsigned place);
struct sim_worker *sim_worker_at(struct sim *sim, unsigned place);

/* A message arrives; borrowed. */
void sim_worker_get(struct sim *sim, struct sim_worker *w, const struct sim_message *m);

/* Offers what it does next to the agenda. */
void sim_worker_offer(struct sim *sim, struct sim_worker *w);

#endif
