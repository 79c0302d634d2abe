/* clients.c: so many clients at a running cluster, each a process with so many queries in flight.
 *
 * The clients draw queries from one counter until it is used up, so that the last few queries in
 * flight are the same however they are spread. Time runs from the moment that every client is
 * connected to the last answer. The answers' fingerprint is over the hits of all queries in the
 * order of the queries, scores as bits: two runs with the same one ranked alike. */
#include "common/checksum.h"
#include "common/options.h"
#include "ops/bench/support.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUERIES_MAX = 100000, CLIENTS_MAX = 64, WINDOW_MAX = 64 };

struct args {
    const char *connect, *features;
    uint64_t clients, window, queries, k;
    bool batches, tell;
};

/* What the processes share. */
struct shared {
    atomic_uint_fast64_t next, images;
    double ms[QUERIES_MAX];                  /* [query] from QUERY to ANSWER */
    struct cm_fingerprint hits[QUERIES_MAX]; /* [query] */
};

struct client {
    const struct args *a;
    struct shared *shared;
    struct pr_npy *maps;
    struct cli_client *link;
    double sent_s[QUERIES_MAX];
    size_t in_flight;
};

static void *shared_new(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        bench_fail("out of memory");
    return p;
}

static void send_query(struct client *c, uint64_t number)
{
    struct cm_error e;
    struct bench_query q = bench_query_new(c->maps, number, (uint32_t)c->a->k);
    c->sent_s[number] = bench_wall_s();
    bench_check(cli_client_query(c->link, &q.query, q.map, &e), &e);
    cm_blob_unref(&q.map);
    c->in_flight++;
}

static struct cm_fingerprint hits_fingerprint(const struct pr_hits *hits)
{
    struct cm_error e;
    struct cm_hash *hash;
    bench_check(cm_hash_new(&hash, &e), &e);
    for (size_t i = 0; i < hits->count; i++) {
        cm_hash_add(hash, &hits->items[i].hit.image, sizeof hits->items[i].hit.image);
        cm_hash_add(hash, &hits->items[i].hit.score, sizeof hits->items[i].hit.score);
    }
    struct cm_fingerprint f = cm_hash_get(hash);
    cm_hash_free(hash);
    return f;
}

static void take_answer(struct client *c)
{
    struct cli_reply reply;
    bench_receive(c->link, &reply);
    const struct pr_answer *a = &reply.u.answer;
    if (a->id.v >= c->a->queries)
        bench_fail("an answer to no query");
    c->shared->ms[a->id.v] = (bench_wall_s() - c->sent_s[a->id.v]) * 1e3;
    c->shared->hits[a->id.v] = hits_fingerprint(&a->hits);
    atomic_store(&c->shared->images, a->images);
    cli_reply_fini(&reply);
    c->in_flight--;
    if (c->a->tell && write(STDOUT_FILENO, "\n", 1) != 1)
        bench_fail("nobody reads");
}

/* Keeps `window` queries in flight; in batches, the next ones go out when all are answered. */
static void work(struct client *c)
{
    for (bool more = true; more || c->in_flight > 0;) {
        while (more && c->in_flight < c->a->window) {
            uint64_t number = atomic_fetch_add(&c->shared->next, 1);
            more = number < c->a->queries;
            if (more)
                send_query(c, number);
        }
        for (size_t i = c->a->batches ? c->in_flight : c->in_flight > 0; i > 0; i--)
            take_answer(c);
    }
}

/* One client's process: connects, says so, waits for the word, works. */
static pid_t fork_client(const struct args *a, struct shared *shared, int ready, int go)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    struct client *c = malloc(sizeof *c);
    struct cm_error e;
    struct pr_status status;
    char word = 'r';
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!c)
        bench_fail("out of memory");
    *c = (struct client){.a = a, .shared = shared};
    bench_check(pr_npy_open(&c->maps, a->features, &e), &e);
    bench_check(cli_client_open(&c->link, a->connect, false, &status, &e), &e);
    pr_status_fini(&status);
    if (write(ready, &word, 1) != 1 || read(go, &word, 1) != 1)
        bench_fail("the other processes went away");
    work(c);
    cli_client_close(c->link);
    pr_npy_close(c->maps);
    exit(0);
}

static void wait_clients(const pid_t *pids, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int status;
        if (waitpid(pids[i], &status, 0) < 0 || status != 0)
            bench_fail("a client failed");
    }
}

/* Seconds from the word to the last answer. */
static double run(const struct args *a, struct shared *shared)
{
    pid_t pids[CLIENTS_MAX];
    int ready[2], go[2];
    char words[CLIENTS_MAX] = {0};
    if (pipe(ready) != 0 || pipe(go) != 0)
        bench_fail("no pipe");
    for (size_t i = 0; i < a->clients; i++) {
        pids[i] = fork_client(a, shared, ready[1], go[0]);
        if (pids[i] < 0)
            bench_fail("cannot fork");
    }
    close(ready[1]);
    for (size_t i = 0; i < a->clients; i++)
        if (read(ready[0], words, 1) != 1)
            bench_fail("a client did not connect");
    double begin = bench_wall_s();
    if (write(go[1], words, a->clients) != (ssize_t)a->clients)
        bench_fail("the clients went away");
    wait_clients(pids, a->clients);
    return bench_wall_s() - begin;
}

static void report(const struct args *a, struct shared *shared, double seconds)
{
    struct cm_fingerprint all =
        cm_fingerprint_of(shared->hits, a->queries * sizeof shared->hits[0]);
    uint64_t images = atomic_load(&shared->images);
    printf("{\"bench\":\"clients\",\"clients\":%" PRIu64 ",\"window\":%" PRIu64
           ",\"batches\":%s,\"queries\":%" PRIu64 ",\"images\":%" PRIu64
           ",\"seconds\":%.6f,\"pairs_per_s\":%.1f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"hits\":\"",
           a->clients, a->window, a->batches ? "true" : "false", a->queries, images, seconds,
           (double)(a->queries * images) / seconds, bench_quantile(shared->ms, a->queries, 0.5),
           bench_quantile(shared->ms, a->queries, 0.99));
    for (size_t i = 0; i < sizeof all.bytes; i++)
        printf("%02x", all.bytes[i]);
    printf("\"}\n");
}

int main(int argc, char **argv)
{
    struct args a = {.clients = 1, .window = 1, .queries = 64, .k = 100};
    const struct cm_option options[] = {
        {"connect", 'c', CM_OPTION_TEXT, true, "ENDPOINT", "the coordinator", 0, 0, &a.connect},
        {"features", 'f', CM_OPTION_TEXT, true, "FILE", "the queries' maps, again and again", 0, 0,
         &a.features},
        {"clients", 'n', CM_OPTION_COUNT, false, "N", "processes (default 1)", 1, CLIENTS_MAX,
         &a.clients},
        {"window", 'w', CM_OPTION_COUNT, false, "N", "queries of one in flight (default 1)", 1,
         WINDOW_MAX, &a.window},
        {"batches", 0, CM_OPTION_FLAG, false, NULL, "the next go out when all are answered", 0, 0,
         &a.batches},
        {"tell", 0, CM_OPTION_FLAG, false, NULL, "an empty line for each answer as it comes", 0, 0,
         &a.tell},
        {"queries", 'q', CM_OPTION_COUNT, false, "N", "of all clients together (default 64)", 1,
         QUERIES_MAX, &a.queries},
        {"hits", 'k', CM_OPTION_COUNT, false, "N", "of each query (default 100)", 1, 10000, &a.k},
    };
    const struct cm_command command = {
        .name = "bench/clients",
        .usage = "--connect ENDPOINT --features FILE [options]",
        .about = "Queries a second of several clients at a running cluster, as one line of JSON.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct shared *shared = shared_new(sizeof *shared);
    report(&a, shared, run(&a, shared));
    return 0;
}
