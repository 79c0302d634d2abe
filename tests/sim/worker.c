/* worker.c: see worker.h. */
#include "tests/sim/worker.h"

#include "common/assert.h"
#include "common/io/socket.h"
#include "proto/wire/place.h"
#include "tests/sim/bugs.h"
#include "tests/sim/checks.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define RESTART_MIN_NS (200 * SIM_MS)
#define RESTART_MAX_NS (5000 * SIM_MS)
#define DRAIN_NS       (10000 * SIM_MS) /* as IO_DRAIN_MS */
#define AHEAD_MAX_NS   (1000000 * SIM_MS)

enum {
    PACKED_BYTES = 64,
    SPARE = 4, /* room in a tight queue for more than the searches that the worker granted */
};

/* --- the io ----------------------------------------------------------------------------------- */

static enum cm_err send(void *ctx, struct cm_bytes header, struct cm_blob *payload,
                        struct cm_error *e)
{
    struct sim_worker *w = ctx;
    struct sim_message *m = sim_message_new(header, payload);
    unsigned times = sim_bug_leaving_worker(w->sim, w, m);
    enum cm_err rc = CM_OK;
    sim_check_worker_sent(w->sim, w, m);
    for (unsigned i = 0; i < times; i++)
        rc = sim_net_send_up(w->sim, &w->host, sim_message_copy(m), e);
    sim_note(w->sim, "%s -> %s %llu%s", w->host.name, pr_type_name(m->envelope.type),
             (unsigned long long)m->envelope.id.v, rc ? ": unsent" : "");
    sim_message_free(m);
    return rc;
}

static void reconnect(void *ctx)
{
    struct sim_worker *w = ctx;
    sim_net_hang_up(w->sim, &w->host, false);
    sim_net_dial(w->sim, &w->host);
    sim_note(w->sim, "%s dials anew", w->host.name);
}

static void start(void *ctx, struct wk_job *job)
{
    struct sim_worker *w = ctx;
    uint64_t takes_ns = 1 + sim_below(w->sim, w->sim->plan.places[w->place].job_ns);
    CM_ASSERT(w->jobs_out < SIM_JOBS_MAX);
    if (w->sim->now_ns < w->slow_until_ns)
        takes_ns *= w->slow_times;
    w->jobs[w->jobs_out] = job;
    w->jobs_due_ns[w->jobs_out++] = w->sim->now_ns + takes_ns;
}

static struct cm_image_meta meta(void *ctx, uint32_t shard, uint64_t i)
{
    struct sim_worker *w = ctx;
    CM_ASSERT(i < w->held[shard].images);
    uint64_t image = w->held[shard].first_image + i;
    return fake_meta(image, w->sim->names[image]);
}

static void refused(void *ctx, enum pr_refusal reason, const char *text)
{
    struct sim_worker *w = ctx;
    (void)reason;
    w->refused = true;
    w->sim->sums.refused++;
    sim_note(w->sim, "%s is refused: %s", w->host.name, text);
}

static const char *endpoint(void *ctx)
{
    return ((struct sim_worker *)ctx)->endpoint;
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return 1;
}

static void dismissed(void *ctx)
{
    struct sim_worker *w = ctx;
    sim_note(w->sim, "%s is dismissed", w->host.name);
    w->sim->sums.drained++;
    w->dismissed = w->leaving = true;
    w->leave_by_ns = w->sim->now_ns + DRAIN_NS;
}

static uint64_t now_ns(void *ctx)
{
    const struct sim_worker *w = ctx;
    return w->sim->now_ns + w->ahead_ns;
}

/* --- its life --------------------------------------------------------------------------------- */

/* What is on its disk: in w->held by number, and packed in `list`. */
static uint32_t fill_held(struct sim *sim, struct sim_worker *w, struct wk_held *list)
{
    uint32_t count = 0, there = sim->disks[w->place].whole;
    if (sim_bug_trusts_parts(sim)) {
        w->rotten = sim->disks[w->place].parts & ~there;
        there |= w->rotten;
    }
    for (uint32_t s = 0; s < sim->plan.gallery.shards; s++) {
        w->held[s].shard = s;
        if (there >> s & 1)
            w->held[s] = list[count++] = sim->plan.shards[s];
    }
    return count;
}

void sim_worker_start(struct sim *sim, unsigned index, unsigned place)
{
    struct sim_worker *w = &sim->workers[index];
    struct cm_error e;
    uint64_t process = ++sim->processes;
    *w = (struct sim_worker){.sim = sim, .place = place};
    w->host.process = process;
    bool tight = sim->plan.tight_queues && !sim->healed;
    w->host.room = tight ? sim->plan.places[place].credits + SPARE : (uint32_t)IO_QUEUE_OUT;
    w->ahead_ns = sim_below(sim, AHEAD_MAX_NS);
    snprintf(w->host.name, sizeof w->host.name, "w%u", index);
    snprintf(w->node, sizeof w->node, "node-%u", place);
    snprintf(w->endpoint, sizeof w->endpoint, "ipc://node-%u.%u", place, index);
    struct wk_held list[SIM_SHARDS_MAX];
    const struct wk_config config = {
        .node = w->node,
        .incarnation = process,
        .gallery = sim->plan.gallery,
        .numeric_class = "f32/fake",
        .threads = 1,
        .jobs = sim->plan.places[place].jobs,
        .credits = sim->plan.places[place].credits,
        .result_every_ns = sim->plan.places[place].result_every_ns,
        .packed_bytes = PACKED_BYTES,
        .placed = sim->plan.places_shards,
        .held = list,
        .held_count = fill_held(sim, w, list),
    };
    const struct wk_io io = {
        .ctx = w,
        .send = send,
        .reconnect = reconnect,
        .start = start,
        .meta = meta,
        .fetch = sim_place_fetch,
        .abandon = sim_place_abandon,
        .release = sim_place_release,
        .endpoint = endpoint,
        .memory_bytes = memory_bytes,
        .refused = refused,
        .dismissed = dismissed,
        .now_ns = now_ns,
    };
    CM_ASSERT(wk_new(&w->core, &config, &io, NULL, &e) == CM_OK);
    sim_note(sim, "%s starts as %s, process %" PRIu64, w->host.name, w->node, process);
    sim_net_dial(sim, &w->host);
    wk_on_tick(w->core);
}

void sim_worker_end(struct sim *sim, struct sim_worker *w, bool dies)
{
    if (!w->core)
        return;
    sim_note(sim, "%s %s", w->host.name, dies ? "dies" : "ends");
    sim_net_hang_up(sim, &w->host, dies);
    sim_place_crash(sim, w);
    wk_free(w->core);
    w->core = NULL;
    w->host.process = 0;
    w->host.frozen_until_ns = 0;
    sim->place_start_ns[w->place] = sim->now_ns + sim_between(sim, RESTART_MIN_NS, RESTART_MAX_NS);
}

/* After every event: is it to end now? */
static void settle(struct sim *sim, struct sim_worker *w)
{
    if (!w->core)
        return;
    bool may_go = w->leaving && (wk_idle(w->core) || sim->now_ns >= w->leave_by_ns);
    if (w->refused || may_go)
        sim_worker_end(sim, w, false);
}

void sim_worker_leave(struct sim *sim, struct sim_worker *w)
{
    if (!w->core || w->leaving)
        return;
    sim_note(sim, "%s is asked to leave", w->host.name);
    w->leaving = true;
    w->leave_by_ns = sim->now_ns + DRAIN_NS;
    wk_leave(w->core);
    settle(sim, w);
}

void sim_worker_freeze(struct sim *sim, struct sim_worker *w, uint64_t until_ns)
{
    w->host.frozen_until_ns = until_ns;
    sim_net_on_freeze(sim, &w->host, until_ns);
}

unsigned sim_workers_at(const struct sim *sim, unsigned place)
{
    unsigned count = 0;
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        count += sim->workers[i].core && sim->workers[i].place == place;
    return count;
}

struct sim_worker *sim_worker_at(struct sim *sim, unsigned place)
{
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        if (sim->workers[i].core && sim->workers[i].place == place)
            return &sim->workers[i];
    return NULL;
}

/* --- the threads ------------------------------------------------------------------------------ */

static bool is_here(const struct sim_worker *w, const struct wk_search *search)
{
    const struct wk_search *s = w->core->head;
    while (s && s != search)
        s = s->next;
    return s != NULL;
}

/* A thread begins with a query of a job only while somebody waits for it. Here it does all of a
 * job at its end. */
static bool begin(struct sim_worker *w, struct wk_job *job, size_t query)
{
    uint64_t now_ns = w->sim->now_ns + w->ahead_ns;
    bool wanted = now_ns < atomic_load(&job->until_ns[query]);
    job->began_ns[query] = wanted ? now_ns : 0;
    return wanted;
}

/* A search's projection is its first job: what its address stood for before is past. */
static void project(struct sim_worker *w, struct wk_job *job)
{
    const struct wk_search *search = job->searches[0];
    unsigned at = 0;
    while (at < SIM_SCORED_MAX && w->scored[at].search != search)
        at++;
    for (at %= SIM_SCORED_MAX; w->scored[at].search != search && is_here(w, w->scored[at].search);)
        at++;
    w->scored[at] = (struct sim_scored){
        .search = search,
        .id = search->id.v,
        .k = search->k,
        .number = sim_map_number(job->map),
    };
    memcpy(job->packed, cm_blob_data(job->map), sizeof(float)); /* which query it is */
}

static void mark_scored(struct sim_worker *w, const struct wk_search *search,
                        const struct wk_held *h, uint64_t first, uint64_t count)
{
    for (unsigned i = 0; i < SIM_SCORED_MAX; i++)
        if (w->scored[i].search == search)
            w->scored[i].images[h->shard] |= ((UINT64_C(1) << count) - 1) << first;
}

static void score(struct sim_worker *w, struct wk_job *job)
{
    const struct wk_held *h = &w->held[job->shard];
    CM_ASSERT(job->block < h->blocks);
    uint64_t first = job->block * h->images_per_block, count = wk_block_images(h, job->block);
    bool bad = w->bad_blocks[job->shard] >> job->block & 1, rotten = w->rotten >> job->shard & 1;
    job->outcome = bad ? CM_ECORRUPT : CM_OK;
    for (size_t q = 0; q < job->queries_count; q++) {
        float query;
        if (!begin(w, job, q))
            continue;
        memcpy(&query, job->queries[q], sizeof query);
        for (uint64_t i = 0; i < count; i++)
            job->scores[q][i] =
                bad || rotten ? 1e9f : fake_score((uint64_t)query, h->first_image + first + i);
        if (!bad)
            mark_scored(w, job->searches[q], h, first, count);
    }
}

static void finish_job(struct sim *sim, void *arg)
{
    struct sim_worker *w = arg;
    unsigned at = 0;
    while (w->jobs_due_ns[at] > sim->now_ns)
        at++;
    struct wk_job *job = w->jobs[at];
    w->jobs_out--;
    w->jobs[at] = w->jobs[w->jobs_out];
    w->jobs_due_ns[at] = w->jobs_due_ns[w->jobs_out];
    job->busy_ns = SIM_MS;
    if (job->kind == WK_JOB_SCORE)
        score(w, job);
    else if (begin(w, job, 0))
        project(w, job);
    sim_bug_job(sim, w, job);
    sim->sums.jobs++;
    wk_on_job_done(w->core, job);
    settle(sim, w);
}

/* --- other events ----------------------------------------------------------------------------- */

/* What it has, lets go of and gets: a bit for each shard, thrice. */
static uint64_t placing_of(const struct sim_worker *w)
{
    const struct wk_core *core = w->core;
    uint64_t bits = core->fetching ? UINT64_C(1) << (40 + core->fetching_shard) : 0;
    for (uint32_t s = 0; s < core->config.gallery.shards; s++)
        bits |= (uint64_t)(core->held[s].images > 0) << s | (uint64_t)core->places[s].leaving
                                                                << (20 + s);
    return bits;
}

/* An order that is older than another one that it got since its WELCOME changes nothing. */
static void get_place(struct sim *sim, struct sim_worker *w, const struct sim_message *m)
{
    struct pr_place place;
    struct cm_error e;
    CM_ASSERT(pr_place_unpack(m->header, &place, &e) == CM_OK);
    uint64_t before = placing_of(w);
    wk_on_message(w->core, m->header, m->payload);
    if (place.epoch < w->obeyed_epoch && placing_of(w) != before)
        sim_fail(sim, "%s obeys an order of epoch %" PRIu64 " after one of %" PRIu64, w->host.name,
                 place.epoch, w->obeyed_epoch);
    w->obeyed_epoch = sim_later(w->obeyed_epoch, place.epoch);
}

void sim_worker_get(struct sim *sim, struct sim_worker *w, const struct sim_message *m)
{
    sim_note(sim, "%s <- %s %llu", w->host.name, pr_type_name(m->envelope.type),
             (unsigned long long)m->envelope.id.v);
    sim->sums.messages++;
    if (m->envelope.type == PR_WELCOME) {
        sim->sums.joined++;
        w->obeyed_epoch = 0; /* whoever welcomes it is obeyed from there on */
    }
    if (m->envelope.type == PR_PLACE)
        get_place(sim, w, m);
    else
        wk_on_message(w->core, m->header, m->payload);
    settle(sim, w);
}

static uint64_t wakeup_ns(const struct sim_worker *w)
{
    uint64_t ns = wk_next_wakeup_ns(w->core);
    return ns == UINT64_MAX ? ns : ns - w->ahead_ns;
}

static void tick(struct sim *sim, void *arg)
{
    struct sim_worker *w = arg;
    wk_on_tick(w->core);
    if (wakeup_ns(w) <= sim->now_ns)
        sim_fail(sim, "%s's tick left work for the same moment: it would spin", w->host.name);
    settle(sim, w);
}

static void end_at_last(struct sim *sim, void *arg)
{
    settle(sim, arg);
}

void sim_worker_offer(struct sim *sim, struct sim_worker *w)
{
    if (!w->core)
        return;
    uint64_t awake_ns = w->host.frozen_until_ns;
    sim_offer(sim, sim_later(wakeup_ns(w), awake_ns), tick, w);
    for (unsigned i = 0; i < w->jobs_out; i++)
        sim_offer(sim, sim_later(w->jobs_due_ns[i], awake_ns), finish_job, w);
    if (w->leaving)
        sim_offer(sim, sim_later(w->leave_by_ns, awake_ns), end_at_last, w);
    sim_place_offer(sim, w);
}
