/* Flags that are wrong, and endpoints where nobody is. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE = 64, NOINPUT = 66, UNAVAILABLE = 69 };

/* search of t->out with one more flag and value is refused. */
static void search_refused(const struct test_inputs *t, const char *flag, const char *value,
                           const char *part)
{
    test_refused((const char *const[]){"vitrine", "search", "--gallery", t->out, "--features",
                                       t->query, flag, value, NULL},
                 &(struct test_refusal){USAGE, strcmp(flag, "-k") == 0 ? "k" : flag, part});
}

Test(bad_flags, k)
{
    static const char *const values[] = {"0",    "-1", "x",   "3x",    "1e3",
                                         "0x10", " 3", "3.0", "10001", "18446744073709551617"};
    struct test_inputs t;
    test_inputs_init(&t);
    test_inputs_import(&t, NULL);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char part[80];
        snprintf(part, sizeof part, "'%s'; it must be a whole number from 1 to 10000", values[i]);
        search_refused(&t, "-k", values[i], part);
    }
    search_refused(&t, "-k", "", "is empty");
    search_refused(&t, "-k", "8", "-k is 8, but the gallery has 7 images");
    test_inputs_fini(&t);
}

Test(bad_flags, other_numbers)
{
    static const char *const cases[][3] = {
        {"--workers", "0", "it must be a whole number from 1 to 1024"},
        {"--workers", "2", "--workers is 2, but the gallery has 1 shards"},
        {"--threads", "many", "it must be a whole number from 1 to 1024"},
        {"--deadline-ms", "0", "it must be a whole number from 1 to 86400000"},
        {"--min-coverage", "1.01", "it must be a fraction from 0 to 1"},
        {"--min-coverage", "nan", "it must be a fraction from 0 to 1"},
        {"--min-coverage", "half", "it must be a fraction from 0 to 1"},
    };
    struct test_inputs t;
    test_inputs_init(&t);
    test_inputs_import(&t, NULL);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        search_refused(&t, cases[i][0], cases[i][1], cases[i][2]);
    test_inputs_fini(&t);
}

Test(bad_flags, shards_of_an_import)
{
    static const char *const cases[][2] = {
        {"0", "--shards is '0'; it must be a whole number from 1 to 65536"},
        {"65537", "it must be a whole number from 1 to 65536"},
        {"x", "--shards is 'x'"},
        {"8", "--shards is 8; 7 images make at most 7 shards"},
    };
    struct test_inputs t;
    test_inputs_init(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_refused((const char *const[]){"vitrine", "import", "--model", t.model, "--features",
                                           t.gallery, "--meta", t.meta, "--out", t.out, "--shards",
                                           cases[i][0], NULL},
                     &(struct test_refusal){USAGE, "--shards", cases[i][1]});
        cr_assert(!test_exists(t.out) && !test_exists(t.partial));
    }
    test_refused((const char *const[]){"vitrine", "import", "--model", t.model, "--features",
                                       t.gallery, "--meta", t.meta, "--meta", t.meta, "--out",
                                       t.out, NULL},
                 &(struct test_refusal){USAGE, "--features", "stands there 1 times and --meta 2"});
    test_refused(
        (const char *const[]){"vitrine", "import", "--model", t.model, "--features", t.gallery,
                              "--meta", t.meta, "--precision", "f8", "--out", t.out, NULL},
        &(struct test_refusal){USAGE, "--precision", "'f8'; there are f32, bf16 and int8"});
    test_inputs_fini(&t);
}

Test(bad_flags, what_is_unknown_missing_or_too_much)
{
    static const struct {
        const char *argv[8];
        const char *what, *part;
    } cases[] = {
        {{"vitrine", "serach"}, "serach", "is no command; see 'vitrine --help'"},
        {{"vitrine", "--gallery"}, "--gallery", "is no command; see 'vitrine --help'"},
        {{"vitrine", "search", "--galery", "x"}, "--galery", "see 'vitrine search --help'"},
        {{"vitrine", "search", "-Q"}, "Q", "see 'vitrine search --help'"},
        {{"vitrine", "search", "--features"}, "--features", "needs a value"},
        {{"vitrine", "search", "--json=yes", "--features", "x"}, "--json", "see 'vitrine search"},
        {{"vitrine", "search", "--gallery", "x"}, "--features FILE", "is missing"},
        {{"vitrine", "search", "--features", "x"}, "--gallery", "either --gallery DIR or --conn"},
        {{"vitrine", "search", "--features", "x", "y"}, "'y'", "is one word too many"},
        {{"vitrine", "import", "--model", "x"}, "--features FILE", "is missing"},
        {{"vitrine", "inspect"}, "DIR", "is missing; see 'vitrine inspect --help'"},
        {{"vitrine", "verify", "a", "b"}, "'b'", "is one word too many"},
        {{"vitrine", "status"}, "--connect ENDPOINT", "is missing; see 'vitrine status --help'"},
        {{"vitrine", "up"}, "--gallery DIR", "is missing; see 'vitrine up --help'"},
        {{"vitrine", "score"}, "--model FILE", "is missing; see 'vitrine score --help'"},
        {{"vitrine-worker", "--gallery", "x"}, "--connect ENDPOINT", "is missing"},
        {{"vitrine-worker", "--bogus"}, "--bogus", "see 'vitrine-worker --help'"},
        {{"vitrine-coordinator", "x"}, "--listen ENDPOINT", "is missing"},
        {{"vitrine-coordinator", "--bogus"}, "--bogus", "see 'vitrine-coordinator --help'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        test_refused(cases[i].argv, &(struct test_refusal){USAGE, cases[i].what, cases[i].part});
}

Test(bad_flags, folders_that_are_no_gallery)
{
    static const char part[] = "is not a gallery (make one with 'vitrine import')";
    struct test_inputs t;
    test_inputs_init(&t);
    const char *dir = t.folder.path;
    struct test_refusal want = {NOINPUT, dir, part};
    test_refused((const char *const[]){"vitrine", "inspect", dir, NULL}, &want);
    test_refused((const char *const[]){"vitrine", "verify", dir, NULL}, &want);
    test_refused((const char *const[]){"vitrine", "up", "--gallery", dir, NULL}, &want);
    test_refused(
        (const char *const[]){"vitrine", "search", "--gallery", dir, "--features", t.query, NULL},
        &want);
    test_inputs_fini(&t);
}

Test(bad_flags, endpoints)
{
    static const char *const cases[][2] = {
        {"nonsense", "is no endpoint; use tcp://HOST:PORT or ipc://PATH"},
        {"tcp://127.0.0.1:99999", "tcp://127.0.0.1:99999"},
        {"tcp://192.0.2.1:7700", "add --insecure to accept that"},
    };
    struct test_inputs t;
    test_inputs_init(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_refusal want = {USAGE, cases[i][0], cases[i][1]};
        test_refused((const char *const[]){"vitrine", "search", "--connect", cases[i][0],
                                           "--features", t.query, NULL},
                     &want);
        test_refused((const char *const[]){"vitrine", "status", "--connect", cases[i][0], NULL},
                     &want);
    }
    test_inputs_fini(&t);
}

/* Nobody listens: said after some five seconds, at tcp and ipc, by search and status. */
Test(bad_flags, nobody_listens)
{
    struct test_inputs t;
    struct test_run runs[4];
    char ipc[TEST_PATH_BYTES + 16];
    test_inputs_init(&t);
    snprintf(ipc, sizeof ipc, "ipc://%s/nobody", t.folder.path);
    const char *endpoints[] = {"tcp://127.0.0.1:1", ipc};
    unsigned long long begin = test_now_ms();
    for (size_t i = 0; i < 2; i++) {
        test_start(&runs[i], (const char *const[]){"vitrine", "search", "--connect", endpoints[i],
                                                   "--features", t.query, NULL});
        test_start(&runs[2 + i],
                   (const char *const[]){"vitrine", "status", "--connect", endpoints[i], NULL});
    }
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(test_finish(&runs[i], 20000), UNAVAILABLE, "exit %d: %s", runs[i].code,
                     runs[i].err);
        cr_assert(strstr(runs[i].err, "no coordinator answers at ") &&
                      strstr(runs[i].err, endpoints[i % 2]) &&
                      strstr(runs[i].err, "is it running, and is the endpoint right?"),
                  "%s", runs[i].err);
        test_run_fini(&runs[i]);
    }
    unsigned long long took = test_now_ms() - begin;
    cr_assert(took >= 4500 && took < 12000, "took %llu ms", took);
    test_inputs_fini(&t);
}
