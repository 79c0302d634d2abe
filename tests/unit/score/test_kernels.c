/* Every kernel of the table against plain loops over sizes that fit no tile, and against each
 * other: within a numeric class all bits are the same. */
#include "common/geometry.h"
#include "common/mem.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/layout.h"
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
                                   size_t depth)
{
    float *data = new_zeroed(sc_panels_floats(count, depth), sizeof *data);
    sc_panels_pack(k, (struct sc_rows){columns, count, depth}, depth, SC_PAD_ZERO, data);
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
    struct sc_panels panels = new_panels(k, w, columns, depth);
    k->project((struct sc_rows){x, rows, stride}, panels, bias, out);
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
    struct sc_tokens rows = sc_encoded(CM_F32, p->tokens, p->depth, p->rows);
    struct sc_tokens columns = sc_encoded(CM_F32, p->tokens, p->depth, p->columns);
    void *query = new_zeroed(1, sc_query_bytes(p->tokens, p->depth));
    float *mask = NULL;
    k->query(k, columns, query);
    if (p->mask) {
        mask = new_zeroed(sc_mask_floats(k, p->tokens), sizeof *mask);
        sc_mask_pack(k, p->tokens, p->mask, mask);
    }
    k->product(rows, query, mask, p->a, p->b);
    free(mask);
    free(query);
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
    struct sc_panels panels = new_panels(k, w, ff, depth);
    k->head((struct sc_rows){x, rows, depth}, panels, bias, out, lanes);
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

/* One image and one query of `depth` channels, encoded. */
struct encoded {
    size_t tokens;
    void *image_bytes, *query_bytes;
    struct sc_tokens image, query;
    float *mask;
};

static void *encode(enum cm_precision p, size_t tokens, size_t depth, const float *values)
{
    struct cm_geometry g = {CM_TRANSMATCHER, (uint32_t)tokens, 1, (uint32_t)depth, 1, 1};
    void *out = new_zeroed(1, cm_layer_bytes(&g, p));
    sc_encode(p, tokens, depth, values, out);
    return out;
}

static void new_encoded(struct encoded *x, enum cm_precision p, struct test_random *r,
                        size_t tokens, size_t depth, float scale)
{
    float *values = random_floats(r, 2 * tokens * depth);
    for (size_t i = 0; scale > 0 && i < 2 * tokens * depth; i++)
        values[i] = values[i] < 0 ? -scale : scale; /* every byte at its end of the range */
    x->tokens = tokens;
    x->image_bytes = encode(p, tokens, depth, values);
    x->query_bytes = encode(p, tokens, depth, values + tokens * depth);
    x->image = sc_encoded(p, tokens, depth, x->image_bytes);
    x->query = sc_encoded(p, tokens, depth, x->query_bytes);
    x->mask = random_floats(r, tokens * tokens);
    free(values);
}

static void free_encoded(struct encoded *x)
{
    free(x->image_bytes);
    free(x->query_bytes);
    free(x->mask);
}

/* One masked product as the classes of kernel.h say; for bf16/dp `*slack` is what its roundings may
 * do to it. */
static float product_at(const struct sc_kernel *k, const struct encoded *x, size_t s, size_t t,
                        float *slack)
{
    const uint8_t *a = (const uint8_t *)x->image.data + s * x->image.bytes;
    const uint8_t *b = (const uint8_t *)x->query.data + t * x->query.bytes;
    float sum = 0, size = 0, mask = x->mask[s * x->tokens + t];
    if (k->precision == CM_INT8) {
        int dot = 0;
        for (size_t i = 0; i < x->image.depth; i++)
            dot += (a[i] - 128) * (b[i] - 128);
        *slack = 0;
        return (float)dot * x->query.scales[t] * x->image.scales[s] * mask;
    }
    for (size_t i = 0; i < x->image.depth; i++) {
        float u = sc_float_of_bf16(((const uint16_t *)(const void *)a)[i]);
        float v = sc_float_of_bf16(((const uint16_t *)(const void *)b)[i]);
        sum = fmaf(u, v, sum);
        size += fabsf(u * v);
    }
    bool exact = strcmp(k->numeric_class, "bf16/fma") == 0;
    *slack = exact ? 0 : size * fabsf(mask) * 0x1p-23f * (float)(x->image.depth + 2);
    return sum * mask;
}

static void check_encoded(const struct sc_kernel *k, const struct encoded *x)
{
    size_t n = x->tokens, padded = cm_round_up(n, SC_LANES);
    void *query = new_zeroed(1, sc_query_bytes(n, x->image.depth));
    float *mask = new_zeroed(sc_mask_floats(k, n), sizeof *mask);
    float *a = new_zeroed(padded + n, sizeof *a), *b = a + padded, slack, most = 0;
    float *want = new_zeroed(2 * n, sizeof *want);
    for (size_t i = 0; i < 2 * n; i++)
        want[i] = -INFINITY;
    k->query(k, x->query, query);
    sc_mask_pack(k, n, x->mask, mask);
    k->product(x->image, query, mask, a, b);
    for (size_t s = 0; s < n; s++)
        for (size_t t = 0; t < n; t++) {
            float v = product_at(k, x, s, t, &slack);
            want[t] = fmaxf(want[t], v);
            want[n + s] = fmaxf(want[n + s], v);
            most = fmaxf(most, slack);
        }
    for (size_t i = 0; i < n; i++) {
        cr_assert(fabsf(a[i] - want[i]) <= most, "%s %s, column %zu of %zu: %a is not %a, by %a",
                  k->name, k->numeric_class, i, n, (double)a[i], (double)want[i], (double)most);
        cr_assert(fabsf(b[i] - want[n + i]) <= most, "%s %s, row %zu of %zu: %a is not %a, by %a",
                  k->name, k->numeric_class, i, n, (double)b[i], (double)want[n + i], (double)most);
    }
    free(query);
    free(mask);
    free(a);
    free(want);
}

static void check_precision(enum cm_precision p, float scale)
{
    struct test_random r = {5};
    for (size_t n = 0; n < SIZES; n++) {
        struct encoded x;
        new_encoded(&x, p, &r, sizes[n], 1 + sizes[SIZES - 1 - n] % 23, scale);
        for (size_t i = 0; sc_kernel_at(i); i++)
            if (sc_kernel_at(i)->precision == p && sc_kernel_at(i)->supported())
                check_encoded(sc_kernel_at(i), &x);
        free_encoded(&x);
    }
}

Test(kernels, bf16_products)
{
    check_precision(CM_BF16, 0);
}

Test(kernels, int8_products_are_exact_and_the_same_everywhere)
{
    check_precision(CM_INT8, 0);
}

/* Pairs of 127 * 255 do not fit 16 bits: an instruction that saturates would show here. */
Test(kernels, int8_products_of_the_largest_bytes)
{
    check_precision(CM_INT8, 3.0f);
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
