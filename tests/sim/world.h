/* world.h: a whole cluster in one process, on a fake clock: the real cores of coordinator and
 * workers, clients that do as `vitrine search` and `vitrine eval` do, and a network that behaves as
 * ZeroMQ does. One seed decides all of it. What the files of the simulator share.
 *
 *      0 ---- faults strike ----> heal ---- 20 s ----> quiet ---- 4 s ----> drain ----> end
 *
 * At `heal` everything that was broken is made good, whatever was down starts again. From `quiet`
 * on the cluster has to be whole: each worker is a member, each answer covers the gallery. At
 * `drain` clients ask no more; at the end nobody has anything left.
 *
 * One step is one event: a message arrives, a timer runs out, a job is done, a fault strikes. After
 * each, everything in checks.h is checked. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "tests/sim/client.h"
#include "tests/sim/coordinator.h"
#include "tests/sim/ledger.h"
#include "tests/sim/net.h"
#include "tests/sim/placing.h"
#include "tests/sim/plan.h"
#include "tests/sim/trace.h"
#include "tests/sim/worker.h"
#include "tests/support/fake_gallery.h"
#include "tests/support/random.h"

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SIM_WORKERS_MAX = 2 * SIM_PLACES_MAX, /* processes: a place may have two for a while */
    SIM_HOSTS_MAX = SIM_WORKERS_MAX + SIM_CLIENTS_MAX,
};

#define SIM_SETTLE_NS (20000 * SIM_MS) /* from heal to quiet: ZeroMQ's patience, and some */
#define SIM_PROVE_NS  (4000 * SIM_MS)  /* from quiet to drain */
#define SIM_DRAIN_NS  (60000 * SIM_MS) /* from drain to the end, at most */

/* The next event, as it is being looked for: the earliest; of several, one by lot. */
struct sim_agenda {
    uint64_t due_ns;
    uint64_t ties;
    void (*run)(struct sim *sim, void *arg);
    void *arg;
};

/* What happened, for the summary: a simulator that is too tame proves nothing. */
struct sim_sums {
    uint64_t steps, messages, jobs;
    uint64_t whole, partial;       /* answers */
    uint64_t measured, unmeasured; /* evaluations */
    uint64_t errors;               /* answered with ERROR */
    uint64_t busy;                 /* of those, refused as busy */
    uint64_t faults;
    uint64_t joined, refused; /* workers */
    uint64_t lost_clients;    /* that gave up */
    uint64_t fetched;         /* shards, by workers from others */
    uint64_t drained;         /* workers, to their end */
    uint64_t hedged;          /* shards asked of a second worker, since the first was late */
    uint64_t probes;          /* SEARCHes that show how slow a worker is */
};

static_assert(sizeof(struct sim_sums) % sizeof(uint64_t) == 0, "it is summed as an array");

struct sim {
    uint64_t seed;
    struct test_random random;
    struct sim_plan plan;
    const struct sim_bug *bug; /* planted; or NULL */
    struct sim_trace trace;
    uint64_t now_ns;
    uint64_t heal_ns, quiet_ns, drain_ns, end_ns;
    uint64_t next_fault_ns;
    bool healed, proved;
    uint64_t whole_ns; /* since when all workers have been members */
    struct sim_agenda agenda;
    struct sim_coordinator co;
    struct sim_worker workers[SIM_WORKERS_MAX];
    struct sim_client clients[SIM_CLIENTS_MAX];
    uint64_t place_start_ns[SIM_PLACES_MAX]; /* when its next process starts */
    struct sim_disk disks[SIM_PLACES_MAX];   /* they outlast the processes */
    struct sim_state state;                  /* likewise */
    struct sim_message *stale; /* an order that a planted bug keeps back, and for whom */
    struct cm_peer stale_to;
    struct sim_net net;
    struct sim_ledger ledger;
    uint64_t processes;   /* numbers of processes given out */
    uint64_t next_number; /* of a request, over all clients */
    uint64_t maps_alive;  /* feature maps that somebody holds */
    uint32_t excuses;     /* reasons that a reply may give by now: bits of enum pr_reason */
    char names[SIM_IMAGES_MAX][FAKE_NAME_BYTES];
    struct sim_sums sums;
    char failure[400]; /* the first check that did not hold; "" for none */
};

/* A world at its beginning. `bug` may be NULL. Never fails. */
struct sim *sim_new(uint64_t seed, const struct sim_bug *bug, bool print);
void sim_free(struct sim *sim);
/* Runs it to its end, or to the first failure. True if all held. */
bool sim_run(struct sim *sim);

/* Notes that a check did not hold: the run ends with this step. The first one counts. */
void sim_fail(struct sim *sim, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sim_failed(const struct sim *sim);
/* A line for the trace. */
#define sim_note(sim, ...) sim_trace_add(&(sim)->trace, (sim)->now_ns, __VA_ARGS__)

/* Offers an event to the agenda. UINT64_MAX: never. What is overdue is due now. */
void sim_offer(struct sim *sim, uint64_t due_ns, void (*run)(struct sim *sim, void *arg),
               void *arg);

/* Numbers by lot: below `end`; from least to most; true `parts` times in a hundred. */
uint64_t sim_below(struct sim *sim, uint64_t end);
uint64_t sim_between(struct sim *sim, uint64_t least, uint64_t most);
bool sim_chance(struct sim *sim, unsigned percent);

/* The later of two moments. */
static inline uint64_t sim_later(uint64_t a_ns, uint64_t b_ns)
{
    return a_ns > b_ns ? a_ns : b_ns;
}

/* Has the cluster had its time to become whole? */
static inline bool sim_is_quiet(const struct sim *sim)
{
    return sim->now_ns >= sim->quiet_ns;
}

/* Host number `i`: first the workers', then the clients'. */
struct sim_host *sim_host(struct sim *sim, unsigned i);
/* A message arrives at whoever lives there. */
void sim_host_get(struct sim *sim, struct sim_host *h, const struct sim_message *m);

/* The map of request number `number`; the caller drops the reference. Counted in maps_alive. */
struct cm_blob *sim_map(struct sim *sim, uint64_t number);
/* The number of the request whose map this is. */
uint64_t sim_map_number(const struct cm_blob *map);

/* The labels of an evaluation. */
int64_t sim_pid_of(const struct sim *sim, uint64_t number);
int32_t sim_camid_of(uint64_t number);

#endif
