/* product_bf16_avx512bf16.c: the token product with mask and maxima in bf16, for AVX512_BF16. */
#define SC_VECTOR_AVX512
#define SC_SUMS_BF16_PAIRS
#include "worker/score/kernels/product.h"
#include "worker/score/kernels/table.h"

void sc_product_bf16_avx512bf16(struct sc_tokens image, const void *query, const float *mask,
                                float *column_max, float *row_max)
{
    sc_product_loops(image, query, mask, column_max, row_max);
}
