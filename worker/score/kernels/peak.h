/* peak.h: the loop of sc_peak_fn. A kernel's file says which step it repeats (SC_SUMS_BF16_PAIRS,
 * SC_SUMS_VNNI; else the fused step of its vector). */
#ifndef SC_PEAK_H
#define SC_PEAK_H

#include "worker/score/kernels/vector.h"

#include <stdint.h>

#if defined(SC_SUMS_BF16_PAIRS)
#include "worker/score/kernels/sums_bf16dp.h"
#elif defined(SC_SUMS_VNNI)
#include "worker/score/kernels/sums_vnni.h"
#endif

/* Independent sums, as many as a tile has: enough to hide a step's latency, and all in registers.
 */
enum {
    SC_PEAK_CHAINS = SC_TILE_ROWS * SC_TILE_VECS,
#if defined(SC_SUMS_BF16_PAIRS)
    SC_PEAK_PRODUCTS = 2, /* a place and step */
#elif defined(SC_SUMS_VNNI)
    SC_PEAK_PRODUCTS = 4,
#else
    SC_PEAK_PRODUCTS = 1,
#endif
};

#if defined(SC_SUMS_VNNI)
/* What is summed: integers here. */
typedef sc_ivec sc_peak_vec;
#else
/* What is summed. */
typedef sc_vec sc_peak_vec;
#endif

/* Keeps the compiler from seeing through a sum, and out of memory. */
#if defined(SC_VECTOR_AVX512)
#define SC_PEAK_KEEP(sum) __asm__ volatile("" : "+v"(sum))
#else
#define SC_PEAK_KEEP(sum) __asm__ volatile("" : "+x"(sum))
#endif

/* One step: sum + x . x, whose values do not matter. */
SC_INLINE sc_peak_vec sc_peak_step(sc_peak_vec sum, sc_peak_vec x)
{
#if defined(SC_SUMS_BF16_PAIRS)
    return _mm512_dpbf16_ps(sum, (__m512bh)x, (__m512bh)x);
#elif defined(SC_SUMS_VNNI)
    return sc_ivec_dot_bytes(sum, x, x);
#else
    return sc_vec_fma(x, x, sum);
#endif
}

/* See sc_peak_fn. */
SC_INLINE uint64_t sc_peak_loops(uint64_t steps)
{
    sc_peak_vec sums[SC_PEAK_CHAINS] = {{0}}, x = {0};
    for (uint64_t i = 0; i < steps; i++) {
        SC_UNROLL
        for (int c = 0; c < SC_PEAK_CHAINS; c++) {
            sums[c] = sc_peak_step(sums[c], x);
            SC_PEAK_KEEP(sums[c]);
        }
    }
    return steps * SC_PEAK_CHAINS * SC_VEC * SC_PEAK_PRODUCTS * 2;
}

#endif
