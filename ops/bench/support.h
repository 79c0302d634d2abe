/* support.h: what the benchmark programs share: clocks, statistics, sizes, and the results' file.
 *
 * A benchmark has nobody to answer to: it stops at the first failure with one line on stderr. Main
 * thread only. */
#ifndef BENCH_SUPPORT_H
#define BENCH_SUPPORT_H

#include "common/blob.h"
#include "common/err.h"
#include "common/types.h"
#include "ops/cli/client.h"
#include "proto/file/npy.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A model's sizes under the name that results bear. */
struct bench_size {
    const char *name;
    struct cm_geometry geometry;
};

/* "paper", "small", "qaconv", and "bytes": a QAConv whose maps have the bytes of the paper's and
 * which has next to nothing to compute before it scores. Stops if there is no such name. */
const struct bench_size *bench_size_of(const char *name);

/* Stops the program if `rc` is a failure. */
void bench_check(enum cm_err rc, const struct cm_error *e);
/* Stops the program with this line. */
_Noreturn void bench_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Seconds on the wall, and seconds that this thread was on a processor. The second does not count
 * what other processes take away, so a single thread is measured with it. */
double bench_wall_s(void);
double bench_cpu_s(void);

/* Keeps this thread, and those it starts from now on, on one processor: the last it may use. */
void bench_pin(void);

/* Sorts the samples and gives the one below which the fraction `at` of them lies (0.5: median). */
double bench_quantile(double *samples, size_t count, double at);
/* Half the distance between the quartiles as a fraction of the median: how far to trust it. */
double bench_spread(double *samples, size_t count);

/* The next number of a seeded stream, uniform in [-1, 1). */
float bench_random(uint64_t *state);

/* Writes the header of a .npy file of float16 maps; errors stay with the stream. */
void bench_npy_header(FILE *f, uint64_t images, uint32_t height, uint32_t width, uint32_t channels);

/* A query to send: map `number` of a file, which is gone through again and again; the id is the
 * number. Drop the map with cm_blob_unref. */
struct bench_query {
    struct pr_query query;
    struct cm_blob *map;
};
struct bench_query bench_query_new(struct pr_npy *maps, uint64_t number, uint32_t k);
/* The next answer, which must cover the whole gallery; release it with cli_reply_fini. */
void bench_receive(struct cli_client *client, struct cli_reply *reply);

/* Opens the file that JSON lines are appended to; a stream to nowhere for NULL. */
FILE *bench_json(const char *path);

#endif
