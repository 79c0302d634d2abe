/* buffer.c: see buffer.h. */
#include "proto/wire/buffer.h"

#include <stdlib.h>

void pr_buffer_fini(struct pr_buffer *b)
{
    free(b->data);
    *b = (struct pr_buffer){0};
}
