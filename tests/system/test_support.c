/* test_support.c: what the tests stand on: a program is run, timed out, and quoted whole. */
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <string.h>

Test(support, run_keeps_code_and_output)
{
    struct test_run r = {0};
    cr_assert_eq(TEST_RUN(&r, "/bin/sh", "-c", "echo out; echo err >&2; exit 7"), 7);
    cr_assert_str_eq(r.out, "out\n");
    cr_assert_str_eq(r.err, "err\n");
    test_run_fini(&r);
    cr_assert_eq(TEST_RUN(&r, "/bin/sh", "-c", "kill -9 $$"), 128 + 9);
    test_run_fini(&r);
    cr_assert_eq(TEST_RUN(&r, "vitrine", "--help"), 0);
    cr_assert(strstr(r.out, "search") != NULL, "%s", r.out);
    test_run_fini(&r);
}

Test(support, run_kills_what_takes_too_long)
{
    struct test_run r = {0};
    test_start(&r, (const char *const[]){"/bin/sh", "-c", "echo begun; exec sleep 100", NULL});
    cr_assert_eq(test_finish(&r, 300), 128 + 9);
    cr_assert(r.timed_out);
    cr_assert_str_eq(r.out, "begun\n");
    test_run_fini(&r);
}
