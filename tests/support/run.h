/* run.h: runs one of our programs and keeps all that it says. Failures stop the test.
 *
 * The programs are those in the folder VITRINE_BIN (tests/run sets it). They inherit environment
 * and limits of the test, which is a process of its own, and die with it. Main thread only. */
#ifndef TEST_RUN_H
#define TEST_RUN_H

#include "common/io/process.h"

#include <stdbool.h>

/* One program, from its start to test_run_fini. Zero-initialise, or fill with test_start. */
struct test_run {
    struct io_child child;
    int out_fd, err_fd; /* files in memory that it writes into */
    bool timed_out;     /* it was killed because its time was over */
    int code;           /* its exit code, 128 + N if signal N ended it; once it has ended */
    char *out, *err;    /* all that it wrote, with a NUL behind it; once it has ended */
};

enum { TEST_RUN_MS = 60000 }; /* plenty for a short command, under a sanitizer too */

/* Starts argv[0] ("vitrine", "vitrine-worker", or any path with a slash in it) with argv, which
 * ends in NULL; at most 63 words. */
void test_start(struct test_run *r, const char *const argv[]);

/* Waits until it ends, or kills it when timeout_ms are over; fills in code, out and err. Returns
 * the code. */
int test_finish(struct test_run *r, unsigned timeout_ms);

/* Starts, waits up to TEST_RUN_MS, and stops the test if that was not enough. Returns the code. */
int test_run(struct test_run *r, const char *const argv[]);

/* The same with the words written out: TEST_RUN(&r, "vitrine", "verify", dir). */
#define TEST_RUN(r, ...) test_run((r), (const char *const[]){__VA_ARGS__, NULL})

/* What it has written so far, as a new string that the caller frees. */
char *test_run_out(const struct test_run *r);
/* The same of its stderr. */
char *test_run_err(const struct test_run *r);

/* Kills it if it still runs, and frees what it wrote. */
void test_run_fini(struct test_run *r);

/* The path of `program` in VITRINE_BIN, in `out`. Returns `out`. */
char *test_program(const char *program, char *out, size_t size);

/* The path of `name` in the source tree (VITRINE_SOURCE), in `out`. Returns `out`. */
char *test_source(const char *name, char *out, size_t size);

/* The path of `name` in the folder of large reference data, VITRINE_SHARED or ../shared, in `out`.
 * False, and says so on stderr, where it is not; the test then has nothing to do. */
bool test_shared(const char *name, char *out, size_t size);

/* Is this build so much slower (tests/run says so) that a part of much arithmetic will do? */
bool test_is_slow(void);

/* Sleeps. */
void test_sleep_ms(unsigned ms);

/* A clock that never goes back. */
unsigned long long test_now_ms(void);

#endif
