/* map.c: see map.h. */
#include "proto/file/map.h"

#include "common/geometry.h"
#include "common/mem.h"
#include "common/text.h"
#include "proto/file/sealed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT_NAME "vitrine-map"

enum { VERSION = 1 };

static json_t *nodes_json(const struct pr_map *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->nodes_count; i++)
        json_array_append_new(list, json_pack("{s:s, s:b}", "name", m->nodes[i].name, "draining",
                                              (int)m->nodes[i].draining));
    return list;
}

static json_t *shards_json(const struct pr_map *m)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < m->shards_count; i++) {
        const struct pr_map_shard *s = &m->shards[i];
        json_t *homes = json_array();
        for (uint32_t h = 0; h < s->homes_count; h++)
            json_array_append_new(homes, json_integer(s->homes[h]));
        json_array_append_new(list, json_pack("{s:I, s:I, s:o}", "first_image",
                                              (json_int_t)s->first_image, "images",
                                              (json_int_t)s->images, "nodes", homes));
    }
    return list;
}

/* Is a list as long as it should be? Appending fails for want of memory. */
static bool is_whole(const json_t *root, const char *key, size_t count)
{
    return json_array_size(json_object_get(root, key)) == count;
}

enum cm_err pr_map_write(const struct pr_map *m, char **text, struct cm_error *e)
{
    char gallery[CM_FINGERPRINT_TEXT_BYTES], model[CM_FINGERPRINT_TEXT_BYTES];
    json_t *root = json_pack("{s:s, s:i, s:I, s:i}", "format", FORMAT_NAME, "version", VERSION,
                             "epoch", (json_int_t)m->epoch, "replicas", (int)m->replicas);
    if (root && m->has_gallery) {
        json_object_set_new(root, "gallery",
                            json_string(cm_fingerprint_text(&m->gallery, gallery)));
        json_object_set_new(root, "model", json_string(cm_fingerprint_text(&m->model, model)));
        json_object_set_new(root, "images", json_integer((json_int_t)m->images));
        json_object_set_new(root, "nodes", nodes_json(m));
        json_object_set_new(root, "shards", shards_json(m));
        if (!is_whole(root, "nodes", m->nodes_count) ||
            !is_whole(root, "shards", m->shards_count)) {
            json_decref(root);
            root = NULL;
        }
    }
    return pr_sealed_write(root, text, e);
}

static enum cm_err get_u32(const json_t *object, const char *key, uint32_t min, uint32_t max,
                           uint32_t *out, struct cm_error *e)
{
    uint64_t value = 0;
    enum cm_err rc = pr_json_count(object, key, min, max, &value, e);
    *out = (uint32_t)value;
    return rc;
}

static enum cm_err get_node(const json_t *row, const struct pr_map *m, uint32_t i,
                            struct cm_error *e)
{
    struct pr_map_node *node = &m->nodes[i];
    const char *name;
    enum cm_err rc = pr_json_text(row, "name", &name, e);
    if (!rc && !cm_is_node_name(name))
        rc = cm_fail(e, CM_EFORMAT, "\"%.80s\" is no node's name", name);
    if (rc)
        return rc;
    snprintf(node->name, sizeof node->name, "%s", name);
    node->draining = json_is_true(json_object_get(row, "draining"));
    for (uint32_t j = 0; j < i; j++)
        if (strcmp(m->nodes[j].name, name) == 0)
            return cm_fail(e, CM_EFORMAT, "node \"%s\" comes twice", name);
    return CM_OK;
}

static enum cm_err get_nodes(const json_t *root, struct pr_map *m, struct cm_error *e)
{
    const json_t *list = json_object_get(root, "nodes");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > CM_MEMBERS_MAX)
        return cm_fail(e, CM_EFORMAT, "\"nodes\" is not a list of at most %u", CM_MEMBERS_MAX);
    void *p;
    enum cm_err rc = cm_new(&p, n, sizeof *m->nodes, e);
    m->nodes = p;
    for (size_t i = 0; !rc && i < n; i++) {
        rc = get_node(json_array_get(list, i), m, (uint32_t)i, e);
        if (rc)
            return cm_wrap(e, rc, "node %zu", i);
    }
    m->nodes_count = rc ? 0 : (uint32_t)n;
    return rc;
}

static enum cm_err get_homes(const json_t *row, const struct pr_map *m, struct pr_map_shard *s,
                             struct cm_error *e)
{
    const json_t *list = json_object_get(row, "nodes");
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n > CM_REPLICAS_MAX)
        return cm_fail(e, CM_EFORMAT, "\"nodes\" is not a list of at most %u", CM_REPLICAS_MAX);
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        json_int_t node = json_integer_value(v);
        if (!json_is_integer(v) || node < 0 || node >= m->nodes_count)
            return cm_fail(e, CM_EFORMAT, "\"nodes\" names a node that is not listed");
        for (size_t j = 0; j < i; j++)
            if (s->homes[j] == (uint32_t)node)
                return cm_fail(e, CM_EFORMAT, "\"nodes\" names node %u twice", s->homes[j]);
        s->homes[i] = (uint32_t)node;
    }
    s->homes_count = (uint32_t)n;
    return CM_OK;
}

/* Shards lie one after the other, as far as they are known, within the gallery. */
static enum cm_err get_shard(const json_t *row, const struct pr_map *m, struct pr_map_shard *s,
                             uint64_t *end, struct cm_error *e)
{
    enum cm_err rc = pr_json_count(row, "images", 0, m->images, &s->images, e);
    if (!rc)
        rc = pr_json_count(row, "first_image", s->images ? *end : 0,
                           s->images ? m->images - s->images : 0, &s->first_image, e);
    if (!rc && s->images)
        *end = s->first_image + s->images;
    return rc ? rc : get_homes(row, m, s, e);
}

static enum cm_err get_shards(const json_t *root, struct pr_map *m, struct cm_error *e)
{
    const json_t *list = json_object_get(root, "shards");
    size_t n = json_array_size(list);
    if (n == 0 || n > CM_SHARDS_MAX)
        return cm_fail(e, CM_EFORMAT, "\"shards\" is not a list of 1 to %u", CM_SHARDS_MAX);
    void *p;
    enum cm_err rc = cm_new(&p, n, sizeof *m->shards, e);
    m->shards = p;
    uint64_t end = 0;
    for (size_t i = 0; !rc && i < n; i++) {
        rc = get_shard(json_array_get(list, i), m, &m->shards[i], &end, e);
        if (rc)
            return cm_wrap(e, rc, "shard %zu", i);
    }
    m->shards_count = rc ? 0 : (uint32_t)n;
    return rc;
}

static enum cm_err get_gallery(const json_t *root, struct pr_map *m, struct cm_error *e)
{
    enum cm_err rc = pr_json_fingerprint(root, "gallery", &m->gallery, e);
    if (!rc)
        rc = pr_json_fingerprint(root, "model", &m->model, e);
    if (!rc)
        rc = pr_json_count(root, "images", 1, CM_IMAGES_MAX, &m->images, e);
    if (!rc)
        rc = get_nodes(root, m, e);
    return rc ? rc : get_shards(root, m, e);
}

static enum cm_err get_fields(const json_t *root, struct pr_map *m, struct cm_error *e)
{
    const char *format;
    enum cm_err rc = pr_json_text(root, "format", &format, e);
    if (!rc && strcmp(format, FORMAT_NAME) != 0)
        rc = cm_fail(e, CM_EFORMAT, "\"format\" is \"%.64s\", not \"" FORMAT_NAME "\"", format);
    json_int_t version = json_integer_value(json_object_get(root, "version"));
    if (!rc && version != VERSION)
        rc = cm_fail(e, CM_EVERSION, "map version %lld; this program reads version %d",
                     (long long)version, VERSION);
    if (!rc)
        rc = pr_json_count(root, "epoch", 0, INT64_MAX - 1, &m->epoch, e);
    if (!rc)
        rc = get_u32(root, "replicas", 1, CM_REPLICAS_MAX, &m->replicas, e);
    m->has_gallery = !rc && json_object_get(root, "gallery");
    return rc || !m->has_gallery ? rc : get_gallery(root, m, e);
}

enum cm_err pr_map_read(struct pr_map *m, const char *text, size_t size, struct cm_error *e)
{
    json_t *root;
    *m = (struct pr_map){0};
    enum cm_err rc = pr_sealed_read(text, size, &root, e);
    if (rc)
        return rc;
    rc = get_fields(root, m, e);
    json_decref(root);
    return rc;
}

void pr_map_fini(struct pr_map *m)
{
    free(m->nodes);
    free(m->shards);
    *m = (struct pr_map){0};
}
