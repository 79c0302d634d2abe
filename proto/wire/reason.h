/* reason.h: why a shard was not scored whole. Pure; any thread. */
#ifndef PR_REASON_H
#define PR_REASON_H

#include "common/err.h"

#include <stdint.h>

/* Numbers of the wire: never used again for something else. */
#define PR_REASON_MAP(X)                                                                         \
    X(NONE, 0, "none")               /* every image was scored */                                \
    X(DEADLINE, 1, "deadline")       /* time ran out */                                          \
    X(CORRUPT, 2, "corrupt")         /* a block's checksum did not match, or its page is gone */ \
    X(WORKER_LOST, 3, "worker-lost") /* its worker fell silent or left */                        \
    X(NO_WORKER, 4, "no-worker")     /* nobody holds it */                                       \
    X(OVERLOAD, 5, "overload")       /* its worker had no room for the search */                 \
    X(INTERNAL, 6, "internal")       /* a fault of ours; the worker's log says which */

enum pr_reason {
#define PR_REASON_ENUM(name, number, text) PR_REASON_##name = (number),
    PR_REASON_MAP(PR_REASON_ENUM)
#undef PR_REASON_ENUM
};

/* The short text ("worker-lost"); NULL for a number that is none. Static storage. */
const char *pr_reason_name(enum pr_reason reason);

/* The one rule of coverage: images_scored <= images, and the reason is NONE exactly if all of at
 * least one image were scored. `images` may be 0 where the sender does not know the shard's size.
 * Errors: CM_EFORMAT; CM_ELIMIT (images over CM_IMAGES_MAX). */
enum cm_err pr_check_coverage(enum pr_reason reason, uint64_t images_scored, uint64_t images,
                              struct cm_error *e);

#endif
