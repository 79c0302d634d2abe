/* layout.h: matrices laid out once for a kernel's tiles. Pure; any thread. */
#ifndef SC_LAYOUT_H
#define SC_LAYOUT_H

#include "worker/score/kernels/kernel.h"

/* Columns past the last: zeros, or the last again, which maxima may then read like any other. */
enum sc_padding {
    SC_PAD_ZERO,
    SC_PAD_REPEAT,
};

/* Floats of a matrix of `columns` columns in panels: padded to SC_LANES columns, whatever the
 * kernel. */
size_t sc_panels_floats(size_t columns, size_t depth);

/* Cuts a matrix into panels of `k->columns` columns, the last as narrow as SC_LANES allow: out is
 * panel after panel, each [depth][width]. Column c is m.data[c * m.stride ..]. `padding` says
 * what stands in the columns past the last. */
void sc_panels_pack(const struct sc_kernel *k, struct sc_rows m, size_t depth,
                    enum sc_padding padding, float *out);

/* Floats of a [tokens][tokens] mask in tiles. */
size_t sc_mask_floats(const struct sc_kernel *k, size_t tokens);

/* Cuts a mask [tokens][tokens] (row: gallery token) into tiles in the order in which sc_product_fn
 * meets them; rows and columns past the last repeat it. */
void sc_mask_pack(const struct sc_kernel *k, size_t tokens, const float *mask, float *out);

/* Bytes of one layer of a query laid out for any kernel. */
size_t sc_query_bytes(size_t tokens, size_t d);

/* How kernels want a query (sc_query_fn). The padding repeats the last token. f32: float panels;
 * bf16: the same of its values as floats; pairs: two bfloat16 of the depth side by side; int8.h:
 * starts and scales, then panels of 16-bit numbers, or of bytes (quads). */
sc_query_fn sc_query_f32, sc_query_bf16, sc_query_bf16_pairs, sc_query_int8, sc_query_int8_quads;

#endif
