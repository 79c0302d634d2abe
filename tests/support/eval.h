/* eval.h: `vitrine eval` for a test: its command line, and a folder to run it in. Failures stop the
 * test. */
#ifndef TEST_EVAL_H
#define TEST_EVAL_H

#include "tests/support/cluster.h"

/* One evaluation's command line. */
struct test_ask {
    const char *gallery; /* a folder; or NULL, and `connect` */
    const char *connect;
    const char *features, *meta;
    const char *json, *csv, *scores; /* NULL: not wanted */
    const char *more[6];             /* NULL ends them */
};

/* As test_cluster_init and test_cluster_fini; the cluster's folder is the working folder between,
 * since journals lie there. */
void test_eval_init(struct test_cluster *c);
void test_eval_fini(struct test_cluster *c);

/* Starts it. */
void test_eval_start(struct test_run *r, const struct test_ask *a);
/* Runs it to its end. Returns the exit code. */
int test_eval(struct test_run *r, const struct test_ask *a);

/* Two files hold the same bytes. */
void test_same_files(const char *a, const char *b);

#endif
