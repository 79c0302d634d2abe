/* sealed.c: see sealed.h. */
#include "proto/file/sealed.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TAIL_BYTES = 23 }; /* ,"crc32c":"XXXXXXXX"}\n */

enum cm_err pr_sealed_write(json_t *root, char **text, struct cm_error *e)
{
    *text = NULL;
    char *body = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    void *p = NULL;
    size_t body_bytes = body ? strlen(body) - 1 : 0; /* without the closing brace */
    enum cm_err rc = body ? cm_new(&p, body_bytes + TAIL_BYTES, 1, e)
                          : cm_fail(e, CM_ENOMEM, "cannot build the text");
    if (!rc) {
        *text = p;
        memcpy(*text, body, body_bytes);
        snprintf(*text + body_bytes, TAIL_BYTES, ",\"crc32c\":\"%08" PRIx32 "\"}\n",
                 cm_crc32c(0, body, body_bytes));
    }
    free(body);
    return rc;
}

static enum cm_err check_tail(const char *text, size_t size, struct cm_error *e)
{
    char tail[TAIL_BYTES + 1];
    if (size >= TAIL_BYTES) {
        snprintf(tail, sizeof tail, ",\"crc32c\":\"%08" PRIx32 "\"}\n",
                 cm_crc32c(0, text, size - (TAIL_BYTES - 1)));
        if (memcmp(text + size - (TAIL_BYTES - 1), tail, TAIL_BYTES - 1) == 0)
            return CM_OK;
    }
    return cm_fail(e, CM_ECORRUPT, "the checksum at its end does not match the rest of it");
}

enum cm_err pr_sealed_read(const char *text, size_t size, json_t **root, struct cm_error *e)
{
    *root = NULL;
    enum cm_err rc = check_tail(text, size, e);
    if (rc)
        return rc;
    json_error_t why;
    *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &why);
    return *root ? CM_OK : cm_fail(e, CM_EFORMAT, "line %d: %s", why.line, why.text);
}

enum cm_err pr_json_count(const json_t *object, const char *key, uint64_t min, uint64_t max,
                          uint64_t *out, struct cm_error *e)
{
    const json_t *v = json_object_get(object, key);
    json_int_t value = json_integer_value(v);
    if (!json_is_integer(v) || value < 0 || (uint64_t)value < min || (uint64_t)value > max)
        return cm_fail(e, CM_EFORMAT, "\"%s\" is not a whole number from %" PRIu64 " to %" PRIu64,
                       key, min, max);
    *out = (uint64_t)value;
    return CM_OK;
}

enum cm_err pr_json_text(const json_t *object, const char *key, const char **out,
                         struct cm_error *e)
{
    *out = json_string_value(json_object_get(object, key));
    return *out ? CM_OK : cm_fail(e, CM_EFORMAT, "\"%s\" is missing or no string", key);
}

enum cm_err pr_json_fingerprint(const json_t *object, const char *key, struct cm_fingerprint *out,
                                struct cm_error *e)
{
    const char *text;
    enum cm_err rc = pr_json_text(object, key, &text, e);
    if (!rc && !cm_fingerprint_of_text(text, out))
        rc = cm_fail(e, CM_EFORMAT, "\"%s\" is not 32 hex digits", key);
    return rc;
}
