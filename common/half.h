/* half.h: IEEE 754 binary16 to float32, exactly. Pure; any thread. */
#ifndef CM_HALF_H
#define CM_HALF_H

#include <stddef.h>
#include <stdint.h>

/* The value of a half, subnormals, infinities and NaN included; every half is a float. */
float cm_float_of_half(uint16_t half);

/* `count` little-endian halves from `in` (any alignment) as floats. */
void cm_floats_of_halves(const void *in, float *out, size_t count);

#endif
