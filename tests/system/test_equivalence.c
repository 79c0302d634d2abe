/* test_equivalence.c: the same features give the same hits and bits however they are served: over
 * 1, 2 or 7 shards, 1 or 3 workers, 1 or 2 threads, alone or in a crowd, over ipc and tcp. */
#include "common/topk.h"
#include "tests/support/cluster.h"
#include "tests/support/matrix.h"
#include "worker/score/kernels/table.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CROWD = 6 };

/* One way to serve a gallery. */
struct layout {
    const char *gallery, *scheme, *threads;
    const char *shards[3]; /* of each worker; NULL: no such worker */
};

static const struct layout layouts[] = {
    {"one", "ipc", "1", {"0"}},
    {"one", "tcp", "2", {"0"}},
    {"two", "ipc", "2", {"0", "1"}},
    {"seven", "ipc", "2", {"0-6"}},
    {"seven", "ipc", "1", {"1,4", "0,6", "2-3,5"}},
    {"seven", "tcp", "2", {"0-2", "3-4", "5-6"}},
};

static void serve(struct test_cluster *c, const struct layout *l)
{
    c->endpoint[0] = '\0';
    test_coordinator_start(c, l->scheme, NULL);
    for (unsigned i = 0; i < 3 && l->shards[i]; i++)
        test_worker_start(c, i, l->gallery, l->shards[i],
                          (const char *const[]){"--threads", l->threads, NULL});
    test_wait_exact(c, "shards_covered", l->gallery[0] == 'o' ? 1 : l->gallery[0] == 't' ? 2 : 7);
}

/* Ends it as an administrator would, so that the way out is walked too. */
static void close_down(struct test_cluster *c)
{
    for (unsigned i = 0; i < 3; i++)
        if (c->workers[i].run.child.pid) {
            test_worker_signal(c, i, SIGTERM);
            cr_assert_eq(test_finish(&c->workers[i].run, TEST_RUN_MS), 0, "%s",
                         c->workers[i].run.err);
            test_run_fini(&c->workers[i].run);
        }
    cr_assert_eq(kill(c->coordinator.child.pid, SIGTERM), 0);
    cr_assert_eq(test_finish(&c->coordinator, TEST_RUN_MS), 0, "%s", c->coordinator.err);
}

/* The hits of a search for the k best, as printed. */
static char *hits_of(struct test_cluster *c, const struct test_material *m, uint64_t k)
{
    char number[24];
    struct test_run r;
    snprintf(number, sizeof number, "%llu", (unsigned long long)k);
    cr_assert_eq(test_search(c, &r, m, (const char *const[]){"-k", number, NULL}), 0, "%s", r.err);
    char *hits = test_hits_text(&r);
    test_run_fini(&r);
    return hits;
}

/* Is the whole ranking of every query the one that `vitrine score` gives, bit for bit? */
static void check_against_score(struct test_cluster *c, const struct test_material *m)
{
    char number[24];
    struct test_run r;
    struct test_matrix scores;
    struct cm_error e;
    const char *path = test_cluster_path(c, "scores.npy");
    test_score(c, m, "scores.npy");
    cr_assert_eq(test_matrix_read(&scores, path, &e), CM_OK, "%s", e.text);
    snprintf(number, sizeof number, "%llu", (unsigned long long)m->images);
    cr_assert_eq(test_search(c, &r, m, (const char *const[]){"-k", number, NULL}), 0, "%s", r.err);
    json_t *answers = test_answers(&r);
    cr_assert_eq(json_array_size(answers), m->queries);
    for (size_t q = 0; q < m->queries; q++) {
        const json_t *hits = json_object_get(json_array_get(answers, q), "hits");
        struct cm_hit before = {0};
        cr_assert_eq(json_array_size(hits), m->images);
        for (size_t i = 0; i < m->images; i++) {
            const json_t *item = json_array_get(hits, i);
            uint64_t id = (uint64_t)test_number(item, "id");
            struct cm_hit hit = {(float)json_real_value(json_object_get(item, "score")), id};
            cr_assert_lt(id, m->images);
            cr_assert(hit.score == (float)test_matrix_at(&scores, q, id),
                      "query %zu, image %llu: search says %.9g, score %.9g", q,
                      (unsigned long long)id, (double)hit.score, test_matrix_at(&scores, q, id));
            cr_assert(i == 0 || cm_hit_before(&before, &hit), "query %zu, rank %zu", q, i + 1);
            before = hit;
        }
    }
    json_decref(answers);
    test_matrix_free(&scores);
    test_run_fini(&r);
}

static void check_layouts(const struct test_material *material)
{
    struct test_cluster c;
    char *expected[3] = {NULL};
    test_cluster_init(&c);
    const struct test_material few = test_few_queries(&c, material, 4), *m = &few;
    const uint64_t ks[] = {1, m->images < 20 ? m->images / 2 : 20, m->images};
    test_import(&c, "one", m, 1, 1);
    test_import(&c, "two", m, 1, 2);
    test_import(&c, "seven", m, 1, 7);
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++) {
        serve(&c, &layouts[l]);
        if (l == 0)
            check_against_score(&c, m);
        for (size_t i = 0; i < 3; i++) {
            char *hits = hits_of(&c, m, ks[i]);
            if (l == 0)
                expected[i] = hits;
            cr_assert_str_eq(hits, expected[i], "layout %zu, k %llu", l, (unsigned long long)ks[i]);
            if (l > 0)
                free(hits);
        }
        close_down(&c);
    }
    for (size_t i = 0; i < 3; i++)
        free(expected[i]);
    test_cluster_fini(&c);
}

Test(equivalence, real_features)
{
    check_layouts(&test_sample);
}

Test(equivalence, small_model)
{
    check_layouts(&test_small);
}

Test(equivalence, odd_sizes)
{
    check_layouts(&test_odd);
}

Test(equivalence, qaconv)
{
    check_layouts(&test_qaconv);
}

Test(equivalence, bf16)
{
    struct test_material m = test_odd;
    m.precision = "bf16";
    check_layouts(&m);
}

/* int8 has the same bits on every instruction set: here each worker computes with another one. */
Test(equivalence, int8_on_every_kernel_at_once)
{
    static const char *const names[] = {"portable", "avx2", "avx512"};
    struct test_cluster c;
    struct test_material m = test_odd;
    m.precision = "int8";
    test_cluster_init(&c);
    test_import(&c, "g", &m, 1, 3);
    test_coordinator_start(&c, "ipc", NULL);
    for (unsigned i = 0; i < 3; i++) {
        const struct sc_kernel *k = sc_kernel_at(0);
        for (size_t n = 0; k && (strcmp(k->name, names[i]) != 0 || k->precision != CM_INT8); n++)
            k = sc_kernel_at(n);
        setenv(SC_KERNEL_VARIABLE, k && k->supported() ? names[i] : "portable", 1);
        test_worker_start(&c, i, "g", (const char *const[]){"0", "1", "2"}[i], NULL);
    }
    test_wait_exact(&c, "shards_covered", 3);
    unsetenv(SC_KERNEL_VARIABLE);
    check_against_score(&c, &m);
    test_cluster_fini(&c);
}

/* Queries that are scored in one pass, with others or alone, get the same bits. */
Test(equivalence, a_crowd_of_clients)
{
    struct test_cluster c;
    struct test_run crowd[CROWD], alone;
    const uint64_t row = 3;
    test_cluster_init(&c);
    struct test_material few = test_few_queries(&c, &test_sample, 8), one = few;
    test_import(&c, "seven", &test_sample, 1, 7);
    serve(&c, &layouts[4]);
    char *expected = hits_of(&c, &few, 20);
    for (size_t i = 0; i < CROWD; i++)
        test_search_start(&c, &crowd[i], &few, NULL);
    for (size_t i = 0; i < CROWD; i++) {
        cr_assert_eq(test_finish(&crowd[i], TEST_RUN_MS), 0, "%s", crowd[i].err);
        char *hits = test_hits_text(&crowd[i]);
        cr_assert_str_eq(hits, expected, "client %zu", i);
        free(hits);
        test_run_fini(&crowd[i]);
    }
    const char *path = test_cluster_path(&c, "alone.npy");
    test_pick(few.query, &row, 1, path);
    one.query = path;
    cr_assert_eq(test_search(&c, &alone, &one, NULL), 0, "%s", alone.err);
    char *hits = test_hits_text(&alone);
    cr_assert(strstr(expected, hits) != NULL, "a query alone: %s", hits);
    test_run_fini(&alone);
    free(hits);
    free(expected);
    cr_assert_eq(test_status_number(&c, "counters.garbage"), 0);
    test_cluster_fini(&c);
}

/* Images with the same features have the same score, and stand in the order of their ids. */
Test(equivalence, ties_by_id)
{
    struct test_cluster c;
    struct test_run r;
    static const uint64_t rows[] = {5, 2, 5, 7, 2, 5, 0, 2, 5, 5};
    test_cluster_init(&c);
    const char *path = test_cluster_path(&c, "twice.npy");
    struct test_material m = test_small;
    test_pick(m.gallery, rows, 10, path);
    m.gallery = path;
    m.images = 10;
    test_import(&c, "seven", &m, 1, 7);
    serve(&c, &layouts[4]);
    cr_assert_eq(test_search(&c, &r, &m, (const char *const[]){"-k", "10", NULL}), 0, "%s", r.err);
    json_t *answers = test_answers(&r);
    size_t q, i, ties = 0;
    json_t *answer;
    json_array_foreach(answers, q, answer)
    {
        const json_t *hits = json_object_get(answer, "hits");
        for (i = 1; i < 10; i++) {
            const json_t *a = json_array_get(hits, i - 1), *b = json_array_get(hits, i);
            json_int_t id_a = test_number(a, "id"), id_b = test_number(b, "id");
            bool same = rows[id_a] == rows[id_b];
            cr_assert_eq(same, json_equal(json_object_get(a, "score"), json_object_get(b, "score")),
                         "query %zu, rank %zu", q, i);
            cr_assert(!same || id_a < id_b, "query %zu, rank %zu", q, i);
            ties += same;
        }
    }
    cr_assert_eq(ties, 6 * m.queries); /* 5 of one, 3 of another */
    json_decref(answers);
    test_run_fini(&r);
    test_cluster_fini(&c);
}
