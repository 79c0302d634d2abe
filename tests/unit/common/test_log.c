/* Log lines as they reach the file descriptor. */
#include "common/log.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int ends[2];
static struct cm_log to_pipe;
static char seen[8192];

static void setup(void)
{
    cr_assert_eq(pipe2(ends, O_NONBLOCK), 0);
    cm_log_init(&to_pipe, ends[1], CM_LOG_INFO, "worker-0");
}

static void teardown(void)
{
    close(ends[0]);
    close(ends[1]);
}

TestSuite(log, .init = setup, .fini = teardown);

/* What came through the pipe since the last call. */
static const char *written(void)
{
    ssize_t n = read(ends[0], seen, sizeof seen - 1);
    seen[n > 0 ? n : 0] = '\0';
    return seen;
}

Test(log, one_event_is_one_line)
{
    cm_log(&to_pipe, CM_LOG_WARN, "joined", "shards=%d msg=\"%s\"", 5, "it came");
    regex_t line;
    cr_assert_eq(regcomp(&line,
                         "^ts=[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z "
                         "level=warn node=worker-0 event=joined shards=5 msg=\"it came\"\n$",
                         REG_EXTENDED | REG_NOSUB),
                 0);
    cr_assert_eq(regexec(&line, written(), 0, NULL, 0), 0, "%s", seen);
    regfree(&line);
    cm_log(&to_pipe, CM_LOG_INFO, "left", "%s", "");
    cm_log(&to_pipe, CM_LOG_ERROR, "left", "a=1");
    cr_assert(strstr(written(), "\nts=") != NULL, "%s", seen);
}

Test(log, without_fields_a_line_ends_after_the_event)
{
    /* Compilers warn of an empty format, which here has a meaning; a plain pointer is not looked
     * at. */
    void (*speak)(const struct cm_log *, enum cm_log_level, const char *, const char *, ...) =
        cm_log;
    speak(&to_pipe, CM_LOG_INFO, "ready", "");
    const char *line = written(), *end = "event=ready\n";
    cr_assert(strlen(line) > strlen(end) && strcmp(line + strlen(line) - strlen(end), end) == 0,
              "%s", line);
}

Test(log, control_characters_cannot_forge_a_line)
{
    cm_log(&to_pipe, CM_LOG_INFO, "garbage", "text=\"%s\"", "a\nts=1 level=error\r\x1b[2J\x7f\t");
    const char *line = written();
    cr_assert(strstr(line, "text=\"a?ts=1 level=error??[2J??\"\n") != NULL, "%s", line);
    cr_assert(strchr(line, '\n') == line + strlen(line) - 1, "%s", line);
}

Test(log, a_line_too_long_is_cut_and_still_a_line)
{
    char longer[4000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    cm_log(&to_pipe, CM_LOG_INFO, "long", "v=%s", longer);
    const char *line = written();
    cr_assert(strlen(line) > 1000 && strlen(line) < 2000, "%zu bytes", strlen(line));
    cr_assert(strchr(line, '\n') == line + strlen(line) - 1);
    cm_log(&to_pipe, CM_LOG_INFO, longer, "v=%s", longer);
    line = written();
    cr_assert(strlen(line) > 1000 && strchr(line, '\n') == line + strlen(line) - 1);
    cm_log_init(&to_pipe, ends[1], CM_LOG_INFO, longer);
    cr_assert_eq(strlen(to_pipe.node), sizeof to_pipe.node - 1);
}

Test(log, lines_below_the_least_level_are_dropped)
{
    static const char *const names[] = {"debug", "info", "warn", "error", "off"};
    for (int least = CM_LOG_DEBUG; least <= CM_LOG_OFF; least++) {
        cm_log_init(&to_pipe, ends[1], (enum cm_log_level)least, "n");
        for (int level = CM_LOG_DEBUG; level < CM_LOG_OFF; level++) {
            char want[32];
            snprintf(want, sizeof want, " level=%s ", names[level]);
            cm_log(&to_pipe, (enum cm_log_level)level, "e", "a=%d", 1);
            cr_assert_eq(strstr(written(), want) != NULL, level >= least, "%s at least %s: %s",
                         names[level], names[least], seen);
        }
        cr_assert_eq(cm_log_level_of_name(names[least]), least);
    }
    cr_assert_eq(cm_log_level_of_name("Info"), -1);
    cr_assert_eq(cm_log_level_of_name(""), -1);
    cm_log(NULL, CM_LOG_ERROR, "e", "a=%d", 1);
    cr_assert_str_eq(written(), "");
}

Test(log, rate_lets_one_event_a_period_through_and_counts_the_rest)
{
    struct cm_log_rate r = {0};
    uint64_t missed = 99;
    cr_assert(cm_log_rate_pass(&r, 0, 100, &missed) && missed == 0, "the first one passes");
    for (uint64_t now = 0; now < 100; now++)
        cr_assert(!cm_log_rate_pass(&r, now, 100, &missed), "at %llu", (unsigned long long)now);
    cr_assert_eq(missed, 0, "untouched");
    cr_assert(cm_log_rate_pass(&r, 100, 100, &missed) && missed == 100);
    cr_assert(!cm_log_rate_pass(&r, 199, 100, &missed));
    cr_assert(cm_log_rate_pass(&r, 1000, 100, &missed) && missed == 1);
    cr_assert(cm_log_rate_pass(&r, 1100, 100, &missed) && missed == 0);
}
