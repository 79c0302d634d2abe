/* peak_int8_avx512vnni.c: VPDPBUSD, in registers alone. */
#define SC_VECTOR_AVX512
#define SC_SUMS_VNNI
#include "worker/score/kernels/peak.h"
#include "worker/score/kernels/table.h"

uint64_t sc_peak_int8_avx512vnni(uint64_t steps)
{
    return sc_peak_loops(steps);
}
