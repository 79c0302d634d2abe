/* log.c: see log.h. */
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 1536 };

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void cm_log_init(struct cm_log *l, int fd, enum cm_log_level least, const char *node)
{
    *l = (struct cm_log){.fd = fd, .least = least};
    snprintf(l->node, sizeof l->node, "%s", node);
}

int cm_log_level_of_name(const char *name)
{
    for (int i = CM_LOG_DEBUG; i <= CM_LOG_OFF; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

enum cm_err cm_log_level_parse(const char *name, enum cm_log_level *out, struct cm_error *e)
{
    int level = cm_log_level_of_name(name);
    if (level < 0)
        return cm_fail(e, CM_EUSAGE, "--log-level is '%s'; it is debug, info, warn, error or off",
                       name);
    *out = (enum cm_log_level)level;
    return CM_OK;
}

static size_t put_prefix(const struct cm_log *l, enum cm_log_level level, const char *event,
                         char *line, size_t room)
{
    struct timespec now;
    struct tm utc;
    char stamp[32];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line, room, "ts=%s.%03ldZ level=%s node=%s event=%s", stamp,
                     now.tv_nsec / 1000000, level_names[level], l->node, event);
    return n < 0 ? 0 : (size_t)n < room ? (size_t)n : room - 1;
}

void cm_log(const struct cm_log *l, enum cm_log_level level, const char *event, const char *fmt,
            ...)
{
    if (!l || level < l->least)
        return;
    char line[LINE_BYTES];
    size_t room = sizeof line - 1; /* the newline's place is kept */
    size_t n = put_prefix(l, level, event, line, room);
    if (*fmt && n + 1 < room) {
        line[n++] = ' ';
        va_list ap;
        va_start(ap, fmt);
        int more = vsnprintf(line + n, room - n, fmt, ap);
        va_end(ap);
        n += more < 0 ? 0 : (size_t)more < room - n ? (size_t)more : room - n - 1;
    }
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f)
            line[i] = '?';
    line[n++] = '\n';
    /* A log that cannot be written has nowhere to be reported. */
    ssize_t ignored = write(l->fd, line, n);
    (void)ignored;
}

int cm_log_rate_pass(struct cm_log_rate *r, uint64_t now_ns, uint64_t period_ns, uint64_t *missed)
{
    if (now_ns < r->next_ns) {
        r->suppressed++;
        return 0;
    }
    *missed = r->suppressed;
    r->suppressed = 0;
    r->next_ns = now_ns + period_ns;
    return 1;
}
