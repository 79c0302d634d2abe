/* stages.c: single stages of a kernel, see cross.h. */
#include "tests/support/stages.h"
#include "common/assert.h"
#include "tests/cross/cross.h"
#include "tests/support/bound.h"
#include "tests/support/weights_gen.h"

#include <math.h>
#include <stdlib.h>

/* A sum of products in double, and what its terms add up to without signs. */
struct sum {
    double value;
    double size;
};

static struct sum sum_of(float start, const float *a, const float *b, size_t depth)
{
    struct sum s = {(double)start, fabs((double)start)};
    for (size_t i = 0; i < depth; i++) {
        s.value += (double)a[i] * (double)b[i];
        s.size += fabs((double)a[i] * (double)b[i]);
    }
    return s;
}

static void project(const struct sc_kernel *k, struct test_random *random, size_t rows,
                    size_t columns, size_t depth, struct cross_result *r)
{
    struct test_projection p;
    test_projection_init(&p, random, rows, columns, depth);
    test_projection_run(k, &p);
    cross_add_floats(r, p.out, rows * columns);
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < columns; c++) {
            struct sum want = sum_of(p.bias[c], p.x + i * p.stride, p.weights + c * depth, depth);
            cross_near(r, "projection", columns, i * columns + c, (double)p.out[i * columns + c],
                       want.value, test_rounding(depth + 2) * want.size);
        }
    test_projection_fini(&p);
}

void cross_project(const struct sc_kernel *k, struct cross_result *r)
{
    struct test_random random = {1};
    for (size_t n = 0; n < TEST_SIZES; n++) {
        project(k, &random, test_sizes[n], test_sizes[TEST_SIZES - 1 - n], 13, r);
        project(k, &random, 3, test_sizes[n], 1, r);
    }
    project(k, &random, 9, 49, 515, r);
}

/* An encoded layer in doubles, which the caller frees. */
static double *decoded(enum cm_precision precision, const struct sc_tokens *t, size_t channels)
{
    double *values = malloc(t->count * channels * sizeof *values);
    CM_ASSERT(values);
    for (size_t i = 0; i < t->count * channels; i++)
        values[i] = test_token_value(precision, t, i / channels, i % channels);
    return values;
}

/* Both maxima in double: [T] of columns, then [T] of rows. Returns what rounding may do to them:
 * two roundings a product, three of scales, one of the mask. */
static double maxima(const struct test_product *p, size_t channels, double *out)
{
    size_t n = p->tokens;
    double most = 0, *image = decoded(p->precision, &p->image, channels);
    double *query = decoded(p->precision, &p->query, channels);
    for (size_t i = 0; i < 2 * n; i++)
        out[i] = -INFINITY;
    for (size_t s = 0; s < n; s++)
        for (size_t t = 0; t < n; t++) {
            double value = 0, size = 0, mask = p->mask ? (double)p->mask[s * n + t] : 1;
            for (size_t c = 0; c < channels; c++) {
                double x = image[s * channels + c] * query[t * channels + c];
                value += x;
                size += fabs(x);
            }
            out[t] = fmax(out[t], value * mask);
            out[n + s] = fmax(out[n + s], value * mask);
            most = fmax(most, size * fabs(mask));
        }
    free(image);
    free(query);
    return test_rounding(2 * channels + 6) * most;
}

static void product(const struct sc_kernel *k, size_t tokens, size_t channels, const float *values,
                    struct test_random *mask, struct cross_result *r)
{
    struct test_product p;
    test_product_init(&p, k->precision, tokens, channels, values, mask);
    test_product_run(k, &p);
    cross_add_floats(r, p.column_max, tokens);
    cross_add_floats(r, p.row_max, tokens);
    double *want = malloc(2 * tokens * sizeof *want);
    CM_ASSERT(want);
    double most = maxima(&p, channels, want);
    for (size_t i = 0; i < tokens; i++) {
        cross_near(r, "column maxima", tokens, i, (double)p.column_max[i], want[i], most);
        cross_near(r, "row maxima", tokens, i, (double)p.row_max[i], want[tokens + i], most);
    }
    free(want);
    test_product_fini(&p);
}

/* Random values, and the largest: pairs of bytes of them do not fit 16 bits. */
static void products(const struct sc_kernel *k, struct test_random *random, size_t tokens,
                     size_t channels, struct cross_result *r)
{
    size_t count = 2 * tokens * channels;
    float *values = test_maps(random, count);
    product(k, tokens, channels, values, NULL, r);
    product(k, tokens, channels, values, random, r);
    for (size_t i = 0; i < count; i++)
        values[i] = values[i] < 0 ? -3 : 3;
    product(k, tokens, channels, values, random, r);
    free(values);
}

void cross_product(const struct sc_kernel *k, struct cross_result *r)
{
    struct test_random random = {2};
    for (size_t n = 0; n < TEST_SIZES; n++)
        products(k, &random, test_sizes[n], 1 + test_sizes[TEST_SIZES - 1 - n] % 23, r);
    products(k, &random, 17, 515, r);
}

/* One row's lanes. relu is no worse than its argument, and the last sum is in double. */
static void check_lanes(const struct test_head *h, size_t row, struct cross_result *r)
{
    struct sum lanes[SC_LANES] = {{0, 0}};
    for (size_t j = 0; j < h->ff; j++) {
        struct sum s =
            sum_of(h->bias[j], h->x + row * h->depth, h->weights + j * h->depth, h->depth);
        lanes[j % SC_LANES].value += fmax(s.value, 0) * (double)h->out[j];
        lanes[j % SC_LANES].size += s.size * fabs((double)h->out[j]);
    }
    for (size_t l = 0; l < SC_LANES; l++)
        cross_near(r, "lanes", h->ff, row * SC_LANES + l, h->lanes[row * SC_LANES + l],
                   lanes[l].value, test_rounding(h->depth + 2) * lanes[l].size);
}

static void head(const struct sc_kernel *k, struct test_random *random, size_t rows, size_t ff,
                 size_t depth, struct cross_result *r)
{
    struct test_head h;
    test_head_init(&h, random, rows, ff, depth, 1);
    test_head_run(k, &h);
    cross_add_doubles(r, h.lanes, rows * SC_LANES);
    for (size_t i = 0; i < rows; i++)
        check_lanes(&h, i, r);
    test_head_fini(&h);
}

/* A sum that overflows: it passes relu, and is infinite in its lane. */
static void overflow(const struct sc_kernel *k, struct test_random *random, size_t ff,
                     struct cross_result *r)
{
    struct test_head h;
    test_head_init(&h, random, 2, ff, 5, 1e30f);
    test_head_run(k, &h);
    cross_add_doubles(r, h.lanes, (size_t)2 * SC_LANES);
    cross_near(r, "overflow", ff, 0, isfinite(h.lanes[0]), 0, 0);
    test_head_fini(&h);
}

void cross_head(const struct sc_kernel *k, struct cross_result *r)
{
    struct test_random random = {4};
    for (size_t n = 0; n < TEST_SIZES; n++) {
        head(k, &random, test_sizes[n], test_sizes[TEST_SIZES - 1 - n], 11, r);
        overflow(k, &random, test_sizes[n], r);
    }
    head(k, &random, 9, 129, 192, r);
}
