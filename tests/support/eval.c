/* eval.c: see eval.h. */
#include "tests/support/eval.h"

#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EVAL_MS = 200000 };

void test_eval_start(struct test_run *r, const struct test_ask *a)
{
    const char *argv[32] = {"vitrine",
                            "eval",
                            a->gallery ? "--gallery" : "--connect",
                            a->gallery ? a->gallery : a->connect,
                            "--features",
                            a->features,
                            "--meta",
                            a->meta};
    size_t n = 8;
    const char *const pairs[3][2] = {
        {"--json", a->json}, {"--csv", a->csv}, {"--scores", a->scores}};
    for (size_t i = 0; i < 3; i++) {
        if (!pairs[i][1])
            continue;
        argv[n++] = pairs[i][0];
        argv[n++] = pairs[i][1];
    }
    for (size_t i = 0; i < 6 && a->more[i]; i++)
        argv[n++] = a->more[i];
    test_start(r, argv);
}

int test_eval(struct test_run *r, const struct test_ask *a)
{
    test_eval_start(r, a);
    return test_finish(r, EVAL_MS);
}

void test_eval_init(struct test_cluster *c)
{
    test_cluster_init(c);
    cr_assert_eq(chdir(c->dir), 0);
}

void test_eval_fini(struct test_cluster *c)
{
    cr_assert_eq(chdir("/"), 0);
    test_cluster_fini(c);
}

void test_same_files(const char *a, const char *b)
{
    size_t a_size, b_size;
    char *x = test_read(a, &a_size), *y = test_read(b, &b_size);
    cr_assert(a_size == b_size && memcmp(x, y, a_size) == 0, "%s and %s differ:\n%.2000s\n%.2000s",
              a, b, x, y);
    free(x);
    free(y);
}
