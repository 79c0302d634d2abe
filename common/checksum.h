/* checksum.h: CRC-32C for stored and sent bytes, XXH3-128 for fingerprints. The one home of ISA-L
 * and xxHash. Pure; any thread. */
#ifndef CM_CHECKSUM_H
#define CM_CHECKSUM_H

#include "common/err.h"
#include "common/types.h"

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720 B.4) of `size` more bytes after those that gave `crc`; begin with
 * 0. crc32c("123456789") is 0xe3069283. */
uint32_t cm_crc32c(uint32_t crc, const void *data, size_t size);

/* A running fingerprint. new/add/get/free; `get` may be called while more is added later. */
struct cm_hash;
/* Of nothing so far. Free it with cm_hash_free. Errors: CM_ENOMEM. */
enum cm_err cm_hash_new(struct cm_hash **out, struct cm_error *e)
    __attribute__((warn_unused_result));
/* Takes these bytes in, behind all before; and what all of them together come to. */
void cm_hash_add(struct cm_hash *h, const void *data, size_t size);
struct cm_fingerprint cm_hash_get(const struct cm_hash *h);
void cm_hash_free(struct cm_hash *h); /* NULL is fine */

/* The fingerprint of one run of bytes. */
struct cm_fingerprint cm_fingerprint_of(const void *data, size_t size);

#endif
