/* reference.c: see reference.h. */
#include "worker/score/reference.h"

#include "common/assert.h"
#include "common/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const float *tensor(const struct cm_weights *w, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    const struct cm_tensor *t = cm_tensor_find(w, full);
    CM_ASSERT(t);
    return t->data;
}

static double batch_norm(const struct cm_weights *w, const char *prefix, size_t i, double x)
{
    double mean = tensor(w, prefix, ".running_mean")[i], var = tensor(w, prefix, ".running_var")[i];
    double weight = tensor(w, prefix, ".weight")[i], bias = tensor(w, prefix, ".bias")[i];
    return (x - mean) / sqrt(var + w->bn_eps) * weight + bias;
}

/* Chunk `l` of one map through fc1 (or as it is): out[T][d]. */
static void project(const struct cm_weights *w, uint32_t l, const char *p, const float *map,
                    double *out)
{
    const struct cm_geometry *g = &w->geometry;
    size_t d = g->channels;
    for (size_t t = 0; t < cm_tokens(g); t++) {
        const float *x = map + t * d * g->layers + l * d;
        for (size_t o = 0; o < d; o++) {
            if (g->matcher == CM_QACONV) {
                out[t * d + o] = x[o];
                continue;
            }
            double sum = tensor(w, p, "fc1.bias")[o];
            const float *row = tensor(w, p, "fc1.weight") + o * d;
            for (size_t c = 0; c < d; c++)
                sum += (double)x[c] * (double)row[c];
            out[t * d + o] = sum;
        }
    }
}

/* Both maxima of the masked token product: a over gallery tokens, b over query tokens. */
static void maxima(const struct cm_weights *w, const char *p, const double *query,
                   const double *gallery, double *a, double *b)
{
    const struct cm_geometry *g = &w->geometry;
    size_t tokens = cm_tokens(g), d = g->channels;
    const float *embed = g->matcher == CM_QACONV ? NULL : tensor(w, p, "score_embed");
    for (size_t t = 0; t < tokens; t++)
        a[t] = b[t] = -INFINITY;
    for (size_t s = 0; s < tokens; s++)
        for (size_t t = 0; t < tokens; t++) {
            double sum = 0;
            for (size_t c = 0; c < d; c++)
                sum += gallery[s * d + c] * query[t * d + c];
            if (embed)
                sum *= 1.0 / (1.0 + exp(-(double)embed[s * tokens + t]));
            a[t] = fmax(a[t], sum);
            b[s] = fmax(b[s], sum);
        }
}

static double mlp(const struct cm_weights *w, const char *p, const double *u)
{
    const struct cm_geometry *g = &w->geometry;
    size_t tokens = cm_tokens(g);
    char bn1[80], bn2[80];
    snprintf(bn1, sizeof bn1, "%sbn1", p);
    snprintf(bn2, sizeof bn2, "%sbn2", p);
    double sum = tensor(w, p, "fc3.bias")[0];
    for (size_t j = 0; j < g->ff; j++) {
        double h = tensor(w, p, "fc2.bias")[j];
        const float *row = tensor(w, p, "fc2.weight") + j * tokens;
        for (size_t t = 0; t < tokens; t++)
            h += (double)row[t] * batch_norm(w, bn1, 0, u[t]);
        sum += (double)tensor(w, p, "fc3.weight")[j] * fmax(batch_norm(w, bn2, j, h), 0);
    }
    return sum;
}

static double linear(const struct cm_weights *w, const double *u)
{
    double sum = tensor(w, "fc.", "bias")[0];
    for (size_t t = 0; t < cm_tokens(&w->geometry); t++)
        sum += (double)tensor(w, "fc.", "weight")[t] * batch_norm(w, "bn", 0, u[t]);
    return sum;
}

static double sum_layers(const struct cm_weights *w, const float *query, const float *gallery,
                         double *work)
{
    const struct cm_geometry *g = &w->geometry;
    size_t tokens = cm_tokens(g), n = tokens * g->channels;
    double *q = work, *k = work + n, *a = work + 2 * n, *b = a + tokens;
    double sum = 0;
    for (uint32_t l = 0; l < g->layers; l++) {
        char p[64], bn3[80];
        snprintf(p, sizeof p, "decoder.layers.%u.", l);
        snprintf(bn3, sizeof bn3, "%sbn3", p);
        project(w, l, p, query, q);
        project(w, l, p, gallery, k);
        maxima(w, p, q, k, a, b);
        if (g->matcher == CM_QACONV)
            sum += linear(w, a) + linear(w, b);
        else
            sum += batch_norm(w, bn3, 0, mlp(w, p, a) + mlp(w, p, b));
    }
    return sum;
}

enum cm_err sc_reference_score(const struct cm_weights *w, const float *query, const float *gallery,
                               double *score, struct cm_error *e)
{
    const struct cm_geometry *g = &w->geometry;
    size_t tokens = cm_tokens(g);
    void *work;
    enum cm_err rc = cm_new(&work, 2 * tokens * g->channels + 2 * tokens, sizeof(double), e);
    if (rc)
        return rc;
    double sum = sum_layers(w, query, gallery, work);
    free(work);
    *score = batch_norm(w, g->matcher == CM_QACONV ? "logit_bn" : "decoder.norm", 0, sum);
    return CM_OK;
}
