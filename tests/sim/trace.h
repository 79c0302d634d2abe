/* trace.h: what happened, a line an event: the last lines are kept for the report of a failure, and
 * all are printed where somebody wants to watch. */
#ifndef SIM_TRACE_H
#define SIM_TRACE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* What is kept. */
enum { SIM_TRACE_LINES = 60, SIM_TRACE_LINE_BYTES = 200 };

struct sim_trace {
    bool print; /* each line at once, on stdout */
    uint64_t count;
    char lines[SIM_TRACE_LINES][SIM_TRACE_LINE_BYTES]; /* a ring */
    uint64_t digest;                                   /* of all lines: two runs are the same? */
};

/* One line, at the time `now_ns`; longer ones are cut. */
void sim_trace_add(struct sim_trace *t, uint64_t now_ns, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The lines that are kept, oldest first. */
void sim_trace_dump(const struct sim_trace *t, FILE *out);

#endif
