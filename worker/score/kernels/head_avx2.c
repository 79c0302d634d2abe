/* head_avx2.c: the MLP head, for AVX2 with FMA. */
#define SC_VECTOR_AVX2
#include "worker/score/kernels/head.h"
#include "worker/score/kernels/table.h"

void sc_head_avx2(struct sc_rows rows, struct sc_panels panels, const float *bias, const float *out,
                  double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
