/* Every kernel of the table against plain loops over sizes that fit no tile, and against each
 * other: within a numeric class all bits are the same. */
#include "tests/support/stages.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A kernel that this processor runs, of f32. */
static const struct sc_kernel *usable(size_t i)
{
    const struct sc_kernel *k = sc_kernel_at(i);
    return k->precision == CM_F32 && k->supported() ? k : NULL;
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
    struct test_projection p;
    test_projection_init(&p, r, rows, columns, depth);
    test_projection_run(k, &p);
    for (size_t i = 0; i < rows; i++)
        for (size_t c = 0; c < columns; c++)
            assert_bits(k, "projection", columns, i * columns + c, p.out[i * columns + c],
                        chain(k, p.bias[c], p.x + i * p.stride, p.weights + c * depth, depth));
    test_projection_fini(&p);
}

Test(kernels, projection_is_one_ascending_chain)
{
    struct test_random r = {1};
    for (size_t i = 0; sc_kernel_at(i); i++)
        for (size_t n = 0; usable(i) && n < TEST_SIZES; n++) {
            check_project(usable(i), &r, test_sizes[n], test_sizes[TEST_SIZES - 1 - n], 13);
            check_project(usable(i), &r, 3, test_sizes[n], 1);
        }
}

/* One product as the classes of kernel.h say, masked; for bf16/dp `*slack` is what its roundings
 * may do to it. */
static float product_at(const struct sc_kernel *k, const struct test_product *p, size_t s, size_t t,
                        float *slack)
{
    const uint8_t *a = (const uint8_t *)p->image.data + s * p->image.bytes;
    const uint8_t *b = (const uint8_t *)p->query.data + t * p->query.bytes;
    float sum = 0, size = 0, mask = p->mask ? p->mask[s * p->tokens + t] : 1;
    *slack = 0;
    if (k->precision == CM_F32)
        return mask * chain(k, 0, (const void *)a, (const void *)b, p->image.depth);
    if (k->precision == CM_INT8) {
        int dot = 0;
        for (size_t i = 0; i < p->image.depth; i++)
            dot += (a[i] - 128) * (b[i] - 128);
        return (float)dot * p->query.scales[t] * p->image.scales[s] * mask;
    }
    for (size_t i = 0; i < p->image.depth; i++) {
        float u = sc_float_of_bf16(((const uint16_t *)(const void *)a)[i]);
        float v = sc_float_of_bf16(((const uint16_t *)(const void *)b)[i]);
        sum = fmaf(u, v, sum);
        size += fabsf(u * v);
    }
    if (strcmp(k->numeric_class, "bf16/fma") != 0)
        *slack = size * fabsf(mask) * 0x1p-23f * (float)(p->image.depth + 2);
    return sum * mask;
}

static void assert_near(const struct sc_kernel *k, const char *what, size_t size, size_t at,
                        float got, float want, float most)
{
    if (most == 0)
        assert_bits(k, what, size, at, got, want);
    cr_assert(fabsf(got - want) <= most, "%s %s, %s of %zu, at %zu: %a is not %a, by %a", k->name,
              k->numeric_class, what, size, at, (double)got, (double)want, (double)most);
}

static void check_product(const struct sc_kernel *k, struct test_product *p)
{
    size_t n = p->tokens;
    float *a = malloc(2 * n * sizeof *a), *b = a + n, slack, most = 0;
    cr_assert(a != NULL);
    for (size_t i = 0; i < 2 * n; i++)
        a[i] = -INFINITY;
    for (size_t s = 0; s < n; s++)
        for (size_t t = 0; t < n; t++) {
            float v = product_at(k, p, s, t, &slack);
            a[t] = fmaxf(a[t], v);
            b[s] = fmaxf(b[s], v);
            most = fmaxf(most, slack);
        }
    test_product_run(k, p);
    for (size_t i = 0; i < n; i++) {
        assert_near(k, "column maxima", n, i, p->column_max[i], a[i] + 0.0f, most);
        assert_near(k, "row maxima", n, i, p->row_max[i], b[i] + 0.0f, most);
    }
    free(a);
}

/* All kernels of this precision. `scale`: every value is so large; 0: each its own. */
static void check_products(enum cm_precision precision, float scale, bool mask)
{
    struct test_random r = {2};
    for (size_t n = 0; n < TEST_SIZES; n++) {
        struct test_product p;
        size_t depth = 1 + test_sizes[TEST_SIZES - 1 - n] % 23, count = 2 * test_sizes[n] * depth;
        float *values = test_maps(&r, count);
        for (size_t i = 0; scale > 0 && i < count; i++)
            values[i] = values[i] < 0 ? -scale : scale;
        test_product_init(&p, precision, test_sizes[n], depth, values, mask ? &r : NULL);
        for (size_t i = 0; sc_kernel_at(i); i++)
            if (sc_kernel_at(i)->precision == precision && sc_kernel_at(i)->supported())
                check_product(sc_kernel_at(i), &p);
        test_product_fini(&p);
        free(values);
    }
}

Test(kernels, f32_products_keep_both_maxima)
{
    check_products(CM_F32, 0, false);
    check_products(CM_F32, 0, true);
}

Test(kernels, bf16_products)
{
    check_products(CM_BF16, 0, false);
    check_products(CM_BF16, 0, true);
}

Test(kernels, int8_products_are_exact_and_the_same_everywhere)
{
    check_products(CM_INT8, 0, false);
    check_products(CM_INT8, 0, true);
}

/* Pairs of 127 * 255 do not fit 16 bits: an instruction that saturates would show here. */
Test(kernels, int8_products_of_the_largest_bytes)
{
    check_products(CM_INT8, 3.0f, true);
}

/* Products so small that they round to zero, of either sign, under masks of either sign: the sign
 * of the largest must not depend on the place where it was met. */
Test(kernels, a_maximum_of_zero_is_positive)
{
    struct test_random r = {3};
    for (size_t n = 0; n < TEST_SIZES; n++) {
        struct test_product p;
        size_t tokens = test_sizes[n];
        float *values = test_maps(&r, 4 * tokens);
        for (size_t i = 0; i < 4 * tokens; i++)
            values[i] = i < 2 * tokens ? -1e-30f : 1e-30f;
        test_product_init(&p, CM_F32, tokens, 2, values, &r);
        for (size_t i = 0; sc_kernel_at(i); i++) {
            if (!usable(i))
                continue;
            test_product_run(usable(i), &p);
            for (size_t t = 0; t < tokens; t++) {
                assert_bits(usable(i), "column maxima", tokens, t, p.column_max[t], 0.0f);
                assert_bits(usable(i), "row maxima", tokens, t, p.row_max[t], 0.0f);
            }
        }
        test_product_fini(&p);
        free(values);
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
    struct test_head h;
    test_head_init(&h, r, rows, ff, depth, huge);
    test_head_run(k, &h);
    for (size_t i = 0; i < rows; i++) {
        double want[SC_LANES] = {0};
        for (size_t j = 0; j < ff; j++)
            want[j % SC_LANES] +=
                (double)relu(chain(k, h.bias[j], h.x + i * depth, h.weights + j * depth, depth)) *
                (double)h.out[j];
        for (size_t l = 0; l < SC_LANES; l++) {
            double got = h.lanes[i * SC_LANES + l];
            cr_assert(want[l] == got || (isnan(want[l]) && isnan(got)),
                      "%s, ff %zu, row %zu, lane %zu: %a is not %a", k->name, ff, i, l, got,
                      want[l]);
        }
    }
    test_head_fini(&h);
}

Test(kernels, head_sums_in_its_stated_lanes)
{
    struct test_random r = {4};
    for (size_t i = 0; sc_kernel_at(i); i++)
        for (size_t n = 0; usable(i) && n < TEST_SIZES; n++) {
            check_head(usable(i), &r, test_sizes[n], test_sizes[TEST_SIZES - 1 - n], 11, 1);
            check_head(usable(i), &r, 2, test_sizes[n], 5, 1e30f);
        }
}

Test(kernels, bf16_rounds_to_nearest_even)
{
    static const struct {
        float value;
        uint16_t bits;
    } cases[] = {
        {1.0f, 0x3f80},          {-2.0f, 0xc000},      {0x1.01p0f, 0x3f80},  {0x1.03p0f, 0x3f82},
        {0x1.010002p0f, 0x3f81}, {-0x1.03p0f, 0xbf82}, {0x1.ffp56f, 0x5c00},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint16_t got[2] = {1, 1};
        sc_encode(CM_BF16, 1, 1, &cases[i].value, got);
        cr_assert_eq(got[0], cases[i].bits, "%a: %x", (double)cases[i].value, got[0]);
        cr_assert_eq(got[1], 0, "padding");
    }
}

Test(kernels, int8_scales_each_token_by_its_largest)
{
    static const float values[] = {0.5f, -2.54f, 1.27f, 0.011f, 0.03f, 0, 0, 0, 0, 0};
    _Alignas(float) uint8_t got[2 * 8 + 2 * sizeof(float)];
    static const uint8_t want[] = {153, 1,   192, 129, 130, 128, 128, 128,
                                   128, 128, 128, 128, 128, 128, 128, 128};
    sc_encode(CM_INT8, 2, 5, values, got);
    struct sc_tokens t = sc_encoded(CM_INT8, 2, 5, got);
    cr_assert_eq(t.depth, 8);
    cr_assert_eq(t.bytes, 8);
    cr_assert(t.scales[0] == 2.54f / 127 && t.scales[1] == 0, "%g %g", (double)t.scales[0],
              (double)t.scales[1]);
    for (size_t i = 0; i < sizeof want; i++)
        cr_assert_eq(got[i], want[i], "byte %zu: %d", i, got[i]);
}

static void check_choice(enum cm_precision p)
{
    const struct sc_kernel *k;
    struct cm_error e;
    unsetenv(SC_KERNEL_VARIABLE);
    cr_assert_eq(sc_kernel_choose(&k, p, &e), CM_OK);
    cr_assert_eq(sc_kernel_default(p), k);
    for (size_t i = 0; sc_kernel_at(i) != k; i++)
        cr_assert(sc_kernel_at(i)->precision != p || !sc_kernel_at(i)->supported(),
                  "%s comes before %s", sc_kernel_at(i)->name, k->name);
    for (size_t i = 0; sc_kernel_at(i); i++) {
        if (sc_kernel_at(i)->precision != p || !sc_kernel_at(i)->supported())
            continue;
        setenv(SC_KERNEL_VARIABLE, sc_kernel_at(i)->name, 1);
        cr_assert_eq(sc_kernel_choose(&k, p, &e), CM_OK);
        cr_assert_eq(k, sc_kernel_at(i));
        cr_assert_eq(sc_kernel_default(p), k);
    }
}

Test(kernels, the_variable_forces_one_by_name)
{
    check_choice(CM_F32);
    check_choice(CM_BF16);
    check_choice(CM_INT8);
}

Test(kernels, a_wrong_name_is_refused_with_those_there_are)
{
    const struct sc_kernel *k;
    struct cm_error e;
    setenv(SC_KERNEL_VARIABLE, "sse9", 1);
    cr_assert_eq(sc_kernel_choose(&k, CM_F32, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "VITRINE_KERNEL is 'sse9', no f32 kernel that this processor can "
                             "run; there are ") == e.text,
              "%s", e.text);
    cr_assert(strstr(e.text, "portable, plain") != NULL, "%s", e.text);
}
