/* placing.h: what a cluster that places shards has besides: disks, the coordinator's state file,
 * transfers between workers, and an operator. */
#ifndef SIM_PLACING_H
#define SIM_PLACING_H

#include "common/err.h"
#include "proto/wire/sources.h"
#include "tests/sim/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;
struct sim_worker;

/* A worker's folder. */
struct sim_disk {
    uint32_t whole; /* shards that are there, verified: a bit each */
    uint32_t parts; /* shards of which a part is there */
};

/* The coordinator's file. */
struct sim_state {
    char *text;             /* NULL: none yet */
    uint64_t full_until_ns; /* the disk that it is on takes nothing */
    uint64_t epoch;         /* the highest that anybody was ever told */
};

/* A shard on its way to a worker. */
struct sim_fetch {
    bool on;
    uint32_t shard;
    struct pr_sources sources;
    uint64_t due_ns;
};

/* co_io.save. */
enum cm_err sim_state_save(void *ctx, const char *text, struct cm_error *e);

/* wk_io's effects on shards that come and go. */
void sim_place_fetch(void *ctx, uint32_t shard, const struct pr_sources *sources);
void sim_place_abandon(void *ctx, bool forget);
void sim_place_release(void *ctx, uint32_t shard);

/* The process dies: what was on its way stays as a part. */
void sim_place_crash(struct sim *sim, struct sim_worker *w);
void sim_place_offer(struct sim *sim, struct sim_worker *w);

/* The operator, by lot. */
void sim_operate_drain(struct sim *sim);
void sim_operate_replicas(struct sim *sim);

/* After every step: no shard is lost, the placement keeps its promises. */
void sim_check_placing(struct sim *sim);
/* Is every shard where it is to be, and nowhere else? */
bool sim_is_placed(const struct sim *sim, char *why, size_t size);

#endif
