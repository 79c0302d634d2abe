/* lone.c: what others cost a single query at a running cluster.
 *
 * In turns: a query alone; a query that is alone until `--after` per cent of the time that one
 * alone took, when the others come; and a query that comes when the others have had as much of that
 * time. Served one after the other and in their order, the second would take 1 time, the third as
 * long as all of them together have left. */
#include "common/options.h"
#include "ops/bench/support.h"

#include <inttypes.h>
#include <time.h>

enum { ROUNDS_MAX = 1000, OTHERS_MAX = 64 };

struct args {
    const char *connect, *features;
    uint64_t others, after, rounds;
};

struct bench {
    const struct args *a;
    struct pr_npy *maps;
    struct cli_client *lone, *crowd;
    uint64_t number;
};

static struct cli_client *dial(const char *endpoint)
{
    struct cm_error e;
    struct cli_client *client;
    struct pr_status status;
    bench_check(cli_client_open(&client, endpoint, false, &status, &e), &e);
    pr_status_fini(&status);
    return client;
}

static void start(struct bench *b)
{
    struct cm_error e;
    bench_check(pr_npy_open(&b->maps, b->a->features, &e), &e);
    b->lone = dial(b->a->connect);
    b->crowd = dial(b->a->connect);
}

static void stop(struct bench *b)
{
    cli_client_close(b->lone);
    cli_client_close(b->crowd);
    pr_npy_close(b->maps);
}

/* Sends the next queries; seconds on the clock when the first went out. */
static double send_queries(struct bench *b, struct cli_client *client, uint64_t count)
{
    double begin = 0;
    for (uint64_t i = 0; i < count; i++) {
        struct cm_error e;
        struct bench_query q = bench_query_new(b->maps, b->number++, 20);
        if (i == 0)
            begin = bench_wall_s();
        bench_check(cli_client_query(client, &q.query, q.map, &e), &e);
        cm_blob_unref(&q.map);
    }
    return begin;
}

/* Waits for so many answers; seconds on the clock at the last. */
static double take_answers(struct cli_client *client, uint64_t count)
{
    for (; count > 0; count--) {
        struct cli_reply reply;
        bench_receive(client, &reply);
        cli_reply_fini(&reply);
    }
    return bench_wall_s();
}

static void sleep_s(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds};
    t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
    nanosleep(&t, NULL);
}

static double alone_s(struct bench *b)
{
    double begin = send_queries(b, b->lone, 1);
    return take_answers(b->lone, 1) - begin;
}

/* The others come after `delay_s`. */
static double joined_s(struct bench *b, double delay_s)
{
    double begin = send_queries(b, b->lone, 1);
    sleep_s(delay_s);
    send_queries(b, b->crowd, b->a->others);
    double end = take_answers(b->lone, 1);
    take_answers(b->crowd, b->a->others);
    return end - begin;
}

/* The others are there since `delay_s`. */
static double late_s(struct bench *b, double delay_s)
{
    send_queries(b, b->crowd, b->a->others);
    sleep_s(delay_s);
    double begin = send_queries(b, b->lone, 1);
    double end = take_answers(b->lone, 1);
    take_answers(b->crowd, b->a->others);
    return end - begin;
}

static void measure(struct bench *b)
{
    const struct args *a = b->a;
    double alone[ROUNDS_MAX], joined[ROUNDS_MAX], late[ROUNDS_MAX], twice[ROUNDS_MAX];
    double fraction = (double)a->after / 100;
    alone_s(b); /* pages and caches settle */
    for (size_t r = 0; r < a->rounds; r++) {
        alone[r] = alone_s(b) * 1e3;
        joined[r] = joined_s(b, alone[r] * 1e-3 * fraction) * 1e3;
        twice[r] = joined[r] / alone[r];
        late[r] = late_s(b, alone[r] * 1e-3 * fraction) * 1e3;
    }
    double p50[] = {bench_quantile(alone, a->rounds, 0.5), bench_quantile(joined, a->rounds, 0.5),
                    bench_quantile(late, a->rounds, 0.5)};
    double ratio = bench_quantile(twice, a->rounds, 0.5),
           worst = bench_quantile(twice, a->rounds, 1);
    double in_order = 1 + (double)a->others - fraction;
    printf("{\"bench\":\"lone\",\"others\":%" PRIu64 ",\"after\":%.2f,"
           "\"alone_ms\":%.2f,\"joined_ms\":%.2f,\"joined_to_alone\":%.3f,\"worst\":%.3f,"
           "\"late_ms\":%.2f,\"late_to_alone\":%.3f,\"late_in_order\":%.2f,\"rounds\":%" PRIu64
           "}\n",
           a->others, fraction, p50[0], p50[1], ratio, worst, p50[2], p50[2] / p50[0], in_order,
           a->rounds);
}

int main(int argc, char **argv)
{
    struct args a = {.others = 7, .after = 10, .rounds = 9};
    const struct cm_option options[] = {
        {"connect", 'c', CM_OPTION_TEXT, true, "ENDPOINT", "the coordinator", 0, 0, &a.connect},
        {"features", 'f', CM_OPTION_TEXT, true, "FILE", "the queries' maps, again and again", 0, 0,
         &a.features},
        {"others", 'n', CM_OPTION_COUNT, false, "N", "that come together (default 7)", 1,
         OTHERS_MAX, &a.others},
        {"after", 0, CM_OPTION_COUNT, false, "PERCENT", "of the time of one alone (default 10)", 0,
         100, &a.after},
        {"rounds", 'r', CM_OPTION_COUNT, false, "N", "of each kind (default 9)", 3, ROUNDS_MAX,
         &a.rounds},
    };
    const struct cm_command command = {
        .name = "bench/lone",
        .usage = "--connect ENDPOINT --features FILE [options]",
        .about = "A query's time alone, joined by others, and coming to others, as a line of JSON.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct bench b = {.a = &a};
    start(&b);
    measure(&b);
    stop(&b);
    return 0;
}
