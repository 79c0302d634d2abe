/* encode.h: tokens as galleries store them, for each precision. Pure; any thread.
 *
 * One layer of an image, all its tokens one after the other:
 *   f32   [T][d] floats
 *   bf16  [T][d padded to 2] bfloat16, rounded to nearest even; the padding is 0
 *   int8  [T][d padded to 4] bytes: round(x / scale) + 128, scale = the token's largest |x| / 127;
 * the padding is 128; then [T] float scales The same bytes on every processor. */
#ifndef SC_ENCODE_H
#define SC_ENCODE_H

#include "worker/score/kernels/kernel.h"

#include <stdint.h>
#include <string.h>

/* The value of a bfloat16. */
static inline float sc_float_of_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Encodes [tokens][d] finite floats into one layer at `out`. */
void sc_encode(enum cm_precision precision, size_t tokens, size_t d, const float *values,
               void *out);

/* The tokens of an encoded layer. */
struct sc_tokens sc_encoded(enum cm_precision precision, size_t tokens, size_t d,
                            const void *layer);

#endif
