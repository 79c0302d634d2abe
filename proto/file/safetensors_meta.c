/* safetensors_meta.c: see safetensors_meta.h. */
#include "proto/file/safetensors_meta.h"

#include "common/geometry.h"
#include "common/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The text of a key in *out, or NULL if the key is absent. */
static enum cm_err get_text(const json_t *metadata, const char *key, const char **out,
                            struct cm_error *e)
{
    const json_t *value = json_object_get(metadata, key);
    *out = json_string_value(value);
    if (value && !*out)
        return cm_fail(e, CM_EFORMAT, "__metadata__: %s must be a JSON string, as all metadata",
                       key);
    return CM_OK;
}

static enum cm_err missing(const char *key, const char *expected, struct cm_error *e)
{
    return cm_fail(e, CM_EFORMAT, "__metadata__: %s is missing; expected %s", key, expected);
}

static enum cm_err take_matcher(const json_t *metadata, enum cm_matcher *out, struct cm_error *e)
{
    static const char expected[] = "\"transmatcher\" or \"qaconv\"";
    const char *text;
    enum cm_err rc = get_text(metadata, "matcher", &text, e);
    if (rc)
        return rc;
    if (!text)
        return missing("matcher", expected, e);
    *out = cm_matcher_of_name(text);
    if (!*out)
        return cm_fail(e, CM_EFORMAT, "__metadata__: matcher is \"%.40s\"; expected %s", text,
                       expected);
    return CM_OK;
}

/* One size; *out keeps what it has if the key is absent, and that must not be UINT32_MAX. */
static enum cm_err take_size(const json_t *metadata, const char *key, uint32_t *out,
                             struct cm_error *e)
{
    static const char expected[] = "a whole number in quotes, such as \"12\"";
    const char *text;
    int64_t value;
    enum cm_err rc = get_text(metadata, key, &text, e);
    if (rc)
        return rc;
    if (!text)
        return *out == UINT32_MAX ? missing(key, expected, e) : CM_OK;
    if (!cm_int_of_text(text, 0, UINT32_MAX - 1, &value))
        return cm_fail(e, CM_EFORMAT, "__metadata__: %s is \"%.40s\"; expected %s", key, text,
                       expected);
    *out = (uint32_t)value;
    return CM_OK;
}

static enum cm_err take_bn_eps(const json_t *metadata, double *out, struct cm_error *e)
{
    const char *text;
    enum cm_err rc = get_text(metadata, "bn_eps", &text, e);
    *out = 1e-5;
    if (rc || !text)
        return rc;
    char *end;
    *out = strtod(text, &end);
    if (end == text || *end || text[strspn(text, "0123456789.eE+-")] || !isfinite(*out) ||
        *out <= 0)
        return cm_fail(e, CM_EFORMAT,
                       "__metadata__: bn_eps is \"%.40s\"; expected a number above 0, such as "
                       "\"1e-05\"",
                       text);
    return CM_OK;
}

enum cm_err pr_safetensors_meta(struct cm_weights *w, const json_t *metadata, struct cm_error *e)
{
    struct cm_geometry *g = &w->geometry;
    if (!json_is_object(metadata))
        return cm_fail(e, CM_EFORMAT,
                       "has no __metadata__; it must state matcher, height, width, d_model, "
                       "num_layers and dim_feedforward (save_file's argument metadata)");
    enum cm_err rc = take_matcher(metadata, &g->matcher, e);
    if (rc)
        return rc;
    bool qaconv = g->matcher == CM_QACONV;
    g->height = g->width = g->channels = UINT32_MAX;
    g->layers = qaconv ? 1 : UINT32_MAX;
    g->ff = qaconv ? 0 : UINT32_MAX;
    bool has_d_model = json_object_get(metadata, "d_model") != NULL;
    rc = take_size(metadata, "height", &g->height, e);
    if (!rc)
        rc = take_size(metadata, "width", &g->width, e);
    if (!rc)
        rc = take_size(metadata, qaconv && !has_d_model ? "num_features" : "d_model", &g->channels,
                       e);
    if (!rc)
        rc = take_size(metadata, "num_layers", &g->layers, e);
    if (!rc)
        rc = take_size(metadata, "dim_feedforward", &g->ff, e);
    if (!rc)
        rc = take_bn_eps(metadata, &w->bn_eps, e);
    if (rc)
        return rc;
    rc = cm_geometry_check(g, e);
    return rc ? cm_wrap(e, rc, "__metadata__") : CM_OK;
}
