/* weights_gen.c: see weights_gen.h. */
#include "tests/support/weights_gen.h"

#include "common/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_BYTES = 80,
    LAYER_TENSORS = 19, /* score_embed, three of weight and bias, three BatchNorms of four */
    OTHER_TENSORS = 10, /* QAConv's, or decoder.norm's four */
};

static void *reserve(size_t count, size_t size)
{
    void *p = calloc(count, size);
    CM_ASSERT(p);
    return p;
}

/* Adds `prefix` + `name` with values in [least, most). */
static void add(struct test_weights *t, struct test_random *r, const char *prefix, const char *name,
                uint32_t rank, const uint64_t *dims, float least, float most)
{
    struct cm_tensor *tensor = &t->weights.tensors[t->weights.tensors_count++];
    tensor->name = reserve(NAME_BYTES, 1);
    snprintf(tensor->name, NAME_BYTES, "%s%s", prefix, name);
    tensor->rank = rank;
    tensor->count = 1;
    for (uint32_t i = 0; i < rank; i++) {
        tensor->dims[i] = dims[i];
        tensor->count *= dims[i];
    }
    float *values = reserve((size_t)tensor->count, sizeof *values);
    for (uint64_t i = 0; i < tensor->count; i++)
        values[i] = test_random_float(r, least, most);
    tensor->data = values;
}

/* One BatchNorm1d(n) whose weights lie in [least, most). */
static void add_norm(struct test_weights *t, struct test_random *r, const char *prefix, uint64_t n,
                     float least, float most)
{
    add(t, r, prefix, ".weight", 1, &n, least, most);
    add(t, r, prefix, ".bias", 1, &n, -0.5f, 0.5f);
    add(t, r, prefix, ".running_mean", 1, &n, -1.0f, 1.0f);
    add(t, r, prefix, ".running_var", 1, &n, 0.25f, 2.0f);
}

static void add_layer(struct test_weights *t, struct test_random *r, uint32_t l)
{
    const struct cm_geometry *g = &t->weights.geometry;
    uint64_t tokens = cm_tokens(g), d = g->channels, ff = g->ff, one = 1;
    char p[NAME_BYTES / 2], norm[NAME_BYTES];
    snprintf(p, sizeof p, "decoder.layers.%u.", l);
    add(t, r, p, "score_embed", 4, (uint64_t[]){1, 1, tokens, tokens}, -3.0f, 3.0f);
    add(t, r, p, "fc1.weight", 2, (uint64_t[]){d, d}, -0.5f, 0.5f);
    add(t, r, p, "fc1.bias", 1, &d, -0.5f, 0.5f);
    add(t, r, p, "fc2.weight", 2, (uint64_t[]){ff, tokens}, -0.5f, 0.5f);
    add(t, r, p, "fc2.bias", 1, &ff, -0.5f, 0.5f);
    add(t, r, p, "fc3.weight", 2, (uint64_t[]){1, ff}, -0.5f, 0.5f);
    add(t, r, p, "fc3.bias", 1, &one, -0.5f, 0.5f);
    snprintf(norm, sizeof norm, "%sbn1", p);
    add_norm(t, r, norm, 1, l % 2 ? 0.5f : -1.5f, l % 2 ? 1.5f : -0.5f);
    snprintf(norm, sizeof norm, "%sbn2", p);
    add_norm(t, r, norm, ff, -1.5f, 1.5f);
    snprintf(norm, sizeof norm, "%sbn3", p);
    add_norm(t, r, norm, 1, 0.5f, 1.5f);
}

void test_weights_init(struct test_weights *t, const struct cm_geometry *g, uint64_t seed)
{
    struct test_random r = {seed};
    size_t room = (size_t)g->layers * LAYER_TENSORS + OTHER_TENSORS;
    t->weights = (struct cm_weights){.geometry = *g, .bn_eps = 1e-5};
    t->weights.tensors = reserve(room, sizeof *t->weights.tensors);
    if (g->matcher == CM_QACONV) {
        uint64_t tokens = cm_tokens(g), one = 1;
        add_norm(t, &r, "bn", 1, -1.5f, -0.5f);
        add(t, &r, "fc.", "weight", 2, (uint64_t[]){1, tokens}, -0.5f, 0.5f);
        add(t, &r, "fc.", "bias", 1, &one, -0.5f, 0.5f);
        add_norm(t, &r, "logit_bn", 1, 0.5f, 1.5f);
        return;
    }
    for (uint32_t l = 0; l < g->layers; l++)
        add_layer(t, &r, l);
    add_norm(t, &r, "decoder.norm", 1, -1.5f, -0.5f);
}

static void free_tensor(struct cm_tensor *tensor)
{
    free(tensor->name);
    free((void *)(uintptr_t)tensor->data);
}

void test_weights_free(struct test_weights *t)
{
    for (size_t i = 0; i < t->weights.tensors_count; i++)
        free_tensor(&t->weights.tensors[i]);
    free(t->weights.tensors);
    *t = (struct test_weights){0};
}

static struct cm_tensor *find(struct test_weights *t, const char *name)
{
    for (size_t i = 0; i < t->weights.tensors_count; i++)
        if (strcmp(t->weights.tensors[i].name, name) == 0)
            return &t->weights.tensors[i];
    cm_assert_failed(name, __FILE__, __LINE__);
}

float *test_weights_values(struct test_weights *t, const char *name)
{
    return (float *)(uintptr_t)find(t, name)->data;
}

void test_weights_remove(struct test_weights *t, const char *name)
{
    struct cm_tensor *tensor = find(t, name);
    free_tensor(tensor);
    *tensor = t->weights.tensors[--t->weights.tensors_count];
}

void test_weights_reshape(struct test_weights *t, const char *name, uint64_t last_dim)
{
    struct cm_tensor *tensor = find(t, name);
    tensor->dims[tensor->rank - 1] = last_dim;
}

float *test_maps(struct test_random *r, size_t count)
{
    float *values = reserve(count, sizeof *values);
    for (size_t i = 0; i < count; i++)
        values[i] = test_random_float(r, -1.0f, 1.0f);
    return values;
}
