/* f32_project_avx2.c: the projection in f32, for AVX2 with FMA. */
#define SC_VECTOR_AVX2
#include "worker/score/kernels/f32_project.h"
#include "worker/score/kernels/table.h"

void sc_f32_project_avx2(struct sc_rows rows, struct sc_panels panels, const float *bias,
                         float *out)
{
    sc_project_loops(rows, panels, bias, out);
}
