/* The command line itself: --help that teaches, JSON that programs read, scores that are exact. */
#include "tests/support/matrix.h"
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

Test(cli, help_of_every_command)
{
    static const struct {
        const char *argv[5];
        const char *mentions[16]; /* up to a NULL */
    } cases[] = {
        {{"vitrine", "--help"},
         {"import", "inspect", "verify", "search", "up", "status", "score", "bench"}},
        {{"vitrine", "import", "--help"},
         {"--model FILE", "--features FILE", "--meta FILE", "--out DIR", "--shards N",
          "--precision NAME", "--threads N", "--json", "(required)"}},
        {{"vitrine", "inspect", "--help"}, {"DIR", "--json"}},
        {{"vitrine", "verify", "--help"}, {"DIR", "--json", "something is corrupt"}},
        {{"vitrine", "search", "-h"},
         {"--gallery DIR", "--workers N", "--threads N", "--connect ENDPOINT", "--features FILE",
          "--meta FILE", "-k, --k K", "--deadline-ms MS", "30000", "--min-coverage F", "--insecure",
          "--json", "covers less than --min-coverage"}},
        {{"vitrine", "score", "--help"},
         {"--model FILE", "--query FILE", "--gallery FILE", "--out FILE", "--precision NAME"}},
        {{"vitrine", "bench", "--help"}, {"kernel", "--list", "--rounds N", "--json"}},
        {{"vitrine", "bench", "accuracy", "--help"},
         {"--model FILE", "--data DIR", "--query FILE", "--query-meta FILE", "--gallery FILE",
          "--gallery-meta FILE", "--scores64 FILE", "--precision NAME", "--json"}},
        {{"vitrine", "up", "--help"},
         {"--gallery DIR", "--workers N", "--threads N", "--listen ENDPOINT", "--insecure"}},
        {{"vitrine", "status", "--help"},
         {"--connect ENDPOINT", "--ready", "--worker NAME", "--insecure", "--json"}},
        {{"vitrine-coordinator", "--help"},
         {"--listen ENDPOINT", "--insecure", "--allow-mixed", "--heartbeat-ms MS",
          "--dead-after-ms MS", "--log-level LEVEL"}},
        {{"vitrine-worker", "--help"},
         {"--connect ENDPOINT", "--gallery DIR", "--shards LIST", "--threads N", "--credits N",
          "--node NAME", "--insecure", "--log-level LEVEL"}},
    };
    static const char *const common[] = {"usage: ",
                                         "-h, --help",
                                         "exit codes:",
                                         "0   success",
                                         "64  a flag or argument is wrong",
                                         "65  an input is malformed or corrupt",
                                         "66  an input file is missing",
                                         "69  nobody answers",
                                         "70  out of memory",
                                         "73  the output is in the way",
                                         "74  reading or writing failed",
                                         "75  busy, try again later",
                                         "78  refused"};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct test_run r;
        cr_assert_eq(test_run(&r, cases[i].argv), 0, "%s", r.err);
        cr_assert_str_eq(r.err, "");
        for (size_t k = 0; cases[i].mentions[k]; k++)
            cr_assert(strstr(r.out, cases[i].mentions[k]), "%s %s lacks '%s':\n%s",
                      cases[i].argv[0], cases[i].argv[1], cases[i].mentions[k], r.out);
        for (size_t k = 0; i > 0 && k < sizeof common / sizeof *common; k++)
            cr_assert(strstr(r.out, common[k]), "%s %s lacks '%s':\n%s", cases[i].argv[0],
                      cases[i].argv[1], common[k], r.out);
        test_run_fini(&r);
    }
}

/* --help wins over what else is wrong, and no command at all is a question too. */
Test(cli, help_beside_nonsense)
{
    struct test_run r;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "search", "-k", "3", "--help"), 0, "%s", r.err);
    test_run_fini(&r);
    cr_assert_eq(TEST_RUN(&r, "vitrine"), 64);
    cr_assert(strstr(r.err, "usage: vitrine COMMAND"), "%s", r.err);
    cr_assert_str_eq(r.out, "");
    test_run_fini(&r);
}

/* The object has these keys, in this order, and no others. */
static void assert_keys(const json_t *object, const char *const *keys, size_t count)
{
    size_t i = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        cr_assert(i < count, "'%s' is one key too many", key);
        cr_assert_str_eq(key, keys[i], "key %zu", i);
        i++;
    }
    cr_assert_eq(i, count, "%zu keys of %zu", i, count);
}

#define ASSERT_KEYS(object, ...)                              \
    assert_keys((object), (const char *const[]){__VA_ARGS__}, \
                sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

/* The JSON value that is all of what a program wrote, on one line. */
static json_t *run_json(const char *const argv[])
{
    struct test_run r;
    cr_assert_eq(test_run(&r, argv), 0, "%s", r.err);
    const char *newline = strchr(r.out, '\n');
    cr_assert(newline && newline[1] == '\0', "not one line: %s", r.out);
    json_t *root = json_loads(r.out, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(root != NULL, "%s", r.out);
    test_run_fini(&r);
    return root;
}

Test(cli, json_of_import_inspect_and_verify)
{
    struct test_inputs t;
    char out[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_path(&t.folder, "a \"quoted\\ \xffname", out); /* a path is bytes, JSON is text */
    json_t *made = run_json((const char *const[]){"vitrine", "import", "--model", t.model,
                                                  "--features", t.gallery, "--meta", t.meta,
                                                  "--out", out, "--shards", "2", "--json", NULL});
    ASSERT_KEYS(made, "gallery", "fingerprint", "images", "shards", "bytes");
    cr_assert(strstr(json_string_value(json_object_get(made, "gallery")), "a \"quoted\\ ?name"));
    json_t *seen = run_json((const char *const[]){"vitrine", "inspect", out, "--json", NULL});
    ASSERT_KEYS(seen, "gallery", "fingerprint", "model", "matcher", "precision", "height", "width",
                "channels", "layers", "ff", "image_bytes", "images", "images_per_block", "bytes",
                "shards");
    cr_assert(
        json_equal(json_object_get(made, "fingerprint"), json_object_get(seen, "fingerprint")));
    cr_assert(json_equal(json_object_get(made, "bytes"), json_object_get(seen, "bytes")));
    cr_assert_eq(json_integer_value(json_object_get(seen, "images")), TEST_IMAGES);
    cr_assert_eq(json_integer_value(json_object_get(seen, "channels")), 20);
    const json_t *shards = json_object_get(seen, "shards");
    cr_assert_eq(json_array_size(shards), 2);
    ASSERT_KEYS(json_array_get(shards, 1), "shard", "first_image", "images", "bytes", "content");
    cr_assert_eq(json_integer_value(json_object_get(json_array_get(shards, 1), "first_image")), 3);
    json_t *verified = run_json((const char *const[]){"vitrine", "verify", "--json", out, NULL});
    ASSERT_KEYS(verified, "gallery", "sound", "files", "blocks", "bytes", "faults");
    cr_assert(json_is_true(json_object_get(verified, "sound")));
    cr_assert_eq(json_array_size(json_object_get(verified, "faults")), 0);
    json_decref(made);
    json_decref(seen);
    json_decref(verified);
    test_inputs_fini(&t);
}

/* The hits are ranked, and each score is the one that `score` wrote, to the bit. */
static void assert_hits(const json_t *hits, size_t query, const struct test_matrix *scores)
{
    float before = 0;
    cr_assert_eq(json_array_size(hits), scores->columns);
    for (size_t i = 0; i < scores->columns; i++) {
        const json_t *hit = json_array_get(hits, i);
        ASSERT_KEYS(hit, "rank", "id", "name", "pid", "camid", "score");
        size_t id = (size_t)json_integer_value(json_object_get(hit, "id"));
        float score = (float)json_real_value(json_object_get(hit, "score"));
        float written = (float)test_matrix_at(scores, query, id);
        cr_assert_eq(json_integer_value(json_object_get(hit, "rank")), (json_int_t)i + 1);
        cr_assert(memcmp(&score, &written, sizeof score) == 0, "query %zu, image %zu: %.9g, %.9g",
                  query, id, (double)score, (double)written);
        cr_assert(i == 0 || score <= before, "the hits are not in order");
        before = score;
    }
}

/* One line of `search --json`: every key that is promised, and nothing degraded. */
static void assert_answer(const json_t *answer, size_t query, const struct test_matrix *scores)
{
    ASSERT_KEYS(answer, "query", "name", "hits", "coverage", "degraded", "missing", "overflowed",
                "timings_ms");
    cr_assert_eq(json_integer_value(json_object_get(answer, "query")), (json_int_t)query);
    const json_t *coverage = json_object_get(answer, "coverage");
    ASSERT_KEYS(coverage, "images", "images_total", "shards", "shards_total");
    cr_assert_eq(json_integer_value(json_object_get(coverage, "images")),
                 (json_int_t)scores->columns);
    cr_assert_eq(json_integer_value(json_object_get(coverage, "images_total")),
                 (json_int_t)scores->columns);
    cr_assert_eq(json_integer_value(json_object_get(coverage, "shards")), 2);
    cr_assert_eq(json_integer_value(json_object_get(coverage, "shards_total")), 2);
    cr_assert_eq(json_array_size(json_object_get(answer, "degraded")), 0);
    assert_hits(json_object_get(answer, "hits"), query, scores);
}

/* The matrix that `score` makes of these files. */
static void score(const struct test_inputs *t, const char *model, const char *query,
                  const char *gallery, struct test_matrix *scores)
{
    struct test_run r;
    struct cm_error e;
    char out[TEST_PATH_BYTES];
    TEST_RUN(&r, "vitrine", "score", "--model", model, "--query", query, "--gallery", gallery,
             "--out", test_path(&t->folder, "s.npy", out));
    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_assert_str_eq(r.err, "");
    test_run_fini(&r);
    cr_assert_eq(test_matrix_read(scores, out, &e), CM_OK, "%s", e.text);
}

/* Searches t->out for all images, and checks every line. */
static void assert_search(const struct test_inputs *t, const char *query, const char *meta,
                          const struct test_matrix *scores)
{
    struct test_run r;
    char k[24];
    snprintf(k, sizeof k, "%zu", scores->columns);
    TEST_RUN(&r, "vitrine", "search", "--gallery", t->out, "--workers", "2", "--json", "-k", k,
             "--features", query, meta ? "--meta" : NULL, meta);
    cr_assert_eq(r.code, 0, "%s", r.err);
    cr_assert_str_eq(r.err, "");
    const char *line = r.out;
    for (size_t q = 0; q < scores->rows; q++) {
        char name[32];
        const char *end = strchr(line, '\n');
        cr_assert(end != NULL, "%zu lines", q);
        json_t *answer = json_loadb(line, (size_t)(end - line), JSON_REJECT_DUPLICATES, NULL);
        cr_assert(answer != NULL, "%s", line);
        assert_answer(answer, q, scores);
        snprintf(name, sizeof name, "query-%zu", q);
        const json_t *found = json_object_get(answer, "name");
        cr_assert(meta ? strcmp(json_string_value(found), name) == 0 : json_is_null(found));
        json_decref(answer);
        line = end + 1;
    }
    cr_assert_str_eq(line, "", "more lines than queries");
    test_run_fini(&r);
}

/* Figures of a machine are nothing to hold a test to, but for being there. */
Test(cli, json_of_bench_kernel)
{
    static const char *const names[] = {"f32", "bf16", "int8"};
    static const char *const sizes[] = {"paper", "small", "qaconv"};
    json_t *root = run_json(
        (const char *const[]){"vitrine", "bench", "kernel", "--rounds", "1", "--json", NULL});
    ASSERT_KEYS(root, "peak", "cases");
    ASSERT_KEYS(json_object_get(root, "peak"), "f32", "bf16", "int8");
    const json_t *cases = json_object_get(root, "cases");
    cr_assert_eq(json_array_size(cases), 18);
    for (size_t i = 0; i < 18; i++) {
        const json_t *c = json_array_get(cases, i);
        cr_assert_str_eq(json_string_value(json_object_get(c, "size")), sizes[i / 6]);
        cr_assert_str_eq(json_string_value(json_object_get(c, "precision")), names[i % 6 / 2]);
        cr_assert(json_real_value(json_object_get(c, "gops")) > 0);
        if (i % 2)
            ASSERT_KEYS(c, "size", "precision", "kernel", "stage", "gops", "of_peak",
                        "pairs_per_s");
        else
            ASSERT_KEYS(c, "size", "precision", "kernel", "stage", "gops", "of_peak");
    }
    json_decref(root);
}

Test(cli, bench_lists_the_kernels_and_takes_the_one_that_is_forced)
{
    json_t *root =
        run_json((const char *const[]){"vitrine", "bench", "kernel", "--list", "--json", NULL});
    const json_t *list = json_object_get(root, "kernels");
    size_t chosen = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *k = json_array_get(list, i);
        ASSERT_KEYS(k, "kernel", "precision", "class", "supported", "chosen");
        chosen += json_is_true(json_object_get(k, "chosen"));
    }
    cr_assert_eq(chosen, 3, "one a precision, not %zu", chosen);
    json_decref(root);
    test_refused(
        (const char *const[]){"vitrine", "bench", "disk", NULL},
        &(struct test_refusal){64, "'disk'", "there are 'kernel', 'accuracy' and 'cluster'"});
    setenv("VITRINE_KERNEL", "none", 1);
    test_refused((const char *const[]){"vitrine", "bench", "kernel", NULL},
                 &(struct test_refusal){64, "VITRINE_KERNEL is 'none'", "there are "});
}

Test(cli, search_json_has_the_promised_keys)
{
    struct test_inputs t;
    struct test_matrix scores;
    test_inputs_init(&t);
    test_inputs_import(&t, "2");
    score(&t, t.model, t.query, t.gallery, &scores);
    assert_search(&t, t.query, t.query_meta, &scores);
    test_matrix_free(&scores);
    test_inputs_fini(&t);
}

/* 3,136 different scores: with a digit less some would read back as a neighbour. */
Test(cli, search_json_holds_the_very_scores)
{
    struct test_inputs t;
    struct test_run r;
    struct test_matrix scores;
    char model[TEST_PATH_BYTES], gallery[TEST_PATH_BYTES], meta[TEST_PATH_BYTES],
        query[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_source("ops/sample/model.safetensors", model, sizeof model);
    test_source("ops/sample/gallery.npy", gallery, sizeof gallery);
    test_source("ops/sample/gallery.csv", meta, sizeof meta);
    test_source("ops/sample/query.npy", query, sizeof query);
    TEST_RUN(&r, "vitrine", "import", "--model", model, "--features", gallery, "--meta", meta,
             "--out", t.out, "--shards", "2");
    cr_assert_eq(r.code, 0, "%s", r.err);
    test_run_fini(&r);
    score(&t, model, query, gallery, &scores);
    cr_assert(scores.rows == 28 && scores.columns == 112);
    assert_search(&t, query, NULL, &scores);
    test_matrix_free(&scores);
    test_inputs_fini(&t);
}

/* Without -k a small gallery gives all that it has; the text ends in a summary. */
Test(cli, search_in_words)
{
    struct test_inputs t;
    struct test_run r;
    test_inputs_init(&t);
    test_inputs_import(&t, NULL);
    TEST_RUN(&r, "vitrine", "search", "--gallery", t.out, "--features", t.query, "--meta",
             t.query_meta);
    cr_assert_eq(r.code, 0, "%s", r.err);
    size_t hits = 0;
    for (const char *p = r.out; (p = strstr(p, "  id ")); p++)
        hits++;
    cr_assert_eq(hits, (size_t)TEST_QUERIES * TEST_IMAGES, "%s", r.out);
    cr_assert(strstr(r.out, "query 3  query-3  pid 1 camid 1  (7/7 images, "), "%s", r.out);
    cr_assert(strstr(r.out, "4 queries, 0 of them partial\nRank-1 "), "%s", r.out);
    test_run_fini(&r);
    test_inputs_fini(&t);
}
