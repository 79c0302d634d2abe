/* project_plain.c: the projection, in plain C, each product rounded before it is added.
 */
#define SC_VECTOR_PLAIN
#include "worker/score/kernels/project.h"
#include "worker/score/kernels/table.h"

void sc_project_plain(struct sc_rows rows, struct sc_panels panels, const float *bias, float *out)
{
    sc_project_loops(rows, panels, bias, out);
}
