/* writer.c: see writer.h. Results of msgpack_pack_* are not looked at: they can fail only through
 * append(), which remembers why. */
#include "proto/wire/writer.h"

#include "common/assert.h"
#include "common/limits.h"
#include "proto/wire/text.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_CAPACITY = 512 };

static enum cm_err grow(struct pr_writer *w, size_t need)
{
    if (need > CM_HEADER_BYTES_MAX)
        return cm_fail(w->e, CM_ELIMIT, "the header would take more than %u bytes",
                       CM_HEADER_BYTES_MAX);
    size_t capacity = w->capacity ? w->capacity : FIRST_CAPACITY;
    while (capacity < need)
        capacity *= 2;
    void *data = realloc(w->buffer.data, capacity);
    if (!data)
        return cm_fail(w->e, CM_ENOMEM, "cannot allocate %zu bytes", capacity);
    w->buffer.data = data;
    w->capacity = capacity;
    return CM_OK;
}

/* msgpack_packer_write: 0, or -1 on failure. */
static int append(void *writer, const char *bytes, size_t size)
{
    struct pr_writer *w = writer;
    size_t need = w->buffer.size + size; /* both are far below 2^32 */
    if (!w->rc && need > w->capacity)
        w->rc = grow(w, need);
    if (w->rc)
        return -1;
    if (size > 0)
        memcpy((char *)w->buffer.data + w->buffer.size, bytes, size);
    w->buffer.size = need;
    return 0;
}

void pr_writer_open(struct pr_writer *w, enum pr_type type, struct cm_query_id id, uint64_t epoch,
                    uint32_t fields, struct cm_error *e)
{
    *w = (struct pr_writer){.type = type, .e = e};
    msgpack_packer_init(&w->packer, w, append);
    pr_write_map(w, 4 + fields);
    pr_put_u64(w, 0, PR_VERSION);
    pr_put_u64(w, 1, type);
    pr_put_u64(w, 2, id.v);
    pr_put_u64(w, 3, epoch);
}

enum cm_err pr_writer_close(struct pr_writer *w, struct pr_buffer *out)
{
    if (w->rc)
        pr_buffer_fini(&w->buffer);
    *out = w->buffer;
    return w->rc ? cm_wrap(w->e, w->rc, "cannot pack %s", pr_type_name(w->type)) : CM_OK;
}

void pr_write_key(struct pr_writer *w, uint32_t key)
{
    msgpack_pack_uint32(&w->packer, key);
}

void pr_write_u64(struct pr_writer *w, uint64_t v)
{
    msgpack_pack_uint64(&w->packer, v);
}

void pr_write_i64(struct pr_writer *w, int64_t v)
{
    msgpack_pack_int64(&w->packer, v);
}

void pr_write_f32(struct pr_writer *w, float v)
{
    msgpack_pack_float(&w->packer, v);
}

void pr_write_bool(struct pr_writer *w, bool v)
{
    if (v)
        msgpack_pack_true(&w->packer);
    else
        msgpack_pack_false(&w->packer);
}

void pr_write_fingerprint(struct pr_writer *w, const struct cm_fingerprint *f)
{
    msgpack_pack_bin_with_body(&w->packer, f->bytes, sizeof f->bytes);
}

void pr_write_text(struct pr_writer *w, const char *text, size_t min, size_t max)
{
    CM_ASSERT(max <= CM_NAME_BYTES_MAX);
    if (w->rc)
        return;
    char clean[CM_NAME_BYTES_MAX];
    size_t size = strnlen(text, max + 1);
    if (size < min || size > max) {
        w->rc =
            cm_fail(w->e, CM_ELIMIT, "a text of %zu bytes or more; %zu to %zu fit", size, min, max);
        return;
    }
    pr_text_clean(clean, text, size);
    msgpack_pack_str_with_body(&w->packer, clean, size);
}

void pr_write_list(struct pr_writer *w, size_t count)
{
    msgpack_pack_array(&w->packer, count);
}

void pr_write_map(struct pr_writer *w, size_t count)
{
    msgpack_pack_map(&w->packer, count);
}

void pr_put_u64(struct pr_writer *w, uint32_t key, uint64_t v)
{
    pr_write_key(w, key);
    pr_write_u64(w, v);
}
