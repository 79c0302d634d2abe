/* head_avx512.c: the MLP head, for AVX-512F. */
#define SC_VECTOR_AVX512
#include "worker/score/kernels/head.h"
#include "worker/score/kernels/table.h"

void sc_head_avx512(struct sc_rows rows, struct sc_panels panels, const float *bias,
                    const float *out, double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
