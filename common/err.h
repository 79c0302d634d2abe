/* err.h: one error code and one sentence for every failure that the outside world can cause.
 *
 * A function that can fail returns `enum cm_err` and takes a `struct cm_error *` last; on failure
 * it fills the sentence (what was wrong, where, what to do) and returns the code. Callers add
 * context on the way up with cm_wrap. A broken promise between two parts of this program is no
 * error: it is a bug, and CM_ASSERT (assert.h) stops on it. Pure; any thread. */
#ifndef CM_ERR_H
#define CM_ERR_H

#include <stddef.h>

#define CM_ERR_MAP(X)                                                                           \
    X(OK, "ok")                                                                                 \
    X(EUSAGE, "bad argument")          /* a flag or parameter that the caller typed */          \
    X(EFORMAT, "bad input")            /* a file or message that is not what it claims to be */ \
    X(ECORRUPT, "corrupt data")        /* a checksum of ours does not match */                  \
    X(EVERSION, "unsupported version") /* made by a newer or older program */                   \
    X(EMISMATCH, "mismatch")           /* sound in itself, but belongs to something else */     \
    X(ELIMIT, "over the limit")        /* larger than limits.h allows */                        \
    X(ENOENT, "not found")                                                                      \
    X(EEXIST, "already exists")                                                                 \
    X(ENOMEM, "out of memory")                                                                  \
    X(ENOSPC, "no space left")                                                                  \
    X(EIO, "input/output error")                                                                \
    X(EBUSY, "busy, try again")                                                                 \
    X(ETIMEOUT, "timed out")                                                                    \
    X(EUNAVAIL, "unavailable") /* nobody is there to answer */                                  \
    X(EREFUSED, "refused")     /* a peer understood and said no */

enum cm_err {
#define CM_ERR_ENUM(name, text) CM_##name,
    CM_ERR_MAP(CM_ERR_ENUM)
#undef CM_ERR_ENUM
};

enum { CM_ERROR_TEXT_BYTES = 640 };

/* One failure. Caller's storage; need not be initialised. `text` is one line without a newline. */
struct cm_error {
    enum cm_err code;
    char text[CM_ERROR_TEXT_BYTES];
};

/* The short name of a code ("not found"). Static storage. */
const char *cm_err_text(enum cm_err code);

/* Fills *e (may be NULL) and returns `code`, so that `return cm_fail(e, ...)` reads as one thought.
 * Longer text is cut. `code` is not CM_OK. */
enum cm_err cm_fail(struct cm_error *e, enum cm_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a failed system call: picks the code from `errnum` (ENOENT, ENOSPC, ENOMEM, EEXIST,
 * ETIMEDOUT; EDQUOT and EFBIG count as ENOSPC; anything else is EIO) and appends ": <strerror>". */
enum cm_err cm_fail_errno(struct cm_error *e, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<context>: " before the text of a failure on its way up; returns its code. `e` may be NULL,
 * then `code` still travels. */
enum cm_err cm_wrap(struct cm_error *e, enum cm_err code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
