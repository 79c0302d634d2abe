/* f32_head_plain.c: the MLP head in f32, in plain C, each product rounded before it is added. */
#define SC_VECTOR_PLAIN
#include "worker/score/kernels/f32_head.h"
#include "worker/score/kernels/table.h"

void sc_f32_head_plain(struct sc_rows rows, struct sc_panels panels, const float *bias,
                       const float *out, double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
