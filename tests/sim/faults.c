/* faults.c: see faults.h. */
#include "tests/sim/faults.h"

#include "common/io/socket.h"
#include "tests/sim/world.h"

/* What a fault may cost a reply. An evaluation that would have to wait for another worker's credit
 * ends as overloaded. */
enum {
    LOST = 1 << PR_REASON_WORKER_LOST | 1 << PR_REASON_OVERLOAD,
    CORRUPT = 1 << PR_REASON_CORRUPT | 1 << PR_REASON_OVERLOAD,
};

/* A worker that runs, by lot; NULL if the lot falls on none. */
static struct sim_worker *some_worker(struct sim *sim)
{
    struct sim_worker *w = &sim->workers[sim_below(sim, SIM_WORKERS_MAX)];
    for (unsigned i = 0; i < SIM_WORKERS_MAX && !w->core; i++)
        w = &sim->workers[sim_below(sim, SIM_WORKERS_MAX)];
    return w->core ? w : NULL;
}

static struct sim_client *some_client(struct sim *sim)
{
    struct sim_client *c = &sim->clients[sim_below(sim, sim->plan.clients_count)];
    return c->host.process ? c : NULL;
}

static struct sim_host *some_host(struct sim *sim)
{
    struct sim_worker *w = sim_chance(sim, 75) ? some_worker(sim) : NULL;
    struct sim_client *c = w ? NULL : some_client(sim);
    return w ? &w->host : c ? &c->host : NULL;
}

/* Most pass before anybody gives up; some last longer than ZeroMQ's patience. */
static uint64_t some_while(struct sim *sim)
{
    return sim->now_ns +
           (sim_chance(sim, 70) ? sim_below(sim, 4000 * SIM_MS) : sim_below(sim, 20000 * SIM_MS));
}

static void kill_worker(struct sim *sim)
{
    struct sim_worker *w = some_worker(sim);
    if (w)
        sim_worker_end(sim, w, true);
}

static void stop_worker(struct sim *sim)
{
    struct sim_worker *w = some_worker(sim);
    if (w)
        sim_worker_leave(sim, w);
}

static void freeze_worker(struct sim *sim)
{
    struct sim_worker *w = some_worker(sim);
    if (w) {
        sim_note(sim, "%s freezes", w->host.name);
        sim_worker_freeze(sim, w, some_while(sim));
    }
}

/* A second process under the name of one that is out of sight: cut off or standing still, but not
 * dead. */
static void start_twin(struct sim *sim)
{
    struct sim_worker *w = some_worker(sim);
    unsigned i = 0;
    if (!w || sim_workers_at(sim, w->place) != 1 || sim->plan.places_shards)
        return; /* the second one would not get the lock of the store */
    while (i < SIM_WORKERS_MAX && sim->workers[i].core)
        i++;
    if (i == SIM_WORKERS_MAX)
        return;
    if (sim_chance(sim, 50))
        sim_worker_freeze(sim, w, some_while(sim));
    else
        sim_net_cut(sim, &w->host, true, true, some_while(sim));
    sim_note(sim, "%s is out of sight", w->host.name);
    sim_worker_start(sim, i, w->place);
}

static void kill_coordinator(struct sim *sim)
{
    sim_coordinator_end(sim, true);
}

static void stop_coordinator(struct sim *sim)
{
    sim_coordinator_stop(sim);
}

static void freeze_coordinator(struct sim *sim)
{
    sim_note(sim, "co freezes");
    sim_coordinator_freeze(sim, some_while(sim));
}

static void kill_client(struct sim *sim)
{
    struct sim_client *c = some_client(sim);
    if (c)
        sim_client_end(sim, c, true);
}

static void freeze_client(struct sim *sim)
{
    struct sim_client *c = some_client(sim);
    if (c) {
        sim_note(sim, "%s freezes", c->host.name);
        sim_client_freeze(sim, c, some_while(sim));
    }
}

static void cut_host(struct sim *sim)
{
    struct sim_host *h = some_host(sim);
    uint64_t way = sim_below(sim, 4);
    if (!h)
        return;
    sim_note(sim, "%s is cut off%s", h->name, way == 0 ? ", up" : way == 1 ? ", down" : "");
    sim_net_cut(sim, h, way != 1, way != 0, some_while(sim));
}

/* All that two or more hosts share breaks at once: a switch. */
static void cut_many(struct sim *sim)
{
    uint64_t until_ns = some_while(sim);
    sim_note(sim, "a switch fails");
    for (unsigned i = 0; i < SIM_HOSTS_MAX; i++)
        if (sim_chance(sim, 50))
            sim_net_cut(sim, sim_host(sim, i), true, true, until_ns);
}

static void reset(struct sim *sim, struct sim_host *h)
{
    if (!h->conn || h->conn->ended)
        return;
    bool late = sim_chance(sim, 65);
    sim_note(sim, "%s's connection is reset%s", h->name, late ? ", which co hears late" : "");
    sim_net_reset(sim, h->conn, late);
}

static void reset_connection(struct sim *sim)
{
    struct sim_host *h = some_host(sim);
    if (h)
        reset(sim, h);
}

static uint64_t next_reset_ns(struct sim *sim)
{
    return sim->now_ns + sim_between(sim, 100 * SIM_MS, 1500 * SIM_MS);
}

/* A bad cable: one reset after the other. */
static void make_flaky(struct sim *sim)
{
    struct sim_host *h = some_host(sim);
    if (!h)
        return;
    sim_note(sim, "%s's network is flaky", h->name);
    h->flaky_until_ns = some_while(sim);
    h->reset_ns = next_reset_ns(sim);
}

static void slow_down(struct sim *sim)
{
    struct sim_host *h = some_host(sim);
    if (!h)
        return;
    sim_note(sim, "%s's network is slow", h->name);
    h->slow_until_ns = some_while(sim);
}

/* Another process takes the worker's processors. */
static void slow_worker(struct sim *sim)
{
    struct sim_worker *w = some_worker(sim);
    if (!w)
        return;
    w->slow_times = sim_chance(sim, 50) ? 10 : 50;
    w->slow_until_ns = sim->now_ns + sim_below(sim, 20000 * SIM_MS);
    sim_note(sim, "%s is %u times slower", w->host.name, (unsigned)w->slow_times);
}

/* A block on a worker's disk, until the process is started again. */
static void corrupt_block(struct sim *sim)
{
    struct sim_worker *w = some_worker(sim);
    if (!w)
        return;
    uint64_t shard = sim_below(sim, sim->plan.gallery.shards);
    if (w->held[shard].images == 0)
        return;
    sim_note(sim, "%s cannot read a block of shard %u", w->host.name, w->held[shard].shard);
    w->bad_blocks[shard] |= UINT64_C(1) << sim_below(sim, w->held[shard].blocks);
}

/* Bytes that are no message: at a worker, or from somebody at the coordinator. */
static void send_garbage(struct sim *sim)
{
    unsigned char bytes[40];
    struct cm_bytes header = {bytes, 1 + sim_below(sim, sizeof bytes)};
    struct sim_worker *w = some_worker(sim);
    struct cm_peer from = w && w->host.conn ? w->host.conn->peer : sim_peer("stranger");
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)sim_below(sim, 256);
    sim_note(sim, "garbage");
    if (w && sim->now_ns >= w->host.frozen_until_ns && sim_chance(sim, 50))
        wk_on_message(w->core, header, NULL);
    else if (sim->co.core && sim->now_ns >= sim->co.frozen_until_ns)
        co_on_message(sim->co.core, &from, header, NULL);
}

static void flood(struct sim *sim)
{
    struct sim_client *c = some_client(sim);
    if (c)
        sim_client_flood(sim, c);
}

/* Several ask more at once than all of them may have waiting. */
static void crowd(struct sim *sim)
{
    for (unsigned i = 0; i < sim->plan.clients_count; i++)
        if (sim->clients[i].host.process && sim_chance(sim, 70))
            sim_client_flood(sim, &sim->clients[i]);
}

/* The coordinator's disk is full. */
static void fill_disk(struct sim *sim)
{
    sim_note(sim, "the coordinator's disk is full");
    sim->state.full_until_ns = some_while(sim);
}

struct fault {
    const char *name;
    uint32_t excuses; /* reasons that replies may give from then on */
    void (*strike)(struct sim *sim);
};

static const struct fault table[] = {
    {"kill-worker", LOST, kill_worker},
    {"stop-worker", 0, stop_worker},
    {"freeze-worker", LOST, freeze_worker},
    {"twin", LOST, start_twin},
    {"kill-coordinator", LOST, kill_coordinator},
    {"stop-coordinator", LOST, stop_coordinator},
    {"freeze-coordinator", LOST, freeze_coordinator},
    {"kill-client", 0, kill_client},
    {"freeze-client", 0, freeze_client},
    {"cut", LOST, cut_host},
    {"cut-many", LOST, cut_many},
    {"reset", LOST, reset_connection},
    {"flaky", LOST, make_flaky},
    {"slow-network", LOST, slow_down},
    {"corrupt", CORRUPT, corrupt_block},
    {"garbage", 0, send_garbage},
    {"flood", 0, flood},
    {"crowd", 0, crowd},
    {"drain", 0, sim_operate_drain},
    {"replicas", 0, sim_operate_replicas},
    {"full-disk", 0, fill_disk},
    {"slow-worker", 0, slow_worker},
};

enum { FAULTS = sizeof table / sizeof table[0] };

unsigned sim_faults_count(void)
{
    return FAULTS;
}

uint64_t sim_faults_gentle(void)
{
    uint64_t gentle = 0;
    for (unsigned i = 0; i < FAULTS; i++)
        gentle |= (uint64_t)(table[i].excuses == 0) << i;
    return gentle;
}

void sim_faults_strike(struct sim *sim)
{
    unsigned i = (unsigned)sim_below(sim, FAULTS);
    if (sim->plan.faults == 0)
        return;
    while (!(sim->plan.faults >> i & 1))
        i = (unsigned)sim_below(sim, FAULTS);
    sim->excuses |= table[i].excuses;
    sim->sums.faults++;
    table[i].strike(sim);
}

void sim_faults_heal(struct sim *sim)
{
    sim_note(sim, "from here on all is made good");
    for (unsigned i = 0; i < SIM_HOSTS_MAX; i++) {
        struct sim_host *h = sim_host(sim, i);
        h->frozen_until_ns = h->slow_until_ns = h->flaky_until_ns = 0;
        h->room = IO_QUEUE_OUT;
        sim_net_mend(sim, h);
    }
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        sim->workers[i].slow_until_ns = 0;
        for (uint32_t s = 0; s < SIM_SHARDS_MAX; s++)
            sim->workers[i].bad_blocks[s] = 0;
    }
    sim->state.full_until_ns = 0;
    if (sim->co.frozen_until_ns > sim->now_ns)
        sim->co.frozen_until_ns = sim->now_ns;
}

static void mend(struct sim *sim, void *arg)
{
    struct sim_host *h = arg;
    sim_note(sim, "%s is no longer cut off", h->name);
    sim_net_mend(sim, h);
}

static void reset_again(struct sim *sim, void *arg)
{
    struct sim_host *h = arg;
    reset(sim, h);
    h->reset_ns = next_reset_ns(sim);
}

void sim_faults_offer(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_HOSTS_MAX; i++) {
        struct sim_host *h = sim_host(sim, i);
        if (h->cut[SIM_UP] || h->cut[SIM_DOWN])
            sim_offer(sim, h->cut_until_ns, mend, h);
        if (sim->now_ns < h->flaky_until_ns)
            sim_offer(sim, h->reset_ns, reset_again, h);
    }
}
