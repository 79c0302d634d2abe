/* tile.h: the sums of one f32 tile in registers, and what all loops over tiles share. */
#ifndef SC_TILE_H
#define SC_TILE_H

#include "worker/score/kernels/vector.h"

/* SC_TILE_ROWS rows by `vecs` vectors of columns. `vecs` is a constant wherever it is inlined. */
struct sc_tile {
    sc_vec at[SC_TILE_ROWS][SC_TILE_VECS];
};

/* The rows of the tile that begins at `first`. Past the last row comes the last again: it is there
 * to be read, and its maxima change nothing. */
struct sc_tile_rows {
    const float *at[SC_TILE_ROWS];
};

/* See struct sc_tile_rows. */
SC_INLINE struct sc_tile_rows sc_tile_rows(struct sc_rows m, size_t first)
{
    struct sc_tile_rows rows;
    for (size_t i = 0; i < SC_TILE_ROWS; i++)
        rows.at[i] = m.data + (first + i < m.count ? first + i : m.count - 1) * m.stride;
    return rows;
}

/* Rows of the tile at `first` that are the matrix's own. */
SC_INLINE size_t sc_tile_height(struct sc_rows m, size_t first)
{
    return m.count - first < SC_TILE_ROWS ? m.count - first : SC_TILE_ROWS;
}

/* Columns of the panel at `first`, padding and all. */
SC_INLINE size_t sc_panel_width(struct sc_panels p, size_t first)
{
    size_t left = (p.columns - first + SC_LANES - 1) / SC_LANES * SC_LANES;
    return left < SC_TILE_COLUMNS ? left : SC_TILE_COLUMNS;
}

/* Every sum begins with its column's `start`; NULL: with 0. */
SC_INLINE void sc_tile_begin(struct sc_tile *t, int vecs, const float *start)
{
#pragma GCC unroll 8
    for (int r = 0; r < SC_TILE_ROWS; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++)
            t->at[r][v] = start ? sc_vec_load(start + v * SC_VEC) : sc_vec_set(0);
}

/* Adds `depth` products to every sum, ascending. `panel` is [depth][vecs * SC_VEC]. */
SC_INLINE void sc_tile_multiply(struct sc_tile *t, int vecs, struct sc_tile_rows rows,
                                const float *panel, size_t depth)
{
    struct sc_tile sums = *t;
    for (size_t k = 0; k < depth; k++, panel += vecs * SC_VEC) {
        sc_vec column[SC_TILE_VECS];
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++)
            column[v] = sc_vec_load(panel + v * SC_VEC);
#pragma GCC unroll 8
        for (int r = 0; r < SC_TILE_ROWS; r++) {
            sc_vec x = sc_vec_set(rows.at[r][k]);
#pragma GCC unroll 8
            for (int v = 0; v < vecs; v++)
                sums.at[r][v] = sc_vec_fma(x, column[v], sums.at[r][v]);
        }
    }
    *t = sums;
}

#endif
