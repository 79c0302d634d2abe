/* kernel.h: what a kernel is: the arithmetic of one precision for one instruction set.
 *
 * All of it rests on one tile: some rows of one matrix against some columns of another, summed over
 * their whole depth in registers. The column matrix is cut into panels once (layout.h): a panel is
 * `columns` columns wide, depth by depth, so that a step of the sum is one contiguous read. Rows
 * are read as they lie.
 *
 * Numeric classes, and what decides the bits in them:
 *   f32/fma    each output is one chain of fused multiply-adds over the depth, ascending
 *   f32/plain  the same chain, each product rounded before it is added
 *   bf16/fma   tokens in bfloat16; the chain of f32/fma over them
 *   bf16/dp    tokens in bfloat16; the processor's own dot product of two, ascending over the pairs
 *   int8       tokens in int8 with a scale each; integer sums, exact in any order
 * Projection and head are in float32 in every class, as chains of f32/fma (f32/plain: of its own
 * kind). So kernels of a class give the same bits, and so does every batch.
 *
 * Sizes are at least 1. Nothing is read or written past the arrays as described here. */
#ifndef SC_KERNEL_H
#define SC_KERNEL_H

#include "common/types.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Tile shapes, and what holds for all of them. */
enum {
    SC_LANES = 16,        /* panels are padded to so many columns: the widest vector, in floats */
    SC_TILE_ROWS_MAX = 8, /* of any kernel */

    SC_AVX512_ROWS = 8,
    SC_AVX512_COLUMNS = 48,
    SC_AVX2_ROWS = 6,
    SC_AVX2_COLUMNS = 16,
    SC_PORTABLE_ROWS = 4,
    SC_PORTABLE_COLUMNS = 16,
};

/* A matrix of which rows are read where they stand. */
struct sc_rows {
    const float *data;
    size_t count;
    size_t stride; /* floats from one row to the next */
};

/* A column matrix in panels, see layout.h. */
struct sc_panels {
    const float *data;
    size_t columns; /* without the padding */
    size_t depth;
};

/* One layer of one image as a gallery stores it (encode.h). */
struct sc_tokens {
    const void *data; /* [count][depth] */
    size_t count;
    size_t depth;        /* padded as the precision wants it */
    size_t bytes;        /* of one token */
    const float *scales; /* [count]; NULL but for int8 */
    const void *next;    /* what the next call will read, to be fetched early; NULL if unknown */
};

struct sc_kernel;

/* out[r][c] = bias[c] + sum_k rows[r][k] * panels[k][c], the chain beginning with the bias. `bias`
 * is padded to SC_LANES; out is dense, [rows.count][panels.columns]. */
typedef void sc_project_fn(struct sc_rows rows, struct sc_panels panels, const float *bias,
                           float *out);

/* Lays one layer of a query out as the kernel's sc_product_fn reads it, in sc_query_bytes at `out`,
 * CM_ALIGN-aligned. */
typedef void sc_query_fn(const struct sc_kernel *k, struct sc_tokens query, void *out);

/* One pair, one layer: S[s,t] = <image_s, query_t> * mask[s][t], of which only the maxima are kept.
 * `query` was laid out from as many tokens as `image` has. `mask` lies in tiles (sc_mask_pack),
 * NULL for none. column_max: [tokens padded to SC_LANES]; row_max: [tokens]. A maximum of zero is
 * +0. */
typedef void sc_product_fn(struct sc_tokens image, const void *query, const float *mask,
                           float *column_max, float *row_max);

/* The MLP head: h = relu(bias + rows x panels), lanes[r][j % SC_LANES] += h[r][j] * out[j] in
 * double, j ascending. `bias` and `out` are padded with zeros to SC_LANES; lanes: [rows.count +
 * SC_TILE_ROWS_MAX][SC_LANES], and what comes into the rows past the last means nothing. relu lets
 * NaN and both infinities pass, so that an overflow is seen in the score. */
typedef void sc_head_fn(struct sc_rows rows, struct sc_panels panels, const float *bias,
                        const float *out, double *lanes);

/* Does the instruction on which the kernel rests so many times over, in registers alone, and
 * returns how many operations that was, a product and its addition being two. Whoever takes the
 * time knows the processor's peak. */
typedef uint64_t sc_peak_fn(uint64_t steps);

/* A row of the table. */
struct sc_kernel {
    const char *name;          /* as VITRINE_KERNEL and logs say it */
    const char *numeric_class; /* what decides the bits */
    enum cm_precision precision;
    size_t rows, columns; /* of a full tile; columns is a multiple of SC_LANES */
    bool (*supported)(void);
    sc_project_fn *project;
    sc_query_fn *query;
    sc_product_fn *product;
    sc_head_fn *head;
    sc_peak_fn *peak; /* NULL where it is not the fastest of its precision on any processor */
};

#endif
