/* half.c: see half.h. */
#include "common/half.h"

#include <string.h>

float cm_float_of_half(uint16_t half)
{
    /* Shift exponent and fraction into a float's places, then multiply by 2^(127-15): the product
     * normalises subnormals by itself. Infinity and NaN keep their all-ones exponent. */
    uint32_t magnitude = (uint32_t)(half & 0x7fffu) << 13;
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    float value;
    memcpy(&value, &magnitude, sizeof value);
    value *= 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((half & 0x7c00u) == 0x7c00u)
        bits = magnitude | 0x7f800000u;
    bits |= sign;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void cm_floats_of_halves(const void *in, float *out, size_t count)
{
    const unsigned char *p = in;
    for (size_t i = 0; i < count; i++) {
        uint16_t half = (uint16_t)(p[2 * i] | p[2 * i + 1] << 8);
        out[i] = cm_float_of_half(half);
    }
}
