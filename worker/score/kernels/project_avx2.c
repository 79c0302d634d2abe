/* project_avx2.c: the projection, for AVX2 with FMA. */
#define SC_VECTOR_AVX2
#include "worker/score/kernels/project.h"
#include "worker/score/kernels/table.h"

void sc_project_avx2(struct sc_rows rows, struct sc_panels panels, const float *bias, float *out)
{
    sc_project_loops(rows, panels, bias, out);
}
