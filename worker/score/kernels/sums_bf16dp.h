/* sums_bf16dp.h: a tile's sums for bf16 by the processor's dot products of two; product.h takes it
 * from there. Subnormals count as zero, and each of the two products is rounded (VDPBF16PS). */
#ifndef SC_SUMS_BF16DP_H
#define SC_SUMS_BF16DP_H

#ifndef SC_VECTOR_AVX512
#define SC_VECTOR_AVX512 /* there is no other vector that it is for */
#endif
#include "worker/score/kernels/tile.h"

#include <stdint.h>

/* The sums of the tile at `row` with the panel at `column` of the query. */
SC_INLINE void sc_tile_sums(struct sc_tile *t, int vecs, const struct sc_tokens *image, size_t row,
                            const void *query, size_t column)
{
    const uint32_t *rows[SC_TILE_ROWS];
    const uint32_t *panel = (const uint32_t *)query + column * (image->depth / 2);
    struct sc_tile sums;
    for (size_t r = 0; r < SC_TILE_ROWS; r++)
        rows[r] = sc_token_at(image, row + r);
    sc_tile_begin(&sums, vecs, NULL);
    for (size_t k = 0; k < image->depth / 2; k++, panel += vecs * SC_VEC) {
        __m512bh columns[SC_TILE_VECS];
        SC_UNROLL
        for (int v = 0; v < vecs; v++)
            columns[v] = (__m512bh)_mm512_loadu_si512(panel + v * SC_VEC);
        SC_UNROLL
        for (int r = 0; r < SC_TILE_ROWS; r++) {
            __m512bh x = (__m512bh)_mm512_set1_epi32((int)rows[r][k]);
            SC_UNROLL
            for (int v = 0; v < vecs; v++)
                sums.at[r][v] = _mm512_dpbf16_ps(sums.at[r][v], x, columns[v]);
        }
    }
    *t = sums;
}

#endif
