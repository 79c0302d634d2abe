/* refusal.c: see refusal.h. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <string.h>

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    return lines;
}

void test_refused(const char *const argv[], const struct test_refusal *want)
{
    struct test_run r;
    int code = test_run(&r, argv);
    size_t name = strcspn(argv[0], "/") == strlen(argv[0]) ? strlen(argv[0]) : 0;
    cr_assert_eq(code, want->code, "%s %s: exit %d, expected %d ('%s'): %s", argv[0], argv[1], code,
                 want->code, want->part, r.err);
    cr_assert(count_lines(r.err) == 1 && r.err[strlen(r.err) - 1] == '\n', "not one line: %s",
              r.err);
    cr_assert(strncmp(r.err, argv[0], name) == 0, "nobody is named first: %s", r.err);
    cr_assert(!want->what || strstr(r.err, want->what), "'%s' is not named: %s", want->what, r.err);
    cr_assert(strstr(r.err, want->part) != NULL, "'%s' is not said: %s", want->part, r.err);
    cr_assert_str_eq(r.out, "", "%s %s wrote to stdout", argv[0], argv[1]);
    test_run_fini(&r);
}

void test_import_refused(const struct test_inputs *t, const struct test_refusal *want)
{
    test_refused((const char *const[]){"vitrine", "import", "--model", t->model, "--features",
                                       t->gallery, "--meta", t->meta, "--out", t->out, NULL},
                 want);
    cr_assert(!test_exists(t->out), "%s: a gallery was left", want->part);
    cr_assert(!test_exists(t->partial), "%s: an unfinished gallery was left", want->part);
}

void test_score_refused(const struct test_inputs *t, const struct test_refusal *want)
{
    char out[TEST_PATH_BYTES];
    size_t before = test_folder_count(&t->folder);
    test_refused((const char *const[]){"vitrine", "score", "--model", t->model, "--query", t->query,
                                       "--gallery", t->gallery, "--out",
                                       test_path(&t->folder, "s.npy", out), NULL},
                 want);
    cr_assert_eq(test_folder_count(&t->folder), before, "%s: score left a file", want->part);
}

void test_search_refused(const struct test_inputs *t, bool with_meta,
                         const struct test_refusal *want)
{
    test_refused((const char *const[]){"vitrine", "search", "--gallery", t->out, "--workers", "1",
                                       "--json", "-k", "3", "--features", t->query,
                                       with_meta ? "--meta" : NULL, t->query_meta, NULL},
                 want);
}
