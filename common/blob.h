/* blob.h: bytes shared by reference, such as one query's map on its way to many workers.
 *
 * Immutable after creation. The count is atomic: references may be dropped on any thread (ZeroMQ
 * drops its own on an I/O thread). */
#ifndef CM_BLOB_H
#define CM_BLOB_H

#include "common/err.h"

#include <stddef.h>

struct cm_blob;

/* A blob over `size` bytes at `data`; `release(owner)` runs once, when the last reference goes, on
 * the thread that drops it. On failure nothing was taken over. Errors: CM_ENOMEM. */
enum cm_err cm_blob_new(struct cm_blob **out, const void *data, size_t size,
                        void (*release)(void *owner), void *owner, struct cm_error *e)
    __attribute__((warn_unused_result));

/* A blob with its own copy of the bytes. Errors: CM_ENOMEM. */
enum cm_err cm_blob_copy(struct cm_blob **out, const void *data, size_t size, struct cm_error *e)
    __attribute__((warn_unused_result));

/* One more reference. Returns `b`. */
struct cm_blob *cm_blob_ref(struct cm_blob *b);
/* Drops the reference in *b and sets it to NULL. NULL in *b is fine. */
void cm_blob_unref(struct cm_blob **b);

/* The bytes, for as long as the caller holds its reference, and how many there are. */
const void *cm_blob_data(const struct cm_blob *b);
size_t cm_blob_size(const struct cm_blob *b);

#endif
