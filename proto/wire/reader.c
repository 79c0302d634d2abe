/* reader.c: see reader.h. */
#include "proto/wire/reader.h"

#include "common/assert.h"
#include "common/mem.h"
#include "proto/wire/text.h"
#include "proto/wire/validate.h"

#include <string.h>

enum { KEY_VERSION = 0, KEY_TYPE = 1, KEY_ID = 2, KEY_EPOCH = 3 };

static const char *kind_name(const msgpack_object *o)
{
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        return "nil";
    case MSGPACK_OBJECT_BOOLEAN:
        return "a boolean";
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return "an integer";
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return "a negative integer";
    case MSGPACK_OBJECT_FLOAT32:
        return "a float32";
    case MSGPACK_OBJECT_FLOAT64:
        return "a float64";
    case MSGPACK_OBJECT_STR:
        return "a string";
    case MSGPACK_OBJECT_ARRAY:
        return "an array";
    case MSGPACK_OBJECT_MAP:
        return "a map";
    case MSGPACK_OBJECT_BIN:
        return "binary data";
    case MSGPACK_OBJECT_EXT:
        break;
    }
    return "an unknown type";
}

static void fail_kind(struct pr_reader *r, const msgpack_object *o, const char *name,
                      const char *wanted)
{
    r->rc = cm_fail(r->e, CM_EFORMAT, "%s is %s; it must be %s", name, kind_name(o), wanted);
}

/* Sorts a map's values by key. Refuses keys that are no small integers, doubles, and, where
 * `strict`, keys that must be understood. Of a message in another version only the envelope is
 * read, and not strictly: its other keys mean something else there. */
static void index_map(struct pr_reader *r, const msgpack_object *o, struct pr_fields *f,
                      bool strict)
{
    f->reader = r;
    f->seen = 0;
    if (r->rc)
        return;
    if (o->type != MSGPACK_OBJECT_MAP) {
        fail_kind(r, o, "a group of fields", "a map");
        return;
    }
    for (uint32_t i = 0; i < o->via.map.size && !r->rc; i++) {
        const msgpack_object *key = &o->via.map.ptr[i].key;
        if (key->type != MSGPACK_OBJECT_POSITIVE_INTEGER) {
            fail_kind(r, key, "a key", "a positive integer");
        } else if (key->via.u64 >= PR_KEYS) {
            if (strict)
                r->rc = cm_fail(r->e, CM_EFORMAT,
                                "key %llu is not known here, and keys from %d on must be",
                                (unsigned long long)key->via.u64, PR_KEYS);
        } else if (f->seen >> key->via.u64 & 1) {
            r->rc =
                cm_fail(r->e, CM_EFORMAT, "key %llu comes twice", (unsigned long long)key->via.u64);
        } else {
            f->seen |= UINT64_C(1) << key->via.u64;
            f->values[key->via.u64] = &o->via.map.ptr[i].val;
        }
    }
}

static void parse(struct pr_reader *r, struct cm_bytes header)
{
    size_t at = 0;
    r->rc = pr_validate(header, r->e);
    if (r->rc)
        return;
    msgpack_unpack_return got = msgpack_unpack_next(&r->unpacked, header.data, header.size, &at);
    if (got == MSGPACK_UNPACK_NOMEM_ERROR)
        r->rc = cm_fail(r->e, CM_ENOMEM, "cannot allocate the fields of a header of %zu bytes",
                        header.size);
    else if (got != MSGPACK_UNPACK_SUCCESS || at != header.size)
        r->rc = cm_fail(r->e, CM_EFORMAT, "message header is not MessagePack");
}

void pr_reader_open(struct pr_reader *r, struct cm_bytes header, struct cm_error *e)
{
    *r = (struct pr_reader){.header_bytes = header.size, .e = e};
    msgpack_unpacked_init(&r->unpacked);
    parse(r, header);
    struct pr_fields f;
    index_map(r, &r->unpacked.data, &f, false);
    struct pr_envelope got = {
        .version = pr_get_u32(&f, KEY_VERSION, "version"),
        .type = pr_get_u32(&f, KEY_TYPE, "type"),
        .id.v = pr_get_u64(&f, KEY_ID, "id"),
        .epoch = pr_get_u64(&f, KEY_EPOCH, "epoch"),
    };
    if (r->rc)
        return;
    r->envelope = got;
    if (got.version != PR_VERSION)
        r->rc = cm_fail(e, CM_EVERSION, "the peer speaks protocol version %u; this is version %d",
                        got.version, PR_VERSION);
    else if (!pr_type_name(got.type))
        r->rc = cm_fail(e, CM_EFORMAT, "message type %u is unknown", got.type);
}

void pr_reader_open_message(struct pr_reader *r, struct pr_fields *f, struct cm_bytes header,
                            enum pr_type type, struct cm_error *e)
{
    pr_reader_open(r, header, e);
    index_map(r, &r->unpacked.data, f, true);
    if (!r->rc && r->envelope.type != type)
        r->rc = cm_fail(e, CM_EFORMAT, "it stands where %s was expected", pr_type_name(type));
}

enum cm_err pr_reader_close(struct pr_reader *r)
{
    msgpack_unpacked_destroy(&r->unpacked);
    const char *name = pr_type_name(r->envelope.type);
    if (!r->rc || r->rc == CM_EVERSION || !name)
        return r->rc;
    return cm_wrap(r->e, r->rc, "bad %s message", name);
}

bool pr_has(const struct pr_fields *f, unsigned key)
{
    return !f->reader->rc && (f->seen >> key & 1);
}

/* The value, or NULL once something has failed. */
static const msgpack_object *need(struct pr_fields *f, unsigned key, const char *name)
{
    if (f->reader->rc)
        return NULL;
    if (f->seen >> key & 1)
        return f->values[key];
    f->reader->rc = cm_fail(f->reader->e, CM_EFORMAT, "%s (key %u) is missing", name, key);
    return NULL;
}

/* Of exactly one type, or NULL. */
static const msgpack_object *need_type(struct pr_fields *f, unsigned key, const char *name,
                                       msgpack_object_type type, const char *wanted)
{
    const msgpack_object *o = need(f, key, name);
    if (!o || o->type == type)
        return o;
    fail_kind(f->reader, o, name, wanted);
    return NULL;
}

static uint64_t unsigned_of(struct pr_reader *r, const msgpack_object *o, const char *name,
                            uint64_t max)
{
    if (o->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        fail_kind(r, o, name, "a positive integer");
    else if (o->via.u64 > max)
        r->rc = cm_fail(r->e, CM_EFORMAT, "%s is %llu; at most %llu fits", name,
                        (unsigned long long)o->via.u64, (unsigned long long)max);
    return r->rc ? 0 : o->via.u64;
}

uint32_t pr_get_u32(struct pr_fields *f, unsigned key, const char *name)
{
    const msgpack_object *o = need(f, key, name);
    return o ? (uint32_t)unsigned_of(f->reader, o, name, UINT32_MAX) : 0;
}

uint64_t pr_get_u64(struct pr_fields *f, unsigned key, const char *name)
{
    const msgpack_object *o = need(f, key, name);
    return o ? unsigned_of(f->reader, o, name, UINT64_MAX) : 0;
}

int64_t pr_get_i64(struct pr_fields *f, unsigned key, const char *name)
{
    const msgpack_object *o = need(f, key, name);
    if (o && o->type == MSGPACK_OBJECT_NEGATIVE_INTEGER)
        return o->via.i64;
    return o ? (int64_t)unsigned_of(f->reader, o, name, INT64_MAX) : 0;
}

int32_t pr_get_i32(struct pr_fields *f, unsigned key, const char *name)
{
    int64_t v = pr_get_i64(f, key, name);
    if (v >= INT32_MIN && v <= INT32_MAX)
        return (int32_t)v;
    f->reader->rc = cm_fail(f->reader->e, CM_EFORMAT, "%s is %lld; it does not fit 32 bits", name,
                            (long long)v);
    return 0;
}

float pr_get_f32(struct pr_fields *f, unsigned key, const char *name)
{
    const msgpack_object *o = need_type(f, key, name, MSGPACK_OBJECT_FLOAT32, "a float32");
    return o ? (float)o->via.f64 : 0; /* msgpack-c widens; the way back is exact */
}

bool pr_get_bool(struct pr_fields *f, unsigned key, const char *name)
{
    const msgpack_object *o = need_type(f, key, name, MSGPACK_OBJECT_BOOLEAN, "a boolean");
    return o && o->via.boolean;
}

struct cm_fingerprint pr_get_fingerprint(struct pr_fields *f, unsigned key, const char *name)
{
    struct cm_fingerprint out = {0};
    const msgpack_object *o = need_type(f, key, name, MSGPACK_OBJECT_BIN, "binary data");
    if (o && o->via.bin.size == sizeof out.bytes)
        memcpy(out.bytes, o->via.bin.ptr, sizeof out.bytes);
    else if (o)
        f->reader->rc = cm_fail(f->reader->e, CM_EFORMAT, "%s has %u bytes; it must have %zu", name,
                                o->via.bin.size, sizeof out.bytes);
    return out;
}

struct cm_bytes pr_get_text(struct pr_fields *f, unsigned key, const char *name, size_t max)
{
    struct pr_reader *r = f->reader;
    const msgpack_object *o = need_type(f, key, name, MSGPACK_OBJECT_STR, "a string");
    if (!o)
        return (struct cm_bytes){.data = "", .size = 0};
    struct cm_bytes out = {.data = o->via.str.ptr, .size = o->via.str.size};
    if (out.size > max)
        r->rc = cm_fail(r->e, CM_ELIMIT, "%s has %zu bytes; at most %zu fit", name, out.size, max);
    else if (!pr_text_ok(out.data, out.size))
        r->rc = cm_fail(r->e, CM_EFORMAT, "%s is not printable UTF-8", name);
    return out;
}

void pr_copy_text(struct pr_fields *f, unsigned key, const char *name, char *out, size_t max)
{
    struct cm_bytes text = pr_get_text(f, key, name, max);
    if (f->reader->rc)
        text.size = 0;
    if (text.size > 0)
        memcpy(out, text.data, text.size);
    out[text.size] = '\0';
}

struct pr_list pr_get_list(struct pr_fields *f, unsigned key, const char *name, size_t max)
{
    struct pr_reader *r = f->reader;
    const msgpack_object *o = need_type(f, key, name, MSGPACK_OBJECT_ARRAY, "an array");
    if (o && o->via.array.size > max)
        r->rc = cm_fail(r->e, CM_ELIMIT, "%s holds %u items; at most %zu are allowed", name,
                        o->via.array.size, max);
    if (r->rc)
        return (struct pr_list){0};
    return (struct pr_list){.items = o->via.array.ptr, .count = o->via.array.size};
}

uint32_t pr_item_u32(struct pr_reader *r, const struct pr_list *l, size_t i, const char *name)
{
    CM_ASSERT(i < l->count);
    return r->rc ? 0 : (uint32_t)unsigned_of(r, &l->items[i], name, UINT32_MAX);
}

void pr_item_tuple(struct pr_reader *r, const struct pr_list *l, size_t i, size_t size,
                   struct pr_fields *f)
{
    CM_ASSERT(i < l->count && size < PR_KEYS);
    const msgpack_object *o = &l->items[i];
    f->reader = r;
    f->seen = 0;
    if (r->rc)
        return;
    if (o->type != MSGPACK_OBJECT_ARRAY) {
        fail_kind(r, o, "it", "an array");
        return;
    }
    if (o->via.array.size != size) {
        r->rc = cm_fail(r->e, CM_EFORMAT, "it holds %u values; it must hold %zu", o->via.array.size,
                        size);
        return;
    }
    f->seen = (UINT64_C(1) << size) - 1;
    for (size_t k = 0; k < size; k++)
        f->values[k] = &o->via.array.ptr[k];
}

void pr_item_map(struct pr_reader *r, const struct pr_list *l, size_t i, struct pr_fields *f)
{
    CM_ASSERT(i < l->count);
    index_map(r, &l->items[i], f, true);
}

void pr_get_map(struct pr_fields *f, unsigned key, const char *name, struct pr_fields *inner)
{
    *inner = (struct pr_fields){.reader = f->reader};
    const msgpack_object *o = need_type(f, key, name, MSGPACK_OBJECT_MAP, "a map");
    if (o)
        index_map(f->reader, o, inner, true);
}

void pr_reader_where(struct pr_reader *r, const char *name, size_t i)
{
    if (r->rc)
        r->rc = cm_wrap(r->e, r->rc, "%s %zu", name, i);
}

void *pr_reader_new(struct pr_reader *r, size_t count, size_t size)
{
    void *out = NULL;
    if (!r->rc)
        r->rc = cm_new(&out, count, size, r->e);
    return out;
}
