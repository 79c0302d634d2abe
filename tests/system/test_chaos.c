/* test_chaos.c: a short run of tests/chaos, with as much time for everything as a busy machine or a
 * sanitizer takes. The long ones are `make chaos`. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <string.h>

enum { PATH_BYTES = 1024, CHAOS_MS = 200000 };

/* One of each kind of fault, if there is time, and no query fails, is wrong or partial. */
Test(chaos, a_short_run)
{
    char path[PATH_BYTES];
    struct test_run r;
    test_start(&r,
               (const char *const[]){test_source("tests/chaos/run", path, sizeof path), "--seconds",
                                     "20", "--seed", "5", "--workers", "3", "--shards", "6",
                                     "--times", "1", "--heartbeat-ms", "500", "--dead-after-ms",
                                     "2000", "--deadline-ms", "20000", NULL});
    test_finish(&r, CHAOS_MS);
    cr_assert(!r.timed_out, "%s", r.out);
    cr_assert_eq(r.code, 0, "%s%s", r.out, r.err);
    cr_assert(strstr(r.out, " 0 partial, 0 failed, 0 wrong") != NULL, "%s", r.out);
    test_run_fini(&r);
}
