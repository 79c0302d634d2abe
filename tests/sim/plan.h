/* plan.h: what one seed's world is like: its gallery, its workers and clients, its network, and
 * which faults strike how often. Drawn once, before anything happens, and each seed differs: some
 * know no fault, some only one kind, some all. */
#ifndef SIM_PLAN_H
#define SIM_PLAN_H

#include "proto/wire/gallery_info.h"
#include "tests/support/random.h"
#include "worker/worker.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_MS UINT64_C(1000000)

enum {
    SIM_SHARDS_MAX = 6,
    SIM_SHARD_IMAGES_MAX = 40, /* at most 64: a bit for each says what was scored */
    SIM_IMAGES_MAX = SIM_SHARDS_MAX * SIM_SHARD_IMAGES_MAX,
    SIM_PLACES_MAX = 5,
    SIM_CLIENTS_MAX = 4,
};

/* A worker as an operator describes it; processes come and go. */
struct sim_place {
    uint32_t shards; /* held, or on its disk to begin with: a bit each */
    uint32_t credits, jobs;
    uint64_t job_ns; /* one job's time, at most */
    uint64_t result_every_ns;
    uint64_t start_ns; /* when its first process starts */
};

/* How a message may fare that ZeroMQ would have carried in order: each in a thousand. All 0 in a
 * world that is as ZeroMQ is. */
struct sim_hostility {
    uint32_t lost, twice, overtaken;
};

struct sim_plan {
    struct pr_gallery_info gallery;
    struct wk_held shards[SIM_SHARDS_MAX]; /* [gallery.shards] */
    uint32_t places_count;
    struct sim_place places[SIM_PLACES_MAX];
    uint32_t clients_count;
    uint32_t evaluations; /* clients, in a hundred, that evaluate */
    uint64_t pace_ns;     /* between two queries of a client, at most */
    uint64_t heartbeat_ns, dead_after_ns;
    uint64_t settle_ns; /* a coordinator's: so long it waits for shards after its start */
    uint64_t delay_ns;  /* of one message, at most */
    bool tight_queues; /* few messages to one worker may wait at the coordinator, until all heals */
    struct sim_hostility hostility;
    bool places_shards;        /* the coordinator says who holds what */
    uint32_t replicas;         /* then: to begin with */
    uint64_t replace_after_ns; /* likewise */
    uint64_t fetch_ns;         /* one shard's way to a worker, at most */
    uint32_t hedge_percent;
    bool demotes_late;
    uint64_t faults;   /* which strike: bits in the order of the table in faults.c */
    uint64_t gap_ns;   /* between two faults, at most */
    uint64_t chaos_ns; /* for so long they strike */
};

/* Draws a plan; `faults_count` is how many kinds there are, `gentle` are those that may cost no
 * reply anything. */
void sim_plan_draw(struct sim_plan *p, struct test_random *r, unsigned faults_count,
                   uint64_t gentle);

/* Does ZeroMQ's order hold, so that what the protocol promises must come true? */
static inline bool sim_plan_is_fair(const struct sim_plan *p)
{
    return p->hostility.lost + p->hostility.twice + p->hostility.overtaken == 0;
}

/* The images of shard `s`, a bit each. */
static inline uint64_t sim_plan_whole(const struct sim_plan *p, uint32_t s)
{
    return (UINT64_C(1) << p->shards[s].images) - 1;
}

#endif
