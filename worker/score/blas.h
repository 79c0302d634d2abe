/* blas.h: the three things that vitrine asks of BLAS. The one home of <cblas.h>.
 *
 * OpenBLAS picks its kernel, and with it the order of every sum, from the shape of the call.
 * Whoever wants the same bits again calls with the same shape again (DESIGN: numeric contract). */
#ifndef SC_BLAS_H
#define SC_BLAS_H

#include <stddef.h>

/* c = a * b^T in float32, all row-major: a is [rows][depth] with row stride `a_stride` floats, b is
 * [columns][depth] with stride `b_stride`, c is [rows][columns], dense. Any thread; runs on the
 * calling thread alone once sc_blas_single_thread was called. Sizes fit in int (limits.h). */
void sc_gemm_nt(size_t rows, size_t columns, size_t depth, const float *a, size_t a_stride,
                const float *b, size_t b_stride, float *c);

/* Makes BLAS use the calling thread only: vitrine's own threads divide the work, and calls from
 * several threads into one BLAS pool would queue on its lock. Call once, first thing in main. */
void sc_blas_single_thread(void);

/* Writes the kernel family that BLAS chose for this processor to `out`, e.g.
 * "openblas-0.3.21-Cooperlake" (no spaces), and returns it. Bits of
 * float32 results are the same only within one such family. */
const char *sc_blas_core(char *out, size_t room);

#endif
