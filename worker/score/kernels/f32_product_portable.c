/* f32_product_portable.c: the token product with mask and maxima in f32, in plain C with fmaf. */
#include "worker/score/kernels/f32_product.h"
#include "worker/score/kernels/table.h"

void sc_f32_product_portable(struct sc_rows rows, struct sc_panels panels, const float *mask,
                             float *column_max, float *row_max)
{
    sc_product_loops(rows, panels, mask, column_max, row_max);
}
