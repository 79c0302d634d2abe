/* fuzz_npy.c: any bytes as a .npy file: an error with a sentence, or maps that are finite. */
#include "common/assert.h"
#include "proto/file/npy.h"
#include "tests/fuzz/fuzz.h"

#include <math.h>
#include <string.h>

/* Reads every image both ways; each must succeed or fail alike. */
static void read_all(const struct pr_npy *n)
{
    struct cm_error e;
    float *values = calloc(n->image_floats, sizeof *values);
    void *raw = malloc(n->image_bytes);
    CM_ASSERT(values && raw);
    for (uint64_t i = 0; i < n->images; i++) {
        enum cm_err rc = pr_npy_read(n, i, 1, values, &e);
        CM_ASSERT(rc == pr_npy_read_raw(n, i, 1, raw, &e));
        for (size_t k = 0; k < n->image_floats && !rc; k++)
            CM_ASSERT(isfinite(values[k]));
    }
    free(values);
    free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    struct cm_error e = {0};
    struct pr_npy *n;
    fuzz_file_open(&file, data, size);
    if (pr_npy_open(&n, file.path, &e)) {
        CM_ASSERT(!n && strlen(e.text) > strlen(file.path));
    } else {
        read_all(n);
        pr_npy_close(n);
    }
    fuzz_file_close(&file);
    return 0;
}
