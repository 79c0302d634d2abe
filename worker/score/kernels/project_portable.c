/* project_portable.c: the projection, in plain C with fmaf. */
#include "worker/score/kernels/project.h"
#include "worker/score/kernels/table.h"

void sc_project_portable(struct sc_rows rows, struct sc_panels panels, const float *bias,
                         float *out)
{
    sc_project_loops(rows, panels, bias, out);
}
