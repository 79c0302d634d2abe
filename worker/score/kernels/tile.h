/* tile.h: one tile of sums in registers, and what all loops over tiles share. */
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

/* Rows of the tile at `first`, of `count`, that are the matrix's own. */
SC_INLINE size_t sc_tile_height(size_t count, size_t first)
{
    return count - first < SC_TILE_ROWS ? count - first : SC_TILE_ROWS;
}

/* Columns of the panel at `first`, of `columns`, padding and all. */
SC_INLINE size_t sc_panel_width(size_t columns, size_t first)
{
    size_t left = (columns - first + SC_LANES - 1) / SC_LANES * SC_LANES;
    return left < SC_TILE_COLUMNS ? left : SC_TILE_COLUMNS;
}

/* Token number `i` of an image; past the last comes the last again. */
SC_INLINE size_t sc_token_index(const struct sc_tokens *image, size_t i)
{
    return i < image->count ? i : image->count - 1;
}

/* Its values. */
SC_INLINE const void *sc_token_at(const struct sc_tokens *image, size_t i)
{
    return (const char *)image->data + sc_token_index(image, i) * image->bytes;
}

/* Every sum begins with its column's `start`; NULL: with 0. */
SC_INLINE void sc_tile_begin(struct sc_tile *t, int vecs, const float *start)
{
    SC_UNROLL
    for (int r = 0; r < SC_TILE_ROWS; r++)
        SC_UNROLL
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
        SC_UNROLL
        for (int v = 0; v < vecs; v++)
            column[v] = sc_vec_load(panel + v * SC_VEC);
        SC_UNROLL
        for (int r = 0; r < SC_TILE_ROWS; r++) {
            sc_vec x = sc_vec_set(rows.at[r][k]);
            SC_UNROLL
            for (int v = 0; v < vecs; v++)
                sums.at[r][v] = sc_vec_fma(x, column[v], sums.at[r][v]);
        }
    }
    *t = sums;
}

#endif
