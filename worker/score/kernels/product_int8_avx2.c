/* product_int8_avx2.c: the token product with mask and maxima in int8, for AVX2 with FMA. */
#define SC_VECTOR_AVX2
#define SC_SUMS_INT8
#include "worker/score/kernels/product.h"
#include "worker/score/kernels/table.h"

void sc_product_int8_avx2(struct sc_tokens image, const void *query, const float *mask,
                          float *column_max, float *row_max)
{
    sc_product_loops(image, query, mask, column_max, row_max);
}
