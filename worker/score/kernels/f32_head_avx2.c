/* f32_head_avx2.c: the MLP head in f32, for AVX2 with FMA. */
#define SC_VECTOR_AVX2
#include "worker/score/kernels/f32_head.h"
#include "worker/score/kernels/table.h"

void sc_f32_head_avx2(struct sc_rows rows, struct sc_panels panels, const float *bias,
                      const float *out, double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
