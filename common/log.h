/* log.h: one line an event, in logfmt: `ts=... level=info node=worker-0 event=joined shards=5`.
 *
 * Lines go to one file descriptor with one write() each, so that the lines of threads and processes
 * that share it do not tear. Values with spaces are quoted by the caller (msg=\"%s\"); control
 * characters become '?', so a peer's text cannot forge a line. */
#ifndef CM_LOG_H
#define CM_LOG_H

#include "common/err.h"

#include <stdint.h>

/* From chatty to silent. */
enum cm_log_level {
    CM_LOG_DEBUG,
    CM_LOG_INFO,
    CM_LOG_WARN,
    CM_LOG_ERROR,
    CM_LOG_OFF,
};

struct cm_log {
    int fd;
    enum cm_log_level least; /* lines below it are dropped */
    char node[80];           /* who speaks */
};

/* Writes to `fd`, which stays the caller's. */
void cm_log_init(struct cm_log *l, int fd, enum cm_log_level least, const char *node);

/* The level of a name (debug, info, warn, error, off), or -1. */
int cm_log_level_of_name(const char *name);

/* The same for what somebody typed after --log-level. Errors: CM_EUSAGE. */
enum cm_err cm_log_level_parse(const char *name, enum cm_log_level *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* One line; `fmt` gives its key=value fields ("" for none). Any thread. `l` may be NULL: silence.
 */
void cm_log(const struct cm_log *l, enum cm_log_level level, const char *event, const char *fmt,
            ...) __attribute__((format(printf, 4, 5)));

/* Lets through one event a period; counts the rest. Zero-initialise. Pure: time is a parameter. */
struct cm_log_rate {
    uint64_t next_ns;    /* the earliest time of the next line */
    uint64_t suppressed; /* events swallowed since the last line */
};

/* 1 if a line may be written now; *missed is then the number of events swallowed before it. */
int cm_log_rate_pass(struct cm_log_rate *r, uint64_t now_ns, uint64_t period_ns, uint64_t *missed);

#endif
