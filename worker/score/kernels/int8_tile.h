/* int8_tile.h: a tile of integer sums, and how it becomes floats: in one order for all kernels. */
#ifndef SC_INT8_TILE_H
#define SC_INT8_TILE_H

#include "worker/score/kernels/int8.h"
#include "worker/score/kernels/tile.h"

/* As struct sc_tile, in integers. */
struct sc_ivec_tile {
    sc_ivec at[SC_TILE_ROWS][SC_TILE_VECS];
};

/* Every sum begins with its column's `start`. */
SC_INLINE void sc_ivec_tile_begin(struct sc_ivec_tile *t, int vecs, const int32_t *start)
{
    SC_UNROLL
    for (int r = 0; r < SC_TILE_ROWS; r++)
        SC_UNROLL
    for (int v = 0; v < vecs; v++)
        t->at[r][v] = sc_ivec_load(start + v * SC_VEC);
}

/* Integer sums to floats: times the query token's scale, then times the image token's. */
SC_INLINE void sc_tile_scale(struct sc_tile *t, int vecs, struct sc_ivec_tile *sums,
                             const struct sc_tokens *image, size_t row, const float *scales)
{
    SC_UNROLL
    for (size_t r = 0; r < SC_TILE_ROWS; r++) {
        sc_vec scale = sc_vec_set(image->scales[sc_token_index(image, row + r)]);
        SC_UNROLL
        for (int v = 0; v < vecs; v++) {
            sc_vec x = sc_vec_mul(sc_vec_of_ivec(sums->at[r][v]), sc_vec_load(scales + v * SC_VEC));
            t->at[r][v] = sc_vec_mul(x, scale);
        }
    }
}

#endif
