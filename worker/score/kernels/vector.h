/* vector.h: the vector that the loops of the f32 kernels are written in, for one instruction set.
 *
 * A kernel's file says which (SC_VECTOR_AVX512, SC_VECTOR_AVX2, SC_VECTOR_PLAIN; else portable) and
 * then includes the loops: so each order of sums is written down once, for all of them.
 *
 *     sc_vec                     SC_VEC floats
 *     SC_TILE_ROWS, SC_TILE_VECS rows of a tile, and vectors side by side in it
 *     sc_vec_set, load, store    one value in all places; load and store need no alignment
 *     sc_vec_fma(a, b, c)        a * b + c, rounded once
 *     sc_vec_max(a, b)           the larger; of two zeros either
 *     sc_vec_relu                see sc_head_fn
 *     sc_vec_top                 the largest of the places
 *     sc_vec_dot(h, out, lanes)  lanes[i] += h[i] * out[i] in double
 *     sc_ivec                    SC_VEC integers
 *     sc_ivec_dot(sum, x, low, high)  adds x[0] low[i][0] + x[1] low[i][1] + x[2] high[i][0] +
 *                                x[3] high[i][1]: four bytes against four 16-bit numbers a place */
#ifndef SC_VECTOR_H
#define SC_VECTOR_H

#if defined(SC_VECTOR_AVX512)
#include "worker/score/kernels/vector_avx512.h"
#elif defined(SC_VECTOR_AVX2)
#include "worker/score/kernels/vector_avx2.h"
#else
#include "worker/score/kernels/vector_portable.h"
#endif

/* Before each loop over a tile's sums: unrolled early, they stay in registers. */
#if defined(__clang__)
#define SC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define SC_UNROLL _Pragma("GCC unroll 32")
#endif

#define SC_INLINE static inline __attribute__((always_inline))

enum { SC_TILE_COLUMNS = SC_TILE_VECS * SC_VEC };

#endif
