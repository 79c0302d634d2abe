/* head.h: the loops of sc_head_fn; each instruction set's file includes them once.
 *
 * Panels outside, row tiles inside: a panel of weights stays in the first cache while the maxima of
 * all pairs pass it, and is read from further out once a call. */
#ifndef SC_HEAD_H
#define SC_HEAD_H

#include "worker/score/kernels/tile.h"

/* relu and the sum with `out`, on a finished tile. */
SC_INLINE void sc_tile_reduce(const struct sc_tile *t, int vecs, const float *out, double *lanes)
{
    SC_UNROLL
    for (int r = 0; r < SC_TILE_ROWS; r++)
        SC_UNROLL
    for (int v = 0; v < vecs; v++)
        sc_vec_dot(sc_vec_relu(t->at[r][v]), sc_vec_load(out + v * SC_VEC),
                   lanes + r * SC_LANES + v * SC_VEC % SC_LANES);
}

/* One panel against all rows. Rows that repeat the last one go to lanes of their own. */
SC_INLINE void sc_head_panel(int vecs, struct sc_rows rows, const float *panel, size_t depth,
                             const float *bias, const float *out, double *lanes)
{
    for (size_t r = 0; r < rows.count; r += SC_TILE_ROWS) {
        struct sc_tile t;
        sc_tile_begin(&t, vecs, bias);
        sc_tile_multiply(&t, vecs, sc_tile_rows(rows, r), panel, depth);
        sc_tile_reduce(&t, vecs, out, lanes + r * SC_LANES);
    }
}

/* See sc_head_fn. */
SC_INLINE void sc_head_loops(struct sc_rows rows, struct sc_panels panels, const float *bias,
                             const float *out, double *lanes)
{
    for (size_t c = 0; c < panels.columns; c += SC_TILE_COLUMNS) {
        size_t width = sc_panel_width(panels.columns, c), depth = panels.depth;
        const float *panel = panels.data + c * depth;
        if (width == 3 * SC_VEC && SC_TILE_VECS >= 3)
            sc_head_panel(3, rows, panel, depth, bias + c, out + c, lanes);
        else if (width == 2 * SC_VEC && SC_TILE_VECS >= 2)
            sc_head_panel(2, rows, panel, depth, bias + c, out + c, lanes);
        else
            sc_head_panel(1, rows, panel, depth, bias + c, out + c, lanes);
    }
}

#endif
