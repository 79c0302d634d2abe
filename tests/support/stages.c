/* stages.c: see stages.h. */
#include "tests/support/stages.h"

#include "common/assert.h"
#include "common/geometry.h"
#include "common/mem.h"
#include "tests/support/weights_gen.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/layout.h"

#include <stdlib.h>
#include <string.h>

const size_t test_sizes[TEST_SIZES] = {1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 33, 47, 48, 49, 65, 97};

static void *new_zeroed(size_t count, size_t size)
{
    void *p = calloc(count, size);
    CM_ASSERT(p);
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

void test_projection_init(struct test_projection *p, struct test_random *r, size_t rows,
                          size_t columns, size_t depth)
{
    size_t stride = depth + 3;
    *p = (struct test_projection){rows, stride, columns, depth, NULL, NULL, NULL, NULL};
    p->x = test_maps(r, rows * stride);
    p->weights = test_maps(r, columns * depth);
    p->bias = test_maps(r, cm_round_up(columns, SC_LANES));
    p->out = new_zeroed(rows * columns, sizeof *p->out);
}

void test_projection_run(const struct sc_kernel *k, struct test_projection *p)
{
    struct sc_panels panels = new_panels(k, p->weights, p->columns, p->depth);
    k->project((struct sc_rows){p->x, p->rows, p->stride}, panels, p->bias, p->out);
    free_panels(panels);
}

void test_projection_fini(struct test_projection *p)
{
    free(p->x);
    free(p->weights);
    free(p->bias);
    free(p->out);
}

static void *encode(enum cm_precision precision, size_t tokens, size_t channels,
                    const float *values, struct sc_tokens *parts)
{
    struct cm_geometry g = {CM_TRANSMATCHER, (uint32_t)tokens, 1, (uint32_t)channels, 1, 1};
    void *out = new_zeroed(1, cm_layer_bytes(&g, precision));
    sc_encode(precision, tokens, channels, values, out);
    *parts = sc_encoded(precision, tokens, channels, out);
    return out;
}

void test_product_init(struct test_product *p, enum cm_precision precision, size_t tokens,
                       size_t channels, const float *values, struct test_random *mask)
{
    *p = (struct test_product){.precision = precision, .tokens = tokens};
    p->image_bytes = encode(precision, tokens, channels, values, &p->image);
    p->query_bytes = encode(precision, tokens, channels, values + tokens * channels, &p->query);
    p->mask = mask ? test_maps(mask, tokens * tokens) : NULL;
    p->column_max = new_zeroed(cm_round_up(tokens, SC_LANES), sizeof *p->column_max);
    p->row_max = new_zeroed(tokens, sizeof *p->row_max);
}

void test_product_run(const struct sc_kernel *k, struct test_product *p)
{
    void *query = new_zeroed(1, sc_query_bytes(p->tokens, p->query.depth));
    float *mask = NULL;
    k->query(k, p->query, query);
    if (p->mask) {
        mask = new_zeroed(sc_mask_floats(k, p->tokens), sizeof *mask);
        sc_mask_pack(k, p->tokens, p->mask, mask);
    }
    k->product(p->image, query, mask, p->column_max, p->row_max);
    free(mask);
    free(query);
}

void test_product_fini(struct test_product *p)
{
    free(p->image_bytes);
    free(p->query_bytes);
    free(p->mask);
    free(p->column_max);
    free(p->row_max);
}

double test_token_value(enum cm_precision precision, const struct sc_tokens *t, size_t token,
                        size_t channel)
{
    const char *at = (const char *)t->data + token * t->bytes;
    if (precision == CM_INT8)
        return (((const uint8_t *)at)[channel] - 128) * (double)t->scales[token];
    if (precision == CM_BF16)
        return (double)sc_float_of_bf16(((const uint16_t *)(const void *)at)[channel]);
    return (double)((const float *)(const void *)at)[channel];
}

void test_head_init(struct test_head *h, struct test_random *r, size_t rows, size_t ff,
                    size_t depth, float huge)
{
    size_t padded = cm_round_up(ff, SC_LANES);
    *h = (struct test_head){rows, ff, depth, NULL, NULL, NULL, NULL, NULL};
    h->x = test_maps(r, rows * depth);
    h->weights = test_maps(r, ff * depth);
    h->bias = new_zeroed(padded, sizeof *h->bias);
    h->out = new_zeroed(padded, sizeof *h->out);
    h->lanes = new_zeroed((rows + SC_TILE_ROWS_MAX) * SC_LANES, sizeof *h->lanes);
    for (size_t j = 0; j < ff; j++) {
        h->bias[j] = test_random_float(r, -1, 1);
        h->out[j] = test_random_float(r, -1, 1);
    }
    h->weights[0] *= huge;
    h->x[0] *= huge;
}

void test_head_run(const struct sc_kernel *k, struct test_head *h)
{
    struct sc_panels panels = new_panels(k, h->weights, h->ff, h->depth);
    memset(h->lanes, 0, (h->rows + SC_TILE_ROWS_MAX) * SC_LANES * sizeof *h->lanes);
    k->head((struct sc_rows){h->x, h->rows, h->depth}, panels, h->bias, h->out, h->lanes);
    free_panels(panels);
}

void test_head_fini(struct test_head *h)
{
    free(h->x);
    free(h->weights);
    free(h->bias);
    free(h->out);
    free(h->lanes);
}
