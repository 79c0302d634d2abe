/* mem.c: see mem.h. */
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum cm_err cm_new(void **out, size_t count, size_t size, struct cm_error *e)
{
    *out = calloc(count ? count : 1, size ? size : 1);
    if (!*out)
        return cm_fail(e, CM_ENOMEM, "cannot allocate %zu x %zu bytes", count, size);
    return CM_OK;
}

enum cm_err cm_new_aligned(void **out, size_t count, size_t size, struct cm_error *e)
{
    size_t bytes;
    *out = NULL;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > SIZE_MAX - CM_ALIGN ||
        posix_memalign(out, CM_ALIGN, cm_round_up(bytes ? bytes : 1, CM_ALIGN)) != 0) {
        *out = NULL;
        return cm_fail(e, CM_ENOMEM, "cannot allocate %zu x %zu bytes", count, size);
    }
    return CM_OK;
}

enum cm_err cm_copy_text(char **out, const char *text, struct cm_error *e)
{
    *out = strdup(text);
    return *out ? CM_OK : cm_fail(e, CM_ENOMEM, "cannot allocate %zu bytes", strlen(text) + 1);
}
