/* product_f32_avx512.c: the token product with mask and maxima in f32, for AVX-512F. */
#define SC_VECTOR_AVX512
#include "worker/score/kernels/product.h"
#include "worker/score/kernels/table.h"

void sc_product_f32_avx512(struct sc_tokens image, const void *query, const float *mask,
                           float *column_max, float *row_max)
{
    sc_product_loops(image, query, mask, column_max, row_max);
}
