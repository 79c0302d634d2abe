/* buffer.h: the packed bytes of one message header (frame 0). Pure; any thread. */
#ifndef PR_BUFFER_H
#define PR_BUFFER_H

#include "common/types.h"

#include <stddef.h>

/* `data` comes from malloc: whoever holds the buffer may hand it on and free() it there. */
struct pr_buffer {
    void *data;
    size_t size;
};

/* Frees the bytes; fine after a failed pack and on a zeroed buffer. */
void pr_buffer_fini(struct pr_buffer *b);

/* The bytes, which stay the buffer's. */
static inline struct cm_bytes pr_buffer_bytes(const struct pr_buffer *b)
{
    return (struct cm_bytes){.data = b->data, .size = b->size};
}

#endif
