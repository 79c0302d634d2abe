/* sums_vnni.h: a tile's sums for int8 by AVX512_VNNI; product.h takes it from there. A panel holds
 * bytes, four of the depth at a time: [width][4]. */
#ifndef SC_SUMS_VNNI_H
#define SC_SUMS_VNNI_H

#ifndef SC_VECTOR_AVX512
#define SC_VECTOR_AVX512 /* there is no other vector that it is for */
#endif
#include "worker/score/kernels/int8_tile.h"

/* Adds four products of unsigned `x` and signed `y` to each place of `sum`. In assembly: gcc 12
 * does not see that the intrinsic's sum stays where it is, and moves all 24 of them about in every
 * step, through memory too, for less than half of the speed. */
SC_INLINE sc_ivec sc_ivec_dot_bytes(sc_ivec sum, sc_ivec x, sc_ivec y)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(y));
    return sum;
}

/* The sums of the tile at `row` with the panel at `column` of the query. */
SC_INLINE void sc_tile_sums(struct sc_tile *t, int vecs, const struct sc_tokens *image, size_t row,
                            const void *query, size_t column)
{
    const int32_t *rows[SC_TILE_ROWS];
    struct sc_int8_query q = sc_int8_query(query, image->count);
    const int8_t *panel = (const int8_t *)q.panels + column * image->depth;
    struct sc_ivec_tile sums;
    for (size_t r = 0; r < SC_TILE_ROWS; r++)
        rows[r] = sc_token_at(image, row + r);
    sc_ivec_tile_begin(&sums, vecs, q.starts + column);
    for (size_t k = 0; k < image->depth / 4; k++, panel += 4 * vecs * SC_VEC) {
        __m512i columns[SC_TILE_VECS];
        SC_UNROLL
        for (int v = 0; v < vecs; v++)
            columns[v] = _mm512_loadu_si512(panel + 4 * v * SC_VEC);
        SC_UNROLL
        for (int r = 0; r < SC_TILE_ROWS; r++) {
            __m512i x = _mm512_set1_epi32(rows[r][k]);
            SC_UNROLL
            for (int v = 0; v < vecs; v++)
                sums.at[r][v] = sc_ivec_dot_bytes(sums.at[r][v], x, columns[v]);
        }
    }
    sc_tile_scale(t, vecs, &sums, image, row, q.scales + column);
}

#endif
