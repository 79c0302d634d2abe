/* head_plain.c: the MLP head, in plain C, each product rounded before it is added. */
#define SC_VECTOR_PLAIN
#include "worker/score/kernels/head.h"
#include "worker/score/kernels/table.h"

void sc_head_plain(struct sc_rows rows, struct sc_panels panels, const float *bias,
                   const float *out, double *lanes)
{
    sc_head_loops(rows, panels, bias, out, lanes);
}
