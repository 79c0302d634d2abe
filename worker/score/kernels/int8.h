/* int8.h: what the int8 kernels share: a query's layout, and from integer sums to floats.
 *
 * Tokens are stored with 128 added (encode.h), as unsigned bytes: that is what VNNI multiplies by
 * signed ones. sum (x + 128) y = sum x y + 128 sum y, so every sum starts at -128 sum y, which is
 * the query's alone. All of it is exact: 255 * 127 * CM_CHANNELS_MAX is far inside 32 bits. */
#ifndef SC_INT8_H
#define SC_INT8_H

#include "common/limits.h"
#include "common/mem.h"
#include "worker/score/kernels/kernel.h"

#include <assert.h>
#include <stdint.h>

static_assert(255ll * 127 * CM_CHANNELS_MAX * 2 < INT32_MAX, "no sum of products overflows");

/* A query's layer: [padded] starts, [padded] scales, then the panels. */
struct sc_int8_query {
    const int32_t *starts; /* -128 times the sum of each token */
    const float *scales;
    const void *panels;
};

/* Finds the parts of what sc_query_fn laid out for `tokens` tokens. */
static inline struct sc_int8_query sc_int8_query(const void *query, size_t tokens)
{
    size_t padded = cm_round_up(tokens, SC_LANES);
    const int32_t *starts = query;
    const float *scales = (const void *)(starts + padded);
    return (struct sc_int8_query){starts, scales, scales + padded};
}

#endif
