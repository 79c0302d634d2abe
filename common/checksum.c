/* checksum.c: see checksum.h. */
#include "common/checksum.h"

#include <assert.h>
#include <isa-l/crc.h>
#include <string.h>
#include <xxhash.h>

uint32_t cm_crc32c(uint32_t crc, const void *data, size_t size)
{
    enum { CHUNK_MAX = 1 << 30 }; /* the library counts in int */
    const unsigned char *p = data;
    uint32_t state = ~crc;
    while (size > 0) {
        int n = size > CHUNK_MAX ? CHUNK_MAX : (int)size;
        state = crc32_iscsi((unsigned char *)(uintptr_t)p, n, state); /* reads only */
        p += n;
        size -= (size_t)n;
    }
    return ~state;
}

static struct cm_fingerprint fingerprint_of_hash(XXH128_hash_t hash)
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, hash);
    struct cm_fingerprint f;
    static_assert(sizeof f.bytes == sizeof canonical.digest, "XXH3-128 is 16 bytes");
    memcpy(f.bytes, canonical.digest, sizeof f.bytes);
    return f;
}

/* The opaque type is the library's own state. */
static XXH3_state_t *state_of(const struct cm_hash *h)
{
    return (XXH3_state_t *)(uintptr_t)h;
}

enum cm_err cm_hash_new(struct cm_hash **out, struct cm_error *e)
{
    XXH3_state_t *state = XXH3_createState();
    *out = (struct cm_hash *)state;
    if (!state)
        return cm_fail(e, CM_ENOMEM, "cannot allocate a hash state");
    XXH3_128bits_reset(state);
    return CM_OK;
}

void cm_hash_add(struct cm_hash *h, const void *data, size_t size)
{
    XXH3_128bits_update(state_of(h), data, size);
}

struct cm_fingerprint cm_hash_get(const struct cm_hash *h)
{
    return fingerprint_of_hash(XXH3_128bits_digest(state_of(h)));
}

void cm_hash_free(struct cm_hash *h)
{
    XXH3_freeState(state_of(h));
}

struct cm_fingerprint cm_fingerprint_of(const void *data, size_t size)
{
    return fingerprint_of_hash(XXH3_128bits(data, size));
}
