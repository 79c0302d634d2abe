/* product_f32_avx2.c: the token product with mask and maxima in f32, for AVX2 with FMA. */
#define SC_VECTOR_AVX2
#include "worker/score/kernels/product.h"
#include "worker/score/kernels/table.h"

void sc_product_f32_avx2(struct sc_tokens image, const void *query, const float *mask,
                         float *column_max, float *row_max)
{
    sc_product_loops(image, query, mask, column_max, row_max);
}
