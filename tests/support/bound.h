/* bound.h: the most by which float32 rounding can move a score.
 *
 * Let u = 2^-24 and g(n) = n u / (1 - n u): a float32 sum of n products, in any order, is off by at
 * most g(n) times the sum of their absolute values (Higham, Accuracy and Stability, 3.1). Write
 * K' = |X| |W1|^T + |b1| for a packed map with all signs dropped, Q' likewise. Then
 *
 *     packing (d products and a bias)            |K^ - K| <= g(d + 1) K'
 *     token product of two such, d long          |S^ - S| <= g(3d + 2) K'.Q'
 *     the mask rounded, and its multiplication   two more u: g(3d + 4) M K'.Q'
 *     a maximum is no worse than its candidates  |a^ - a| <= g(3d + 4) a',  a' = max M K'.Q'
 *     hidden rounded, T products, bias, its sum  g(T + 3d + 7) (|hidden| a' + |bias|)
 *     relu is no worse than its argument; `out` rounded, sums in double, the score rounded
 *                                                |score^ - score| <= g(T + 3d + 9) A
 *
 * with A = |constant| + sum_l |out| (|hidden| (a' + b') + 2 |bias|). One u more in place of the
 * double arithmetic. QAConv has no packing, mask or hidden layer: g(d + 4) A, A = |constant| +
 * |out| (a' + b'). A wrong fold cannot hide in A: it moves the scores by about A, the bound by a
 * millionth of it. */
#ifndef TEST_BOUND_H
#define TEST_BOUND_H

#include "worker/score/model.h"

#include <stddef.h>

/* g(n) of the comment above. */
static inline double test_rounding(size_t n)
{
    double nu = (double)n * 0x1p-24;
    return nu / (1 - nu);
}

/* The bound for this pair of raw maps. Stops the test when memory is short. */
double test_score_bound(const struct sc_model *m, const float *query, const float *image);

#endif
