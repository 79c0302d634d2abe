/* peak_bf16_avx512bf16.c: VDPBF16PS, in registers alone. */
#define SC_VECTOR_AVX512
#define SC_SUMS_BF16_PAIRS
#include "worker/score/kernels/peak.h"
#include "worker/score/kernels/table.h"

uint64_t sc_peak_bf16_avx512bf16(uint64_t steps)
{
    return sc_peak_loops(steps);
}
