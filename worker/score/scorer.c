/* scorer.c: token product, mask, maxima, head; see scorer.h and the maths in model.h. */
#include "worker/score/scorer.h"

#include "common/mem.h"
#include "worker/score/blas.h"
#include "worker/score/model_internal.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16 }; /* partial maxima and sums that a compiler can keep in vector registers */

struct sc_scratch {
    float *product; /* [T][T]: gallery tokens by query tokens */
    float *maxima;  /* [2 * SC_HEAD_PAIRS][T]: row 2p is pair p's a, row 2p + 1 its b */
    float *hidden;  /* [2 * SC_HEAD_PAIRS][ff] */
};

static enum cm_err new_floats(float **out, size_t rows, size_t columns, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new_aligned(&p, rows * columns, sizeof **out, e);
    *out = p;
    if (!rc)
        memset(p, 0, rows * columns * sizeof **out);
    return rc;
}

enum cm_err sc_scratch_new(struct sc_scratch **out, const struct sc_model *m, struct cm_error *e)
{
    size_t tokens = cm_tokens(&m->geometry), ff = m->geometry.ff;
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (!rc)
        rc = new_floats(&(*out)->product, tokens, tokens, e);
    if (!rc)
        rc = new_floats(&(*out)->maxima, 2 * SC_HEAD_PAIRS, tokens, e);
    if (!rc)
        rc = new_floats(&(*out)->hidden, 2 * SC_HEAD_PAIRS, ff ? ff : 1, e);
    if (rc) {
        sc_scratch_free(*out);
        *out = NULL;
    }
    return rc;
}

void sc_scratch_free(struct sc_scratch *s)
{
    if (!s)
        return;
    free(s->product);
    free(s->maxima);
    free(s->hidden);
    free(s);
}

size_t sc_packed_bytes(const struct sc_model *m)
{
    return cm_map_floats(&m->geometry) * sizeof(float);
}

/* Chunk l of the raw map's channels through fc1, one fixed BLAS shape: [T][d] = [T][d] x [d][d]. */
static void project_layer(const struct cm_geometry *g, const struct sc_layer *layer,
                          const float *chunk, float *out)
{
    size_t tokens = cm_tokens(g), d = g->channels, row = d * g->layers;
    if (!layer->fc1) {
        for (size_t t = 0; t < tokens; t++)
            memcpy(out + t * d, chunk + t * row, d * sizeof *out);
        return;
    }
    sc_gemm_nt(tokens, d, d, chunk, row, layer->fc1, d, out);
    for (size_t t = 0; t < tokens; t++)
        for (size_t c = 0; c < d; c++)
            out[t * d + c] += layer->fc1_bias[c];
}

enum cm_err sc_pack(const struct sc_model *m, struct sc_scratch *s, const float *map, void *out,
                    struct cm_error *e)
{
    (void)s;
    const struct cm_geometry *g = &m->geometry;
    float *packed = out;
    size_t layer_floats = (size_t)cm_tokens(g) * g->channels;
    for (uint32_t l = 0; l < g->layers; l++)
        project_layer(g, &m->layers[l], map + (size_t)l * g->channels, packed + l * layer_floats);
    for (size_t i = 0; i < g->layers * layer_floats; i++)
        if (!(fabsf(packed[i]) <= SC_PACKED_MAX))
            return cm_fail(e, CM_EFORMAT,
                           "a projected feature is %g; scores of values beyond %g would overflow",
                           (double)packed[i], (double)SC_PACKED_MAX);
    return CM_OK;
}

static inline float larger(float a, float b)
{
    return a > b ? a : b;
}

/* Masks one row of the product in passing, raises the column maxima, returns the row's maximum.
 * `mask` is NULL for a matcher without one. All values are finite (SC_PACKED_MAX). */
static float mask_row(const float *row, const float *mask, float *column_max, size_t n)
{
    float lane[LANES];
    for (size_t i = 0; i < LANES; i++)
        lane[i] = -INFINITY;
    size_t t = 0;
    for (; t + LANES <= n; t += LANES)
        for (size_t i = 0; i < LANES; i++) {
            float v = mask ? row[t + i] * mask[t + i] : row[t + i];
            column_max[t + i] = larger(v, column_max[t + i]);
            lane[i] = larger(v, lane[i]);
        }
    for (; t < n; t++) {
        float v = mask ? row[t] * mask[t] : row[t];
        column_max[t] = larger(v, column_max[t]);
        lane[0] = larger(v, lane[0]);
    }
    for (size_t i = 1; i < LANES; i++)
        lane[0] = larger(lane[i], lane[0]);
    return lane[0];
}

/* One pair, one layer: product, mask, both maxima. a: [T] over query tokens; b: [T] over gallery's.
 */
static void match_layer(const struct cm_geometry *g, const struct sc_layer *layer, float *product,
                        const float *query, const float *image, float *a, float *b)
{
    size_t tokens = cm_tokens(g), d = g->channels;
    sc_gemm_nt(tokens, tokens, d, image, d, query, d, product);
    for (size_t t = 0; t < tokens; t++)
        a[t] = -INFINITY;
    for (size_t s = 0; s < tokens; s++)
        b[s] = mask_row(product + s * tokens, layer->mask ? layer->mask + s * tokens : NULL, a,
                        tokens);
}

/* What an overflow left, NaN and both infinities, passes, so that it is seen in the score: a sum
 * that overflowed on its way need not be negative in truth. */
static inline float relu(float h)
{
    return h < 0 && h >= -FLT_MAX ? 0 : h;
}

/* out . relu(hidden + bias), in double and in a stated order: LANES running sums, then one by one.
 * Leaves the relu in `hidden`: in a loop of its own a compiler makes it a few vector instructions;
 * beside the sums gcc 12 leaves it a branch, guessed wrong every other time. */
static double head_row(float *hidden, const float *bias, const float *out, size_t n)
{
    for (size_t j = 0; j < n; j++)
        hidden[j] = relu(hidden[j] + bias[j]);
    double lane[LANES] = {0};
    size_t j = 0;
    for (; j + LANES <= n; j += LANES)
        for (size_t i = 0; i < LANES; i++)
            lane[i] += (double)hidden[j + i] * (double)out[j + i];
    for (; j < n; j++)
        lane[0] += (double)hidden[j] * (double)out[j];
    for (size_t i = 1; i < LANES; i++)
        lane[0] += lane[i];
    return lane[0];
}

static double linear_row(const float *maxima, const float *out, size_t n)
{
    double sum = 0;
    for (size_t t = 0; t < n; t++)
        sum += (double)maxima[t] * (double)out[t];
    return sum;
}

/* Adds one layer's heads for `pairs` pairs to their sums. BLAS always sees m->head_pairs pairs:
 * rows left over from before are computed and thrown away. */
static void head_layer(const struct sc_model *m, const struct sc_layer *layer, struct sc_scratch *s,
                       size_t pairs, double *sums)
{
    size_t tokens = cm_tokens(&m->geometry), ff = m->geometry.ff;
    if (!layer->hidden) {
        for (size_t row = 0; row < 2 * pairs; row++)
            sums[row / 2] += linear_row(s->maxima + row * tokens, layer->out, tokens);
        return;
    }
    sc_gemm_nt(2 * m->head_pairs, ff, tokens, s->maxima, tokens, layer->hidden, tokens, s->hidden);
    for (size_t row = 0; row < 2 * pairs; row++)
        sums[row / 2] += head_row(s->hidden + row * ff, layer->bias, layer->out, ff);
}

/* Scores at most m->head_pairs images. */
static void score_chunk(const struct sc_model *m, struct sc_scratch *s, const float *query,
                        const char *images, size_t stride, size_t count, float *scores)
{
    const struct cm_geometry *g = &m->geometry;
    size_t tokens = cm_tokens(g), layer_floats = tokens * g->channels;
    double sums[SC_HEAD_PAIRS] = {0};
    for (uint32_t l = 0; l < g->layers; l++) {
        for (size_t p = 0; p < count; p++) {
            const float *image = (const float *)(const void *)(images + p * stride);
            float *a = s->maxima + 2 * p * tokens;
            match_layer(g, &m->layers[l], s->product, query + l * layer_floats,
                        image + l * layer_floats, a, a + tokens);
        }
        head_layer(m, &m->layers[l], s, count, sums);
    }
    for (size_t p = 0; p < count; p++)
        scores[p] = (float)(m->constant + sums[p]);
}

void sc_score(const struct sc_model *m, struct sc_scratch *s, const void *query, const void *images,
              size_t stride, size_t count, float *scores)
{
    for (size_t first = 0; first < count; first += m->head_pairs) {
        size_t n = count - first < m->head_pairs ? count - first : m->head_pairs;
        score_chunk(m, s, query, (const char *)images + first * stride, stride, n, scores + first);
    }
}

/* True if BLAS gives equal rows equal bits in every place of a head call for `pairs` pairs. */
static bool rows_are_alike(const struct sc_model *m, struct sc_scratch *s, size_t pairs)
{
    size_t tokens = cm_tokens(&m->geometry), ff = m->geometry.ff, rows = 2 * pairs;
    for (size_t row = 0; row < rows; row++)
        for (size_t t = 0; t < tokens; t++)
            s->maxima[row * tokens + t] = 1.0f / (float)(t + 3);
    for (uint32_t l = 0; l < m->geometry.layers; l++) {
        sc_gemm_nt(rows, ff, tokens, s->maxima, tokens, m->layers[l].hidden, tokens, s->hidden);
        for (size_t row = 1; row < rows; row++)
            if (memcmp(s->hidden, s->hidden + row * ff, ff * sizeof *s->hidden) != 0)
                return false;
    }
    return true;
}

enum cm_err sc_head_pairs(const struct sc_model *m, size_t *out, struct cm_error *e)
{
    /* 32 pairs is where BLAS comes close to its peak. OpenBLAS's Haswell and Zen kernels sum the
     * last rows of a larger call in another order than the first; 8 rows are one tile to all of its
     * kernels. */
    static const size_t candidates[] = {SC_HEAD_PAIRS, 4, 1};
    *out = SC_HEAD_PAIRS;
    if (m->geometry.matcher == CM_QACONV)
        return CM_OK;
    struct sc_scratch *s;
    enum cm_err rc = sc_scratch_new(&s, m, e);
    if (rc)
        return rc;
    size_t i = 0;
    while (i < 2 && !rows_are_alike(m, s, candidates[i]))
        i++;
    *out = candidates[i];
    sc_scratch_free(s);
    return CM_OK;
}

const char *sc_numeric_class(const struct sc_model *m, char *out, size_t room)
{
    char core[80];
    snprintf(out, room, "f32/%s/%zu", sc_blas_core(core, sizeof core), m->head_pairs);
    return out;
}
