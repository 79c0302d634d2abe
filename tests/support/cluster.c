/* cluster.c: see cluster.h. */
#include "tests/support/cluster.h"

#include "common/io/file.h"
#include "proto/file/npy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024, WORDS_MAX = 48, MORE_MAX = 16, WAIT_MS = 60000, POLL_MS = 20 };

const struct test_material test_sample = {
    .model = "ops/sample/model.safetensors",
    .gallery = "ops/sample/gallery.npy",
    .query = "ops/sample/query.npy",
    .images = 112,
    .queries = 28,
};
const struct test_material test_labelled = {
    .model = "ops/sample/model.safetensors",
    .gallery = "ops/sample/gallery.npy",
    .query = "ops/sample/query.npy",
    .images = 112,
    .queries = 28,
    .gallery_labels = "ops/sample/gallery.csv",
    .query_labels = "ops/sample/query.csv",
};
const struct test_material test_small = {
    .model = "tests/golden/data/tm_12x4_d64/model.safetensors",
    .gallery = "tests/golden/data/tm_12x4_d64/gallery.npy",
    .query = "tests/golden/data/tm_12x4_d64/query.npy",
    .images = 9,
    .queries = 5,
};
const struct test_material test_odd = {
    .model = "tests/golden/data/tm_5x3_d20/model.safetensors",
    .gallery = "tests/golden/data/tm_5x3_d20/gallery.npy",
    .query = "tests/golden/data/tm_5x3_d20/query.npy",
    .images = 7,
    .queries = 4,
};
const struct test_material test_qaconv = {
    .model = "tests/golden/data/qaconv_12x4_c64/model.safetensors",
    .gallery = "tests/golden/data/qaconv_12x4_c64/gallery.npy",
    .query = "tests/golden/data/qaconv_12x4_c64/query.npy",
    .images = 9,
    .queries = 5,
};

/* A command line in the making. */
struct words {
    const char *list[WORDS_MAX + 1];
    size_t count;
};

static void add(struct words *w, const char *word)
{
    cr_assert(w->count < WORDS_MAX, "more than %d words", WORDS_MAX);
    w->list[w->count++] = word;
}

static void add_pair(struct words *w, const char *flag, const char *value)
{
    add(w, flag);
    add(w, value);
}

static void add_all(struct words *w, const char *const more[])
{
    for (size_t i = 0; more && more[i]; i++)
        add(w, more[i]);
}

/* --- the folder and what lies in it ----------------------------------------------------------- */

void test_cluster_init(struct test_cluster *c)
{
    *c = (struct test_cluster){.dir = "/tmp/vitrine-test-XXXXXX"};
    cr_assert(mkdtemp(c->dir) != NULL, "no temporary folder");
}

void test_cluster_fini(struct test_cluster *c)
{
    struct cm_error e;
    for (unsigned i = 0; i < TEST_WORKERS_MAX; i++)
        test_run_fini(&c->workers[i].run);
    test_run_fini(&c->coordinator);
    cr_assert_eq(io_remove_tree(c->dir, &e), CM_OK, "%s", e.text);
    for (size_t i = 0; i < c->paths_count; i++)
        free(c->paths[i]);
    c->paths_count = 0;
}

const char *test_cluster_path(struct test_cluster *c, const char *name)
{
    char **path = &c->paths[c->paths_count++];
    cr_assert(c->paths_count <= TEST_PATHS_MAX, "more than %d paths", TEST_PATHS_MAX);
    cr_assert(asprintf(path, "%s/%s", c->dir, name) > 0);
    return *path;
}

/* Where a file of the material lies, in `out`. Returns `out`. */
static char *find(const char *path, char out[PATH_BYTES])
{
    if (path[0] != '/')
        return test_source(path, out, PATH_BYTES);
    snprintf(out, PATH_BYTES, "%s", path);
    return out;
}

/* Labels for one round of the material's images. Returns the path. */
static const char *write_labels(struct test_cluster *c, const struct test_material *m,
                                char own[PATH_BYTES])
{
    if (m->gallery_labels)
        return find(m->gallery_labels, own);
    const char *path = test_cluster_path(c, "labels.csv");
    FILE *f = fopen(path, "w");
    cr_assert(f != NULL, "%s cannot be made", path);
    fprintf(f, "name,pid,camid\n");
    for (unsigned long long i = 0; i < m->images; i++)
        fprintf(f, "image-%llu,%llu,0\n", i, i);
    cr_assert_eq(fclose(f), 0);
    return path;
}

void test_import(struct test_cluster *c, const char *name, const struct test_material *m,
                 unsigned times, unsigned shards)
{
    char model[PATH_BYTES], features[PATH_BYTES], own[PATH_BYTES], number[16];
    const char *labels = write_labels(c, m, own), *out = test_cluster_path(c, name);
    struct words w = {{"vitrine", "import"}, 2};
    struct test_run r;
    snprintf(number, sizeof number, "%u", shards);
    add_pair(&w, "--model", find(m->model, model));
    find(m->gallery, features);
    for (unsigned i = 0; i < times; i++) {
        add_pair(&w, "--features", features);
        add_pair(&w, "--meta", labels);
    }
    add_pair(&w, "--out", out);
    add_pair(&w, "--shards", number);
    if (m->precision)
        add_pair(&w, "--precision", m->precision);
    cr_assert_eq(test_run(&r, w.list), 0, "import: %s", r.err);
    test_run_fini(&r);
}

void test_pick(const char *source, const uint64_t *rows, size_t count, const char *path)
{
    char from[PATH_BYTES], header[128], shape[96];
    struct pr_npy *n;
    struct cm_error e;
    FILE *f = fopen(path, "wb");
    cr_assert(f != NULL, "%s cannot be made", path);
    cr_assert_eq(pr_npy_open(&n, find(source, from), &e), CM_OK, "%s", e.text);
    void *row = malloc(n->image_bytes);
    cr_assert(row != NULL);
    snprintf(shape, sizeof shape,
             "{'descr': '<f%zu', 'fortran_order': False, 'shape': (%zu, %u, %u, %u), }",
             n->image_bytes / n->image_floats, count, n->height, n->width, n->channels);
    snprintf(header, sizeof header, "%-117s\n", shape);
    fwrite("\x93NUMPY\1\0v\0", 1, 10, f); /* 'v' is 118: what follows up to the features */
    fwrite(header, 1, 118, f);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(pr_npy_read_raw(n, rows[i], 1, row, &e), CM_OK, "%s", e.text);
        cr_assert_eq(fwrite(row, n->image_bytes, 1, f), 1);
    }
    cr_assert_eq(fclose(f), 0);
    pr_npy_close(n);
    free(row);
}

struct test_material test_few_queries(struct test_cluster *c, const struct test_material *m,
                                      size_t count)
{
    uint64_t rows[64];
    struct test_material few = *m;
    cr_assert(count <= sizeof rows / sizeof *rows && count <= m->queries);
    for (size_t i = 0; i < count; i++)
        rows[i] = i;
    few.query = test_cluster_path(c, "queries.npy");
    few.queries = count;
    test_pick(m->query, rows, count, few.query);
    return few;
}

/* --- processes -------------------------------------------------------------------------------- */

/* Waits for the log line that names the endpoint; so the port that the system picked is known. */
static void wait_listening(struct test_cluster *c)
{
    static const char mark[] = "event=listening endpoint=";
    for (unsigned long long end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
        char *log = test_run_err(&c->coordinator);
        char *line = strstr(log, mark);
        if (line && strchr(line, '\n')) {
            line += sizeof mark - 1;
            snprintf(c->endpoint, sizeof c->endpoint, "%.*s", (int)strcspn(line, " \n"), line);
            free(log);
            return;
        }
        cr_assert(!io_child_poll(&c->coordinator.child), "the coordinator ended: %s", log);
        free(log);
        test_sleep_ms(POLL_MS);
    }
    cr_assert_fail("the coordinator does not listen");
}

void test_coordinator_start(struct test_cluster *c, const char *scheme, const char *const more[])
{
    struct words w = {{"vitrine-coordinator"}, 1};
    test_run_fini(&c->coordinator);
    if (!c->endpoint[0] && strcmp(scheme, "ipc") == 0)
        snprintf(c->endpoint, sizeof c->endpoint, "ipc://%s/socket", c->dir);
    else if (!c->endpoint[0])
        snprintf(c->endpoint, sizeof c->endpoint, "tcp://127.0.0.1:0");
    add_pair(&w, "--listen", c->endpoint);
    add_all(&w, more);
    test_start(&c->coordinator, w.list);
    wait_listening(c);
}

void test_worker_start(struct test_cluster *c, unsigned i, const char *name, const char *shards,
                       const char *const more[])
{
    struct test_worker *worker = &c->workers[i];
    struct words w = {{"vitrine-worker"}, 1};
    const char *gallery = test_cluster_path(c, name);
    test_run_fini(&worker->run);
    snprintf(worker->node, sizeof worker->node, "w%u", i);
    add_pair(&w, "--connect", c->endpoint);
    add_pair(&w, "--gallery", gallery);
    add_pair(&w, "--node", worker->node);
    add_pair(&w, "--threads", "1"); /* a later flag wins */
    if (shards)
        add_pair(&w, "--shards", shards);
    add_all(&w, more);
    test_start(&worker->run, w.list);
}

void test_worker_signal(struct test_cluster *c, unsigned i, int signum)
{
    cr_assert_eq(kill(c->workers[i].run.child.pid, signum), 0);
}

void test_worker_kill(struct test_cluster *c, unsigned i)
{
    test_worker_signal(c, i, SIGKILL);
    cr_assert_eq(test_finish(&c->workers[i].run, WAIT_MS), 128 + SIGKILL);
}

void test_coordinator_kill(struct test_cluster *c)
{
    cr_assert_eq(kill(c->coordinator.child.pid, SIGKILL), 0);
    cr_assert_eq(test_finish(&c->coordinator, WAIT_MS), 128 + SIGKILL);
}

void test_score(struct test_cluster *c, const struct test_material *m, const char *out)
{
    char model[PATH_BYTES], query[PATH_BYTES], gallery[PATH_BYTES];
    const char *path = test_cluster_path(c, out);
    struct test_run r;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "score", "--model", find(m->model, model), "--query",
                          find(m->query, query), "--gallery", find(m->gallery, gallery), "--out",
                          path, "--precision", m->precision ? m->precision : "f32"),
                 0, "score: %s", r.err);
    test_run_fini(&r);
}

/* --- status ----------------------------------------------------------------------------------- */

json_t *test_status(const struct test_cluster *c)
{
    struct test_run r;
    json_error_t why;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "status", "--connect", c->endpoint, "--json"), 0,
                 "status: %s", r.err);
    json_t *status = json_loads(r.out, 0, &why);
    cr_assert(status != NULL, "status: %s in %s", why.text, r.out);
    test_run_fini(&r);
    return status;
}

json_int_t test_number(const json_t *object, const char *path)
{
    char key[64];
    for (const char *at = path; object && *at;) {
        size_t n = strcspn(at, ".");
        snprintf(key, sizeof key, "%.*s", (int)n, at);
        object = json_object_get(object, key);
        at += n + (at[n] == '.');
    }
    cr_assert(json_is_integer(object), "no number called %s", path);
    return json_integer_value(object);
}

json_int_t test_status_number(const struct test_cluster *c, const char *path)
{
    json_t *status = test_status(c);
    json_int_t n = test_number(status, path);
    json_decref(status);
    return n;
}

static void wait_range(const struct test_cluster *c, const char *path, json_int_t least,
                       json_int_t most)
{
    json_int_t n = -1;
    for (unsigned long long end = test_now_ms() + WAIT_MS; test_now_ms() < end;) {
        n = test_status_number(c, path);
        if (n >= least && n <= most)
            return;
        test_sleep_ms(POLL_MS);
    }
    cr_assert_fail("waited for %s to be %lld, it is %lld", path, (long long)least, (long long)n);
}

void test_wait_least(const struct test_cluster *c, const char *path, json_int_t least)
{
    wait_range(c, path, least, INT64_MAX);
}

void test_wait_exact(const struct test_cluster *c, const char *path, json_int_t value)
{
    wait_range(c, path, value, value);
}

/* --- searches --------------------------------------------------------------------------------- */

void test_search_start(const struct test_cluster *c, struct test_run *r,
                       const struct test_material *m, const char *const more[])
{
    char features[PATH_BYTES];
    struct words w = {{"vitrine", "search", "--json"}, 3};
    add_pair(&w, "--connect", c->endpoint);
    add_pair(&w, "--features", find(m->query, features));
    add_all(&w, more);
    test_start(r, w.list);
}

int test_search(const struct test_cluster *c, struct test_run *r, const struct test_material *m,
                const char *const more[])
{
    test_search_start(c, r, m, more);
    test_finish(r, WAIT_MS);
    cr_assert(!r->timed_out, "the search takes for ever; it said: %s", r->err);
    return r->code;
}

json_t *test_answers(const struct test_run *r)
{
    json_t *list = json_array();
    for (const char *line = r->out; *line;) {
        json_error_t why;
        size_t n = strcspn(line, "\n");
        json_t *answer = json_loadb(line, n, 0, &why);
        cr_assert(answer != NULL, "%s in %.*s", why.text, (int)n, line);
        json_array_append_new(list, answer);
        line += n + (line[n] == '\n');
    }
    return list;
}

char *test_hits_text(const struct test_run *r)
{
    char *text = calloc(strlen(r->out) + 1, 1), *to = text;
    cr_assert(text != NULL);
    for (const char *at = r->out; (at = strstr(at, "\"hits\":")) != NULL;) {
        const char *end = strstr(at, ",\"coverage\"");
        cr_assert(end != NULL, "an answer without its coverage: %s", at);
        to = mempcpy(to, at, (size_t)(end - at));
        *to++ = '\n';
        at = end;
    }
    return text;
}

bool test_has(const json_t *answer, const char *list, const char *word)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(answer, list), i,
                       item) if (strcmp(json_string_value(item), word) == 0) return true;
    return false;
}
