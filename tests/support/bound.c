/* bound.c: see bound.h, whose names are used here. */
#include "tests/support/bound.h"

#include "common/assert.h"

#include <math.h>
#include <stdlib.h>

/* K': chunk l of one map through fc1 with all signs dropped, out[T][d]. */
static void project_absolutes(const struct sc_model *m, uint32_t l, const float *map, double *out)
{
    const struct cm_geometry *g = &m->geometry;
    const struct sc_layer *layer = &m->layers[l];
    size_t d = g->channels;
    for (size_t t = 0; t < cm_tokens(g); t++) {
        const float *x = map + (t * g->layers + l) * d;
        for (size_t o = 0; o < d; o++) {
            double sum = layer->fc1 ? fabs((double)layer->fc1_bias[o]) : fabs((double)x[o]);
            for (size_t c = 0; layer->fc1 && c < d; c++)
                sum += fabs((double)x[c] * (double)layer->fc1[o * d + c]);
            out[t * d + o] = sum;
        }
    }
}

/* a' + b', [T]: the head is linear in them once signs are dropped. `work`: [2 * T]. */
static void maxima_of_absolutes(const struct sc_model *m, uint32_t l, const double *q,
                                const double *k, double *work, double *out)
{
    const struct cm_geometry *g = &m->geometry;
    const float *mask = m->layers[l].mask;
    size_t tokens = cm_tokens(g), d = g->channels;
    double *a = work, *b = work + tokens;
    for (size_t t = 0; t < 2 * tokens; t++)
        work[t] = 0;
    for (size_t s = 0; s < tokens; s++)
        for (size_t t = 0; t < tokens; t++) {
            double sum = 0;
            for (size_t c = 0; c < d; c++)
                sum += k[s * d + c] * q[t * d + c];
            sum *= mask ? (double)mask[s * tokens + t] : 1;
            a[t] = fmax(a[t], sum);
            b[s] = fmax(b[s], sum);
        }
    for (size_t t = 0; t < tokens; t++)
        out[t] = a[t] + b[t];
}

static double head_of_absolutes(const struct sc_model *m, uint32_t l, const double *u)
{
    const struct sc_layer *layer = &m->layers[l];
    size_t tokens = cm_tokens(&m->geometry);
    double sum = 0;
    for (size_t t = 0; !layer->hidden && t < tokens; t++)
        sum += fabs((double)layer->out[t]) * u[t];
    for (size_t j = 0; layer->hidden && j < m->geometry.ff; j++) {
        double h = 2 * fabs((double)layer->bias[j]);
        for (size_t t = 0; t < tokens; t++)
            h += fabs((double)layer->hidden[j * tokens + t]) * u[t];
        sum += fabs((double)layer->out[j]) * h;
    }
    return sum;
}

double test_score_bound(const struct sc_model *m, const float *query, const float *image)
{
    const struct cm_geometry *g = &m->geometry;
    size_t tokens = cm_tokens(g), n = tokens * g->channels;
    double *q = calloc(2 * n + 3 * tokens, sizeof *q), *k = q + n, *u = k + n;
    CM_ASSERT(q);
    double size = fabs(m->constant);
    for (uint32_t l = 0; l < g->layers; l++) {
        project_absolutes(m, l, query, q);
        project_absolutes(m, l, image, k);
        maxima_of_absolutes(m, l, q, k, u + tokens, u);
        size += head_of_absolutes(m, l, u);
    }
    free(q);
    return test_rounding(g->matcher == CM_QACONV ? g->channels + 4 : tokens + 3 * g->channels + 9) *
           size;
}
