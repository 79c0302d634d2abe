/* progress.c: see progress.h. */
#include "ops/cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PERIOD_NS UINT64_C(200000000)

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

void cli_progress_start(struct cli_progress *p, const char *unit, uint64_t total)
{
    *p = (struct cli_progress){
        .unit = unit, .work = "bytes", .total = total, .on = isatty(STDERR_FILENO) == 1};
    p->started_ns = now_ns();
}

void cli_progress_at(struct cli_progress *p, uint64_t done, uint64_t work)
{
    uint64_t now = p->on ? now_ns() : 0;
    if (!p->on || now < p->next_ns)
        return;
    p->next_ns = now + PERIOD_NS;
    double seconds = (double)(now - p->started_ns) / 1e9;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    double left = rate > 0 ? (double)(p->total - done) / rate : 0;
    fprintf(stderr, "\r%" PRIu64 "/%" PRIu64 " %s  %.*f/s", done, p->total, p->unit,
            rate < 10 ? 1 : 0, rate);
    double work_rate = seconds > 0 ? (double)work / seconds : 0;
    if (work && strcmp(p->work, "bytes") == 0)
        fprintf(stderr, "  %.1f MB/s", work_rate / 1e6);
    else if (work)
        fprintf(stderr, "  %.0f %s/s", work_rate, p->work);
    fprintf(stderr, "  %.0f s left\x1b[K", left);
    fflush(stderr);
}

void cli_progress_end(struct cli_progress *p)
{
    if (p->on)
        fprintf(stderr, "\r\x1b[K");
    fflush(stderr);
}
