/* f32_head_portable.c: the MLP head in f32, in plain C with fmaf. */
#include "worker/score/kernels/f32_head.h"
#include "worker/score/kernels/table.h"

void sc_f32_head_portable(struct sc_rows rows, struct sc_panels panels, const float *bias,
                          const float *out, double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
