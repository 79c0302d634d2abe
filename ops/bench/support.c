/* support.c: see support.h. */
#include "ops/bench/support.h"

#include "common/checksum.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ANSWER_MS = 600000 };

const struct bench_size *bench_size_of(const char *name)
{
    static const struct bench_size sizes[] = {
        {"paper", {CM_TRANSMATCHER, 24, 8, 512, 3, 2048}},
        {"small", {CM_TRANSMATCHER, 12, 12, 128, 2, 512}},
        {"qaconv", {CM_QACONV, 24, 8, 64, 1, 0}},
        {"bytes", {CM_QACONV, 24, 8, 1536, 1, 0}},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (strcmp(sizes[i].name, name) == 0)
            return &sizes[i];
    bench_fail("no model size is called '%s'", name);
}

void bench_check(enum cm_err rc, const struct cm_error *e)
{
    if (rc)
        bench_fail("%s", e->text);
}

void bench_fail(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("bench: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static double clock_s(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_wall_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

double bench_cpu_s(void)
{
    return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

void bench_pin(void)
{
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        bench_fail("cannot read the affinity mask: %s", strerror(errno));
    size_t last = CPU_SETSIZE - 1;
    while (last > 0 && !CPU_ISSET(last, &allowed))
        last--;
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    if (sched_setaffinity(0, sizeof one, &one) != 0)
        bench_fail("cannot pin to processor %zu: %s", last, strerror(errno));
}

static int ascending(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

double bench_quantile(double *samples, size_t count, double at)
{
    qsort(samples, count, sizeof *samples, ascending);
    return samples[(size_t)(at * (double)(count - 1) + 0.5)];
}

double bench_spread(double *samples, size_t count)
{
    double middle = bench_quantile(samples, count, 0.5);
    double quartiles = bench_quantile(samples, count, 0.75) - bench_quantile(samples, count, 0.25);
    return quartiles / 2 / middle;
}

float bench_random(uint64_t *state)
{
    /* xorshift64*, Vigna 2016: long enough a period, and the same numbers everywhere. */
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return (float)((x * UINT64_C(0x2545f4914f6cdd1d)) >> 40) / (float)(1 << 23) - 1.0f;
}

void bench_npy_header(FILE *f, uint64_t images, uint32_t height, uint32_t width, uint32_t channels)
{
    char dict[112];
    snprintf(dict, sizeof dict,
             "{'descr': '<f2', 'fortran_order': False, 'shape': (%" PRIu64 ", %u, %u, %u), }",
             images, height, width, channels);
    fwrite("\x93NUMPY\x01\x00\x76\x00", 10, 1, f);
    fprintf(f, "%-117s\n", dict);
}

struct bench_query bench_query_new(struct pr_npy *maps, uint64_t number, uint32_t k)
{
    struct cm_error e;
    struct bench_query q;
    void *bytes = malloc(maps->image_bytes);
    if (!bytes)
        bench_fail("out of memory");
    bench_check(pr_npy_read_raw(maps, number % maps->images, 1, bytes, &e), &e);
    bench_check(cm_blob_new(&q.map, bytes, maps->image_bytes, free, bytes, &e), &e);
    q.query = (struct pr_query){.id = {number},
                                .k = k,
                                .deadline_ms = ANSWER_MS,
                                .dtype = maps->dtype,
                                .height = maps->height,
                                .width = maps->width,
                                .channels = maps->channels,
                                .payload_crc32c = cm_crc32c(0, bytes, maps->image_bytes)};
    return q;
}

void bench_receive(struct cli_client *client, struct cli_reply *reply)
{
    struct cm_error e;
    bench_check(cli_client_receive(client, ANSWER_MS, reply, &e), &e);
    if (reply->type == PR_ERROR)
        bench_fail("a query was refused: %s", reply->u.error.text);
    if (reply->type != PR_ANSWER || reply->u.answer.missing_count > 0)
        bench_fail("a query was not answered in full");
}

FILE *bench_json(const char *path)
{
    FILE *out = fopen(path ? path : "/dev/null", "a");
    if (!out)
        bench_fail("cannot append to %s: %s", path, strerror(errno));
    setvbuf(out, NULL, _IOLBF, BUFSIZ);
    return out;
}
