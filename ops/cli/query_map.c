/* query_map.c: see query_map.h. */
#include "ops/cli/query_map.h"

#include "common/checksum.h"
#include "common/mem.h"

#include <stdlib.h>

enum cm_err cli_query_map(const struct pr_npy *n, uint64_t index, struct cm_blob **out,
                          uint32_t *crc32c, struct cm_error *e)
{
    void *bytes;
    *out = NULL;
    enum cm_err rc = cm_new_aligned(&bytes, n->image_bytes, 1, e);
    if (rc)
        return rc;
    rc = pr_npy_read_raw(n, index, 1, bytes, e);
    if (!rc)
        rc = cm_blob_new(out, bytes, n->image_bytes, free, bytes, e);
    if (rc) {
        free(bytes);
        return rc;
    }
    *crc32c = cm_crc32c(0, bytes, n->image_bytes);
    return CM_OK;
}
