/* fuzz_safetensors.c: any bytes as weights: an error with a sentence, or finite tensors. */
#include "common/assert.h"
#include "common/geometry.h"
#include "proto/file/safetensors.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

static void check_weights(const struct cm_weights *w)
{
    struct cm_error e;
    CM_ASSERT(!cm_geometry_check(&w->geometry, &e) && w->bn_eps > 0);
    for (size_t i = 0; i < w->tensors_count; i++) {
        const struct cm_tensor *t = &w->tensors[i];
        CM_ASSERT(cm_tensor_find(w, t->name) == t);
        for (uint64_t k = 0; k < t->count; k++)
            CM_ASSERT(isfinite(t->data[k]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    struct cm_error e = {0};
    struct pr_safetensors *s;
    fuzz_file_open(&file, data, size);
    enum cm_err rc = pr_safetensors_read(&s, file.path, &e);
    if (rc)
        CM_ASSERT(!s && strlen(e.text) > strlen(file.path));
    else
        check_weights(pr_safetensors_weights(s));
    pr_safetensors_free(s);
    fuzz_file_close(&file);
    return 0;
}
