/* product_f32_plain.c: the token product with mask and maxima in f32, in plain C without fused
 * steps. */
#define SC_VECTOR_PLAIN
#include "worker/score/kernels/product.h"
#include "worker/score/kernels/table.h"

void sc_product_f32_plain(struct sc_tokens image, const void *query, const float *mask,
                          float *column_max, float *row_max)
{
    sc_product_loops(image, query, mask, column_max, row_max);
}
