/* run.c: see run.h. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORDS_MAX = 64, PATH_BYTES = 1024, POLL_MS = 5 };

void test_sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

unsigned long long test_now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long long)t.tv_sec * 1000 + (unsigned long long)t.tv_nsec / 1000000;
}

/* "<value of the variable>/<name>" */
static char *in_folder(const char *variable, const char *name, char *out, size_t size)
{
    const char *folder = getenv(variable);
    cr_assert(folder != NULL, "%s is not set: run the tests with tests/run", variable);
    int n = snprintf(out, size, "%s/%s", folder, name);
    cr_assert(n > 0 && (size_t)n < size, "the path of %s is too long", name);
    return out;
}

char *test_program(const char *program, char *out, size_t size)
{
    return in_folder("VITRINE_BIN", program, out, size);
}

char *test_source(const char *name, char *out, size_t size)
{
    return in_folder("VITRINE_SOURCE", name, out, size);
}

bool test_shared(const char *name, char *out, size_t size)
{
    char beside[PATH_BYTES];
    const char *shared = getenv("VITRINE_SHARED");
    int n = snprintf(out, size, "%s/%s",
                     shared ? shared : test_source("../shared", beside, sizeof beside), name);
    cr_assert(n > 0 && (size_t)n < size, "path too long");
    if (access(out, R_OK) == 0)
        return true;
    fprintf(stderr, "%s is not in %s: what needs it did not run\n", name,
            shared ? shared : "../shared");
    return false;
}

void test_start(struct test_run *r, const char *const argv[])
{
    char path[PATH_BYTES];
    char *words[WORDS_MAX] = {NULL};
    size_t count = 0;
    struct cm_error e;
    for (; argv[count]; count++) {
        cr_assert(count + 1 < WORDS_MAX, "more than %d words", WORDS_MAX - 1);
        words[count] = (char *)(uintptr_t)argv[count];
    }
    if (!strchr(argv[0], '/'))
        words[0] = test_program(argv[0], path, sizeof path);
    *r = (struct test_run){.out_fd = memfd_create("stdout", MFD_CLOEXEC),
                           .err_fd = memfd_create("stderr", MFD_CLOEXEC)};
    cr_assert(r->out_fd > 0 && r->err_fd > 0, "no file in memory");
    struct io_spawn_options o = {.stdout_fd = r->out_fd, .stderr_fd = r->err_fd};
    cr_assert_eq(io_spawn(&r->child, words, &o, &e), CM_OK, "%s", e.text);
}

/* All of a file in memory. Its position is not touched: the program writes there. */
static char *contents(int fd)
{
    struct stat s;
    cr_assert_eq(fstat(fd, &s), 0);
    char *text = calloc((size_t)s.st_size + 1, 1);
    cr_assert(text != NULL);
    for (off_t have = 0; have < s.st_size;) {
        ssize_t n = pread(fd, text + have, (size_t)(s.st_size - have), have);
        cr_assert(n > 0, "a file in memory cannot be read");
        have += n;
    }
    return text;
}

char *test_run_out(const struct test_run *r)
{
    return contents(r->out_fd);
}

char *test_run_err(const struct test_run *r)
{
    return contents(r->err_fd);
}

int test_finish(struct test_run *r, unsigned timeout_ms)
{
    unsigned long long end = test_now_ms() + timeout_ms;
    while (!io_child_poll(&r->child) && test_now_ms() < end)
        test_sleep_ms(POLL_MS);
    r->timed_out = !r->child.exited;
    if (r->timed_out) {
        kill(r->child.pid, SIGKILL);
        io_child_stop(&r->child, 0);
    }
    r->code = WIFSIGNALED(r->child.status) ? 128 + WTERMSIG(r->child.status)
                                           : WEXITSTATUS(r->child.status);
    free(r->out);
    free(r->err);
    r->out = contents(r->out_fd);
    r->err = contents(r->err_fd);
    return r->code;
}

int test_run(struct test_run *r, const char *const argv[])
{
    test_start(r, argv);
    test_finish(r, TEST_RUN_MS);
    cr_assert(!r->timed_out, "%s ran for more than %d ms; it said: %s", argv[0], TEST_RUN_MS,
              r->err);
    return r->code;
}

void test_run_fini(struct test_run *r)
{
    if (r->child.pid > 0 && !io_child_poll(&r->child)) {
        kill(r->child.pid, SIGKILL);
        io_child_stop(&r->child, 0);
    }
    if (r->out_fd > 0)
        close(r->out_fd);
    if (r->err_fd > 0)
        close(r->err_fd);
    free(r->out);
    free(r->err);
    *r = (struct test_run){0};
}

bool test_is_slow(void)
{
    return getenv("VITRINE_SLOW") != NULL;
}
