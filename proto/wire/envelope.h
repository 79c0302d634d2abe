/* envelope.h: what every message begins with, and the numbers of the messages.
 *
 * messages.md (one folder up) is the description of the protocol; this is its table of types in C.
 * Pure; any thread. */
#ifndef PR_ENVELOPE_H
#define PR_ENVELOPE_H

#include "common/err.h"
#include "common/types.h"

#include <stdint.h>

enum { PR_VERSION = 1 };

/* A number is never used again for something else. */
#define PR_TYPE_MAP(X)    \
    X(HELLO, 1)           \
    X(WELCOME, 2)         \
    X(REFUSE, 3)          \
    X(REHELLO, 4)         \
    X(HEARTBEAT, 5)       \
    X(LEAVING, 6)         \
    X(SEARCH, 7)          \
    X(CANCEL, 8)          \
    X(RESULT, 9)          \
    X(QUERY, 10)          \
    X(ANSWER, 11)         \
    X(ERROR, 12)          \
    X(STATUS_REQUEST, 13) \
    X(STATUS, 14)         \
    X(EVALUATE, 15)       \
    X(MEASURE, 16)        \
    X(POSITIVES, 17)      \
    X(COUNT, 18)          \
    X(COUNTS, 19)         \
    X(SCORES, 20)         \
    X(MEASURED, 21)       \
    X(JOIN, 22)           \
    X(GIVERS, 23)         \
    X(PLACE, 24)          \
    X(HOLDS, 25)          \
    X(DISMISS, 26)        \
    X(READ, 27)           \
    X(BLOCK, 28)          \
    X(DRAIN, 29)          \
    X(REPLICAS, 30)       \
    X(PLACED, 31)

enum pr_type {
#define PR_TYPE_ENUM(name, number) PR_##name = (number),
    PR_TYPE_MAP(PR_TYPE_ENUM)
#undef PR_TYPE_ENUM
};

struct pr_envelope {
    uint32_t version;
    uint32_t type; /* an enum pr_type, if the version is ours */
    struct cm_query_id id;
    uint64_t epoch;
};

/* "HELLO" and so on; NULL for a number that is no type of this version. Static storage. */
const char *pr_type_name(uint32_t type);

/* Reads only the envelope of a header, so that the receiver can dispatch, or answer in words a peer
 * that it does not understand. The header's bytes are wholly validated; its fields are not looked
 * at. Errors: CM_EFORMAT (no well-formed header; *out is zeroed, or whole if only the type is
 * unknown), CM_EVERSION (another version; *out is whole all the same), CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_peek(struct cm_bytes header, struct pr_envelope *out, struct cm_error *e);

#endif
