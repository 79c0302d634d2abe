/* place.h: PLACE, the coordinator says that a shard is to be at a worker, or not any more; and
 * HOLDS, the worker says whether it has it. Pure; any thread. */
#ifndef PR_PLACE_H
#define PR_PLACE_H

#include "common/limits.h"
#include "common/types.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/sources.h"

struct pr_place {
    uint64_t epoch; /* an order with a lower one than the worker has seen is stale: passed over */
    struct cm_shard_id shard;
    struct pr_sources sources; /* get it from one of these; none: let go of it */
};

struct pr_holds {
    struct cm_shard_id shard;
    uint64_t first_image;             /* 0 if not held */
    uint64_t images;                  /* 0: it is not held */
    char text[CM_TEXT_BYTES_MAX + 1]; /* why it could not be had; "" otherwise */
};

/* Errors: as for the last two of this file. */
enum cm_err pr_place_pack(const struct pr_place *m, struct pr_buffer *out, struct cm_error *e);
/* Likewise. */
enum cm_err pr_place_unpack(struct cm_bytes header, struct pr_place *out, struct cm_error *e);

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_holds_pack(const struct pr_holds *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_holds_unpack(struct cm_bytes header, struct pr_holds *out, struct cm_error *e);

#endif
