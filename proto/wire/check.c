/* check.c: see check.h. */
#include "proto/wire/check.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/limits.h"
#include "common/text.h"
#include "proto/wire/text.h"

#include <math.h>

enum cm_err pr_check_range(const char *name, uint64_t v, uint64_t min, uint64_t max,
                           struct cm_error *e)
{
    if (v < min)
        return cm_fail(e, CM_EFORMAT, "%s is %llu; it must be at least %llu", name,
                       (unsigned long long)v, (unsigned long long)min);
    if (v > max)
        return cm_fail(e, CM_ELIMIT, "%s is %llu; it must be at most %llu", name,
                       (unsigned long long)v, (unsigned long long)max);
    return CM_OK;
}

enum cm_err pr_check_dtype(enum cm_dtype dtype, struct cm_error *e)
{
    if (cm_dtype_bytes(dtype) == 0)
        return cm_fail(e, CM_EFORMAT, "unknown element type %u", (unsigned)dtype);
    return CM_OK;
}

enum cm_err pr_check_node(const char *node, struct cm_error *e)
{
    if (!cm_is_node_name(node))
        return cm_fail(e, CM_EFORMAT,
                       "node name \"%s\" must be 1 to %u characters of A-Z a-z 0-9 . _ -", node,
                       CM_NODE_BYTES_MAX);
    return CM_OK;
}

enum cm_err pr_check_class(const char *numeric_class, struct cm_error *e)
{
    if (!pr_class_ok(numeric_class))
        return cm_fail(e, CM_EFORMAT,
                       "numeric class \"%s\" must be 1 to %u printable ASCII characters without "
                       "space or quote",
                       numeric_class, CM_CLASS_BYTES_MAX);
    return CM_OK;
}

enum cm_err pr_check_hit(const struct cm_hit *hit, const struct cm_hit *before, struct cm_error *e)
{
    if (isnan(hit->score) || (isinf(hit->score) && hit->score > 0))
        return cm_fail(e, CM_EFORMAT, "score %g of image %llu; it must be finite or -inf",
                       (double)hit->score, (unsigned long long)hit->image);
    if (hit->image >= CM_IMAGES_MAX)
        return cm_fail(e, CM_ELIMIT, "image %llu; ids are below %llu",
                       (unsigned long long)hit->image, (unsigned long long)CM_IMAGES_MAX);
    if (before && !cm_hit_before(before, hit))
        return cm_fail(e, CM_EFORMAT, "image %llu does not rank after the hit before it",
                       (unsigned long long)hit->image);
    return CM_OK;
}

enum cm_err pr_check_map(enum cm_dtype dtype, uint32_t height, uint32_t width, uint32_t channels,
                         struct cm_error *e)
{
    enum cm_err rc = pr_check_dtype(dtype, e);
    if (!rc)
        rc = pr_check_range("height", height, 1, CM_SIDE_MAX, e);
    if (!rc)
        rc = pr_check_range("width", width, 1, CM_SIDE_MAX, e);
    if (!rc)
        rc = pr_check_range("channels", channels, 1, CM_CHANNELS_MAX * CM_LAYERS_MAX, e);
    if (rc)
        return rc;
    uint64_t elements = (uint64_t)height * width * channels; /* at most 2^9 * 2^9 * 2^19 */
    return pr_check_range("the feature map's size in bytes", elements * cm_dtype_bytes(dtype), 1,
                          CM_MAP_BYTES_MAX, e);
}

enum cm_err pr_check_query_pid(int64_t pid, struct cm_error *e)
{
    if (pid == 0 || pid == -1)
        return cm_fail(e, CM_EFORMAT, "pid %d is that of %s; no image is right for it", (int)pid,
                       pid ? "junk" : "a distractor");
    return CM_OK;
}

enum cm_err pr_check_payload(const char *name, struct cm_bytes payload, uint64_t floats,
                             enum cm_dtype dtype, uint32_t crc32c, struct cm_error *e)
{
    uint64_t bytes = floats * cm_dtype_bytes(dtype); /* both were checked: far below 2^64 */
    if (payload.size != bytes)
        return cm_fail(e, CM_EFORMAT, "%s has %zu bytes; %llu elements of %s take %llu", name,
                       payload.size, (unsigned long long)floats, cm_dtype_name(dtype),
                       (unsigned long long)bytes);
    uint32_t got = cm_crc32c(0, payload.data, payload.size);
    if (got != crc32c)
        return cm_fail(e, CM_ECORRUPT,
                       "the checksum of %s is %08x, but its header says %08x; send it again", name,
                       got, crc32c);
    return CM_OK;
}
