/* bench_cluster.c: `vitrine bench cluster`: one real coordinator, and what it carries as workers
 * grow.
 *
 * Each case is a coordinator process of its own over TCP, stand-ins for the workers, which answer
 * without scoring, and a client that keeps queries under way. The coordinator's processor time is
 * the kernel's account of its threads, over whole queries: it begins and ends with none under way.
 * So it does not depend on who else uses the machine, as queries a second and latencies do. */
#include "common/geometry.h"
#include "common/io/cpu.h"
#include "common/io/file.h"
#include "common/io/loopback.h"
#include "common/io/threads.h"
#include "common/limits.h"
#include "ops/cli/bench.h"
#include "ops/cli/cli.h"
#include "ops/cli/client.h"
#include "ops/cli/json.h"
#include "ops/cli/load.h"
#include "ops/cli/local.h"
#include "ops/cli/stand_ins.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    WORKERS_DEFAULT = 256,
    GROWTH = 4, /* from one case to the next */
    INFLIGHT_DEFAULT = 8,
    K_DEFAULT = 20,
    SHARDS_MOST = 1024,
    READY_MS = 60000,
    POLL_MS = 20,
    TARGET_WORKERS = 16,
    TURNS = 8,
};

static const double target_us = 1000;    /* of a query at TARGET_WORKERS, beside its bytes */
static const double warm_up_part = 0.25; /* of the seconds */
static const double plain_s = 0.1;       /* of plain connections, before and after each turn */
static const double seconds_most = 3600;

/* Maps of 4 KB, and the paper's of 590 KB. */
static const struct {
    const char *name;
    struct cm_geometry geometry;
} sizes[] = {
    {"small", {CM_TRANSMATCHER, 16, 8, 16, 1, 16}},
    {"paper", {CM_TRANSMATCHER, 24, 8, 512, 3, 2048}},
};
enum { SIZES = sizeof sizes / sizeof *sizes };

struct bench {
    uint64_t workers, shards, inflight, k; /* shards: of each worker */
    double seconds;
    bool json;
    json_t *cases;
};

/* What runs during one case. */
struct rig {
    struct cli_local local;
    struct cli_stand_ins *stand_ins;
    struct cli_client *client; /* to ask for the status */
    struct cli_load *load;
    struct io_loopback *plain; /* as many connections as there are workers */
};

/* The threads of the coordinator and of this process at one moment. */
struct account {
    struct io_thread_times coordinator[IO_THREADS_MAX], here[IO_THREADS_MAX];
    size_t coordinator_count, here_count;
};

struct figures {
    struct cli_load_result load;
    double bytes_in, bytes_out;    /* of the coordinator, a query */
    double main_us, io_us;         /* of its threads, a query */
    double waited_us;              /* that both waited for a processor, a query */
    struct io_loopback_cost plain; /* over as many plain connections, in turns with the queries */
    double allowed_us;
    double main_busy, io_busy; /* parts of the turns' time */
    double here_busy;          /* of each turn's busiest thread of this process */
    uint64_t memory_bytes;     /* the most that the coordinator held */
};

static size_t map_bytes(size_t size)
{
    return cm_map_floats(&sizes[size].geometry) * cm_dtype_bytes(CM_DTYPE_F16);
}

/* --- a case's processes ----------------------------------------------------------------------- */

/* While a case runs: is all well? */
static enum cm_err check_rig(void *ctx, struct cm_error *e)
{
    struct rig *r = ctx;
    if (cli_interrupted())
        return cm_fail(e, CM_EBUSY, "interrupted");
    enum cm_err rc = cli_local_check(&r->local, e);
    return rc ? rc : cli_stand_ins_check(r->stand_ins, e);
}

/* Asks until every shard is served. */
static enum cm_err wait_covered(struct rig *r, uint32_t shards, struct pr_status *status,
                                struct cm_error *e)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};
    enum cm_err rc = CM_OK;
    for (unsigned waited = 0; !rc && status->shards_covered < shards; waited += POLL_MS) {
        rc = check_rig(r, e);
        if (!rc && waited >= READY_MS)
            rc = cm_fail(e, CM_ETIMEOUT, "only %" PRIu32 " of %" PRIu32 " shards are served",
                         status->shards_covered, shards);
        if (rc)
            return rc;
        nanosleep(&pause, NULL);
        pr_status_fini(status);
        rc = cli_client_status(r->client, status, e);
    }
    return rc;
}

static enum cm_err start_rig(struct rig *r, const struct bench *b, const struct cm_geometry *g,
                             uint32_t workers, struct cm_error *e)
{
    struct pr_status status = {0};
    *r = (struct rig){0};
    enum cm_err rc = cli_local_start_coordinator(&r->local, "tcp://127.0.0.1:0", e);
    struct cli_stand_in_options stand_ins = {.endpoint = r->local.endpoint,
                                             .workers = workers,
                                             .shards = (uint32_t)b->shards,
                                             .geometry = *g};
    struct cli_load_options load = {.endpoint = r->local.endpoint,
                                    .geometry = *g,
                                    .shards = workers * (uint32_t)b->shards,
                                    .k = (uint32_t)b->k,
                                    .inflight = (uint32_t)b->inflight,
                                    .check = check_rig,
                                    .ctx = r};
    if (!rc)
        rc = cli_stand_ins_start(&r->stand_ins, &stand_ins, e);
    if (!rc)
        rc = cli_client_open(&r->client, r->local.endpoint, false, &status, e);
    if (!rc)
        rc = wait_covered(r, load.shards, &status, e);
    pr_status_fini(&status);
    if (!rc)
        rc = cli_load_open(&r->load, &load, e);
    return rc ? rc : io_loopback_open(&r->plain, map_bytes(SIZES - 1), workers, e);
}

static void stop_rig(struct rig *r)
{
    io_loopback_close(r->plain);
    cli_load_close(r->load);
    cli_client_close(r->client);
    cli_stand_ins_free(r->stand_ins);
    cli_local_stop(&r->local);
}

/* --- what is counted -------------------------------------------------------------------------- */

static enum cm_err take_account(const struct rig *r, struct account *a, struct cm_error *e)
{
    enum cm_err rc =
        io_threads_read(r->local.children[0].pid, a->coordinator, &a->coordinator_count, e);
    return rc ? rc : io_threads_read(0, a->here, &a->here_count, e);
}

/* A thread's times since `before`, which may not know it yet. */
static struct io_thread_times since(const struct io_thread_times *before, size_t count,
                                    const struct io_thread_times *now)
{
    struct io_thread_times t = *now;
    for (size_t i = 0; i < count; i++)
        if (before[i].tid == now->tid) {
            t.ran_ns -= before[i].ran_ns;
            t.waited_ns -= before[i].waited_ns;
        }
    return t;
}

/* Nanoseconds of all turns. */
struct times {
    double main, io, waited, here;
};

static void add_times(struct times *sum, const struct rig *r, const struct account *before,
                      const struct account *after)
{
    double busiest = 0;
    for (size_t i = 0; i < after->coordinator_count; i++) {
        struct io_thread_times t =
            since(before->coordinator, before->coordinator_count, &after->coordinator[i]);
        bool is_main = t.tid == r->local.children[0].pid;
        *(is_main ? &sum->main : &sum->io) += (double)t.ran_ns;
        sum->waited += (double)t.waited_ns;
    }
    for (size_t i = 0; i < after->here_count; i++)
        busiest =
            fmax(busiest, (double)since(before->here, before->here_count, &after->here[i]).ran_ns);
    sum->here += busiest;
}

static void fill_times(struct figures *f, const struct times *sum)
{
    double queries = (double)f->load.queries, ns = f->load.seconds * 1e9;
    f->main_us = sum->main / 1e3 / queries;
    f->io_us = sum->io / 1e3 / queries;
    f->waited_us = sum->waited / 1e3 / queries;
    f->main_busy = sum->main / ns;
    f->io_busy = sum->io / ns;
    f->here_busy = sum->here / ns;
}

/* The bytes of a query's messages, and what they may cost. `all` are the queries since the
 * stand-ins began. */
static enum cm_err fill_bytes(struct figures *f, uint32_t workers,
                              const struct cli_stand_in_counts *c, size_t all, struct cm_error *e)
{
    double queries = (double)f->load.queries;
    if (c->searches != (uint64_t)all * workers)
        return cm_fail(e, CM_EFORMAT, "%zu queries of %u workers made %" PRIu64 " searches", all,
                       workers, c->searches);
    f->bytes_in = (double)f->load.bytes_out / queries + (double)c->bytes_out / (double)all;
    f->bytes_out = (double)f->load.bytes_in / queries + (double)c->bytes_in / (double)all;
    f->allowed_us =
        target_us +
        (f->bytes_out * f->plain.send_ns_per_byte + f->bytes_in * f->plain.recv_ns_per_byte) / 1e3;
    return CM_OK;
}

/* Queries, and then as many plain connections as there are workers: what the kernel takes to move a
 * byte changes within a second, and both are to meet the same of it. */
static enum cm_err run_turn(struct rig *r, double seconds, struct times *sum, struct cm_error *e)
{
    struct account before, after;
    enum cm_err rc = take_account(r, &before, e);
    if (!rc)
        rc = cli_load_run(r->load, seconds, e);
    if (!rc)
        rc = take_account(r, &after, e);
    if (rc)
        return rc;
    add_times(sum, r, &before, &after);
    return io_loopback_run(r->plain, plain_s, e);
}

static enum cm_err run_rig(struct rig *r, const struct bench *b, uint32_t workers,
                           struct figures *f, struct cm_error *e)
{
    struct pr_status status = {0};
    struct times sum = {0};
    enum cm_err rc = cli_load_run(r->load, warm_up_part * b->seconds, e);
    size_t warm_up = cli_load_take(r->load).queries;
    if (!rc)
        rc = io_loopback_run(r->plain, plain_s, e);
    for (int turn = 0; !rc && turn < TURNS; turn++)
        rc = run_turn(r, b->seconds / TURNS, &sum, e);
    if (!rc)
        rc = cli_client_status(r->client, &status, e);
    if (rc)
        return rc;
    f->memory_bytes = status.memory_bytes;
    pr_status_fini(&status);
    cli_stand_ins_stop(r->stand_ins);
    struct cli_stand_in_counts counts = cli_stand_ins_counts(r->stand_ins);
    f->load = cli_load_take(r->load);
    f->plain = io_loopback_cost(r->plain);
    fill_times(f, &sum);
    return fill_bytes(f, workers, &counts, warm_up + f->load.queries, e);
}

/* --- what is printed -------------------------------------------------------------------------- */

static json_t *case_json(const struct bench *b, size_t size, uint32_t workers,
                         const struct figures *f)
{
    const struct cli_load_result *l = &f->load;
    json_t *o = json_pack("{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "size",
                          sizes[size].name, "map_bytes", (json_int_t)map_bytes(size), "workers",
                          (json_int_t)workers, "shards", (json_int_t)(workers * b->shards),
                          "queries", (json_int_t)l->queries, "seconds", l->seconds, "queries_per_s",
                          (double)l->queries / l->seconds, "p50_ms", l->p50_ms, "p99_ms", l->p99_ms,
                          "bytes_in_per_query", f->bytes_in, "bytes_out_per_query", f->bytes_out);
    json_t *more = json_pack(
        "{s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}", "main_us_per_query", f->main_us,
        "io_us_per_query", f->io_us, "coordinator_us_per_query", f->main_us + f->io_us,
        "allowed_us_per_query", f->allowed_us, "waited_us_per_query", f->waited_us,
        "plain_sent_ns_per_byte", f->plain.send_ns_per_byte, "plain_received_ns_per_byte",
        f->plain.recv_ns_per_byte, "main_busy", f->main_busy, "io_busy", f->io_busy, "helpers_busy",
        f->here_busy, "memory_bytes", (json_int_t)f->memory_bytes);
    json_object_update(o, more);
    json_decref(more);
    return o;
}

static void print_head(const struct bench *b)
{
    double load = 0;
    if (getloadavg(&load, 1) != 1)
        load = 0;
    printf("%u processors, load %.2f; k %" PRIu64 ", %" PRIu64
           " queries under way, shards a worker: "
           "%" PRIu64 "\n\n",
           io_cpu_count(), load, b->k, b->inflight, b->shards);
    printf("%-6s %7s %9s %8s %8s %8s %9s %8s %8s %9s %9s  %s\n", "size", "workers", "queries/s",
           "p50 ms", "p99 ms", "KB in", "KB out", "main us", "I/O us", "total us", "allowed",
           "busy: main  I/O helpers");
    fflush(stdout);
}

static void print_case(size_t size, uint32_t workers, const struct figures *f)
{
    printf("%-6s %7u %9.1f %8.2f %8.2f %8.1f %9.1f %8.0f %8.0f %9.0f %9.0f  %10.2f %4.2f %7.2f\n",
           sizes[size].name, workers, (double)f->load.queries / f->load.seconds, f->load.p50_ms,
           f->load.p99_ms, f->bytes_in / 1e3, f->bytes_out / 1e3, f->main_us, f->io_us,
           f->main_us + f->io_us, f->allowed_us, f->main_busy, f->io_busy, f->here_busy);
    if (workers == TARGET_WORKERS)
        printf("  target at %d workers: 1 ms and the bytes, %.0f us of %.0f: %s\n", TARGET_WORKERS,
               f->main_us + f->io_us, f->allowed_us,
               f->main_us + f->io_us <= f->allowed_us ? "met" : "missed");
    fflush(stdout);
}

static enum cm_err run_case(struct bench *b, size_t size, uint32_t workers, struct cm_error *e)
{
    struct rig r;
    struct figures f = {0};
    enum cm_err rc = start_rig(&r, b, &sizes[size].geometry, workers, e);
    if (!rc)
        rc = run_rig(&r, b, workers, &f, e);
    stop_rig(&r);
    if (rc)
        return cm_wrap(e, rc, "%s, %" PRIu32 " workers", sizes[size].name, workers);
    json_array_append_new(b->cases, case_json(b, size, workers, &f));
    if (!b->json)
        print_case(size, workers, &f);
    return CM_OK;
}

static enum cm_err run_all(struct bench *b, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    if (!b->json)
        print_head(b);
    for (size_t size = 0; !rc && size < SIZES; size++) {
        for (uint64_t n = 1; !rc && n < b->workers; n *= GROWTH)
            rc = run_case(b, size, (uint32_t)n, e);
        if (!rc)
            rc = run_case(b, size, (uint32_t)b->workers, e);
    }
    if (rc || !b->json)
        return rc;
    json_t *root = json_pack("{s:i, s:I, s:I, s:I, s:O}", "processors", (int)io_cpu_count(), "k",
                             (json_int_t)b->k, "inflight", (json_int_t)b->inflight,
                             "shards_per_worker", (json_int_t)b->shards, "cases", b->cases);
    return cli_print_json(root, e);
}

/* --- the command ------------------------------------------------------------------------------ */

static enum cm_err parse_seconds(const char *text, double *out, struct cm_error *e)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || !(*out > 0 && *out <= seconds_most))
        return cm_fail(e, CM_EUSAGE, "--seconds is '%s'; it must be a number above 0, at most %.0f",
                       text, seconds_most);
    return CM_OK;
}

static enum cm_err run(struct bench *b, const char *seconds, struct cm_error *e)
{
    enum cm_err rc = parse_seconds(seconds, &b->seconds, e);
    if (!rc && b->workers * b->shards > CM_SHARDS_MAX)
        rc = cm_fail(e, CM_EUSAGE,
                     "--workers %" PRIu64 " with --shards %" PRIu64 " each: a gallery has at most "
                     "%u shards",
                     b->workers, b->shards, CM_SHARDS_MAX);
    if (rc)
        return rc;
    io_raise_file_limit();
    cli_block_signals();
    b->cases = json_array();
    rc = run_all(b, e);
    json_decref(b->cases);
    return rc;
}

int cli_bench_cluster(int argc, char **argv)
{
    struct bench b = {
        .workers = WORKERS_DEFAULT, .shards = 1, .inflight = INFLIGHT_DEFAULT, .k = K_DEFAULT};
    const char *seconds = "2";
    const struct cm_option options[] = {
        {"workers", 'w', CM_OPTION_COUNT, false, "N",
         "up to so many workers: 1, 4, 16, 64 ... N (default 256)", 1, CM_MEMBERS_MAX, &b.workers},
        {"seconds", 's', CM_OPTION_TEXT, false, "S",
         "to measure each case, after a warm-up of a quarter of it (default 2)", 0, 0, &seconds},
        {"inflight", 0, CM_OPTION_COUNT, false, "N",
         "queries under way at a time (default 8); with 1 the latencies are those of a\n"
         "query alone",
         1, CLI_LOAD_INFLIGHT_MAX, &b.inflight},
        {"shards", 0, CM_OPTION_COUNT, false, "N", "of each worker (default 1)", 1, SHARDS_MOST,
         &b.shards},
        {"k", 'k', CM_OPTION_COUNT, false, "N", "hits of an answer and of each result (default 20)",
         1, CLI_STAND_IN_K_MAX, &b.k},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &b.json},
    };
    const struct cm_command command = {
        .name = "vitrine bench cluster",
        .usage = "[--workers N] [--seconds S] [--inflight N] [--shards N] [-k N] [--json]",
        .about =
            "What one coordinator carries as its workers grow: a real vitrine-coordinator over\n"
            "TCP on this machine, workers that answer at once without scoring, and a client that\n"
            "checks each answer. For maps of 4 KB and the paper's of 590 KB it gives queries a\n"
            "second, latencies, the bytes of a query's messages at the coordinator, and its\n"
            "processor time a query: main thread (the core) and I/O (ZeroMQ).\n\n"
            "'allowed' is 1 ms and what the bytes take over as many plain TCP connections of\n"
            "this machine, in turns with the queries; at 16 workers the total is to be no more.\n"
            "'busy' is the part of the time that a thread was on a processor: what is nearest\n"
            "to 1 limits the rate. 'helpers' is the busiest thread of client and stand-ins.\n"
            "Where all threads together want more processors than there are, the machine\n"
            "limits it; processor times stay what they are.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cm_error e;
    return run(&b, seconds, &e) ? cm_command_fail(&command, &e) : CM_EXIT_OK;
}
