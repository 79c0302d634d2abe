/* validate.h: is this one whole MessagePack value, safe to hand to msgpack-c?
 *
 * msgpack-c believes the count that an array or map states and allocates for it: five hostile bytes
 * cost half a gigabyte. So every header passes through here first. Pure; any thread. */
#ifndef PR_VALIDATE_H
#define PR_VALIDATE_H

#include "common/err.h"
#include "common/limits.h"
#include "common/types.h"

#include <assert.h>

enum {
    PR_DEPTH_MAX = 8, /* containers inside one another; ours go three deep */
    /* Values in one header; msgpack-c takes 24 bytes for each, so at most 12 MiB. */
    PR_VALUES_MAX = 1 << 19,
};

static_assert(PR_VALUES_MAX > CM_SHARDS_MAX * 5 + CM_K_MAX * 7 + 1000,
              "the largest ANSWER (a tuple of 4 for each shard, one of 6 for each hit) fits");
static_assert(PR_VALUES_MAX > CM_POSITIVES_MAX * (3 + 4) + 1000,
              "the largest MEASURED (tuples of 2 and of 3 for each positive) fits");

/* CM_OK if `header` is exactly one MessagePack value: no byte missing or left over, every stated
 * count can be met by the bytes that follow, not nested deeper than PR_DEPTH_MAX, and without
 * extension types, which this protocol does not use. One pass, no allocation. Errors: CM_EFORMAT;
 * CM_ELIMIT (more than CM_HEADER_BYTES_MAX bytes or PR_VALUES_MAX values). */
enum cm_err pr_validate(struct cm_bytes header, struct cm_error *e);

#endif
