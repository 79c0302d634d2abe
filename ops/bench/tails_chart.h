/* tails_chart.h: the curves of tails.c as a table and as a picture. Main thread only; a file that
 * cannot be written stops the program. */
#ifndef BENCH_TAILS_CHART_H
#define BENCH_TAILS_CHART_H

/* Runs that are compared; the longest of them. */
enum { TAILS_CURVES = 3, TAILS_SECONDS_MAX = 600 };

struct tails_curve {
    const char *name;
    double p50_ms[TAILS_SECONDS_MAX], p99_ms[TAILS_SECONDS_MAX]; /* of the queries of each second */
};

struct tails_chart {
    int seconds;      /* at most TAILS_SECONDS_MAX */
    int from_s, to_s; /* a worker is slow between these */
    struct tails_curve curves[TAILS_CURVES];
};

/* A row a second, a p50 and a p99 for each curve. */
void tails_write_csv(const struct tails_chart *c, const char *path);

/* The p99 of each curve over the seconds, on a logarithmic scale from 1 to 1000 ms. */
void tails_write_svg(const struct tails_chart *c, const char *path);

#endif
