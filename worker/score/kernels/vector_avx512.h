/* vector_avx512.h: sixteen floats in AVX-512F; see vector.h. */
#ifndef SC_VECTOR_AVX512_H
#define SC_VECTOR_AVX512_H

#include "worker/score/kernels/kernel.h"

#include <float.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* 24 sums, 3 vectors of columns and a row's value: 28 of 32 registers. */
enum {
    SC_VEC = 16,
    SC_TILE_ROWS = SC_AVX512_ROWS,
    SC_TILE_VECS = SC_AVX512_COLUMNS / SC_VEC,
};

/* See vector.h, as all that follow. */
typedef __m512 sc_vec;

/* Sixteen 32-bit integers. */
typedef __m512i sc_ivec;

/* SC_VEC integers from `p`. */
static inline sc_ivec sc_ivec_load(const int32_t *p)
{
    return _mm512_loadu_si512(p);
}

/* See vector.h. */
static inline sc_ivec sc_ivec_dot(sc_ivec sum, const uint8_t *x, const int16_t *low,
                                  const int16_t *high)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    __m512i bytes = _mm512_set1_epi32(four);
    __m512i first = _mm512_shuffle_epi8(bytes, _mm512_set1_epi32((int)0x80018000));
    __m512i second = _mm512_shuffle_epi8(bytes, _mm512_set1_epi32((int)0x80038002));
    sum = _mm512_add_epi32(sum, _mm512_madd_epi16(first, _mm512_loadu_si512(low)));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(second, _mm512_loadu_si512(high)));
}

/* To floats, rounded to nearest. */
static inline sc_vec sc_vec_of_ivec(sc_ivec a)
{
    return _mm512_cvtepi32_ps(a);
}

/* One value in all places. */
static inline sc_vec sc_vec_set(float x)
{
    return _mm512_set1_ps(x);
}

/* SC_VEC floats from `p`. */
static inline sc_vec sc_vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

/* SC_VEC floats to `p`. */
static inline void sc_vec_store(float *p, sc_vec a)
{
    _mm512_storeu_ps(p, a);
}

/* a + b */
static inline sc_vec sc_vec_add(sc_vec a, sc_vec b)
{
    return _mm512_add_ps(a, b);
}

/* a * b */
static inline sc_vec sc_vec_mul(sc_vec a, sc_vec b)
{
    return _mm512_mul_ps(a, b);
}

/* a * b + c */
static inline sc_vec sc_vec_fma(sc_vec a, sc_vec b, sc_vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* The larger. */
static inline sc_vec sc_vec_max(sc_vec a, sc_vec b)
{
    return _mm512_max_ps(a, b);
}

/* 0 for what is below 0 and finite. */
static inline sc_vec sc_vec_relu(sc_vec a)
{
    __mmask16 drop = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_LT_OQ);
    drop = _mm512_mask_cmp_ps_mask(drop, a, _mm512_set1_ps(-FLT_MAX), _CMP_GE_OQ);
    return _mm512_mask_mov_ps(a, drop, _mm512_setzero_ps());
}

/* The largest of the places. */
static inline float sc_vec_top(sc_vec a)
{
    return _mm512_reduce_max_ps(a);
}

/* lanes[i] += h[i] * out[i] in double: the product of two floats is exact there. */
static inline void sc_vec_dot(sc_vec h, sc_vec out, double *lanes)
{
    __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(h));
    __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(h, 1));
    __m512d out_low = _mm512_cvtps_pd(_mm512_castps512_ps256(out));
    __m512d out_high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(out, 1));
    _mm512_storeu_pd(lanes, _mm512_fmadd_pd(low, out_low, _mm512_loadu_pd(lanes)));
    _mm512_storeu_pd(lanes + 8, _mm512_fmadd_pd(high, out_high, _mm512_loadu_pd(lanes + 8)));
}

#endif
