/* kernel.h: what a kernel is: one precision's three operations for one instruction set.
 *
 * All of them rest on one tile: some rows of one matrix against some columns of another, summed
 * over their whole depth in registers. The column matrix is cut into panels once (panels.h): a
 * panel is `columns` columns wide, depth by depth, so that a step of the sum is one contiguous
 * read. Rows are read as they lie.
 *
 * The order of every sum is part of a kernel's numeric class: "f32/fma" is one chain of fused
 * multiply-adds over the depth, ascending, for each output, in whatever tile it falls. So all
 * kernels of a class give the same bits, and so does every batch.
 *
 * Sizes are at least 1. Nothing is read or written past the arrays as described here. */
#ifndef SC_KERNEL_H
#define SC_KERNEL_H

#include "common/types.h"

#include <stdbool.h>
#include <stddef.h>

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
    size_t stride;     /* floats from one row to the next */
    const float *next; /* rows that the next call will read, to be fetched early; NULL if unknown */
};

/* The column matrix in panels, see panels.h. */
struct sc_panels {
    const float *data;
    size_t columns; /* without the padding */
    size_t depth;
};

/* out[r][c] = bias[c] + sum_k rows[r][k] * panels[k][c], the chain beginning with the bias. `bias`
 * is padded to SC_LANES; out is dense, [rows.count][panels.columns]. */
typedef void sc_project_fn(struct sc_rows rows, struct sc_panels panels, const float *bias,
                           float *out);

/* One pair, one layer: S[s,t] = mask[s][t] * sum_k rows[s][k] * panels[k][t], of which only the
 * maxima are kept. Rows are the gallery image's tokens, columns the query's. `mask` lies in tiles
 * (sc_mask_pack), NULL for none. column_max: [columns padded to SC_LANES]; row_max: [rows.count]. A
 * maximum of zero is +0. */
typedef void sc_product_fn(struct sc_rows rows, struct sc_panels panels, const float *mask,
                           float *column_max, float *row_max);

/* The MLP head: h = relu(bias + rows x panels), lanes[r][j % SC_LANES] += h[r][j] * out[j] in
 * double, j ascending. `bias` and `out` are padded with zeros to SC_LANES; lanes: [rows.count +
 * SC_TILE_ROWS_MAX][SC_LANES], and what comes into the rows past the last means nothing. relu lets
 * NaN and both infinities pass, so that an overflow is seen in the score. */
typedef void sc_head_fn(struct sc_rows rows, struct sc_panels panels, const float *bias,
                        const float *out, double *lanes);

/* A row of the table. */
struct sc_kernel {
    const char *name;          /* as VITRINE_KERNEL and logs say it */
    const char *numeric_class; /* what decides the bits */
    enum cm_precision precision;
    size_t rows, columns; /* of a full tile; columns is a multiple of SC_LANES */
    bool (*supported)(void);
    sc_project_fn *project;
    sc_product_fn *product;
    sc_head_fn *head;
};

#endif
