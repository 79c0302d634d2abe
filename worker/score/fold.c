/* fold.c: trained tensors to folded weights, see model.h. All arithmetic here is double; the result
 * is rounded to float32 once. */
#include "common/geometry.h"
#include "worker/score/model_internal.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NAME_BYTES = 128 };

/* BN(x) = x * scale + shift. */
struct affine {
    double scale;
    double shift;
};

static bool same_shape(const struct cm_tensor *t, uint32_t rank, const uint64_t *dims)
{
    return t->rank == rank && memcmp(t->dims, dims, rank * sizeof *dims) == 0;
}

static void shape_text(char *out, size_t room, uint32_t rank, const uint64_t *dims)
{
    size_t n = (size_t)snprintf(out, room, "[");
    for (uint32_t i = 0; i < rank && n < room; i++)
        n += (size_t)snprintf(out + n, room - n, "%s%llu", i ? "," : "",
                              (unsigned long long)dims[i]);
    if (n < room)
        snprintf(out + n, room - n, "]");
}

/* The tensor `prefix` + `name` of exactly this shape. */
static enum cm_err find(const struct cm_weights *w, const char *prefix, const char *name,
                        uint32_t rank, const uint64_t *dims, const float **out, struct cm_error *e)
{
    char full[NAME_BYTES], want[NAME_BYTES], found[NAME_BYTES];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    shape_text(want, sizeof want, rank, dims);
    const struct cm_tensor *t = cm_tensor_find(w, full);
    if (!t)
        return cm_fail(e, CM_EFORMAT,
                       "tensor '%s' of shape %s is missing; a %s of these sizes needs it", full,
                       want, cm_matcher_name(w->geometry.matcher));
    shape_text(found, sizeof found, t->rank, t->dims);
    if (!same_shape(t, rank, dims))
        return cm_fail(e, CM_EFORMAT, "tensor '%s' has shape %s; the sizes in __metadata__ ask %s",
                       full, found, want);
    *out = t->data;
    return CM_OK;
}

/* One BatchNorm1d(n) at inference: y = (x - mean) / sqrt(var + eps) * weight + bias. */
struct batch_norm {
    const float *weight, *bias, *mean, *var;
    double eps;
    char name[NAME_BYTES];
};

static enum cm_err find_bn(const struct cm_weights *w, const char *prefix, uint64_t n,
                           struct batch_norm *bn, struct cm_error *e)
{
    bn->eps = w->bn_eps;
    snprintf(bn->name, sizeof bn->name, "%s", prefix);
    enum cm_err rc = find(w, prefix, ".weight", 1, &n, &bn->weight, e);
    if (!rc)
        rc = find(w, prefix, ".bias", 1, &n, &bn->bias, e);
    if (!rc)
        rc = find(w, prefix, ".running_mean", 1, &n, &bn->mean, e);
    if (!rc)
        rc = find(w, prefix, ".running_var", 1, &n, &bn->var, e);
    for (uint64_t i = 0; !rc && i < n; i++)
        if (bn->var[i] < 0)
            rc = cm_fail(e, CM_EFORMAT, "tensor '%s.running_var' holds a negative variance (%g)",
                         prefix, (double)bn->var[i]);
    return rc;
}

static struct affine affine_at(const struct batch_norm *bn, size_t i)
{
    double scale = (double)bn->weight[i] / sqrt((double)bn->var[i] + bn->eps);
    return (struct affine){scale, (double)bn->bias[i] - (double)bn->mean[i] * scale};
}

/* The block is the model's own; its views are const for everybody else. */
static float *writable(const float *view)
{
    return (float *)(uintptr_t)view;
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* The raw tensors of one decoder layer. */
struct raw_layer {
    const float *embed, *fc1, *fc1_bias, *fc2, *fc2_bias, *fc3, *fc3_bias;
    struct batch_norm bn1, bn2, bn3;
};

static enum cm_err find_layer(const struct cm_weights *w, uint32_t l, struct raw_layer *raw,
                              struct cm_error *e)
{
    const struct cm_geometry *g = &w->geometry;
    uint64_t tokens = cm_tokens(g), d = g->channels, ff = g->ff;
    char p[64], bn[80];
    snprintf(p, sizeof p, "decoder.layers.%u.", l);
    enum cm_err rc =
        find(w, p, "score_embed", 4, (uint64_t[]){1, 1, tokens, tokens}, &raw->embed, e);
    if (!rc)
        rc = find(w, p, "fc1.weight", 2, (uint64_t[]){d, d}, &raw->fc1, e);
    if (!rc)
        rc = find(w, p, "fc1.bias", 1, &d, &raw->fc1_bias, e);
    if (!rc)
        rc = find(w, p, "fc2.weight", 2, (uint64_t[]){ff, tokens}, &raw->fc2, e);
    if (!rc)
        rc = find(w, p, "fc2.bias", 1, &ff, &raw->fc2_bias, e);
    if (!rc)
        rc = find(w, p, "fc3.weight", 2, (uint64_t[]){1, ff}, &raw->fc3, e);
    if (!rc)
        rc = find(w, p, "fc3.bias", 1, (uint64_t[]){1}, &raw->fc3_bias, e);
    struct batch_norm *norms[] = {&raw->bn1, &raw->bn2, &raw->bn3};
    for (int i = 0; !rc && i < 3; i++) {
        snprintf(bn, sizeof bn, "%sbn%d", p, i + 1);
        rc = find_bn(w, bn, i == 1 ? ff : 1, norms[i], e);
    }
    return rc;
}

/* BN2(W2 BN1(u) + c2) = hidden u + bias. */
static void fold_hidden(const struct cm_geometry *g, const struct raw_layer *raw,
                        const struct sc_layer *layer)
{
    size_t tokens = cm_tokens(g);
    struct affine bn1 = affine_at(&raw->bn1, 0);
    for (size_t j = 0; j < g->ff; j++) {
        struct affine bn2 = affine_at(&raw->bn2, j);
        double row_sum = 0;
        for (size_t t = 0; t < tokens; t++) {
            double w = raw->fc2[j * tokens + t];
            row_sum += w;
            writable(layer->hidden)[j * tokens + t] = (float)(bn2.scale * w * bn1.scale);
        }
        double inner = row_sum * bn1.shift + (double)raw->fc2_bias[j];
        writable(layer->bias)[j] = (float)(bn2.scale * inner + bn2.shift);
    }
}

static void fold_layer(const struct cm_geometry *g, const struct raw_layer *raw, struct affine norm,
                       const struct sc_layer *layer, double *constant)
{
    size_t tokens = cm_tokens(g);
    struct affine bn3 = affine_at(&raw->bn3, 0);
    memcpy(writable(layer->fc1), raw->fc1, (size_t)g->channels * g->channels * sizeof(float));
    memcpy(writable(layer->fc1_bias), raw->fc1_bias, g->channels * sizeof(float));
    for (size_t i = 0; i < tokens * tokens; i++)
        writable(layer->mask)[i] = (float)sigmoid(raw->embed[i]);
    fold_hidden(g, raw, layer);
    for (size_t j = 0; j < g->ff; j++)
        writable(layer->out)[j] = (float)((double)raw->fc3[j] * bn3.scale * norm.scale);
    /* fc3's bias counts once for each direction. */
    *constant += (2.0 * (double)raw->fc3_bias[0] * bn3.scale + bn3.shift) * norm.scale;
}

static enum cm_err fold_transmatcher(struct sc_model *m, const struct cm_weights *w,
                                     double *constant, struct cm_error *e)
{
    struct batch_norm bn;
    enum cm_err rc = find_bn(w, "decoder.norm", 1, &bn, e);
    if (rc)
        return rc;
    struct affine norm = affine_at(&bn, 0);
    *constant = norm.shift;
    for (uint32_t l = 0; !rc && l < m->geometry.layers; l++) {
        struct raw_layer raw;
        rc = find_layer(w, l, &raw, e);
        if (!rc)
            fold_layer(&m->geometry, &raw, norm, &m->layers[l], constant);
    }
    return rc;
}

static enum cm_err fold_qaconv(struct sc_model *m, const struct cm_weights *w, double *constant,
                               struct cm_error *e)
{
    uint64_t tokens = cm_tokens(&m->geometry);
    struct batch_norm bn, logit;
    const float *fc, *fc_bias;
    enum cm_err rc = find_bn(w, "bn", 1, &bn, e);
    if (!rc)
        rc = find_bn(w, "logit_bn", 1, &logit, e);
    if (!rc)
        rc = find(w, "fc.", "weight", 2, (uint64_t[]){1, tokens}, &fc, e);
    if (!rc)
        rc = find(w, "fc.", "bias", 1, (uint64_t[]){1}, &fc_bias, e);
    if (rc)
        return rc;
    struct affine in = affine_at(&bn, 0), out = affine_at(&logit, 0);
    double sum = 0;
    for (uint64_t t = 0; t < tokens; t++) {
        sum += (double)fc[t];
        writable(m->layers[0].out)[t] = (float)((double)fc[t] * in.scale * out.scale);
    }
    /* Both directions pass through bn and fc, so shift and bias count twice. */
    *constant = 2.0 * (sum * in.shift + (double)fc_bias[0]) * out.scale + out.shift;
    return CM_OK;
}

enum cm_err sc_model_fold(struct sc_model **out, const struct cm_weights *w, struct cm_error *e)
{
    enum cm_err rc = sc_model_new(out, &w->geometry, e);
    if (rc)
        return rc;
    double constant;
    if (w->geometry.matcher == CM_TRANSMATCHER)
        rc = fold_transmatcher(*out, w, &constant, e);
    else
        rc = fold_qaconv(*out, w, &constant, e);
    if (!rc) {
        memcpy((*out)->block, &constant, sizeof constant);
        rc = sc_model_finish(*out, e);
    }
    if (rc) {
        sc_model_free(*out);
        *out = NULL;
    }
    return rc;
}
