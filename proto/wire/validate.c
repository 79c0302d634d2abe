/* validate.c: one pass over MessagePack bytes, see validate.h. */
#include "proto/wire/validate.h"

#include <stdbool.h>
#include <stdint.h>

/* How a value goes on after its first byte. */
enum kind {
    BAD,
    FIXED, /* `bytes` bytes of number */
    BYTES, /* a length of `bytes` bytes, then so many bytes */
    ARRAY, /* a count of `bytes` bytes, then so many values */
    MAP,   /* a count of `bytes` bytes, then twice so many values */
};

struct shape {
    enum kind kind;
    unsigned bytes;
};

/* First bytes 0xc0 to 0xdf. Extension types (c7-c9, d4-d8) and the never used c1 stay BAD. */
static const struct shape SHAPES[32] = {
    [0x00] = {FIXED, 0}, [0x02] = {FIXED, 0}, [0x03] = {FIXED, 0}, /* nil, false, true */
    [0x04] = {BYTES, 1}, [0x05] = {BYTES, 2}, [0x06] = {BYTES, 4}, /* bin */
    [0x0a] = {FIXED, 4}, [0x0b] = {FIXED, 8},                      /* float */
    [0x0c] = {FIXED, 1}, [0x0d] = {FIXED, 2}, [0x0e] = {FIXED, 4}, [0x0f] = {FIXED, 8}, /* uint */
    [0x10] = {FIXED, 1}, [0x11] = {FIXED, 2}, [0x12] = {FIXED, 4}, [0x13] = {FIXED, 8}, /* int */
    [0x19] = {BYTES, 1}, [0x1a] = {BYTES, 2}, [0x1b] = {BYTES, 4},                      /* str */
    [0x1c] = {ARRAY, 2}, [0x1d] = {ARRAY, 4}, [0x1e] = {MAP, 2},   [0x1f] = {MAP, 4},
};

struct scan {
    const uint8_t *at;
    size_t left;                     /* bytes not yet read */
    uint64_t pending;                /* values still owed by all open containers together */
    uint64_t values;                 /* values begun */
    unsigned depth;                  /* open containers */
    uint64_t owed[PR_DEPTH_MAX + 1]; /* values owed by each; [0] is the header itself */
};

/* A big-endian number of `bytes` bytes. False if they are not there. */
static bool take_number(struct scan *s, unsigned bytes, uint64_t *out)
{
    if (bytes > s->left)
        return false;
    *out = 0;
    for (unsigned i = 0; i < bytes; i++)
        *out = *out << 8 | s->at[i];
    s->at += bytes;
    s->left -= bytes;
    return true;
}

static bool skip(struct scan *s, uint64_t bytes)
{
    if (bytes > s->left)
        return false;
    s->at += bytes;
    s->left -= bytes;
    return true;
}

static enum cm_err fail_short(const struct scan *s, struct cm_error *e)
{
    return cm_fail(e, CM_EFORMAT, "message header ends too early, in value %llu",
                   (unsigned long long)s->values);
}

/* `children` values follow inside the value just begun. */
static enum cm_err enter(struct scan *s, uint64_t children, struct cm_error *e)
{
    /* Every value takes at least a byte, so no honest header owes more values than it has bytes. */
    s->pending += children;
    if (s->pending > s->left)
        return cm_fail(e, CM_EFORMAT,
                       "message header claims %llu more values, but only %zu bytes are left",
                       (unsigned long long)s->pending, s->left);
    if (children > 0) {
        if (s->depth == PR_DEPTH_MAX)
            return cm_fail(e, CM_EFORMAT, "message header is nested deeper than %d", PR_DEPTH_MAX);
        s->owed[++s->depth] = children;
    }
    while (s->depth > 0 && s->owed[s->depth] == 0)
        s->depth--;
    return CM_OK;
}

/* The rest of a value whose first byte was in 0xc0..0xdf. */
static enum cm_err scan_shape(struct scan *s, uint8_t tag, struct cm_error *e)
{
    struct shape shape = SHAPES[tag - 0xc0];
    uint64_t n = shape.bytes;
    if (shape.kind == BAD)
        return cm_fail(e, CM_EFORMAT, "message header holds the byte 0x%02x, a type not in use",
                       tag);
    if (shape.kind != FIXED && !take_number(s, shape.bytes, &n))
        return fail_short(s, e);
    if (shape.kind == ARRAY || shape.kind == MAP)
        return enter(s, shape.kind == MAP ? 2 * n : n, e);
    return skip(s, n) ? enter(s, 0, e) : fail_short(s, e);
}

static enum cm_err scan_value(struct scan *s, struct cm_error *e)
{
    uint64_t tag;
    if (!take_number(s, 1, &tag))
        return fail_short(s, e);
    if (++s->values > PR_VALUES_MAX)
        return cm_fail(e, CM_ELIMIT, "message header holds more than %d values", PR_VALUES_MAX);
    s->pending--;
    s->owed[s->depth]--;
    if (tag < 0x80 || tag >= 0xe0) /* small integers */
        return enter(s, 0, e);
    if (tag < 0x90)
        return enter(s, 2 * (tag & 15), e);
    if (tag < 0xa0)
        return enter(s, tag & 15, e);
    if (tag < 0xc0)
        return skip(s, tag & 31) ? enter(s, 0, e) : fail_short(s, e);
    return scan_shape(s, (uint8_t)tag, e);
}

enum cm_err pr_validate(struct cm_bytes header, struct cm_error *e)
{
    if (header.size > CM_HEADER_BYTES_MAX)
        return cm_fail(e, CM_ELIMIT, "message header of %zu bytes; at most %u are allowed",
                       header.size, CM_HEADER_BYTES_MAX);
    struct scan s = {.at = header.data, .left = header.size, .pending = 1, .owed = {1}};
    while (s.pending > 0) {
        enum cm_err rc = scan_value(&s, e);
        if (rc)
            return rc;
    }
    if (s.left > 0)
        return cm_fail(e, CM_EFORMAT, "%zu bytes follow the end of the message header", s.left);
    return CM_OK;
}
