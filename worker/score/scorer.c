/* scorer.c: packing, and the way of a pair through the kernel; see scorer.h and the maths in
 * model.h.
 */
#include "worker/score/scorer.h"

#include "common/geometry.h"
#include "common/mem.h"
#include "worker/score/kernels/encode.h"
#include "worker/score/kernels/layout.h"
#include "worker/score/tiles.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Pairs of which the head is done at a time, so that their maxima fit a cache; rows of their lanes.
 */
enum { HEAD_PAIRS = 32, LANE_ROWS = 2 * HEAD_PAIRS + SC_TILE_ROWS_MAX };

struct sc_scratch {
    float *values; /* one layer, projected */
    char *query;   /* one query laid out, all layers */
    float *maxima; /* [2 * HEAD_PAIRS][T padded]: row 2p is pair p's a, row 2p + 1 its b */
    double *lanes; /* [LANE_ROWS][SC_LANES] */
};

/* Bytes of one layer of a query laid out, and floats of one row of maxima. */
static size_t query_bytes(const struct cm_geometry *g)
{
    return cm_round_up(sc_query_bytes(cm_tokens(g), g->channels), CM_ALIGN);
}

static size_t maxima_floats(const struct cm_geometry *g)
{
    return cm_round_up(cm_tokens(g), SC_LANES);
}

enum cm_err sc_scratch_new(struct sc_scratch **out, const struct sc_model *m, struct cm_error *e)
{
    const struct cm_geometry *g = &m->geometry;
    void *p, *values = NULL, *query = NULL, *maxima = NULL, *lanes = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (!rc)
        rc = cm_new_aligned(&values, (size_t)cm_tokens(g) * g->channels, sizeof(float), e);
    if (!rc)
        rc = cm_new_aligned(&query, g->layers, query_bytes(g), e);
    if (!rc)
        rc = cm_new_aligned(&maxima, 2 * HEAD_PAIRS * maxima_floats(g), sizeof(float), e);
    if (!rc)
        rc = cm_new_aligned(&lanes, LANE_ROWS * SC_LANES, sizeof(double), e);
    if (*out)
        **out = (struct sc_scratch){values, query, maxima, lanes};
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
    free(s->values);
    free(s->query);
    free(s->maxima);
    free(s->lanes);
    free(s);
}

size_t sc_packed_bytes(const struct sc_model *m)
{
    return m->geometry.layers * cm_layer_bytes(&m->geometry, m->kernel->precision);
}

/* Chunk l of the raw map's channels through fc1. */
static void project_layer(const struct sc_model *m, uint32_t l, const float *chunk, float *out)
{
    const struct cm_geometry *g = &m->geometry;
    const struct sc_tiles *t = &m->tiles[l];
    size_t tokens = cm_tokens(g), d = g->channels, row = d * g->layers;
    if (t->fc1.data)
        m->kernel->project((struct sc_rows){chunk, tokens, row}, t->fc1, t->fc1_bias, out);
    else
        for (size_t s = 0; s < tokens; s++)
            memcpy(out + s * d, chunk + s * row, d * sizeof *out);
}

static enum cm_err check_layer(const float *values, size_t count, struct cm_error *e)
{
    for (size_t i = 0; i < count; i++)
        if (!(fabsf(values[i]) <= SC_PACKED_MAX))
            return cm_fail(e, CM_EFORMAT,
                           "a projected feature is %g; scores of values beyond %g would overflow",
                           (double)values[i], (double)SC_PACKED_MAX);
    return CM_OK;
}

enum cm_err sc_pack(const struct sc_model *m, struct sc_scratch *s, const float *map, void *out,
                    struct cm_error *e)
{
    const struct cm_geometry *g = &m->geometry;
    size_t tokens = cm_tokens(g), d = g->channels;
    for (uint32_t l = 0; l < g->layers; l++) {
        project_layer(m, l, map + l * d, s->values);
        enum cm_err rc = check_layer(s->values, tokens * d, e);
        if (rc)
            return rc;
        sc_encode(m->kernel->precision, tokens, d, s->values,
                  (char *)out + l * cm_layer_bytes(g, m->kernel->precision));
    }
    return CM_OK;
}

/* Lanes to a sum, halves onto halves: one order for every kernel. */
static double sum_lanes(double *lanes)
{
    for (size_t width = SC_LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++)
            lanes[i] += lanes[i + width];
    return lanes[0];
}

/* QAConv's head: one weight a token. */
static void linear_row(const float *maxima, const float *out, size_t n, double *lanes)
{
    for (size_t t = 0; t < n; t++)
        lanes[t % SC_LANES] += (double)maxima[t] * (double)out[t];
}

/* Adds one layer's heads for `pairs` pairs to their sums. */
static void head_layer(const struct sc_model *m, uint32_t l, struct sc_scratch *s, size_t pairs,
                       double *sums)
{
    const struct sc_tiles *t = &m->tiles[l];
    size_t tokens = cm_tokens(&m->geometry), stride = maxima_floats(&m->geometry);
    memset(s->lanes, 0, LANE_ROWS * SC_LANES * sizeof *s->lanes);
    if (t->hidden.data)
        m->kernel->head((struct sc_rows){s->maxima, 2 * pairs, stride}, t->hidden, t->bias, t->out,
                        s->lanes);
    else
        for (size_t row = 0; row < 2 * pairs; row++)
            linear_row(s->maxima + row * stride, m->layers[l].out, tokens,
                       s->lanes + row * SC_LANES);
    for (size_t row = 0; row < 2 * pairs; row++)
        sums[row / 2] += sum_lanes(s->lanes + row * SC_LANES);
}

/* Layer l of a packed image. */
static struct sc_tokens layer_of(const struct sc_model *m, uint32_t l, const void *image)
{
    const struct cm_geometry *g = &m->geometry;
    enum cm_precision precision = m->kernel->precision;
    return sc_encoded(precision, cm_tokens(g), g->channels,
                      (const char *)image + l * cm_layer_bytes(g, precision));
}

/* Scores at most HEAD_PAIRS images. Layer by layer: a layer of the query stays in the cache. */
static void score_chunk(const struct sc_model *m, struct sc_scratch *s, const char *images,
                        size_t stride, size_t count, float *scores)
{
    const struct cm_geometry *g = &m->geometry;
    size_t row = maxima_floats(g);
    double sums[HEAD_PAIRS] = {0};
    for (uint32_t l = 0; l < g->layers; l++) {
        for (size_t p = 0; p < count; p++) {
            size_t next = p + 1 < count ? p + 1 : p;
            struct sc_tokens image = layer_of(m, l, images + p * stride);
            float *a = s->maxima + 2 * p * row;
            image.next = layer_of(m, l, images + next * stride).data;
            m->kernel->product(image, s->query + l * query_bytes(g), m->tiles[l].mask, a, a + row);
        }
        head_layer(m, l, s, count, sums);
    }
    for (size_t p = 0; p < count; p++)
        scores[p] = (float)(m->constant + sums[p]);
}

void sc_score(const struct sc_model *m, struct sc_scratch *s, const void *query, const void *images,
              size_t stride, size_t count, float *scores)
{
    for (uint32_t l = 0; l < m->geometry.layers; l++)
        m->kernel->query(m->kernel, layer_of(m, l, query),
                         s->query + l * query_bytes(&m->geometry));
    for (size_t first = 0; first < count; first += HEAD_PAIRS) {
        size_t n = count - first < HEAD_PAIRS ? count - first : HEAD_PAIRS;
        score_chunk(m, s, (const char *)images + first * stride, stride, n, scores + first);
    }
}

const char *sc_numeric_class(const struct sc_model *m, char *out, size_t room)
{
    snprintf(out, room, "%s", m->kernel->numeric_class);
    return out;
}

const char *sc_kernel_name(const struct sc_model *m)
{
    return m->kernel->name;
}
