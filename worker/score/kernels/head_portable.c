/* head_portable.c: the MLP head, in plain C with fmaf. */
#include "worker/score/kernels/head.h"
#include "worker/score/kernels/table.h"

void sc_head_portable(struct sc_rows rows, struct sc_panels panels, const float *bias,
                      const float *out, double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
