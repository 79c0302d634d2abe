/* world.c: see world.h. */
#include "tests/sim/world.h"

#include "common/assert.h"
#include "tests/sim/bugs.h"
#include "tests/sim/checks.h"
#include "tests/sim/faults.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define START_NS UINT64_C(1000000000)

enum { STEPS_MAX = 3000000 };

/* --- small things ----------------------------------------------------------------------------- */

uint64_t sim_below(struct sim *sim, uint64_t end)
{
    return test_random_below(&sim->random, end);
}

uint64_t sim_between(struct sim *sim, uint64_t least, uint64_t most)
{
    return least + sim_below(sim, most - least + 1);
}

bool sim_chance(struct sim *sim, unsigned percent)
{
    return sim_below(sim, 100) < percent;
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    va_list arguments;
    if (sim_failed(sim))
        return;
    va_start(arguments, fmt);
    vsnprintf(sim->failure, sizeof sim->failure, fmt, arguments);
    va_end(arguments);
}

bool sim_failed(const struct sim *sim)
{
    return sim->failure[0] != '\0';
}

struct sim_host *sim_host(struct sim *sim, unsigned i)
{
    return i < SIM_WORKERS_MAX ? &sim->workers[i].host : &sim->clients[i - SIM_WORKERS_MAX].host;
}

void sim_host_get(struct sim *sim, struct sim_host *h, const struct sim_message *m)
{
    unsigned i = 0;
    while (sim_host(sim, i) != h)
        i++;
    if (i < SIM_WORKERS_MAX)
        sim_worker_get(sim, &sim->workers[i], m);
    else
        sim_client_get(sim, &sim->clients[i - SIM_WORKERS_MAX], m);
}

/* --- maps ------------------------------------------------------------------------------------- */

struct map {
    float floats[FAKE_MAP_FLOATS];
    struct sim *sim;
};

static void release_map(void *owner)
{
    struct map *map = owner;
    map->sim->maps_alive--;
    free(map);
}

struct cm_blob *sim_map(struct sim *sim, uint64_t number)
{
    struct map *map = malloc(sizeof *map);
    struct cm_blob *blob;
    struct cm_error e;
    CM_ASSERT(map != NULL);
    *map = (struct map){{(float)number, 1.0f, -2.5f, 0.0f}, sim};
    CM_ASSERT(cm_blob_new(&blob, map->floats, sizeof map->floats, release_map, map, &e) == CM_OK);
    sim->maps_alive++;
    return blob;
}

uint64_t sim_map_number(const struct cm_blob *map)
{
    float number;
    memcpy(&number, cm_blob_data(map), sizeof number);
    return (uint64_t)number;
}

int64_t sim_pid_of(const struct sim *sim, uint64_t number)
{
    return 1 + (int64_t)(number % (sim->plan.gallery.images / 3 + 1));
}

int32_t sim_camid_of(uint64_t number)
{
    return (int32_t)(number % 5);
}

/* --- life ------------------------------------------------------------------------------------- */

struct sim *sim_new(uint64_t seed, const struct sim_bug *bug, bool print)
{
    struct sim *sim = calloc(1, sizeof *sim);
    CM_ASSERT(sim != NULL);
    sim->seed = sim->random.state = seed;
    sim->bug = bug;
    sim->trace.print = print;
    sim->now_ns = START_NS;
    sim_plan_draw(&sim->plan, &sim->random, sim_faults_count(), sim_faults_gentle());
    sim->heal_ns = START_NS + sim->plan.chaos_ns;
    sim->quiet_ns = sim->heal_ns + SIM_SETTLE_NS;
    sim->drain_ns = sim->quiet_ns + SIM_PROVE_NS;
    sim->end_ns = sim->drain_ns + SIM_DRAIN_NS;
    sim->next_fault_ns = START_NS + sim_below(sim, sim->plan.gap_ns);
    sim->excuses = 1u << PR_REASON_DEADLINE | 1u << PR_REASON_NO_WORKER;
    if (sim->plan.tight_queues) /* who cannot be told to stop is forgotten */
        sim->excuses |= 1u << PR_REASON_OVERLOAD | 1u << PR_REASON_WORKER_LOST;
    if (!sim_plan_is_fair(&sim->plan))
        sim->excuses = UINT32_MAX;
    for (uint64_t i = 0; i < sim->plan.gallery.images; i++)
        fake_meta(i, sim->names[i]);
    for (unsigned i = 0; i < sim->plan.places_count; i++)
        sim->place_start_ns[i] = START_NS + sim->plan.places[i].start_ns;
    for (unsigned i = 0; i < sim->plan.places_count; i++)
        sim->disks[i].whole = sim->plan.places[i].shards;
    for (unsigned i = 0; i < sim->plan.clients_count; i++)
        sim_client_init(sim, i);
    sim_coordinator_start(sim);
    return sim;
}

void sim_free(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        sim_client_end(sim, &sim->clients[i], true);
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        sim_worker_end(sim, &sim->workers[i], true);
    sim_coordinator_end(sim, true);
    sim_net_clear(sim);
    free(sim->state.text);
    sim_message_free(sim->stale);
    free(sim);
}

/* --- steps ------------------------------------------------------------------------------------ */

void sim_offer(struct sim *sim, uint64_t due_ns, void (*run)(struct sim *sim, void *arg), void *arg)
{
    struct sim_agenda *a = &sim->agenda;
    if (due_ns < sim->now_ns)
        due_ns = sim->now_ns;
    if (due_ns > a->due_ns || due_ns == UINT64_MAX)
        return;
    a->ties = due_ns < a->due_ns ? 1 : a->ties + 1;
    if (a->ties == 1 || sim_below(sim, a->ties) == 0) {
        a->run = run;
        a->arg = arg;
    }
    a->due_ns = due_ns;
}

static void start_worker(struct sim *sim, void *arg)
{
    unsigned place = (unsigned)((uint64_t *)arg - sim->place_start_ns), i = 0;
    while (i < SIM_WORKERS_MAX && sim->workers[i].core)
        i++;
    CM_ASSERT(i < SIM_WORKERS_MAX);
    sim_worker_start(sim, i, place);
}

static void strike(struct sim *sim, void *arg)
{
    (void)arg;
    sim_faults_strike(sim);
    sim->next_fault_ns = sim->now_ns + 1 + sim_below(sim, sim->plan.gap_ns);
}

static void heal(struct sim *sim, void *arg)
{
    (void)arg;
    sim->healed = true;
    sim_faults_heal(sim);
}

static void prove(struct sim *sim, void *arg)
{
    (void)arg;
    sim->proved = true;
    if (sim_plan_is_fair(&sim->plan))
        sim_check_quiet(sim);
}

static void offer_all(struct sim *sim)
{
    sim->agenda = (struct sim_agenda){.due_ns = UINT64_MAX};
    sim_net_offer(sim);
    sim_coordinator_offer(sim);
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        sim_worker_offer(sim, &sim->workers[i]);
    for (unsigned i = 0; i < sim->plan.clients_count; i++)
        sim_client_offer(sim, &sim->clients[i]);
    for (unsigned i = 0; i < sim->plan.places_count; i++)
        if (sim_workers_at(sim, i) == 0)
            sim_offer(sim, sim->place_start_ns[i], start_worker, &sim->place_start_ns[i]);
    if (sim->next_fault_ns < sim->heal_ns)
        sim_offer(sim, sim->next_fault_ns, strike, NULL);
    if (!sim->healed)
        sim_offer(sim, sim->heal_ns, heal, NULL);
    else if (!sim->proved)
        sim_offer(sim, sim->quiet_ns, prove, NULL);
    sim_faults_offer(sim);
}

/* For the summary: since when has everything been whole? */
static void note_whole(struct sim *sim)
{
    char why[200];
    if (!sim->healed || sim->proved)
        return;
    if (!sim_is_whole(sim, why, sizeof why))
        sim->whole_ns = 0;
    else if (!sim->whole_ns)
        sim->whole_ns = sim->now_ns;
}

static bool is_done(const struct sim *sim)
{
    bool done = sim->now_ns >= sim->drain_ns && sim_net_is_empty(sim);
    for (unsigned i = 0; i < SIM_CLIENTS_MAX; i++)
        done &= sim->clients[i].host.process == 0;
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        done &= sim->workers[i].jobs_out == 0 || !sim->workers[i].core;
    return done;
}

static void step(struct sim *sim)
{
    sim_bug_step(sim);
    offer_all(sim);
    sim->now_ns = sim->agenda.due_ns;
    sim->agenda.run(sim, sim->agenda.arg);
    sim->sums.steps++;
    sim_check_pools(sim);
    sim_check_deadlines(sim);
    sim_check_placing(sim);
    note_whole(sim);
    if (sim->sums.steps > STEPS_MAX)
        sim_fail(sim, "%d steps and no end", STEPS_MAX);
}

bool sim_run(struct sim *sim)
{
    while (!sim_failed(sim) && sim->now_ns < sim->end_ns && !is_done(sim))
        step(sim);
    if (!sim_failed(sim) && sim_plan_is_fair(&sim->plan))
        sim_check_end(sim);
    return !sim_failed(sim);
}
