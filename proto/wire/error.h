/* error.h: ERROR, the coordinator cannot answer a client's request, and says why. Pure; any thread.
 */
#ifndef PR_ERROR_H
#define PR_ERROR_H

#include "common/limits.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

/* Numbers of the wire: never used again for something else. */
#define PR_ERROR_MAP(X)                                                                \
    X(BAD_QUERY, 1, "bad-query")   /* the request itself is wrong; do not repeat it */ \
    X(BUSY, 2, "busy")             /* too many wait already */                         \
    X(NO_GALLERY, 3, "no-gallery") /* no worker has joined yet */                      \
    X(INTERNAL, 4, "internal")     /* a fault of ours */                               \
    X(VERSION, 5, "version")       /* the client speaks another protocol */            \
    X(REFUSED, 6, "refused")       /* what an operator asks would do harm, or cannot be */

enum pr_error_code {
#define PR_ERROR_ENUM(name, number, text) PR_ERROR_##name = (number),
    PR_ERROR_MAP(PR_ERROR_ENUM)
#undef PR_ERROR_ENUM
};

struct pr_error {
    struct cm_query_id id; /* the request's, as far as it could be read */
    uint64_t epoch;
    enum pr_error_code code;
    char text[CM_TEXT_BYTES_MAX + 1]; /* one line for the person who asked */
    uint32_t retry_after_ms;          /* 0: do not; at most CM_DEADLINE_MS_MAX */
};

/* The short text of a code ("busy"); NULL for a number that is none. Static storage. */
const char *pr_error_name(enum pr_error_code code);

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_error_pack(const struct pr_error *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_error_unpack(struct cm_bytes header, struct pr_error *out, struct cm_error *e);

#endif
