/* mem.h: allocation with checked sizes. Pure; any thread. Memory comes from malloc and goes to
 * free(). Sizes that a file or a peer states are checked against limits.h before they come here. */
#ifndef CM_MEM_H
#define CM_MEM_H

#include "common/err.h"

#include <stddef.h>

enum { CM_ALIGN = 64 }; /* a cache line, and the widest vector register */

/* count * size zeroed bytes in *out, which the caller frees with free(); NULL in *out on failure.
 * Errors: CM_ENOMEM, also where the product overflows. count 0 gives a block that can be freed. */
enum cm_err cm_new(void **out, size_t count, size_t size, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same, aligned to CM_ALIGN and not zeroed. For arrays of numbers. */
enum cm_err cm_new_aligned(void **out, size_t count, size_t size, struct cm_error *e)
    __attribute__((warn_unused_result));

/* A copy of `text` in *out. Errors: CM_ENOMEM. */
enum cm_err cm_copy_text(char **out, const char *text, struct cm_error *e)
    __attribute__((warn_unused_result));

/* `n` rounded up to a multiple of `step`, a power of two. */
static inline size_t cm_round_up(size_t n, size_t step)
{
    return (n + step - 1) & ~(step - 1);
}

#endif
