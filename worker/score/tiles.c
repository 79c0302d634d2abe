/* tiles.c: see tiles.h. The tiles and all that they point into are one allocation. */
#include "worker/score/tiles.h"

#include "common/mem.h"
#include "worker/score/kernels/layout.h"

#include <stdlib.h>
#include <string.h>

/* Hands out the next `count` floats and moves on. With a NULL block it only counts. */
static float *take(char *block, size_t *offset, size_t count)
{
    float *at = block ? (float *)(void *)(block + *offset) : NULL;
    *offset += cm_round_up(count * sizeof(float), CM_ALIGN);
    return at;
}

static struct sc_panels take_panels(const struct sc_kernel *k, struct sc_rows m, size_t depth,
                                    char *block, size_t *offset)
{
    float *data = take(block, offset, sc_panels_floats(m.count, depth));
    if (data)
        sc_panels_pack(k, m, depth, SC_PAD_ZERO, data);
    return (struct sc_panels){data, m.count, depth};
}

/* `count` floats, padded with zeros to SC_LANES. */
static const float *take_padded(const float *values, size_t count, char *block, size_t *offset)
{
    size_t padded = cm_round_up(count, SC_LANES);
    float *data = take(block, offset, padded);
    if (data) {
        memcpy(data, values, count * sizeof *data);
        memset(data + count, 0, (padded - count) * sizeof *data);
    }
    return data;
}

static const float *take_mask(const struct sc_kernel *k, size_t tokens, const float *mask,
                              char *block, size_t *offset)
{
    float *data = take(block, offset, sc_mask_floats(k, tokens));
    if (data)
        sc_mask_pack(k, tokens, mask, data);
    return data;
}

static void take_layer(const struct cm_geometry *g, const struct sc_kernel *k,
                       const struct sc_layer *layer, char *block, size_t *offset,
                       struct sc_tiles *t)
{
    size_t tokens = cm_tokens(g), d = g->channels;
    *t = (struct sc_tiles){0};
    if (g->matcher == CM_QACONV)
        return;
    t->fc1 = take_panels(k, (struct sc_rows){layer->fc1, d, d}, d, block, offset);
    t->fc1_bias = take_padded(layer->fc1_bias, d, block, offset);
    t->mask = take_mask(k, tokens, layer->mask, block, offset);
    t->hidden =
        take_panels(k, (struct sc_rows){layer->hidden, g->ff, tokens}, tokens, block, offset);
    t->bias = take_padded(layer->bias, g->ff, block, offset);
    t->out = take_padded(layer->out, g->ff, block, offset);
}

/* All layers: counts with a NULL block, fills otherwise. Returns the bytes. */
static size_t take_all(const struct sc_model *m, const struct sc_kernel *k, char *block)
{
    struct sc_tiles counted, *tiles = (void *)block;
    size_t offset = cm_round_up(m->geometry.layers * sizeof *tiles, CM_ALIGN);
    for (uint32_t l = 0; l < m->geometry.layers; l++)
        take_layer(&m->geometry, k, &m->layers[l], block, &offset, block ? &tiles[l] : &counted);
    return offset;
}

enum cm_err sc_model_use(struct sc_model *m, const struct sc_kernel *kernel, struct cm_error *e)
{
    void *block;
    enum cm_err rc = cm_new_aligned(&block, take_all(m, kernel, NULL), 1, e);
    if (rc)
        return rc;
    take_all(m, kernel, block);
    sc_tiles_free(m->tiles);
    m->tiles = block;
    m->kernel = kernel;
    return CM_OK;
}

void sc_tiles_free(struct sc_tiles *tiles)
{
    free(tiles);
}
