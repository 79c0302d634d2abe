/* trace.c: see trace.h. */
#include "tests/sim/trace.h"

#include <stdarg.h>

static uint64_t digest_of(uint64_t digest, const char *line)
{
    for (; *line; line++)
        digest = (digest ^ (unsigned char)*line) * UINT64_C(0x100000001b3);
    return digest;
}

void sim_trace_add(struct sim_trace *t, uint64_t now_ns, const char *fmt, ...)
{
    char *line = t->lines[t->count++ % SIM_TRACE_LINES];
    int at = snprintf(line, SIM_TRACE_LINE_BYTES, "%10.6f ", (double)now_ns / 1e9);
    va_list arguments;
    va_start(arguments, fmt);
    vsnprintf(line + at, (size_t)(SIM_TRACE_LINE_BYTES - at), fmt, arguments);
    va_end(arguments);
    t->digest = digest_of(t->digest, line);
    if (t->print)
        puts(line);
}

void sim_trace_dump(const struct sim_trace *t, FILE *out)
{
    uint64_t first = t->count > SIM_TRACE_LINES ? t->count - SIM_TRACE_LINES : 0;
    for (uint64_t i = first; i < t->count; i++)
        fprintf(out, "  %s\n", t->lines[i % SIM_TRACE_LINES]);
}
