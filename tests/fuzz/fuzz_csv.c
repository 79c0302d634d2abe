/* fuzz_csv.c: any bytes as metadata: an error with a sentence, or rows within their bounds. The
 * first byte says how the images are named. */
#include "common/assert.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/file/csv.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_file file;
    struct cm_error e = {0};
    struct cm_image_meta row;
    struct pr_csv *r;
    bool end = false;
    enum pr_names names = size ? data[0] % (PR_NAMES_CUHK03_NP + 1) : PR_NAMES_CSV;
    fuzz_file_open(&file, data + (size > 0), size - (size > 0));
    enum cm_err rc = pr_csv_open(&r, file.path, names, &e);
    while (!rc && !end) {
        rc = pr_csv_next(r, &row, &end, &e);
        if (rc || end)
            continue;
        size_t bytes = strlen(row.name);
        CM_ASSERT(bytes > 0 && bytes <= CM_NAME_BYTES_MAX && cm_is_utf8(row.name, bytes));
        CM_ASSERT(!names || (row.pid >= -1 && row.camid >= 0));
        for (size_t i = 0; i < bytes; i++)
            CM_ASSERT((unsigned char)row.name[i] >= 0x20 && row.name[i] != 0x7f);
    }
    CM_ASSERT(!rc || strlen(e.text) > strlen(file.path));
    pr_csv_close(r);
    fuzz_file_close(&file);
    return 0;
}
