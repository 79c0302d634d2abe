/* model.c: the folded weights' layout in memory and on disk, see model.h.
 *
 * The block: one double (`constant`), then for each layer fc1, fc1_bias, mask, hidden, bias, out,
 * each padded with zeros to CM_ALIGN bytes. Little-endian, as everything that vitrine stores. */
#include "worker/score/model.h"

#include "common/assert.h"
#include "common/limits.h"
#include "common/mem.h"
#include "worker/score/kernels/table.h"
#include "worker/score/model_internal.h"
#include "worker/score/tiles.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Hands out the next `count` floats of the block and moves on. With a NULL block it only counts. */
static const float *take(const char *block, size_t *offset, size_t count)
{
    const float *at = block ? (const float *)(const void *)(block + *offset) : NULL;
    *offset += cm_round_up(count * sizeof(float), CM_ALIGN);
    return at;
}

static void take_layer(const struct cm_geometry *g, const char *block, size_t *offset,
                       struct sc_layer *layer)
{
    size_t tokens = cm_tokens(g);
    *layer = (struct sc_layer){0};
    if (g->matcher == CM_QACONV) {
        layer->out = take(block, offset, tokens);
        return;
    }
    layer->fc1 = take(block, offset, (size_t)g->channels * g->channels);
    layer->fc1_bias = take(block, offset, g->channels);
    layer->mask = take(block, offset, tokens * tokens);
    layer->hidden = take(block, offset, tokens * g->ff);
    layer->bias = take(block, offset, g->ff);
    layer->out = take(block, offset, g->ff);
}

size_t sc_model_block_bytes(const struct cm_geometry *g)
{
    size_t offset = CM_ALIGN;
    for (uint32_t l = 0; l < g->layers; l++) {
        struct sc_layer layer;
        take_layer(g, NULL, &offset, &layer);
    }
    return offset;
}

enum cm_err sc_model_new(struct sc_model **out, const struct cm_geometry *g, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct sc_model *m = p;
    *out = m;
    if (rc)
        return rc;
    m->geometry = *g;
    m->block_bytes = sc_model_block_bytes(g);
    rc = cm_new(&p, g->layers, sizeof *m->layers, e);
    m->layers = p;
    if (!rc)
        rc = cm_new_aligned(&m->block, m->block_bytes, 1, e);
    if (rc) {
        sc_model_free(m);
        *out = NULL;
        return rc;
    }
    memset(m->block, 0, m->block_bytes);
    size_t offset = CM_ALIGN;
    for (uint32_t l = 0; l < g->layers; l++)
        take_layer(g, m->block, &offset, &m->layers[l]);
    CM_ASSERT(offset == m->block_bytes);
    return CM_OK;
}

/* `prefix` and `name` make the name of the tensor that was folded into these values. */
static enum cm_err check_values(const float *values, size_t count, const char *prefix,
                                const char *name, struct cm_error *e)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return cm_fail(e, CM_EFORMAT,
                           "tensor '%s%s' folded with its BatchNorms is not finite in float32",
                           prefix, name);
    return CM_OK;
}

static enum cm_err check_layer(const struct cm_geometry *g, uint32_t l,
                               const struct sc_layer *layer, struct cm_error *e)
{
    size_t tokens = cm_tokens(g), d = g->channels, ff = g->ff;
    if (g->matcher == CM_QACONV)
        return check_values(layer->out, tokens, "fc", ".weight", e);
    char p[64];
    snprintf(p, sizeof p, "decoder.layers.%" PRIu32 ".", l);
    enum cm_err rc = check_values(layer->fc1, d * d, p, "fc1.weight", e);
    if (!rc)
        rc = check_values(layer->fc1_bias, d, p, "fc1.bias", e);
    if (!rc)
        rc = check_values(layer->mask, tokens * tokens, p, "score_embed", e);
    if (!rc)
        rc = check_values(layer->hidden, tokens * ff, p, "fc2.weight", e);
    if (!rc)
        rc = check_values(layer->bias, ff, p, "fc2.bias", e);
    if (!rc)
        rc = check_values(layer->out, ff, p, "fc3.weight", e);
    return rc;
}

enum cm_err sc_model_finish(struct sc_model *m, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    memcpy(&m->constant, m->block, sizeof m->constant);
    for (uint32_t l = 0; !rc && l < m->geometry.layers; l++)
        rc = check_layer(&m->geometry, l, &m->layers[l], e);
    if (!rc && !isfinite(m->constant))
        rc = cm_fail(e, CM_EFORMAT, "the folded weights' constant is not finite");
    return rc ? rc : sc_model_use(m, sc_kernel_default(CM_F32), e);
}

enum cm_err sc_model_load(struct sc_model **out, const struct cm_geometry *g, const void *block,
                          size_t block_bytes, struct cm_error *e)
{
    *out = NULL;
    if (block_bytes != sc_model_block_bytes(g))
        return cm_fail(e, CM_EFORMAT, "folded weights take %zu bytes; this model's take %zu",
                       block_bytes, sc_model_block_bytes(g));
    enum cm_err rc = sc_model_new(out, g, e);
    if (rc)
        return rc;
    memcpy((*out)->block, block, block_bytes);
    rc = sc_model_finish(*out, e);
    if (rc) {
        sc_model_free(*out);
        *out = NULL;
    }
    return rc;
}

enum cm_err sc_model_set_precision(struct sc_model *m, enum cm_precision precision,
                                   struct cm_error *e)
{
    const struct sc_kernel *kernel;
    enum cm_err rc = sc_kernel_choose(&kernel, precision, e);
    return rc ? rc : sc_model_use(m, kernel, e);
}

void sc_model_free(struct sc_model *m)
{
    if (!m)
        return;
    sc_tiles_free(m->tiles);
    free(m->layers);
    free(m->block);
    free(m);
}
