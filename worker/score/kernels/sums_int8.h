/* sums_int8.h: a tile's sums for int8 in 16-bit products, which cannot saturate; product.h takes it
 * from there. A panel holds 16-bit numbers, four of the depth at a time: [2][width][2]. */
#ifndef SC_SUMS_INT8_H
#define SC_SUMS_INT8_H

#include "worker/score/kernels/int8_tile.h"

/* The sums of the tile at `row` with the panel at `column` of the query. */
SC_INLINE void sc_tile_sums(struct sc_tile *t, int vecs, const struct sc_tokens *image, size_t row,
                            const void *query, size_t column)
{
    const uint8_t *rows[SC_TILE_ROWS];
    struct sc_int8_query q = sc_int8_query(query, image->count);
    const int16_t *panel = (const int16_t *)q.panels + column * image->depth;
    struct sc_ivec_tile sums;
    for (size_t r = 0; r < SC_TILE_ROWS; r++)
        rows[r] = sc_token_at(image, row + r);
    sc_ivec_tile_begin(&sums, vecs, q.starts + column);
    for (size_t k = 0; k < image->depth; k += 4, panel += 4 * vecs * SC_VEC)
        SC_UNROLL
    for (int r = 0; r < SC_TILE_ROWS; r++)
        SC_UNROLL
    for (int v = 0; v < vecs; v++)
        sums.at[r][v] = sc_ivec_dot(sums.at[r][v], rows[r] + k, panel + 2 * v * SC_VEC,
                                    panel + 2 * (vecs + v) * SC_VEC);
    sc_tile_scale(t, vecs, &sums, image, row, q.scales + column);
}

#endif
