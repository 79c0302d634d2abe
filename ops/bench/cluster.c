/* cluster.c: start-up of a local cluster, and what a query's time holds beside scoring.
 *
 * `vitrine up` as people start it, then queries one at a time, each once the one before is
 * answered. What the answer itself says of its stages is set against what the client waited. A
 * worker's share is a single shard where the gallery has as many shards as there are workers, so
 * that the longest shard's time, which an answer carries, is the longest worker's. */
#include "common/checksum.h"
#include "common/io/process.h"
#include "common/mem.h"
#include "common/options.h"
#include "ops/bench/support.h"
#include "ops/cli/client.h"
#include "proto/file/npy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { QUERIES_MAX = 10000, STARTS_MAX = 100, GRACE_MS = 10000, WARM_UP = 20 };

struct args {
    const char *bin, *name, *gallery, *features, *json;
    uint64_t workers, queries, starts;
};

/* What is looked at in each answer, in microseconds. */
enum stage { QUEUE, SCATTER, PROJECT, SCORE, GATHER, MERGE, OUTSIDE, CLIENT, STAGES };

static const char *const stage_names[STAGES] = {
    "queue", "scatter", "project", "score", "gather", "merge", "outside_here", "outside_client",
};

struct cluster {
    struct io_child child;
    FILE *words; /* what `vitrine up` prints */
    char endpoint[PATH_MAX];
};

/* Starts it and reads up to the line that says where it listens. */
static void start(struct cluster *c, const struct args *a)
{
    int ends[2], null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    char program[PATH_MAX], workers[16], line[PATH_MAX];
    char up[] = "up", gallery_flag[] = "--gallery", workers_flag[] = "--workers", threads[] = "-t1";
    char *argv[] = {program,      up,      gallery_flag, (char *)(uintptr_t)a->gallery,
                    workers_flag, workers, threads,      NULL};
    struct cm_error e;
    snprintf(program, sizeof program, "%s/vitrine", a->bin);
    snprintf(workers, sizeof workers, "%" PRIu64, a->workers);
    if (null < 0 || pipe2(ends, O_CLOEXEC) != 0)
        bench_fail("no pipe: %s", strerror(errno));
    struct io_spawn_options o = {.stdout_fd = ends[1], .stderr_fd = null};
    bench_check(io_spawn(&c->child, argv, &o, &e), &e);
    close(ends[1]);
    close(null);
    c->words = fdopen(ends[0], "r");
    if (!c->words || !fgets(line, sizeof line, c->words))
        bench_fail("'%s up --gallery %s' did not come up", program, a->gallery);
    char *at = strstr(line, "--connect ");
    if (!at || sscanf(at, "--connect %4095s", c->endpoint) != 1)
        bench_fail("'vitrine up' said: %s", line);
}

static void stop(struct cluster *c)
{
    io_child_stop(&c->child, GRACE_MS);
    fclose(c->words);
}

/* One query, sent and answered; fills one sample of each stage. */
static void ask(struct cli_client *client, const struct bench_query *q, double (*us)[QUERIES_MAX],
                size_t sample)
{
    struct cm_error e;
    struct cli_reply reply;
    double begin = bench_wall_s();
    bench_check(cli_client_query(client, &q->query, q->map, &e), &e);
    bench_receive(client, &reply);
    double waited = (bench_wall_s() - begin) * 1e6;
    const struct pr_answer_timings *t = &reply.u.answer.timings;
    double computed = (double)(t->project_us + t->score_us);
    us[QUEUE][sample] = (double)t->queue_us;
    us[SCATTER][sample] = (double)t->scatter_us;
    us[PROJECT][sample] = (double)t->project_us;
    us[SCORE][sample] = (double)t->score_us;
    us[GATHER][sample] = (double)t->gather_us - computed;
    us[MERGE][sample] = (double)t->merge_us;
    us[OUTSIDE][sample] = (double)t->total_us - computed;
    us[CLIENT][sample] = waited - computed;
    cli_reply_fini(&reply);
}

static void report(const struct args *a, double (*us)[QUERIES_MAX], FILE *json)
{
    printf("%-6s %7" PRIu64 " p50", a->name, a->workers);
    for (size_t s = 0; s < STAGES; s++)
        printf(" %8.0f", bench_quantile(us[s], a->queries, 0.5));
    printf("\n%-6s %7" PRIu64 " p99", a->name, a->workers);
    for (size_t s = 0; s < STAGES; s++)
        printf(" %8.0f", bench_quantile(us[s], a->queries, 0.99));
    fprintf(json,
            "{\"bench\":\"query\",\"size\":\"%s\",\"workers\":%" PRIu64 ",\"queries\":%" PRIu64
            ",\"us\":{",
            a->name, a->workers, a->queries);
    for (size_t s = 0; s < STAGES; s++)
        fprintf(json, "%s\"%s\":[%.0f,%.0f]", s ? "," : "", stage_names[s],
                bench_quantile(us[s], a->queries, 0.5), bench_quantile(us[s], a->queries, 0.99));
    fprintf(json, "}}\n");
    printf("\n");
}

static void measure_queries(const struct args *a, const char *endpoint, FILE *json)
{
    static double us[STAGES][QUERIES_MAX];
    struct cm_error e;
    struct pr_npy *maps;
    struct cli_client *client;
    struct pr_status status;
    bench_check(pr_npy_open(&maps, a->features, &e), &e);
    bench_check(cli_client_open(&client, endpoint, false, &status, &e), &e);
    struct bench_query q = bench_query_new(maps, 0, 1);
    for (size_t i = 0; i < a->queries + WARM_UP; i++) {
        q.query.id.v = i;
        ask(client, &q, us, i < WARM_UP ? 0 : i - WARM_UP);
    }
    report(a, us, json);
    pr_status_fini(&status);
    cli_client_close(client);
    cm_blob_unref(&q.map);
    pr_npy_close(maps);
}

static void measure_starts(const struct args *a, FILE *json)
{
    double ms[STARTS_MAX], end_ms[STARTS_MAX];
    for (size_t i = 0; i < a->starts; i++) {
        struct cluster c;
        double begin = bench_wall_s();
        start(&c, a);
        ms[i] = (bench_wall_s() - begin) * 1e3;
        begin = bench_wall_s();
        stop(&c);
        end_ms[i] = (bench_wall_s() - begin) * 1e3;
    }
    double up = bench_quantile(ms, a->starts, 0.5), down = bench_quantile(end_ms, a->starts, 0.5);
    double worst = bench_quantile(ms, a->starts, 1);
    printf("%-6s %7" PRIu64 " %10.0f %10.0f %10.0f\n", a->name, a->workers, up, worst, down);
    fprintf(json,
            "{\"bench\":\"start\",\"gallery\":\"%s\",\"workers\":%" PRIu64
            ",\"ready_ms\":%.1f,\"worst_ms\":%.1f,\"stopped_ms\":%.1f,\"starts\":%" PRIu64 "}\n",
            a->name, a->workers, up, worst, down, a->starts);
}

int main(int argc, char **argv)
{
    struct args a = {.workers = 1, .queries = 300};
    const struct cm_option options[] = {
        {"bin", 'b', CM_OPTION_TEXT, true, "DIR", "where vitrine is", 0, 0, &a.bin},
        {"name", 'n', CM_OPTION_TEXT, true, "NAME", "what results call it", 0, 0, &a.name},
        {"gallery", 'g', CM_OPTION_TEXT, true, "DIR", "to serve", 0, 0, &a.gallery},
        {"features", 'f', CM_OPTION_TEXT, false, "FILE", "whose first map is the query", 0, 0,
         &a.features},
        {"workers", 'w', CM_OPTION_COUNT, false, "N", "processes (default 1)", 1, 64, &a.workers},
        {"queries", 'q', CM_OPTION_COUNT, false, "N", "to time (default 300)", 10, QUERIES_MAX,
         &a.queries},
        {"starts", 's', CM_OPTION_COUNT, false, "N", "time so many starts instead", 1, STARTS_MAX,
         &a.starts},
        {"json", 0, CM_OPTION_TEXT, false, "FILE", "append JSON lines to it", 0, 0, &a.json},
    };
    const struct cm_command command = {
        .name = "bench/cluster",
        .usage = "--bin DIR --name NAME --gallery DIR (--features FILE | --starts N)",
        .about = "Start-up of a cluster, and a query's time outside scoring, in microseconds.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    FILE *json = bench_json(a.json);
    if (a.starts) {
        measure_starts(&a, json);
    } else if (a.features) {
        struct cluster c;
        start(&c, &a);
        measure_queries(&a, c.endpoint, json);
        stop(&c);
    } else {
        bench_fail("give --features, or --starts");
    }
    fclose(json);
    return 0;
}
