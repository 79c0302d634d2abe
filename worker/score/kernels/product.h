/* product.h: the loops of sc_product_fn. A kernel's file says which sums they take
 * (SC_SUMS_BF16, SC_SUMS_BF16_PAIRS, SC_SUMS_INT8, SC_SUMS_VNNI; else f32).
 *
 * Row tiles outside, panels inside: a gallery row is read from memory once and from the first cache
 * after that, while the query's panels come from the second. */
#ifndef SC_PRODUCT_H
#define SC_PRODUCT_H

#include "common/mem.h"

#include <math.h>
#include <stdint.h>

#if defined(SC_SUMS_BF16)
#include "worker/score/kernels/sums_bf16.h"
#elif defined(SC_SUMS_BF16_PAIRS)
#include "worker/score/kernels/sums_bf16dp.h"
#elif defined(SC_SUMS_INT8)
#include "worker/score/kernels/sums_int8.h"
#elif defined(SC_SUMS_VNNI)
#include "worker/score/kernels/sums_vnni.h"
#else
#include "worker/score/kernels/sums_f32.h"
#endif

/* What a row of tiles carries from panel to panel: each row's maxima, not yet across the places. */
struct sc_row_tops {
    sc_vec at[SC_TILE_ROWS];
};

/* Masks a finished tile and takes both maxima. */
SC_INLINE void sc_tile_maxima(const struct sc_tile *t, int vecs, const float *mask,
                              float *column_max, struct sc_row_tops *tops)
{
    sc_vec column[SC_TILE_VECS];
    SC_UNROLL
    for (int v = 0; v < vecs; v++)
        column[v] = sc_vec_load(column_max + v * SC_VEC);
    SC_UNROLL
    for (int r = 0; r < SC_TILE_ROWS; r++) {
        sc_vec top = tops->at[r];
        SC_UNROLL
        for (int v = 0; v < vecs; v++) {
            sc_vec x = t->at[r][v];
            if (mask)
                x = sc_vec_mul(x, sc_vec_load(mask + (r * vecs + v) * SC_VEC));
            column[v] = sc_vec_max(x, column[v]);
            top = sc_vec_max(x, top);
        }
        tops->at[r] = top;
    }
    SC_UNROLL
    for (int v = 0; v < vecs; v++)
        sc_vec_store(column_max + v * SC_VEC, column[v]);
}

/* One tile from beginning to end. */
SC_INLINE void sc_product_tile(int vecs, const struct sc_tokens *image, size_t row,
                               const void *query, size_t column, const float *mask,
                               float *column_max, struct sc_row_tops *tops)
{
    struct sc_tile t;
    sc_tile_sums(&t, vecs, image, row, query, column);
    if (mask)
        sc_tile_maxima(&t, vecs, mask + column * SC_TILE_ROWS, column_max + column, tops);
    else
        sc_tile_maxima(&t, vecs, NULL, column_max + column, tops);
}

/* Asks for `bytes` at `address`, which need not exist. */
SC_INLINE void sc_prefetch(uintptr_t address, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CM_ALIGN)
        __builtin_prefetch((const void *)(address + i), 0, 3);
}

/* Where the tokens lie that come after the tile at `row`. */
SC_INLINE uintptr_t sc_tokens_after(const struct sc_tokens *image, size_t row)
{
    if (row + SC_TILE_ROWS < image->count)
        return (uintptr_t)image->data + (row + SC_TILE_ROWS) * image->bytes;
    return (uintptr_t)image->next;
}

/* All panels against one tile of rows. `mask`: this row of tiles. Each panel asks for its share of
 * the rows that come next: left to itself the processor notices eight short streams too late, and
 * up to a fifth of the time is lost. */
SC_INLINE void sc_product_row(const struct sc_tokens *image, size_t row, const void *query,
                              const float *mask, float *column_max, struct sc_row_tops *tops)
{
    uintptr_t next = sc_tokens_after(image, row);
    size_t share = SC_TILE_ROWS * image->bytes * SC_TILE_COLUMNS / image->count + CM_ALIGN;
    for (size_t c = 0; c < image->count; c += SC_TILE_COLUMNS, next += share) {
        size_t width = sc_panel_width(image->count, c);
        sc_prefetch(next, share);
        if (width == 3 * SC_VEC && SC_TILE_VECS >= 3)
            sc_product_tile(3, image, row, query, c, mask, column_max, tops);
        else if (width == 2 * SC_VEC && SC_TILE_VECS >= 2)
            sc_product_tile(2, image, row, query, c, mask, column_max, tops);
        else
            sc_product_tile(1, image, row, query, c, mask, column_max, tops);
    }
}

/* See sc_product_fn. */
SC_INLINE void sc_product_loops(struct sc_tokens image, const void *query, const float *mask,
                                float *column_max, float *row_max)
{
    size_t padded = (image.count + SC_LANES - 1) / SC_LANES * SC_LANES;
    for (size_t c = 0; c < padded; c += SC_VEC)
        sc_vec_store(column_max + c, sc_vec_set(-INFINITY));
    for (size_t s = 0; s < image.count; s += SC_TILE_ROWS) {
        struct sc_row_tops tops;
        for (size_t r = 0; r < SC_TILE_ROWS; r++)
            tops.at[r] = sc_vec_set(-INFINITY);
        sc_product_row(&image, s, query, mask ? mask + s * padded : NULL, column_max, &tops);
        for (size_t r = 0; r < sc_tile_height(image.count, s); r++)
            row_max[s + r] = sc_vec_top(tops.at[r]) + 0.0f; /* -0 becomes +0 */
    }
    for (size_t c = 0; c < padded; c += SC_VEC)
        sc_vec_store(column_max + c, sc_vec_add(sc_vec_load(column_max + c), sc_vec_set(0)));
}

#endif
