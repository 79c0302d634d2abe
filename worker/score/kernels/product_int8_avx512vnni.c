/* product_int8_avx512vnni.c: the token product with mask and maxima in int8, for AVX512_VNNI. */
#define SC_VECTOR_AVX512
#define SC_SUMS_VNNI
#include "worker/score/kernels/product.h"
#include "worker/score/kernels/table.h"

void sc_product_int8_avx512vnni(struct sc_tokens image, const void *query, const float *mask,
                                float *column_max, float *row_max)
{
    sc_product_loops(image, query, mask, column_max, row_max);
}
