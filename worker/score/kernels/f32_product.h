/* f32_product.h: the loops of sc_product_fn; each instruction set's file includes them once.
 *
 * Row tiles outside, panels inside: a gallery row is read from memory once and from the first cache
 * after that, while the query's panels come from the second. */
#ifndef SC_F32_PRODUCT_H
#define SC_F32_PRODUCT_H

#include "common/mem.h"
#include "worker/score/kernels/tile.h"

#include <math.h>
#include <stdint.h>

/* What a row of tiles carries from panel to panel: each row's maxima, not yet across the places. */
struct sc_row_tops {
    sc_vec at[SC_TILE_ROWS];
};

/* Masks a finished tile and takes both maxima. */
SC_INLINE void sc_tile_maxima(const struct sc_tile *t, int vecs, const float *mask,
                              float *column_max, struct sc_row_tops *tops)
{
    sc_vec column[SC_TILE_VECS];
#pragma GCC unroll 8
    for (int v = 0; v < vecs; v++)
        column[v] = sc_vec_load(column_max + v * SC_VEC);
#pragma GCC unroll 8
    for (int r = 0; r < SC_TILE_ROWS; r++) {
        sc_vec top = tops->at[r];
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++) {
            sc_vec x = t->at[r][v];
            if (mask)
                x = sc_vec_mul(x, sc_vec_load(mask + (r * vecs + v) * SC_VEC));
            column[v] = sc_vec_max(x, column[v]);
            top = sc_vec_max(x, top);
        }
        tops->at[r] = top;
    }
#pragma GCC unroll 8
    for (int v = 0; v < vecs; v++)
        sc_vec_store(column_max + v * SC_VEC, column[v]);
}

/* One tile from beginning to end. */
SC_INLINE void sc_product_tile(int vecs, struct sc_tile_rows rows, const float *panel, size_t depth,
                               const float *mask, float *column_max, struct sc_row_tops *tops)
{
    struct sc_tile t;
    sc_tile_begin(&t, vecs, NULL);
    sc_tile_multiply(&t, vecs, rows, panel, depth);
    if (mask)
        sc_tile_maxima(&t, vecs, mask, column_max, tops);
    else
        sc_tile_maxima(&t, vecs, NULL, column_max, tops);
}

/* Asks for `bytes` at `address`, which need not exist. */
SC_INLINE void sc_prefetch(uintptr_t address, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += CM_ALIGN)
        __builtin_prefetch((const void *)(address + i), 0, 3);
}

/* All panels against one tile of rows. `mask`: this row of tiles. `next`: where the tile of rows
 * after this one lies. Each panel asks for its share of that: left to itself the processor notices
 * eight short streams too late, and up to a fifth of the time is lost. */
SC_INLINE void sc_product_row(struct sc_tile_rows rows, struct sc_panels panels, const float *mask,
                              uintptr_t next, float *column_max, struct sc_row_tops *tops)
{
    size_t tile_bytes = SC_TILE_ROWS * panels.depth * sizeof(float);
    size_t share = tile_bytes * SC_TILE_COLUMNS / panels.columns + CM_ALIGN;
    for (size_t c = 0; c < panels.columns; c += SC_TILE_COLUMNS) {
        size_t width = sc_panel_width(panels, c);
        sc_prefetch(next, share);
        next += share;
        const float *panel = panels.data + c * panels.depth;
        const float *tile_mask = mask ? mask + c * SC_TILE_ROWS : NULL;
        float *columns = column_max + c;
        if (width == 3 * SC_VEC && SC_TILE_VECS >= 3)
            sc_product_tile(3, rows, panel, panels.depth, tile_mask, columns, tops);
        else if (width == 2 * SC_VEC && SC_TILE_VECS >= 2)
            sc_product_tile(2, rows, panel, panels.depth, tile_mask, columns, tops);
        else
            sc_product_tile(1, rows, panel, panels.depth, tile_mask, columns, tops);
    }
}

/* See sc_product_fn. */
SC_INLINE void sc_product_loops(struct sc_rows rows, struct sc_panels panels, const float *mask,
                                float *column_max, float *row_max)
{
    size_t padded = (panels.columns + SC_LANES - 1) / SC_LANES * SC_LANES;
    for (size_t c = 0; c < padded; c += SC_VEC)
        sc_vec_store(column_max + c, sc_vec_set(-INFINITY));
    for (size_t s = 0; s < rows.count; s += SC_TILE_ROWS) {
        struct sc_row_tops tops;
        for (size_t r = 0; r < SC_TILE_ROWS; r++)
            tops.at[r] = sc_vec_set(-INFINITY);
        const float *next = s + SC_TILE_ROWS < rows.count
                                ? rows.data + (s + SC_TILE_ROWS) * rows.stride
                                : rows.next;
        sc_product_row(sc_tile_rows(rows, s), panels, mask ? mask + s * padded : NULL,
                       (uintptr_t)next, column_max, &tops);
        for (size_t r = 0; r < sc_tile_height(rows, s); r++)
            row_max[s + r] = sc_vec_top(tops.at[r]) + 0.0f; /* -0 becomes +0 */
    }
    for (size_t c = 0; c < padded; c += SC_VEC)
        sc_vec_store(column_max + c, sc_vec_add(sc_vec_load(column_max + c), sc_vec_set(0)));
}

#endif
