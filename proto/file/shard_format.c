/* shard_format.c: see shard_format.h. */
#include "proto/file/shard_format.h"

#include "common/checksum.h"
#include "common/geometry.h"
#include "common/limits.h"
#include "common/mem.h"

#include <stddef.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "stored structs are little-endian");

static const char shard_magic[8] = {'V', 'I', 'T', 'R', 'S', 'H', 'R', 'D'};
static const char weights_magic[8] = {'V', 'I', 'T', 'R', 'W', 'G', 'T', 'S'};

enum { SECTION_ALIGN = 64 };

uint64_t pr_image_stride(const struct cm_geometry *g, enum cm_precision p)
{
    return cm_round_up(g->layers * cm_layer_bytes(g, p), CM_ALIGN);
}

uint32_t pr_images_per_block(uint64_t image_stride)
{
    uint32_t n = CM_BLOCK_IMAGES_MAX;
    while (n > CM_BLOCK_IMAGES_MIN && n * image_stride > CM_BLOCK_BYTES_GOAL)
        n /= 2;
    return n;
}

void pr_shard_header_init(struct pr_shard_header *h, const struct pr_shard_shape *shape)
{
    const struct cm_geometry *g = &shape->geometry;
    *h = (struct pr_shard_header){
        .format_version = PR_FORMAT_VERSION,
        .header_bytes = PR_PAGE_BYTES,
        .matcher = g->matcher,
        .precision = shape->precision,
        .height = g->height,
        .width = g->width,
        .channels = g->channels,
        .layers = g->layers,
        .ff = g->ff,
        .shard_index = shape->shard_index,
        .shards = shape->shards,
        .images_per_block = shape->images_per_block,
        .first_image = shape->first_image,
        .images = shape->images,
        .image_stride = pr_image_stride(g, shape->precision),
        .blocks_offset = PR_PAGE_BYTES,
    };
    memcpy(h->magic, shard_magic, sizeof h->magic);
    h->block_bytes = cm_round_up(h->images_per_block * h->image_stride, PR_PAGE_BYTES);
    h->blocks = (h->images + h->images_per_block - 1) / h->images_per_block;
    h->meta_offset = pr_block_offset(h, h->blocks - 1) + pr_block_bytes(h, h->blocks - 1);
    h->meta_bytes =
        cm_round_up(h->images * PR_META_RECORD_BYTES + shape->names_bytes, SECTION_ALIGN);
    h->table_offset = h->meta_offset + h->meta_bytes;
    h->file_bytes = h->table_offset + cm_round_up(h->blocks * sizeof(uint32_t), SECTION_ALIGN);
}

void pr_shard_header_seal(struct pr_shard_header *h)
{
    h->header_crc32c = cm_crc32c(0, h, offsetof(struct pr_shard_header, header_crc32c));
}

struct cm_geometry pr_shard_geometry(const struct pr_shard_header *h)
{
    return (struct cm_geometry){
        (enum cm_matcher)h->matcher, h->height, h->width, h->channels, h->layers, h->ff};
}

/* The checks that both headers share. `what` is "shard" or "weights". */
static enum cm_err check_page(const void *page, const char magic[8], const char *what,
                              struct cm_error *e)
{
    struct pr_shard_header h; /* both headers begin and end alike */
    static_assert(offsetof(struct pr_weights_header, format_version) ==
                      offsetof(struct pr_shard_header, format_version),
                  "both headers begin alike");
    memcpy(&h, page, sizeof h);
    if (memcmp(h.magic, magic, sizeof h.magic) != 0)
        return cm_fail(e, CM_EFORMAT, "not a vitrine %s file (its first 8 bytes are not '%.8s')",
                       what, magic);
    if (h.format_version != PR_FORMAT_VERSION)
        return cm_fail(e, CM_EVERSION, "%s format version %u; this program reads version %d", what,
                       h.format_version, PR_FORMAT_VERSION);
    uint32_t crc = cm_crc32c(0, page, PR_PAGE_BYTES - sizeof(uint32_t));
    if (crc != h.header_crc32c)
        return cm_fail(e, CM_ECORRUPT, "header checksum is %08x, stored %08x", crc,
                       h.header_crc32c);
    return CM_OK;
}

/* Counts a shape is made of, before anything is computed from them. */
static enum cm_err check_counts(const struct pr_shard_header *h, struct cm_error *e)
{
    struct cm_geometry g = pr_shard_geometry(h);
    enum cm_err rc = cm_geometry_check(&g, e);
    if (rc)
        return rc;
    if (!cm_precision_name((enum cm_precision)h->precision))
        return cm_fail(e, CM_EVERSION, "unknown precision %u", h->precision);
    if (h->shards == 0 || h->shards > CM_SHARDS_MAX || h->shard_index >= h->shards)
        return cm_fail(e, CM_ECORRUPT, "shard %u of %u", h->shard_index, h->shards);
    if (h->images == 0 || h->images > CM_IMAGES_MAX || h->first_image > CM_IMAGES_MAX)
        return cm_fail(e, CM_ECORRUPT, "%llu images from id %llu", (unsigned long long)h->images,
                       (unsigned long long)h->first_image);
    uint64_t stride = pr_image_stride(&g, (enum cm_precision)h->precision);
    if (h->images > CM_SHARD_BYTES_MAX / stride)
        return cm_fail(e, CM_ELIMIT, "%llu images of %llu bytes", (unsigned long long)h->images,
                       (unsigned long long)stride);
    if (h->images_per_block < CM_BLOCK_IMAGES_MIN || h->images_per_block > CM_BLOCK_IMAGES_MAX)
        return cm_fail(e, CM_ECORRUPT, "%u images a block", h->images_per_block);
    /* Names are the only free size; each takes its NUL at least. */
    uint64_t records = h->images * PR_META_RECORD_BYTES;
    if (h->meta_bytes < records + h->images ||
        h->meta_bytes > records + h->images * (CM_NAME_BYTES_MAX + 1) + SECTION_ALIGN)
        return cm_fail(e, CM_ECORRUPT, "%llu bytes of metadata for %llu images",
                       (unsigned long long)h->meta_bytes, (unsigned long long)h->images);
    return CM_OK;
}

enum cm_err pr_shard_header_check(const struct pr_shard_header *h, struct cm_error *e)
{
    enum cm_err rc = check_page(h, shard_magic, "shard", e);
    if (!rc)
        rc = check_counts(h, e);
    if (rc)
        return rc;
    struct pr_shard_shape shape = {
        .geometry = pr_shard_geometry(h),
        .precision = (enum cm_precision)h->precision,
        .shard_index = h->shard_index,
        .shards = h->shards,
        .images_per_block = h->images_per_block,
        .first_image = h->first_image,
        .images = h->images,
        .names_bytes = h->meta_bytes - h->images * PR_META_RECORD_BYTES,
    };
    struct pr_shard_header want;
    pr_shard_header_init(&want, &shape);
    if (memcmp(&want, h, offsetof(struct pr_shard_header, meta_crc32c)) != 0)
        return cm_fail(e, CM_ECORRUPT, "the header's sizes and offsets contradict each other");
    return CM_OK;
}

uint64_t pr_block_images(const struct pr_shard_header *h, uint64_t b)
{
    uint64_t left = h->images - b * h->images_per_block;
    return left < h->images_per_block ? left : h->images_per_block;
}

uint64_t pr_block_offset(const struct pr_shard_header *h, uint64_t b)
{
    return h->blocks_offset + b * h->block_bytes;
}

uint64_t pr_block_bytes(const struct pr_shard_header *h, uint64_t b)
{
    return cm_round_up(pr_block_images(h, b) * h->image_stride, PR_PAGE_BYTES);
}

static struct pr_meta_record record_at(const void *meta, uint64_t i)
{
    struct pr_meta_record r;
    memcpy(&r, (const char *)meta + i * sizeof r, sizeof r);
    return r;
}

enum cm_err pr_shard_meta_check(const struct pr_shard_header *h, const void *meta,
                                struct cm_error *e)
{
    uint64_t records = h->images * PR_META_RECORD_BYTES;
    const char *names = (const char *)meta + records;
    uint64_t room = h->meta_bytes - records, at = 0;
    for (uint64_t i = 0; i < h->images; i++) {
        struct pr_meta_record r = record_at(meta, i);
        if (r.name_offset != at || r.name_bytes > CM_NAME_BYTES_MAX || r.name_bytes >= room - at ||
            memchr(names + at, '\0', r.name_bytes + 1) != names + at + r.name_bytes)
            return cm_fail(e, CM_ECORRUPT, "the metadata record of image %llu is not sound",
                           (unsigned long long)(h->first_image + i));
        at += r.name_bytes + 1;
        if (at == room && i + 1 < h->images)
            return cm_fail(e, CM_ECORRUPT, "the names end at image %llu",
                           (unsigned long long)(h->first_image + i));
    }
    return CM_OK;
}

struct cm_image_meta pr_shard_meta(const struct pr_shard_header *h, const void *meta, uint64_t i)
{
    struct pr_meta_record r = record_at(meta, i);
    const char *names = (const char *)meta + h->images * PR_META_RECORD_BYTES;
    return (struct cm_image_meta){r.pid, r.timestamp, r.camid, names + r.name_offset};
}

struct cm_fingerprint pr_content_fingerprint(const struct cm_fingerprint *parts, size_t count)
{
    static_assert(sizeof *parts == sizeof parts->bytes, "an array of fingerprints has no padding");
    return cm_fingerprint_of(parts, count * sizeof *parts);
}

void pr_weights_header_init(struct pr_weights_header *h, const struct cm_geometry *g,
                            const void *payload, size_t payload_bytes,
                            const struct cm_fingerprint *model)
{
    *h = (struct pr_weights_header){
        .format_version = PR_FORMAT_VERSION,
        .header_bytes = PR_PAGE_BYTES,
        .matcher = g->matcher,
        .height = g->height,
        .width = g->width,
        .channels = g->channels,
        .layers = g->layers,
        .ff = g->ff,
        .payload_bytes = payload_bytes,
        .payload_crc32c = cm_crc32c(0, payload, payload_bytes),
    };
    memcpy(h->magic, weights_magic, sizeof h->magic);
    memcpy(h->model_fingerprint, model->bytes, sizeof h->model_fingerprint);
    h->header_crc32c = cm_crc32c(0, h, offsetof(struct pr_weights_header, header_crc32c));
}

enum cm_err pr_weights_header_check(const struct pr_weights_header *h, struct cm_geometry *g,
                                    struct cm_error *e)
{
    enum cm_err rc = check_page(h, weights_magic, "weights", e);
    if (rc)
        return rc;
    *g = (struct cm_geometry){
        (enum cm_matcher)h->matcher, h->height, h->width, h->channels, h->layers, h->ff};
    return cm_geometry_check(g, e);
}
