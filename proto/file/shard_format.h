/* shard_format.h: the bytes of a shard file and of the weights file. FORMAT.md says the same in
 * prose.
 *
 * All numbers are little-endian and stand at their natural alignment; the structs below are the
 * bytes. Pure: no file is touched here. */
#ifndef PR_SHARD_FORMAT_H
#define PR_SHARD_FORMAT_H

#include "common/err.h"
#include "common/types.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PR_FORMAT_VERSION = 1,
    PR_PAGE_BYTES = 4096,     /* header's size, and the alignment of every block in the file */
    PR_META_RECORD_BYTES = 32 /* sizeof(struct pr_meta_record) */
};

/* The first page of a shard. */
struct pr_shard_header {
    char magic[8]; /* "VITRSHRD" */
    uint32_t format_version;
    uint32_t header_bytes;
    uint32_t matcher;   /* enum cm_matcher */
    uint32_t precision; /* enum cm_precision */
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t layers;
    uint32_t ff;
    uint32_t shard_index;
    uint32_t shards; /* of the whole gallery */
    uint32_t images_per_block;
    uint64_t first_image; /* id of this shard's first image; ids run without a gap */
    uint64_t images;
    uint64_t image_stride;  /* bytes from one packed image to the next */
    uint64_t block_bytes;   /* of a full block; a multiple of PR_PAGE_BYTES */
    uint64_t blocks_offset; /* PR_PAGE_BYTES */
    uint64_t blocks;
    uint64_t meta_offset;  /* records, then names */
    uint64_t meta_bytes;   /* with the names and padding to 64 */
    uint64_t table_offset; /* one CRC-32C a block */
    uint64_t file_bytes;
    uint32_t meta_crc32c;
    uint32_t table_crc32c; /* with padding to 64 */
    uint8_t model_fingerprint[16];
    uint8_t content_fingerprint[16]; /* pr_content_fingerprint of the blocks and the metadata */
    uint8_t reserved[3916];          /* zero */
    uint32_t header_crc32c;          /* of the bytes before it */
};
static_assert(sizeof(struct pr_shard_header) == PR_PAGE_BYTES, "the header is one page");
static_assert(offsetof(struct pr_shard_header, format_version) == 8, "pinned");
static_assert(offsetof(struct pr_shard_header, matcher) == 16, "pinned");
static_assert(offsetof(struct pr_shard_header, shard_index) == 44, "pinned");
static_assert(offsetof(struct pr_shard_header, first_image) == 56, "pinned");
static_assert(offsetof(struct pr_shard_header, blocks_offset) == 88, "pinned");
static_assert(offsetof(struct pr_shard_header, meta_offset) == 104, "pinned");
static_assert(offsetof(struct pr_shard_header, file_bytes) == 128, "pinned");
static_assert(offsetof(struct pr_shard_header, meta_crc32c) == 136, "pinned");
static_assert(offsetof(struct pr_shard_header, model_fingerprint) == 144, "pinned");
static_assert(offsetof(struct pr_shard_header, reserved) == 176, "pinned");
static_assert(offsetof(struct pr_shard_header, header_crc32c) == 4092, "pinned");

/* One image's metadata. The name stands at name_offset of the names area, NUL-terminated; names
 * follow each other without a gap. */
struct pr_meta_record {
    int64_t pid;
    int64_t timestamp;
    int32_t camid;
    uint32_t name_bytes; /* without the NUL */
    uint64_t name_offset;
};
static_assert(sizeof(struct pr_meta_record) == PR_META_RECORD_BYTES, "pinned");

/* The first page of the weights file; the folded weights (worker/score/model.h) follow it. */
struct pr_weights_header {
    char magic[8]; /* "VITRWGTS" */
    uint32_t format_version;
    uint32_t header_bytes;
    uint32_t matcher;
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t layers;
    uint32_t ff;
    uint64_t payload_bytes;
    uint32_t payload_crc32c;
    uint8_t model_fingerprint[16];
    uint8_t reserved[4024]; /* zero */
    uint32_t header_crc32c;
};
static_assert(sizeof(struct pr_weights_header) == PR_PAGE_BYTES, "the header is one page");
static_assert(offsetof(struct pr_weights_header, payload_bytes) == 40, "pinned");
static_assert(offsetof(struct pr_weights_header, model_fingerprint) == 52, "pinned");
static_assert(offsetof(struct pr_weights_header, header_crc32c) == 4092, "pinned");

/* What decides a shard's layout; the rest follows. */
struct pr_shard_shape {
    struct cm_geometry geometry; /* checked by cm_geometry_check */
    enum cm_precision precision;
    uint32_t shard_index;
    uint32_t shards;
    uint32_t images_per_block;
    uint64_t first_image;
    uint64_t images;      /* at least 1 */
    uint64_t names_bytes; /* all names with their NULs */
};

/* Bytes from one packed image to the next: its layers, rounded up to 64. */
uint64_t pr_image_stride(const struct cm_geometry *g, enum cm_precision p);

/* Images a block for this stride: the largest of 32, 64, 128, 256 that stays within
 * CM_BLOCK_BYTES_GOAL; 32 if none does. */
uint32_t pr_images_per_block(uint64_t image_stride);

/* A header with every size and offset filled in; checksums and fingerprints are left zero. */
void pr_shard_header_init(struct pr_shard_header *h, const struct pr_shard_shape *shape);

/* Seals a header that is otherwise complete. */
void pr_shard_header_seal(struct pr_shard_header *h);

/* Checks a page read from a file: magic, version, checksum, limits, and that every size and offset
 * is what the shape gives. After CM_OK all fields can be trusted to lie inside file_bytes.
 * Errors: CM_EFORMAT (no shard), CM_EVERSION, CM_ECORRUPT. */
enum cm_err pr_shard_header_check(const struct pr_shard_header *h, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The geometry that a header states. */
struct cm_geometry pr_shard_geometry(const struct pr_shard_header *h);

/* Images, offset and stored bytes of block `b` < h->blocks. The last block may be short. */
uint64_t pr_block_images(const struct pr_shard_header *h, uint64_t b);
uint64_t pr_block_offset(const struct pr_shard_header *h, uint64_t b);
uint64_t pr_block_bytes(const struct pr_shard_header *h, uint64_t b);

/* Checks the metadata section (`meta`, h->meta_bytes of it, 8-byte aligned, checksum verified):
 * names lie one after the other, inside, NUL-terminated. Errors: CM_ECORRUPT. */
enum cm_err pr_shard_meta_check(const struct pr_shard_header *h, const void *meta,
                                struct cm_error *e) __attribute__((warn_unused_result));

/* The metadata of image number `i` < h->images of a checked section; the name is borrowed from it.
 */
struct cm_image_meta pr_shard_meta(const struct pr_shard_header *h, const void *meta, uint64_t i);

/* The fingerprint of a shard's content: XXH3-128 over the XXH3-128 of each block as stored, in
 * order, then that of the metadata section. A tree, so that blocks can be hashed in parallel. */
struct cm_fingerprint pr_content_fingerprint(const struct cm_fingerprint *parts, size_t count);

/* Weights file: make and check the header for `payload`. Errors as above. */
void pr_weights_header_init(struct pr_weights_header *h, const struct cm_geometry *g,
                            const void *payload, size_t payload_bytes,
                            const struct cm_fingerprint *model);
enum cm_err pr_weights_header_check(const struct pr_weights_header *h, struct cm_geometry *g,
                                    struct cm_error *e) __attribute__((warn_unused_result));

#endif
