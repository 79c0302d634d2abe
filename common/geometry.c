/* geometry.c: see geometry.h. */
#include "common/geometry.h"

#include "common/limits.h"

#include <string.h>

static enum cm_err check_size(const char *name, uint32_t value, uint32_t max, struct cm_error *e)
{
    if (value == 0)
        return cm_fail(e, CM_EFORMAT, "%s is 0; it must be at least 1", name);
    if (value > max)
        return cm_fail(e, CM_ELIMIT, "%s is %u; at most %u is supported", name, value, max);
    return CM_OK;
}

static enum cm_err check_products(const struct cm_geometry *g, struct cm_error *e)
{
    uint64_t tokens = (uint64_t)g->height * g->width;
    if (tokens > CM_TOKENS_MAX)
        return cm_fail(e, CM_ELIMIT, "height x width is %llu tokens; at most %u are supported",
                       (unsigned long long)tokens, CM_TOKENS_MAX);
    uint64_t bytes = tokens * g->channels * g->layers * sizeof(float); /* < 2^12+13+6+2 */
    if (bytes > CM_MAP_BYTES_MAX)
        return cm_fail(e, CM_ELIMIT,
                       "one feature map takes %llu bytes in float32; at most %u are supported",
                       (unsigned long long)bytes, CM_MAP_BYTES_MAX);
    return CM_OK;
}

enum cm_err cm_geometry_check(const struct cm_geometry *g, struct cm_error *e)
{
    if (!cm_matcher_name(g->matcher))
        return cm_fail(e, CM_EFORMAT, "unknown matcher %d", (int)g->matcher);
    enum cm_err rc = check_size("height", g->height, CM_SIDE_MAX, e);
    if (!rc)
        rc = check_size("width", g->width, CM_SIDE_MAX, e);
    if (!rc)
        rc = check_size("channels", g->channels, CM_CHANNELS_MAX, e);
    if (!rc)
        rc = check_size("layers", g->layers, CM_LAYERS_MAX, e);
    if (rc)
        return rc;
    if (g->matcher == CM_TRANSMATCHER)
        rc = check_size("ff (dim_feedforward)", g->ff, CM_FF_MAX, e);
    else if (g->layers != 1 || g->ff != 0)
        rc = cm_fail(e, CM_EFORMAT, "qaconv has one layer and no ff, not %u layers and ff %u",
                     g->layers, g->ff);
    return rc ? rc : check_products(g, e);
}

enum cm_err cm_geometry_check_map(const struct cm_geometry *g, const char *what, uint32_t height,
                                  uint32_t width, uint32_t channels, struct cm_error *e)
{
    if (height == g->height && width == g->width && channels == g->channels * g->layers)
        return CM_OK;
    return cm_fail(
        e, CM_EMISMATCH,
        "%s: maps of %ux%ux%u, but the model takes %ux%ux%u (height x width x layers * d): "
        "encode the images with this model",
        what, height, width, channels, g->height, g->width, g->channels * g->layers);
}

bool cm_geometry_equal(const struct cm_geometry *a, const struct cm_geometry *b)
{
    return a->matcher == b->matcher && a->height == b->height && a->width == b->width &&
           a->channels == b->channels && a->layers == b->layers && a->ff == b->ff;
}

const char *cm_matcher_name(enum cm_matcher m)
{
    switch (m) {
    case CM_TRANSMATCHER:
        return "transmatcher";
    case CM_QACONV:
        return "qaconv";
    }
    return NULL;
}

const char *cm_precision_name(enum cm_precision p)
{
    switch (p) {
    case CM_F32:
        return "f32";
    case CM_BF16:
        return "bf16";
    case CM_INT8:
        return "int8";
    }
    return NULL;
}

const char *cm_dtype_name(enum cm_dtype t)
{
    switch (t) {
    case CM_DTYPE_F16:
        return "float16";
    case CM_DTYPE_F32:
        return "float32";
    }
    return NULL;
}

enum cm_matcher cm_matcher_of_name(const char *name)
{
    if (strcmp(name, "transmatcher") == 0)
        return CM_TRANSMATCHER;
    return strcmp(name, "qaconv") == 0 ? CM_QACONV : (enum cm_matcher)0;
}

enum cm_precision cm_precision_of_name(const char *name)
{
    for (int p = CM_F32; p <= CM_INT8; p++)
        if (strcmp(name, cm_precision_name((enum cm_precision)p)) == 0)
            return (enum cm_precision)p;
    return (enum cm_precision)0;
}

size_t cm_dtype_bytes(enum cm_dtype t)
{
    switch (t) {
    case CM_DTYPE_F16:
        return 2;
    case CM_DTYPE_F32:
        return 4;
    }
    return 0;
}

char *cm_fingerprint_text(const struct cm_fingerprint *f, char out[CM_FINGERPRINT_TEXT_BYTES])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof f->bytes; i++) {
        out[2 * i] = digits[f->bytes[i] >> 4];
        out[2 * i + 1] = digits[f->bytes[i] & 15];
    }
    out[CM_FINGERPRINT_TEXT_BYTES - 1] = '\0';
    return out;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cm_fingerprint_of_text(const char *text, struct cm_fingerprint *out)
{
    if (strlen(text) != CM_FINGERPRINT_TEXT_BYTES - 1)
        return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool cm_fingerprint_equal(const struct cm_fingerprint *a, const struct cm_fingerprint *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

size_t cm_padded_depth(size_t channels, enum cm_precision p)
{
    size_t step = p == CM_INT8 ? 4 : p == CM_BF16 ? 2 : 1;
    return (channels + step - 1) / step * step;
}

size_t cm_token_bytes(size_t channels, enum cm_precision p)
{
    size_t size = p == CM_INT8 ? 1 : p == CM_BF16 ? 2 : 4;
    return cm_padded_depth(channels, p) * size;
}

size_t cm_layer_bytes(const struct cm_geometry *g, enum cm_precision p)
{
    size_t scale = p == CM_INT8 ? sizeof(float) : 0;
    return cm_tokens(g) * (cm_token_bytes(g->channels, p) + scale);
}
