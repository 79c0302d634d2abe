/* join.h: JOIN, a worker with an empty folder asks what is served here, and its answer GIVERS: the
 * gallery, and who gives its files away. Pure; any thread. */
#ifndef PR_JOIN_H
#define PR_JOIN_H

#include "common/limits.h"
#include "common/types.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/sources.h"

struct pr_join {
    char node[CM_NODE_BYTES_MAX + 1]; /* as in HELLO */
};

struct pr_givers {
    uint64_t epoch;
    struct cm_fingerprint gallery; /* of which a giver has the manifest and the weights */
    struct pr_sources sources;     /* none: nobody is here yet; ask again */
};

/* Errors: as for the last two of this file. */
enum cm_err pr_join_pack(const struct pr_join *m, struct pr_buffer *out, struct cm_error *e);
/* Likewise. */
enum cm_err pr_join_unpack(struct cm_bytes header, struct pr_join *out, struct cm_error *e);

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_givers_pack(const struct pr_givers *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_givers_unpack(struct cm_bytes header, struct pr_givers *out, struct cm_error *e);

#endif
