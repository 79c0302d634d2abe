/* sums_bf16.h: a tile's sums for bf16 by the fused steps of f32; product.h takes it from there.
 *
 * The query's panels hold its bfloat16 values as floats; the image's are widened on the way. */
#ifndef SC_SUMS_BF16_H
#define SC_SUMS_BF16_H

#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/tile.h"

/* The sums of the tile at `row` with the panel at `column` of the query. */
SC_INLINE void sc_tile_sums(struct sc_tile *t, int vecs, const struct sc_tokens *image, size_t row,
                            const void *query, size_t column)
{
    const uint16_t *rows[SC_TILE_ROWS];
    const float *panel = (const float *)query + column * image->depth;
    struct sc_tile sums;
    for (size_t r = 0; r < SC_TILE_ROWS; r++)
        rows[r] = sc_token_at(image, row + r);
    sc_tile_begin(&sums, vecs, NULL);
    for (size_t k = 0; k < image->depth; k++, panel += vecs * SC_VEC)
        SC_UNROLL
    for (int r = 0; r < SC_TILE_ROWS; r++) {
        sc_vec x = sc_vec_set(sc_float_of_bf16(rows[r][k]));
        SC_UNROLL
        for (int v = 0; v < vecs; v++)
            sums.at[r][v] = sc_vec_fma(x, sc_vec_load(panel + v * SC_VEC), sums.at[r][v]);
    }
    *t = sums;
}

#endif
