/* project_avx512.c: the projection, for AVX-512F. */
#define SC_VECTOR_AVX512
#include "worker/score/kernels/project.h"
#include "worker/score/kernels/table.h"

void sc_project_avx512(struct sc_rows rows, struct sc_panels panels, const float *bias, float *out)
{
    sc_project_loops(rows, panels, bias, out);
}
