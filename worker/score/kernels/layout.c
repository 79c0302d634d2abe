/* layout.c: see layout.h. */
#include "worker/score/kernels/layout.h"

#include "common/mem.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/int8.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t sc_panels_floats(size_t columns, size_t depth)
{
    return cm_round_up(columns, SC_LANES) * depth;
}

enum { STEP = 16 }; /* depths moved at a time: one cache line of each column */

/* One panel, [depth][width] from columns `first` on. */
static void pack_panel(struct sc_rows m, size_t depth, size_t first, size_t width,
                       enum sc_padding padding, float *out)
{
    for (size_t k0 = 0; k0 < depth; k0 += STEP)
        for (size_t c = 0; c < width; c++) {
            bool zero = padding == SC_PAD_ZERO && first + c >= m.count;
            const float *column = m.data + smaller(first + c, m.count - 1) * m.stride;
            for (size_t k = k0; k < smaller(k0 + STEP, depth); k++)
                out[k * width + c] = zero ? 0 : column[k];
        }
}

void sc_panels_pack(const struct sc_kernel *kernel, struct sc_rows m, size_t depth,
                    enum sc_padding padding, float *out)
{
    size_t padded = cm_round_up(m.count, SC_LANES);
    for (size_t c = 0; c < padded; c += kernel->columns)
        pack_panel(m, depth, c, smaller(kernel->columns, padded - c), padding, out + c * depth);
}

size_t sc_mask_floats(const struct sc_kernel *k, size_t tokens)
{
    return (tokens + k->rows - 1) / k->rows * k->rows * cm_round_up(tokens, SC_LANES);
}

void sc_mask_pack(const struct sc_kernel *k, size_t tokens, const float *mask, float *out)
{
    size_t padded = cm_round_up(tokens, SC_LANES);
    for (size_t s = 0; s < tokens; s += k->rows)
        for (size_t t = 0; t < padded; t += k->columns)
            for (size_t r = s; r < s + k->rows; r++)
                for (size_t c = t; c < smaller(t + k->columns, padded); c++)
                    *out++ = mask[smaller(r, tokens - 1) * tokens + smaller(c, tokens - 1)];
}

size_t sc_query_bytes(size_t tokens, size_t d)
{
    size_t padded = cm_round_up(tokens, SC_LANES);
    return padded * (cm_round_up(d, 4) * sizeof(float) + sizeof(int32_t) + sizeof(float));
}

/* The panel that a column falls into. */
struct place {
    size_t first, width; /* the panel's first column, and its columns */
};

static struct place panel_of(const struct sc_kernel *k, size_t padded, size_t column)
{
    size_t first = column / k->columns * k->columns;
    return (struct place){first, smaller(k->columns, padded - first)};
}

void sc_query_f32(const struct sc_kernel *k, struct sc_tokens query, void *out)
{
    struct sc_rows rows = {query.data, query.count, query.depth};
    sc_panels_pack(k, rows, query.depth, SC_PAD_REPEAT, out);
}

static const void *token(const struct sc_tokens *q, size_t i)
{
    return (const char *)q->data + smaller(i, q->count - 1) * q->bytes;
}

void sc_query_bf16(const struct sc_kernel *k, struct sc_tokens query, void *out)
{
    size_t padded = cm_round_up(query.count, SC_LANES);
    for (size_t c = 0; c < padded; c++) {
        struct place p = panel_of(k, padded, c);
        const uint16_t *values = token(&query, c);
        float *at = (float *)out + p.first * query.depth + (c - p.first);
        for (size_t i = 0; i < query.depth; i++)
            at[i * p.width] = sc_float_of_bf16(values[i]);
    }
}

/* Columns whose depths stand in groups of 4 bytes side by side, [depth / group][width] of them. */
static void pack_words(const struct sc_kernel *k, const struct sc_tokens *query, uint32_t flip,
                       uint32_t *out)
{
    size_t padded = cm_round_up(query->count, SC_LANES), words = query->bytes / sizeof *out;
    for (size_t c = 0; c < padded; c++) {
        struct place p = panel_of(k, padded, c);
        const uint32_t *values = token(query, c);
        uint32_t *at = out + p.first * words + (c - p.first);
        for (size_t i = 0; i < words; i++)
            at[i * p.width] = values[i] ^ flip;
    }
}

void sc_query_bf16_pairs(const struct sc_kernel *k, struct sc_tokens query, void *out)
{
    pack_words(k, &query, 0, out);
}

/* The part that both forms of int8 begin with; returns where the panels go. */
static void *pack_starts(const struct sc_tokens *query, void *out)
{
    size_t padded = cm_round_up(query->count, SC_LANES);
    int32_t *starts = out;
    float *scales = (void *)(starts + padded);
    for (size_t c = 0; c < padded; c++) {
        const uint8_t *values = token(query, c);
        int32_t sum = 0;
        for (size_t i = 0; i < query->depth; i++)
            sum += values[i] - 128;
        starts[c] = -128 * sum;
        scales[c] = query->scales[smaller(c, query->count - 1)];
    }
    return scales + padded;
}

void sc_query_int8_quads(const struct sc_kernel *k, struct sc_tokens query, void *out)
{
    pack_words(k, &query, 0x80808080, pack_starts(&query, out)); /* 128 less, as signed bytes */
}

void sc_query_int8(const struct sc_kernel *k, struct sc_tokens query, void *out)
{
    size_t padded = cm_round_up(query.count, SC_LANES);
    int16_t *panels = pack_starts(&query, out);
    for (size_t c = 0; c < padded; c++) {
        struct place p = panel_of(k, padded, c);
        const uint8_t *values = token(&query, c);
        int16_t *at = panels + p.first * query.depth + 2 * (c - p.first);
        for (size_t i = 0; i < query.depth; i += 2, at += 2 * p.width) {
            at[0] = (int16_t)(values[i] - 128);
            at[1] = (int16_t)(values[i + 1] - 128);
        }
    }
}
