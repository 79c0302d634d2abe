/* vector_portable.h: sixteen floats in plain C; see vector.h. With SC_VECTOR_PLAIN a product is
 * rounded before it is added: another numeric class, for processors that have no fused step. */
#ifndef SC_VECTOR_PORTABLE_H
#define SC_VECTOR_PORTABLE_H

#include "worker/score/kernels/kernel.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

/* A tile so small that a compiler may keep it in registers. */
enum {
    SC_VEC = 16,
    SC_TILE_ROWS = SC_PORTABLE_ROWS,
    SC_TILE_VECS = SC_PORTABLE_COLUMNS / SC_VEC,
};

/* See vector.h, as all that follow. */
typedef struct {
    float at[SC_VEC];
} sc_vec;

/* Sixteen 32-bit integers. */
typedef struct {
    int32_t at[SC_VEC];
} sc_ivec;

/* SC_VEC integers from `p`. */
static inline sc_ivec sc_ivec_load(const int32_t *p)
{
    sc_ivec v;
    for (int i = 0; i < SC_VEC; i++)
        v.at[i] = p[i];
    return v;
}

/* See vector.h. */
static inline sc_ivec sc_ivec_dot(sc_ivec sum, const uint8_t *x, const int16_t *low,
                                  const int16_t *high)
{
    for (int i = 0; i < SC_VEC; i++)
        sum.at[i] +=
            x[0] * low[2 * i] + x[1] * low[2 * i + 1] + x[2] * high[2 * i] + x[3] * high[2 * i + 1];
    return sum;
}

/* To floats, rounded to nearest. */
static inline sc_vec sc_vec_of_ivec(sc_ivec a)
{
    sc_vec v;
    for (int i = 0; i < SC_VEC; i++)
        v.at[i] = (float)a.at[i];
    return v;
}

/* One value in all places. */
static inline sc_vec sc_vec_set(float x)
{
    sc_vec v;
    for (int i = 0; i < SC_VEC; i++)
        v.at[i] = x;
    return v;
}

/* SC_VEC floats from `p`. */
static inline sc_vec sc_vec_load(const float *p)
{
    sc_vec v;
    for (int i = 0; i < SC_VEC; i++)
        v.at[i] = p[i];
    return v;
}

/* SC_VEC floats to `p`. */
static inline void sc_vec_store(float *p, sc_vec a)
{
    for (int i = 0; i < SC_VEC; i++)
        p[i] = a.at[i];
}

/* a + b */
static inline sc_vec sc_vec_add(sc_vec a, sc_vec b)
{
    for (int i = 0; i < SC_VEC; i++)
        a.at[i] += b.at[i];
    return a;
}

/* a * b */
static inline sc_vec sc_vec_mul(sc_vec a, sc_vec b)
{
    for (int i = 0; i < SC_VEC; i++)
        a.at[i] *= b.at[i];
    return a;
}

/* a * b + c */
static inline sc_vec sc_vec_fma(sc_vec a, sc_vec b, sc_vec c)
{
    for (int i = 0; i < SC_VEC; i++) {
#ifdef SC_VECTOR_PLAIN
        float product = a.at[i] * b.at[i]; /* in one expression it might not be rounded */
        c.at[i] += product;
#else
        c.at[i] = fmaf(a.at[i], b.at[i], c.at[i]);
#endif
    }
    return c;
}

/* The larger. */
static inline sc_vec sc_vec_max(sc_vec a, sc_vec b)
{
    for (int i = 0; i < SC_VEC; i++)
        a.at[i] = a.at[i] > b.at[i] ? a.at[i] : b.at[i];
    return a;
}

/* 0 for what is below 0 and finite. */
static inline sc_vec sc_vec_relu(sc_vec a)
{
    for (int i = 0; i < SC_VEC; i++)
        a.at[i] = a.at[i] < 0 && a.at[i] >= -FLT_MAX ? 0 : a.at[i];
    return a;
}

/* The largest of the places. */
static inline float sc_vec_top(sc_vec a)
{
    float top = a.at[0];
    for (int i = 1; i < SC_VEC; i++)
        top = a.at[i] > top ? a.at[i] : top;
    return top;
}

/* lanes[i] += h[i] * out[i] in double: the product of two floats is exact there. */
static inline void sc_vec_dot(sc_vec h, sc_vec out, double *lanes)
{
    for (int i = 0; i < SC_VEC; i++)
        lanes[i] += (double)h.at[i] * (double)out.at[i];
}

#endif
