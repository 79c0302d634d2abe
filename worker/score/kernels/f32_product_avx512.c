/* f32_product_avx512.c: the token product with mask and maxima in f32, for AVX-512F. */
#define SC_VECTOR_AVX512
#include "worker/score/kernels/f32_product.h"
#include "worker/score/kernels/table.h"

void sc_f32_product_avx512(struct sc_rows rows, struct sc_panels panels, const float *mask,
                           float *column_max, float *row_max)
{
    sc_product_loops(rows, panels, mask, column_max, row_max);
}
