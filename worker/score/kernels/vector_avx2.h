/* vector_avx2.h: eight floats in AVX2 with FMA; see vector.h. */
#ifndef SC_VECTOR_AVX2_H
#define SC_VECTOR_AVX2_H

#include "worker/score/kernels/kernel.h"

#include <float.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

/* 12 sums, 2 vectors of columns and a row's value: 15 of 16 registers. */
enum {
    SC_VEC = 8,
    SC_TILE_ROWS = SC_AVX2_ROWS,
    SC_TILE_VECS = SC_AVX2_COLUMNS / SC_VEC,
};

/* See vector.h, as all that follow. */
typedef __m256 sc_vec;

/* Eight 32-bit integers. */
typedef __m256i sc_ivec;

/* SC_VEC integers from `p`. */
static inline sc_ivec sc_ivec_load(const int32_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}

/* See vector.h. */
static inline sc_ivec sc_ivec_dot(sc_ivec sum, const uint8_t *x, const int16_t *low,
                                  const int16_t *high)
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    __m256i bytes = _mm256_set1_epi32(four);
    __m256i first = _mm256_shuffle_epi8(bytes, _mm256_set1_epi32((int)0x80018000));
    __m256i second = _mm256_shuffle_epi8(bytes, _mm256_set1_epi32((int)0x80038002));
    __m256i some = _mm256_madd_epi16(first, _mm256_loadu_si256((const void *)low));
    __m256i more = _mm256_madd_epi16(second, _mm256_loadu_si256((const void *)high));
    return _mm256_add_epi32(_mm256_add_epi32(sum, some), more);
}

/* To floats, rounded to nearest. */
static inline sc_vec sc_vec_of_ivec(sc_ivec a)
{
    return _mm256_cvtepi32_ps(a);
}

/* One value in all places. */
static inline sc_vec sc_vec_set(float x)
{
    return _mm256_set1_ps(x);
}

/* SC_VEC floats from `p`. */
static inline sc_vec sc_vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

/* SC_VEC floats to `p`. */
static inline void sc_vec_store(float *p, sc_vec a)
{
    _mm256_storeu_ps(p, a);
}

/* a + b */
static inline sc_vec sc_vec_add(sc_vec a, sc_vec b)
{
    return _mm256_add_ps(a, b);
}

/* a * b */
static inline sc_vec sc_vec_mul(sc_vec a, sc_vec b)
{
    return _mm256_mul_ps(a, b);
}

/* a * b + c */
static inline sc_vec sc_vec_fma(sc_vec a, sc_vec b, sc_vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* The larger. */
static inline sc_vec sc_vec_max(sc_vec a, sc_vec b)
{
    return _mm256_max_ps(a, b);
}

/* 0 for what is below 0 and finite. */
static inline sc_vec sc_vec_relu(sc_vec a)
{
    __m256 negative = _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_LT_OQ);
    __m256 finite = _mm256_cmp_ps(a, _mm256_set1_ps(-FLT_MAX), _CMP_GE_OQ);
    return _mm256_andnot_ps(_mm256_and_ps(negative, finite), a);
}

/* The largest of the places. */
static inline float sc_vec_top(sc_vec a)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

/* lanes[i] += h[i] * out[i] in double: the product of two floats is exact there. */
static inline void sc_vec_dot(sc_vec h, sc_vec out, double *lanes)
{
    __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(h));
    __m256d high = _mm256_cvtps_pd(_mm256_extractf128_ps(h, 1));
    __m256d out_low = _mm256_cvtps_pd(_mm256_castps256_ps128(out));
    __m256d out_high = _mm256_cvtps_pd(_mm256_extractf128_ps(out, 1));
    _mm256_storeu_pd(lanes, _mm256_fmadd_pd(low, out_low, _mm256_loadu_pd(lanes)));
    _mm256_storeu_pd(lanes + 4, _mm256_fmadd_pd(high, out_high, _mm256_loadu_pd(lanes + 4)));
}

#endif
