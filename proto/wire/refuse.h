/* refuse.h: REFUSE, the coordinator does not take a worker in, and says why. Pure; any thread. */
#ifndef PR_REFUSE_H
#define PR_REFUSE_H

#include "common/limits.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

/* Numbers of the wire: never used again for something else. */
#define PR_REFUSAL_MAP(X)                                                                  \
    X(GALLERY, 1, "gallery")         /* it serves another gallery */                       \
    X(MODEL, 2, "model")             /* the same gallery's number with another model */    \
    X(CLASS, 3, "class")             /* its scores would differ in their last bits */      \
    X(VERSION, 4, "version")         /* it speaks another protocol */                      \
    X(SHARDS, 5, "shards")           /* its shards do not lie where others say they lie */ \
    X(FULL, 6, "full")               /* the cluster has CM_MEMBERS_MAX members */          \
    X(NAME, 7, "name")               /* a later worker has taken its name */               \
    X(NOT_PLACING, 8, "not-placing") /* it has no shard, and this coordinator gives none */

enum pr_refusal {
#define PR_REFUSAL_ENUM(name, number, text) PR_REFUSAL_##name = (number),
    PR_REFUSAL_MAP(PR_REFUSAL_ENUM)
#undef PR_REFUSAL_ENUM
};

struct pr_refuse {
    uint64_t epoch;
    enum pr_refusal reason;
    char text[CM_TEXT_BYTES_MAX + 1]; /* one line for the worker's log */
};

/* The short text of a refusal ("gallery"); NULL for a number that is none. Static storage. */
const char *pr_refusal_name(enum pr_refusal reason);

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_refuse_pack(const struct pr_refuse *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_refuse_unpack(struct cm_bytes header, struct pr_refuse *out, struct cm_error *e);

#endif
