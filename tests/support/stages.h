/* stages.h: the stages of a kernel by themselves: inputs made up from a seed, and what comes out.
 *
 * Arrays are exactly as long as kernel.h says, so that a sanitizer sees one place too many. Stops
 * the test when memory is short. No Criterion here: tests/cross uses them too. */
#ifndef TEST_STAGES_H
#define TEST_STAGES_H

#include "tests/support/random.h"
#include "worker/score/kernels/kernel.h"

#include <stddef.h>

/* Sizes around every tile: 4, 6 and 8 rows, 16 and 48 columns. */
enum { TEST_SIZES = 16 };
extern const size_t test_sizes[TEST_SIZES];

/* What sc_project_fn takes and gives. */
struct test_projection {
    size_t rows, stride, columns, depth;
    float *x;       /* [rows][stride] */
    float *weights; /* [columns][depth] */
    float *bias;    /* [columns padded to SC_LANES] */
    float *out;     /* [rows][columns] */
};

/* Makes the inputs up, runs the stage with one kernel after the other, and frees all of it. */
void test_projection_init(struct test_projection *p, struct test_random *r, size_t rows,
                          size_t columns, size_t depth);
void test_projection_run(const struct sc_kernel *k, struct test_projection *p);
void test_projection_fini(struct test_projection *p);

/* What sc_product_fn takes and gives: one layer of an image and of a query, encoded. */
struct test_product {
    enum cm_precision precision;
    size_t tokens;
    void *image_bytes, *query_bytes;
    struct sc_tokens image, query; /* their parts */
    float *mask;                   /* [tokens][tokens], of both signs; NULL for none */
    float *column_max;             /* [tokens padded to SC_LANES] */
    float *row_max;                /* [tokens] */
};

/* The same; `values` are the image's [tokens][channels] and then the query's. `mask` NULL: none. */
void test_product_init(struct test_product *p, enum cm_precision precision, size_t tokens,
                       size_t channels, const float *values, struct test_random *mask);
void test_product_run(const struct sc_kernel *k, struct test_product *p);
void test_product_fini(struct test_product *p);

/* What an encoded token holds at a channel, exactly. */
double test_token_value(enum cm_precision precision, const struct sc_tokens *t, size_t token,
                        size_t channel);

/* What sc_head_fn takes and gives. */
struct test_head {
    size_t rows, ff, depth;
    float *x;       /* [rows][depth] */
    float *weights; /* [ff][depth] */
    float *bias;    /* [ff padded to SC_LANES], the padding 0 */
    float *out;     /* the same */
    double *lanes;  /* [rows + SC_TILE_ROWS_MAX][SC_LANES] */
};

/* The same; the first input and the first weight are `huge` times as large as the others. */
void test_head_init(struct test_head *h, struct test_random *r, size_t rows, size_t ff,
                    size_t depth, float huge);
void test_head_run(const struct sc_kernel *k, struct test_head *h);
void test_head_fini(struct test_head *h);

#endif
