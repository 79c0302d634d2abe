/* weights.c: see weights.h. */
#include "common/weights.h"

#include <string.h>

const struct cm_tensor *cm_tensor_find(const struct cm_weights *w, const char *name)
{
    for (size_t i = 0; i < w->tensors_count; i++)
        if (strcmp(w->tensors[i].name, name) == 0)
            return &w->tensors[i];
    return NULL;
}
