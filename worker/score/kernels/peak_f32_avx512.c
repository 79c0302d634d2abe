/* peak_f32_avx512.c: AVX-512F's fused multiply-adds, in registers alone. */
#define SC_VECTOR_AVX512
#include "worker/score/kernels/peak.h"
#include "worker/score/kernels/table.h"

uint64_t sc_peak_f32_avx512(uint64_t steps)
{
    return sc_peak_loops(steps);
}
