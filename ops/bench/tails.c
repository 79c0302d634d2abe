/* tails.c: what a slow worker does to the tail of the queries' times, with and without hedges.
 *
 * The coordinator's real core on a clock of its own, and workers that only take time: each scores
 * the shards that it is asked for one after the other, a shard in a lognormal time of mean
 * SHARD_MS, and answers for each by itself (a real one collects those of 50 ms). Queries come at
 * random (Poisson) at LOAD of what the workers can do. From SLOW_FROM_S
 * until SLOW_TO_S one of them is SLOW times slower. Everything is seeded: each run gives the same
 * numbers.
 *
 * Exit 1 if what ARCHITECTURE.md promises of this is not so. */
#include "common/checksum.h"
#include "common/options.h"
#include "coordinator/coordinator.h"
#include "ops/bench/support.h"
#include "ops/bench/tails_chart.h"
#include "proto/wire/answer.h"
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/hello.h"
#include "proto/wire/query.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/status.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    WORKERS = 5,
    SHARDS = 10, /* each at two workers */
    SHARD_IMAGES = 100,
    SLOW = 10,
    SLOW_FROM_S = 20,
    SLOW_TO_S = 60,
    END_S = 80,
    WARM_UP_S = 2, /* not looked at */
    DEADLINE_MS = 1000,
    QUEUE_MAX = 4096,
    QUERIES_MAX = 1 << 20,
};
#define SHARD_MS 1.0
#define SIGMA    0.5 /* of the logarithm: one shard in a hundred takes three times the mean */
#define SECOND   UINT64_C(1000000000)

/* A shard that a worker was asked for. */
struct job {
    uint64_t id, end_ns; /* end of the search's time */
    uint32_t shard;
    bool cancelled;
};

struct worker {
    char name[8];
    struct job queue[QUEUE_MAX]; /* the first is being scored, if busy */
    size_t queued;
    bool busy;
    uint64_t done_ns;
};

/* One run. */
struct world {
    struct co_core *core;
    uint64_t now_ns, random;
    double load;
    struct worker workers[WORKERS];
    struct cm_blob *map;
    uint64_t *asked_ns; /* [queries_count] */
    double *took_ms;    /* the same */
    uint64_t queries_count, answers, partial, hedges, requests;
    double demoted_s, restored_s; /* 0: never */
};

/* What is run with and without. */
struct mode {
    const char *name;
    uint32_t hedge_percent;
    bool demotes_late;
};

static const struct mode modes[TAILS_CURVES] = {
    {"neither", 0, false}, {"hedges", 5, false}, {"hedges and demotion", 5, true}};

static double uniform(struct world *w)
{
    return ((double)bench_random(&w->random) + 1.0) / 2.0 + 1e-9;
}

static uint64_t shard_time_ns(struct world *w, int worker)
{
    double normal = sqrt(-2 * log(uniform(w))) * cos(2 * M_PI * uniform(w));
    double ms = SHARD_MS * exp(SIGMA * normal - SIGMA * SIGMA / 2);
    bool slow = worker == 0 && w->now_ns >= SLOW_FROM_S * SECOND && w->now_ns < SLOW_TO_S * SECOND;
    return (uint64_t)(ms * 1e6 * (slow ? SLOW : 1)) + 1;
}

/* --- what the coordinator sends --------------------------------------------------------------- */

static struct cm_peer peer_of(const char *name)
{
    struct cm_peer peer = {.size = (uint8_t)strlen(name)};
    memcpy(peer.bytes, name, peer.size);
    return peer;
}

static void start_next(struct world *w, int worker)
{
    struct worker *k = &w->workers[worker];
    k->busy = k->queued > 0;
    k->done_ns = k->busy ? w->now_ns + shard_time_ns(w, worker) : UINT64_MAX;
}

static void take_search(struct world *w, int worker, struct cm_bytes header)
{
    struct worker *k = &w->workers[worker];
    struct pr_search search;
    struct cm_error e;
    bench_check(pr_search_unpack(header, &search, &e), &e);
    if (k->queued + search.shards_count > QUEUE_MAX)
        bench_fail("%s has no room for a search", k->name);
    for (size_t i = 0; i < search.shards_count; i++)
        k->queue[k->queued++] = (struct job){.id = search.id.v,
                                             .end_ns = w->now_ns + search.time_left_us * 1000,
                                             .shard = search.shards[i].v};
    pr_search_fini(&search);
    if (!k->busy)
        start_next(w, worker);
}

/* What is being scored goes on; its result is not sent. */
static void take_cancel(struct worker *k, uint64_t id)
{
    size_t kept = 0;
    for (size_t i = 0; i < k->queued; i++) {
        bool its = k->queue[i].id == id;
        k->queue[i].cancelled |= its;
        if (!its || i == 0)
            k->queue[kept++] = k->queue[i];
    }
    k->queued = kept;
}

static void take_answer(struct world *w, struct cm_bytes header)
{
    struct pr_answer answer;
    struct cm_error e;
    bench_check(pr_answer_unpack(header, &answer, &e), &e);
    w->took_ms[answer.id.v] = (double)(w->now_ns - w->asked_ns[answer.id.v]) / 1e6;
    w->answers++;
    w->partial += answer.missing_count > 0;
    pr_answer_fini(&answer);
}

static void take_status(struct world *w, struct cm_bytes header)
{
    struct pr_status status;
    struct cm_error e;
    bench_check(pr_status_unpack(header, &status, &e), &e);
    double now_s = (double)w->now_ns / 1e9;
    w->hedges = status.counters.hedges;
    for (size_t i = 0; i < status.members_count; i++) {
        if (status.members[i].slow && w->demoted_s == 0)
            w->demoted_s = now_s;
        if (i == 0 && !status.members[i].slow && w->demoted_s > 0 && w->restored_s == 0)
            w->restored_s = now_s;
    }
    pr_status_fini(&status);
}

static enum cm_err send(void *ctx, const struct cm_peer *to, struct cm_bytes header,
                        struct cm_blob *payload, struct cm_error *e)
{
    struct world *w = ctx;
    struct pr_envelope envelope;
    (void)payload;
    bench_check(pr_peek(header, &envelope, e), e);
    int worker = to->bytes[0] == 'w' ? to->bytes[1] - '0' : 0;
    if (envelope.type == PR_SEARCH)
        take_search(w, worker, header);
    else if (envelope.type == PR_CANCEL)
        take_cancel(&w->workers[worker], envelope.id.v);
    else if (envelope.type == PR_ANSWER)
        take_answer(w, header);
    else if (envelope.type == PR_STATUS)
        take_status(w, header);
    else if (envelope.type == PR_ERROR || envelope.type == PR_REFUSE)
        bench_fail("the coordinator refuses: more than it takes?");
    return CM_OK;
}

static uint64_t now_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return 0;
}

/* --- what is sent to it ----------------------------------------------------------------------- */

static void deliver(struct world *w, const char *from, enum cm_err packing,
                    struct pr_buffer *packed, struct cm_blob *payload, struct cm_error *e)
{
    struct cm_peer peer = peer_of(from);
    bench_check(packing, e);
    co_on_message(w->core, &peer, pr_buffer_bytes(packed), payload);
    pr_buffer_fini(packed);
}

/* Shard s is at worker s, and at the next or, of the second half, the next but one: who is passed
 * over leaves its shards to different others. */
static bool holds(int worker, uint32_t shard)
{
    uint32_t first = shard % WORKERS, second = (shard + 1 + shard / WORKERS) % WORKERS;
    return (uint32_t)worker == first || (uint32_t)worker == second;
}

static void join(struct world *w, int worker)
{
    struct pr_held_shard held[SHARDS];
    struct pr_buffer packed;
    struct cm_error e;
    struct pr_hello hello = {
        .incarnation = 1,
        .version_min = PR_VERSION,
        .version_max = PR_VERSION,
        .gallery = {.gallery = {{1}},
                    .model = {{2}},
                    .geometry = {CM_TRANSMATCHER, 2, 1, 2, 1, 1},
                    .precision = CM_F32,
                    .images = (uint64_t)SHARDS * SHARD_IMAGES,
                    .shards = SHARDS},
        .numeric_class = "simulated",
        .threads = 1,
        .credits = CM_WORKER_CREDITS,
        .held = held,
    };
    snprintf(w->workers[worker].name, sizeof w->workers[worker].name, "w%d", worker);
    snprintf(hello.node, sizeof hello.node, "w%d", worker);
    for (uint32_t s = 0; s < SHARDS; s++)
        if (holds(worker, s))
            held[hello.held_count++] =
                (struct pr_held_shard){{s}, (uint64_t)s * SHARD_IMAGES, SHARD_IMAGES};
    w->workers[worker].done_ns = UINT64_MAX;
    enum cm_err rc = pr_hello_pack(&hello, &packed, &e);
    deliver(w, hello.node, rc, &packed, NULL, &e);
}

static void ask(struct world *w)
{
    struct pr_buffer packed;
    struct cm_error e;
    struct pr_query query = {
        .id = {w->queries_count},
        .k = 10,
        .deadline_ms = DEADLINE_MS,
        .dtype = CM_DTYPE_F32,
        .height = 2,
        .width = 1,
        .channels = 2,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(w->map), cm_blob_size(w->map)),
    };
    if (w->queries_count == QUERIES_MAX)
        bench_fail("more than %d queries", QUERIES_MAX);
    w->asked_ns[w->queries_count++] = w->now_ns;
    w->requests += SHARDS;
    enum cm_err rc = pr_query_pack(&query, &packed, &e);
    deliver(w, "client", rc, &packed, w->map, &e);
}

static void finish_shard(struct world *w, int worker)
{
    struct worker *k = &w->workers[worker];
    struct job job = k->queue[0];
    struct pr_buffer packed;
    struct cm_error e;
    bool in_time = w->now_ns <= job.end_ns;
    struct pr_scored scored = {
        .shard = {job.shard}, .images_scored = in_time ? SHARD_IMAGES : 0, .images = SHARD_IMAGES};
    struct pr_result result = {.id = {job.id},
                               .reason = in_time ? PR_REASON_NONE : PR_REASON_DEADLINE,
                               .shards = &scored,
                               .shards_count = 1};
    memmove(k->queue, k->queue + 1, --k->queued * sizeof *k->queue);
    start_next(w, worker);
    if (job.cancelled)
        return;
    enum cm_err rc = pr_result_pack(&result, &packed, &e);
    deliver(w, k->name, rc, &packed, NULL, &e);
}

static void beat(struct world *w)
{
    for (int i = 0; i < WORKERS; i++) {
        struct pr_heartbeat heartbeat = {.epoch = 0};
        struct pr_buffer packed;
        struct cm_error e;
        enum cm_err rc = pr_heartbeat_pack(&heartbeat, &packed, &e);
        deliver(w, w->workers[i].name, rc, &packed, NULL, &e);
    }
}

static void look(struct world *w)
{
    struct pr_control request = {.type = PR_STATUS_REQUEST, .id = {1}};
    struct pr_buffer packed;
    struct cm_error e;
    enum cm_err rc = pr_control_pack(&request, &packed, &e);
    deliver(w, "watcher", rc, &packed, NULL, &e);
}

/* --- a run ------------------------------------------------------------------------------------ */

static int first_done(const struct world *w)
{
    int best = 0;
    for (int i = 1; i < WORKERS; i++)
        if (w->workers[i].done_ns < w->workers[best].done_ns)
            best = i;
    return best;
}

static uint64_t gap_ns(struct world *w)
{
    double queries_per_s = w->load * WORKERS * 1000 / (SHARDS * SHARD_MS);
    return (uint64_t)(-log(uniform(w)) / queries_per_s * 1e9) + 1;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void simulate(struct world *w)
{
    uint64_t ask_ns = SECOND / 10, beat_ns = SECOND, look_ns = SECOND / 10;
    for (;;) {
        int worker = first_done(w);
        uint64_t done_ns = w->workers[worker].done_ns, wake_ns = co_next_wakeup_ns(w->core);
        uint64_t next = least(least(ask_ns, beat_ns), least(look_ns, least(done_ns, wake_ns)));
        if (next >= END_S * SECOND)
            return;
        if (next > w->now_ns)
            w->now_ns = next;
        if (next == done_ns) {
            finish_shard(w, worker);
        } else if (next == wake_ns) {
            co_on_tick(w->core);
        } else if (next == ask_ns) {
            ask(w);
            ask_ns += gap_ns(w);
        } else if (next == beat_ns) {
            beat(w);
            beat_ns += SECOND;
        } else {
            look(w);
            look_ns += SECOND / 20;
        }
    }
}

static void run(struct world *w, const struct mode *mode, double load, uint64_t seed,
                const struct cm_log *log)
{
    const float map[4] = {1, 2, 3, 4};
    struct cm_error e;
    const struct co_config config = {.heartbeat_ns = SECOND,
                                     .dead_after_ns = 3 * SECOND,
                                     .hedge_percent = mode->hedge_percent,
                                     .demotes_late = mode->demotes_late};
    *w = (struct world){.now_ns = 1, .random = seed, .load = load};
    const struct co_io io = {
        .ctx = w, .send = send, .now_ns = now_ns, .memory_bytes = memory_bytes};
    w->asked_ns = calloc(QUERIES_MAX, sizeof *w->asked_ns);
    w->took_ms = calloc(QUERIES_MAX, sizeof *w->took_ms);
    if (!w->asked_ns || !w->took_ms)
        bench_fail("out of memory");
    bench_check(cm_blob_copy(&w->map, map, sizeof map, &e), &e);
    bench_check(co_new(&w->core, &config, &io, log, &e), &e);
    for (int i = 0; i < WORKERS; i++)
        join(w, i);
    simulate(w);
}

static void release(struct world *w)
{
    co_free(w->core);
    cm_blob_unref(&w->map);
    free(w->asked_ns);
    free(w->took_ms);
}

/* The time below which the fraction `at` lies, of queries asked in these seconds and answered. */
static double quantile_ms(const struct world *w, double from_s, double to_s, double at)
{
    double *samples = malloc(w->queries_count * sizeof *samples);
    size_t count = 0;
    if (!samples)
        bench_fail("out of memory");
    for (uint64_t q = 0; q < w->queries_count; q++) {
        double asked_s = (double)w->asked_ns[q] / 1e9;
        if (asked_s >= from_s && asked_s < to_s && w->took_ms[q] > 0)
            samples[count++] = w->took_ms[q];
    }
    double ms = count ? bench_quantile(samples, count, at) : 0;
    free(samples);
    return ms;
}

/* --- what came out ---------------------------------------------------------------------------- */

static void fill_curve(const struct world *w, struct tails_curve *curve)
{
    for (int s = 0; s < END_S; s++) {
        curve->p50_ms[s] = quantile_ms(w, s, s + 1, 0.5);
        curve->p99_ms[s] = quantile_ms(w, s, s + 1, 0.99);
    }
}

/* Prints a row; false if a promise is broken. `healthy_ms` is the p99 of the same mode before. */
static bool report(const struct mode *mode, const struct world *w, FILE *json)
{
    double healthy_ms = quantile_ms(w, WARM_UP_S, SLOW_FROM_S, 0.99);
    double from_s = w->demoted_s > 0 ? w->demoted_s : SLOW_FROM_S;
    double after_ms = quantile_ms(w, from_s, SLOW_TO_S, 0.99);
    double worst_ms = quantile_ms(w, SLOW_FROM_S, SLOW_TO_S, 1);
    double hedged = 100.0 * (double)w->hedges / (double)w->requests;
    printf("%-20s %10.1f %10.1f %7.2f %10.1f %8" PRIu64 " %8.2f", mode->name, healthy_ms, after_ms,
           after_ms / healthy_ms, worst_ms, w->partial, hedged);
    if (w->demoted_s > 0)
        printf(" %10.2f %10.2f", w->demoted_s - SLOW_FROM_S, w->restored_s - SLOW_TO_S);
    printf("\n");
    fprintf(json,
            "{\"bench\":\"tails\",\"mode\":\"%s\",\"load\":%.2f,\"healthy_p99_ms\":%.3f,"
            "\"slow_p99_ms\":%.3f,\"worst_ms\":%.3f,\"partial\":%" PRIu64
            ",\"hedged_percent\":%.3f,\"demoted_s\":%.2f,\"restored_s\":%.2f}\n",
            mode->name, w->load, healthy_ms, after_ms, worst_ms, w->partial, hedged, w->demoted_s,
            w->restored_s);
    bool kept = after_ms <= 2 * healthy_ms && worst_ms <= DEADLINE_MS && w->partial == 0 &&
                w->demoted_s > SLOW_FROM_S && w->restored_s > SLOW_TO_S;
    return hedged <= 5 && (kept || !mode->demotes_late);
}

int main(int argc, char **argv)
{
    const char *json_path = NULL, *csv = NULL, *svg = NULL;
    uint64_t load_percent = 40, seed = 1;
    const struct cm_option options[] = {
        {"load", 0, CM_OPTION_COUNT, false, "PERCENT", "of what healthy workers do (default 40)", 1,
         90, &load_percent},
        {"seed", 0, CM_OPTION_COUNT, false, "N", "another run (default 1)", 0, UINT32_MAX, &seed},
        {"csv", 0, CM_OPTION_TEXT, false, "FILE", "p50 and p99 of each second", 0, 0, &csv},
        {"svg", 0, CM_OPTION_TEXT, false, "FILE", "the same as a picture", 0, 0, &svg},
        {"json", 0, CM_OPTION_TEXT, false, "FILE", "append the figures as JSON lines", 0, 0,
         &json_path},
    };
    const struct cm_command command = {
        .name = "tails",
        .usage = "[options]",
        .about = "Simulates a cluster in which one worker becomes slow.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cm_log log;
    cm_log_init(&log, 2, CM_LOG_OFF, "coordinator");
    FILE *json = bench_json(json_path);
    struct world *w = malloc(sizeof *w);
    struct tails_chart *chart = calloc(1, sizeof *chart);
    if (!w || !chart)
        bench_fail("out of memory");
    *chart = (struct tails_chart){.seconds = END_S, .from_s = SLOW_FROM_S, .to_s = SLOW_TO_S};
    bool kept = true;
    printf("tails: %d workers, %d shards held twice, load %" PRIu64
           " %%; one worker %d times slower for %d s\n",
           WORKERS, SHARDS, load_percent, SLOW, SLOW_TO_S - SLOW_FROM_S);
    printf("%-20s %10s %10s %7s %10s %8s %8s %10s %10s\n", "with", "p99 ms", "slow p99", "ratio",
           "worst ms", "partial", "hedged %", "demoted s", "restored s");
    for (int m = 0; m < TAILS_CURVES; m++) {
        run(w, &modes[m], (double)load_percent / 100, seed, &log);
        kept &= report(&modes[m], w, json);
        chart->curves[m].name = modes[m].name;
        fill_curve(w, &chart->curves[m]);
        release(w);
    }
    if (csv)
        tails_write_csv(chart, csv);
    if (svg)
        tails_write_svg(chart, svg);
    fclose(json);
    free(chart);
    free(w);
    return kept ? CM_EXIT_OK : CM_EXIT_FAILED;
}
