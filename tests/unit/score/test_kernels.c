/* Every kernel of the table against plain loops over sizes that fit no tile, and against each
 * other: within a numeric class all bits are the same. */
#include "common/mem.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/panels.h"
#include "worker/score/kernels/table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Around every tile: 4, 6 and 8 rows, 16 and 48 columns. */
static const size_t sizes[] = {1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 65, 97};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* A kernel that this processor runs, of f32. */
static const struct sc_kernel *usable(size_t i)
{
    const struct sc_kernel *k = sc_kernel_at(i);
    return k->precision == CM_F32 && k->supported() ? k : NULL;
}

/* Exactly `count` floats, so that a sanitizer sees one too many. */
static float *random_floats(struct test_random *r, size_t count)
{
    return test_maps(r, count);
}

static void *new_zeroed(size_t count, size_t size)
{
    void *p = calloc(count, size);
    cr_assert(p != NULL);
    return p;
}

static struct sc_panels new_panels(const struct sc_kernel *k, const float *columns, size_t count,
                                   size_t depth, enum sc_padding padding)
{
    float *data = new_zeroed(sc_panels_floats(count, depth), sizeof *data);
    sc_panels_pack(k, (struct sc_rows){columns, count, depth, NULL}, depth, padding, data);
    return (struct sc_panels){data, count, depth};
}

static void free_panels(struct sc_panels p)
{
    free((float *)(uintptr_t)p.data);
}

/* One sum as the class says: a chain over the depth from `start` on. */
static float chain(const struct sc_kernel *k, float start, const float *a, const float *b,
                   size_t depth)
{
    float sum = start;
    for (size_t i = 0; i < depth; i++)
        if (strcmp(k->numeric_class, "f32/fma") == 0)
            sum = fmaf(a[i], b[i], sum);
        else {
            volatile float product = a[i] * b[i]; /* rounded by itself, whatever the compiler */
            sum += product;
        }
    return sum;
}

static void assert_bits(const struct sc_kernel *k, const char *what, size_t size, size_t at,
                        float got, float want)
{
    cr_assert_eq(memcmp(&got, &want, sizeof got), 0, "%s, %s of %zu, at %zu: %a is not %a", k->name,
                 what, size, at, (double)got, (double)want);
}

static void check_project(const struct sc_kernel *k, struct test_random *r, size_t rows,
                          size_t columns, size_t depth)
{
    size_t stride = depth + 3, padded = cm_round_up(columns, SC_LANES);
    float *x = random_floats(r, rows * stride), *w = random_floats(r, columns * depth);
    float *bias = random_floats(r, padded), *out = new_zeroed(rows * columns, sizeof *out);
    struct sc_panels panels = new_panels(k, w, columns, depth, SC_PAD_ZERO);
    k->project((struct sc_rows){x, rows, stride, NULL}, panels, bias, out);
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < columns; c++)
            assert_bits(k, "projection", columns, i * columns + c, out[i * columns + c],
                        chain(k, bias[c], x + i * stride, w + c * depth, depth));
    free_panels(panels);
    free(x);
    free(w);
    free(bias);
    free(out);
}

Test(kernels, projection_is_one_ascending_chain)
{
    struct test_random r = {1};
    for (size_t i = 0; sc_kernel_at(i); i++)
        for (size_t n = 0; usable(i) && n < SIZES; n++) {
            check_project(usable(i), &r, sizes[n], sizes[SIZES - 1 - n], 13);
            check_project(usable(i), &r, 3, sizes[n], 1);
        }
}

/* A product of T tokens, its mask and what came out. */
struct pair {
    size_t tokens, depth;
    float *rows, *columns, *mask, *a, *b;
};

static void new_pair(struct pair *p, struct test_random *r, size_t tokens, size_t depth, bool mask)
{
    *p = (struct pair){.tokens = tokens, .depth = depth};
    p->rows = random_floats(r, tokens * depth);
    p->columns = random_floats(r, tokens * depth);
    p->mask = mask ? random_floats(r, tokens * tokens) : NULL;
    for (size_t i = 0; mask && i < tokens * tokens; i++)
        p->mask[i] = fabsf(p->mask[i]);
    p->a = new_zeroed(cm_round_up(tokens, SC_LANES), sizeof *p->a);
    p->b = new_zeroed(tokens, sizeof *p->b);
}

static void free_pair(struct pair *p)
{
    free(p->rows);
    free(p->columns);
    free(p->mask);
    free(p->a);
    free(p->b);
}

static void run_product(const struct sc_kernel *k, struct pair *p)
{
    struct sc_panels panels = new_panels(k, p->columns, p->tokens, p->depth, SC_PAD_REPEAT);
    float *mask = NULL;
    if (p->mask) {
        mask = new_zeroed(sc_mask_floats(k, p->tokens), sizeof *mask);
        sc_mask_pack(k, p->tokens, p->mask, mask);
    }
    k->product((struct sc_rows){p->rows, p->tokens, p->depth, NULL}, panels, mask, p->a, p->b);
    free(mask);
    free_panels(panels);
}

static void check_product(const struct sc_kernel *k, struct pair *p)
{
    size_t n = p->tokens;
    float *a = new_zeroed(2 * n, sizeof *a), *b = a + n;
    for (size_t i = 0; i < 2 * n; i++)
        a[i] = -INFINITY;
    for (size_t s = 0; s < n; s++)
        for (size_t t = 0; t < n; t++) {
            float v = chain(k, 0, p->rows + s * p->depth, p->columns + t * p->depth, p->depth);
            v = p->mask ? v * p->mask[s * n + t] : v;
            a[t] = fmaxf(a[t], v);
            b[s] = fmaxf(b[s], v);
        }
    run_product(k, p);
    for (size_t i = 0; i < n; i++) {
        assert_bits(k, "column maxima", n, i, p->a[i], a[i] + 0.0f);
        assert_bits(k, "row maxima", n, i, p->b[i], b[i] + 0.0f);
    }
    free(a);
}

Test(kernels, product_keeps_both_maxima)
{
    struct test_random r = {2};
    for (size_t n = 0; n < SIZES; n++)
        for (int mask = 0; mask < 2; mask++) {
            struct pair p;
            new_pair(&p, &r, sizes[n], 1 + sizes[SIZES - 1 - n] % 21, mask);
            for (size_t i = 0; sc_kernel_at(i); i++)
                if (usable(i))
                    check_product(usable(i), &p);
            free_pair(&p);
        }
}

/* Products so small that they round to zero, of either sign, under masks of zero: the sign of the
 * largest must not depend on the place where it was met. */
Test(kernels, a_maximum_of_zero_is_positive)
{
    struct test_random r = {3};
    for (size_t n = 0; n < SIZES; n++) {
        struct pair p;
        new_pair(&p, &r, sizes[n], 2, true);
        for (size_t i = 0; i < 2 * p.tokens; i++) {
            p.rows[i] = -1e-30f;
            p.columns[i] = 1e-30f;
        }
        for (size_t i = 0; sc_kernel_at(i); i++) {
            if (!usable(i))
                continue;
            run_product(usable(i), &p);
            for (size_t t = 0; t < p.tokens; t++) {
                assert_bits(usable(i), "column maxima", p.tokens, t, p.a[t], 0.0f);
                assert_bits(usable(i), "row maxima", p.tokens, t, p.b[t], 0.0f);
            }
        }
        free_pair(&p);
    }
}

/* What relu does, in words of kernel.h. */
static float relu(float h)
{
    return isfinite(h) && h < 0 ? 0 : h;
}

static void check_head(const struct sc_kernel *k, struct test_random *r, size_t rows, size_t ff,
                       size_t depth, float huge)
{
    size_t padded = cm_round_up(ff, SC_LANES), tail = rows + SC_TILE_ROWS_MAX;
    float *x = random_floats(r, rows * depth), *w = random_floats(r, ff * depth);
    float *bias = new_zeroed(padded, sizeof *bias), *out = new_zeroed(padded, sizeof *out);
    double *lanes = new_zeroed(tail * SC_LANES, sizeof *lanes);
    for (size_t j = 0; j < ff; j++) {
        bias[j] = test_random_float(r, -1, 1);
        out[j] = test_random_float(r, -1, 1);
    }
    w[0] *= huge;
    x[0] *= huge;
    struct sc_panels panels = new_panels(k, w, ff, depth, SC_PAD_ZERO);
    k->head((struct sc_rows){x, rows, depth, NULL}, panels, bias, out, lanes);
    for (size_t i = 0; i < rows; i++) {
        double want[SC_LANES] = {0};
        for (size_t j = 0; j < ff; j++)
            want[j % SC_LANES] +=
                (double)relu(chain(k, bias[j], x + i * depth, w + j * depth, depth)) *
                (double)out[j];
        for (size_t l = 0; l < SC_LANES; l++)
            cr_assert(want[l] == lanes[i * SC_LANES + l] ||
                          (isnan(want[l]) && isnan(lanes[i * SC_LANES + l])),
                      "%s, ff %zu, row %zu, lane %zu: %a is not %a", k->name, ff, i, l,
                      lanes[i * SC_LANES + l], want[l]);
    }
    free_panels(panels);
    free(x);
    free(w);
    free(bias);
    free(out);
    free(lanes);
}

Test(kernels, head_sums_in_its_stated_lanes)
{
    struct test_random r = {4};
    for (size_t i = 0; sc_kernel_at(i); i++)
        for (size_t n = 0; usable(i) && n < SIZES; n++) {
            check_head(usable(i), &r, sizes[n], sizes[SIZES - 1 - n], 11, 1);
            check_head(usable(i), &r, 2, sizes[n], 5, 1e30f);
        }
}

Test(kernels, the_variable_forces_one_by_name)
{
    const struct sc_kernel *k;
    struct cm_error e;
    unsetenv(SC_KERNEL_VARIABLE);
    cr_assert_eq(sc_kernel_choose(&k, CM_F32, &e), CM_OK);
    for (size_t i = 0; sc_kernel_at(i) != k; i++)
        cr_assert_null(usable(i), "%s comes before %s", sc_kernel_at(i)->name, k->name);
    for (size_t i = 0; sc_kernel_at(i); i++) {
        if (!usable(i))
            continue;
        setenv(SC_KERNEL_VARIABLE, sc_kernel_at(i)->name, 1);
        cr_assert_eq(sc_kernel_choose(&k, CM_F32, &e), CM_OK);
        cr_assert_eq(k, sc_kernel_at(i));
    }
}

Test(kernels, a_wrong_name_is_refused_with_those_there_are)
{
    const struct sc_kernel *k;
    struct cm_error e;
    setenv(SC_KERNEL_VARIABLE, "sse9", 1);
    cr_assert_eq(sc_kernel_choose(&k, CM_F32, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "VITRINE_KERNEL is 'sse9', no kernel; there are ") == e.text, "%s",
              e.text);
    cr_assert(strstr(e.text, "portable, plain") != NULL, "%s", e.text);
}
