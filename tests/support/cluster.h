/* cluster.h: a coordinator and workers as real processes, for a test to start, stop and break.
 *
 * All lives in one temporary folder: galleries, sockets. Failures stop the test; then the processes
 * die with it, and the folder stays behind for a look. Main thread only. */
#ifndef TEST_CLUSTER_H
#define TEST_CLUSTER_H

#include "tests/support/run.h"

#include <jansson.h>
#include <signal.h>
#include <stdint.h>

/* Room for the longest. */
enum { TEST_WORKERS_MAX = 8, TEST_DIR_BYTES = 64, TEST_ENDPOINT_BYTES = 128, TEST_PATHS_MAX = 64 };

/* What a gallery and its queries are made from. */
struct test_material {
    const char *model, *gallery, *query; /* absolute, or below VITRINE_SOURCE */
    uint64_t images, queries;
    const char *precision;                     /* NULL: not said, which is f32 */
    const char *gallery_labels, *query_labels; /* NULL: made up */
};
extern const struct test_material test_sample;   /* 112 images, real features */
extern const struct test_material test_labelled; /* the same with its labels */
extern const struct test_material test_small;    /* tm_12x4_d64, 9 images */
extern const struct test_material test_odd;      /* tm_5x3_d20, 7 images, sizes of no round kind */
extern const struct test_material test_qaconv;   /* qaconv_12x4_c64, 9 images */

/* One worker process. */
struct test_worker {
    struct test_run run;
    char node[16];
};

/* The cluster; caller's storage. */
struct test_cluster {
    char dir[TEST_DIR_BYTES];           /* "" before test_cluster_init */
    char endpoint[TEST_ENDPOINT_BYTES]; /* where clients and workers dial */
    char *paths[TEST_PATHS_MAX];        /* those given out */
    size_t paths_count;
    struct test_run coordinator;
    struct test_worker workers[TEST_WORKERS_MAX]; /* worker i has the node name "w<i>" */
};

/* Makes the folder; no process runs yet. */
void test_cluster_init(struct test_cluster *c);
/* Ends every process (SIGKILL) and removes the folder. */
void test_cluster_fini(struct test_cluster *c);

/* The path of `name` in the cluster's folder. It lives as long as the cluster. */
const char *test_cluster_path(struct test_cluster *c, const char *name);

/* Imports `m`, its features `times` over, as the folder `name`, cut into `shards`. Image i of each
 * round is called "image-<i>", pid i, camid 0, unless the material has labels. */
void test_import(struct test_cluster *c, const char *name, const struct test_material *m,
                 unsigned times, unsigned shards);

/* Writes the .npy `path` of these rows of `source`, which may repeat. */
void test_pick(const char *source, const uint64_t *rows, size_t count, const char *path);

/* `m` with the first `count` of its queries alone. */
struct test_material test_few_queries(struct test_cluster *c, const struct test_material *m,
                                      size_t count);

/* Scores every pair of `m` with `vitrine score` into the file `out` of the cluster's folder. */
void test_score(struct test_cluster *c, const struct test_material *m, const char *out);

/* Starts the coordinator on "ipc" or "tcp" (a free port of 127.0.0.1) with up to 8 further words
 * (NULL: none), and waits until it listens. Again after its end: on the same endpoint. */
void test_coordinator_start(struct test_cluster *c, const char *scheme, const char *const more[]);

/* Starts worker `i` on the gallery `name` with these shards ("0-2"; NULL: all) and up to 8 further
 * words (NULL: none). Does not wait. */
void test_worker_start(struct test_cluster *c, unsigned i, const char *name, const char *shards,
                       const char *const more[]);

/* Sends a signal to worker `i`, without waiting for what comes of it. */
void test_worker_signal(struct test_cluster *c, unsigned i, int signum);
/* Kills worker `i` with SIGKILL and reaps it. */
void test_worker_kill(struct test_cluster *c, unsigned i);
/* The same for the coordinator. */
void test_coordinator_kill(struct test_cluster *c);

/* The cluster's status, `vitrine status --json`; the caller json_decref's it. */
json_t *test_status(const struct test_cluster *c);
/* A number in it by its path: "shards_covered", "counters.garbage". */
json_int_t test_number(const json_t *object, const char *path);
/* The same, asked of the cluster. */
json_int_t test_status_number(const struct test_cluster *c, const char *path);

/* Polls the status until the number is `least` or more (or, in the second, exactly `value`); stops
 * the test after a minute. */
void test_wait_least(const struct test_cluster *c, const char *path, json_int_t least);
void test_wait_exact(const struct test_cluster *c, const char *path, json_int_t value);

/* Starts `vitrine search --connect ... --json` with the queries of `m` and up to 16 further words
 * (NULL: none). */
void test_search_start(const struct test_cluster *c, struct test_run *r,
                       const struct test_material *m, const char *const more[]);
/* The same, waited for. Returns the exit code. */
int test_search(const struct test_cluster *c, struct test_run *r, const struct test_material *m,
                const char *const more[]);

/* The answers that a search printed, one JSON object each; the caller json_decref's the array. */
json_t *test_answers(const struct test_run *r);

/* Just the hits of them, as they were printed, a line each; the caller frees it. */
char *test_hits_text(const struct test_run *r);

/* Does a string stand in this list ("degraded") of an answer? */
bool test_has(const json_t *answer, const char *list, const char *word);

#endif
