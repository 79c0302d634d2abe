/* blob.c: see blob.h. */
#include "common/blob.h"

#include "common/assert.h"
#include "common/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct cm_blob {
    atomic_uint refs;
    const void *data;
    size_t size;
    void (*release)(void *owner);
    void *owner;
};

enum cm_err cm_blob_new(struct cm_blob **out, const void *data, size_t size,
                        void (*release)(void *owner), void *owner, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (rc)
        return rc;
    atomic_init(&(*out)->refs, 1);
    (*out)->data = data;
    (*out)->size = size;
    (*out)->release = release;
    (*out)->owner = owner;
    return CM_OK;
}

enum cm_err cm_blob_copy(struct cm_blob **out, const void *data, size_t size, struct cm_error *e)
{
    void *copy;
    *out = NULL;
    enum cm_err rc = cm_new_aligned(&copy, size, 1, e);
    if (rc)
        return rc;
    if (size > 0)
        memcpy(copy, data, size);
    rc = cm_blob_new(out, copy, size, free, copy, e);
    if (rc)
        free(copy);
    return rc;
}

struct cm_blob *cm_blob_ref(struct cm_blob *b)
{
    unsigned before = atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    CM_ASSERT(before > 0);
    return b;
}

void cm_blob_unref(struct cm_blob **b)
{
    struct cm_blob *blob = *b;
    *b = NULL;
    if (!blob)
        return;
    unsigned before = atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel);
    CM_ASSERT(before > 0);
    if (before > 1)
        return;
    if (blob->release)
        blob->release(blob->owner);
    free(blob);
}

const void *cm_blob_data(const struct cm_blob *b)
{
    return b->data;
}

size_t cm_blob_size(const struct cm_blob *b)
{
    return b->size;
}
