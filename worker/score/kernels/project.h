/* project.h: the loops of sc_project_fn; each instruction set's file includes them once.
 *
 * Panels outside, row tiles inside: a panel stays in the second cache while all rows pass it. */
#ifndef SC_PROJECT_H
#define SC_PROJECT_H

#include "worker/score/kernels/tile.h"

#include <string.h>

/* Writes a finished tile's own rows and columns. */
SC_INLINE void sc_tile_write(const struct sc_tile *t, int vecs, size_t height, size_t columns,
                             float *out, size_t stride)
{
    float row[SC_TILE_COLUMNS];
    for (size_t r = 0; r < height; r++) {
        for (int v = 0; v < vecs; v++)
            sc_vec_store(row + v * SC_VEC, t->at[r][v]);
        memcpy(out + r * stride, row, columns * sizeof *row);
    }
}

/* One panel against all rows. */
SC_INLINE void sc_project_panel(int vecs, struct sc_rows rows, const float *panel, size_t depth,
                                const float *bias, size_t columns, float *out, size_t stride)
{
    for (size_t r = 0; r < rows.count; r += SC_TILE_ROWS) {
        struct sc_tile t;
        sc_tile_begin(&t, vecs, bias);
        sc_tile_multiply(&t, vecs, sc_tile_rows(rows, r), panel, depth);
        sc_tile_write(&t, vecs, sc_tile_height(rows.count, r), columns, out + r * stride, stride);
    }
}

/* See sc_project_fn. */
SC_INLINE void sc_project_loops(struct sc_rows rows, struct sc_panels panels, const float *bias,
                                float *out)
{
    for (size_t c = 0; c < panels.columns; c += SC_TILE_COLUMNS) {
        size_t width = sc_panel_width(panels.columns, c), left = panels.columns - c,
               depth = panels.depth;
        size_t columns = left < width ? left : width;
        const float *panel = panels.data + c * depth;
        if (width == 3 * SC_VEC && SC_TILE_VECS >= 3)
            sc_project_panel(3, rows, panel, depth, bias + c, columns, out + c, panels.columns);
        else if (width == 2 * SC_VEC && SC_TILE_VECS >= 2)
            sc_project_panel(2, rows, panel, depth, bias + c, columns, out + c, panels.columns);
        else
            sc_project_panel(1, rows, panel, depth, bias + c, columns, out + c, panels.columns);
    }
}

#endif
