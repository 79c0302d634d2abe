/* sums_f32.h: a tile's sums for f32; product.h takes it from there. */
#ifndef SC_SUMS_F32_H
#define SC_SUMS_F32_H

#include "worker/score/kernels/tile.h"

/* The sums of the tile at `row` with the panel at `column` of the query. */
SC_INLINE void sc_tile_sums(struct sc_tile *t, int vecs, const struct sc_tokens *image, size_t row,
                            const void *query, size_t column)
{
    struct sc_rows rows = {image->data, image->count, image->depth};
    sc_tile_begin(t, vecs, NULL);
    sc_tile_multiply(t, vecs, sc_tile_rows(rows, row), (const float *)query + column * image->depth,
                     image->depth);
}

#endif
