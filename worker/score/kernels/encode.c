/* encode.c: see encode.h. */
#include "worker/score/kernels/encode.h"

#include "common/geometry.h"
#include "common/mem.h"

#include <math.h>

static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void encode_bf16(size_t tokens, size_t d, const float *values, uint16_t *out)
{
    size_t depth = cm_round_up(d, 2);
    for (size_t t = 0; t < tokens; t++) {
        for (size_t i = 0; i < d; i++)
            out[t * depth + i] = bf16_of(values[t * d + i]);
        if (depth > d)
            out[t * depth + d] = 0;
    }
}

static float largest(const float *values, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++)
        most = fabsf(values[i]) > most ? fabsf(values[i]) : most;
    return most;
}

/* To the nearest whole number, ties to even: beyond 2^23 a float has no fraction. The sum stands by
 * itself, since a compiler may add in a wider format and only an assignment rounds to float. */
static float nearest(float x)
{
    const float shift = 0x1.8p23f;
    float shifted = x + shift;
    return shifted - shift;
}

static void encode_int8(size_t tokens, size_t d, const float *values, uint8_t *out)
{
    size_t depth = cm_round_up(d, 4);
    float *scales = (void *)(out + tokens * depth);
    for (size_t t = 0; t < tokens; t++) {
        const float *x = values + t * d;
        float scale = largest(x, d) / 127.0f;
        if (scale < 0x1p-120f)
            scale = 0; /* so that no quotient overflows; such a token is zero to every product */
        scales[t] = scale;
        for (size_t i = 0; i < d; i++) {
            float whole = scale > 0 ? nearest(x[i] / scale) : 0;
            out[t * depth + i] = (uint8_t)((int)whole + 128);
        }
        memset(out + t * depth + d, 128, depth - d);
    }
}

void sc_encode(enum cm_precision precision, size_t tokens, size_t d, const float *values, void *out)
{
    if (precision == CM_BF16)
        encode_bf16(tokens, d, values, out);
    else if (precision == CM_INT8)
        encode_int8(tokens, d, values, out);
    else
        memcpy(out, values, tokens * d * sizeof *values);
}

struct sc_tokens sc_encoded(enum cm_precision precision, size_t tokens, size_t d, const void *layer)
{
    struct sc_tokens t = {.data = layer, .count = tokens};
    t.depth = cm_padded_depth(d, precision);
    t.bytes = cm_token_bytes(d, precision);
    if (precision == CM_INT8)
        t.scales = (const void *)((const char *)layer + tokens * t.bytes);
    return t;
}
