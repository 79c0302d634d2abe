/* The layout of shards and weights files, and what a header is refused for. */
#include "common/checksum.h"
#include "common/limits.h"
#include "proto/file/shard_format.h"
#include "tests/support/golden.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

/* 70 images of 2400 bytes in blocks of 32: two full blocks and one of 6. */
static const struct pr_shard_shape shape = {
    .geometry = {CM_TRANSMATCHER, 5, 3, 20, 2, 33},
    .precision = CM_F32,
    .shard_index = 2,
    .shards = 7,
    .images_per_block = 32,
    .first_image = 1000,
    .images = 70,
    .names_bytes = 700,
};

static struct pr_shard_header new_header(const struct pr_shard_shape *s)
{
    struct pr_shard_header h;
    pr_shard_header_init(&h, s);
    h.meta_crc32c = 0x01234567;
    h.table_crc32c = 0x89abcdef;
    for (size_t i = 0; i < 16; i++) {
        h.model_fingerprint[i] = (uint8_t)(i + 1);
        h.content_fingerprint[i] = (uint8_t)(0xf0 - i);
    }
    pr_shard_header_seal(&h);
    return h;
}

static void assert_refused(const struct pr_shard_header *h, enum cm_err code, const char *part)
{
    e.text[0] = '\0';
    cr_assert_eq(pr_shard_header_check(h, &e), code, "expected \"%s\", got: %s", part, e.text);
    cr_assert(strstr(e.text, part) != NULL, "expected \"%s\" in: %s", part, e.text);
}

Test(shard_format, one_layout_is_known_by_heart)
{
    struct pr_shard_header h = new_header(&shape);
    cr_assert_eq(memcmp(h.magic, "VITRSHRD", 8), 0);
    cr_assert_eq(h.format_version, 1);
    cr_assert_eq(h.header_bytes, 4096);
    cr_assert_eq(h.image_stride, 2432, "2400 up to a multiple of 64");
    cr_assert_eq(h.block_bytes, 77824, "32 strides are 19 pages just so");
    cr_assert_eq(h.blocks, 3);
    cr_assert_eq(h.blocks_offset, 4096);
    cr_assert_eq(h.meta_offset, 4096 + 2 * 77824 + 16384, "6 strides are 4 pages");
    cr_assert_eq(h.meta_bytes, 2944, "70 * 32 + 700 up to a multiple of 64");
    cr_assert_eq(h.table_offset, h.meta_offset + 2944);
    cr_assert_eq(h.file_bytes, h.table_offset + 64);
    cr_assert(pr_block_images(&h, 1) == 32 && pr_block_images(&h, 2) == 6);
    cr_assert(pr_block_bytes(&h, 1) == 77824 && pr_block_bytes(&h, 2) == 16384);
    cr_assert_eq(pr_block_offset(&h, 2), 4096 + 2 * 77824);
}

/* The parts follow each other without a gap, blocks lie on pages, and the header is accepted. */
static void assert_sound(const struct pr_shard_shape *s)
{
    struct pr_shard_header h = new_header(s);
    cr_assert_eq(pr_shard_header_check(&h, &e), CM_OK, "%s", e.text);
    uint64_t at = PR_PAGE_BYTES, images = 0;
    for (uint64_t b = 0; b < h.blocks; b++) {
        cr_assert_eq(pr_block_offset(&h, b), at);
        cr_assert(pr_block_images(&h, b) >= 1 && pr_block_images(&h, b) <= s->images_per_block);
        cr_assert(pr_block_bytes(&h, b) >= pr_block_images(&h, b) * h.image_stride);
        cr_assert_eq(pr_block_bytes(&h, b) % PR_PAGE_BYTES, 0);
        images += pr_block_images(&h, b);
        at += pr_block_bytes(&h, b);
    }
    cr_assert_eq(images, s->images);
    cr_assert_eq(h.meta_offset, at);
    cr_assert(h.meta_bytes % 64 == 0 && h.meta_bytes < s->images * 32 + s->names_bytes + 64);
    cr_assert(h.meta_bytes >= s->images * 32 + s->names_bytes);
    cr_assert_eq(h.table_offset, at + h.meta_bytes);
    cr_assert(h.file_bytes >= h.table_offset + 4 * h.blocks && h.file_bytes % 64 == 0);
    struct cm_geometry g = pr_shard_geometry(&h);
    cr_assert_eq(memcmp(&g, &s->geometry, sizeof g), 0);
}

Test(shard_format, every_layout_is_without_gaps_and_accepted)
{
    static const struct cm_geometry models[] = {
        {CM_TRANSMATCHER, 24, 8, 512, 3, 2048}, {CM_TRANSMATCHER, 12, 12, 128, 2, 512},
        {CM_TRANSMATCHER, 1, 1, 1, 1, 1},       {CM_TRANSMATCHER, 5, 3, 20, 4, 33},
        {CM_QACONV, 24, 8, 128, 1, 0},          {CM_QACONV, 1, 1, 1, 1, 0},
    };
    static const uint64_t images[] = {1, 2, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 513, 1000};
    for (size_t m = 0; m < sizeof models / sizeof *models; m++)
        for (size_t i = 0; i < sizeof images / sizeof *images; i++)
            for (uint32_t block = 32; block <= 256; block *= 2) {
                struct pr_shard_shape s = shape;
                s.geometry = models[m];
                s.images = images[i];
                s.images_per_block = block;
                s.names_bytes = images[i] * (1 + i % 5) + i;
                assert_sound(&s);
            }
}

Test(shard_format, the_largest_shapes_are_accepted)
{
    struct pr_shard_shape s = shape;
    s.geometry = (struct cm_geometry){CM_TRANSMATCHER, 1, 1, 1, 1, 1};
    s.images = CM_IMAGES_MAX;
    s.images_per_block = 256;
    s.first_image = CM_IMAGES_MAX;
    s.names_bytes = s.images * (CM_NAME_BYTES_MAX + 1);
    s.shards = CM_SHARDS_MAX;
    s.shard_index = CM_SHARDS_MAX - 1;
    struct pr_shard_header h = new_header(&s);
    cr_assert_eq(pr_shard_header_check(&h, &e), CM_OK, "%s", e.text);
    s.geometry = (struct cm_geometry){CM_TRANSMATCHER, 64, 64, 1024, 1, 1};
    s.images = CM_SHARD_BYTES_MAX / CM_MAP_BYTES_MAX;
    s.names_bytes = s.images;
    h = new_header(&s);
    cr_assert_eq(pr_shard_header_check(&h, &e), CM_OK, "%s", e.text);
}

Test(shard_format, a_block_has_as_many_images_as_fit_8_mib)
{
    cr_assert_eq(pr_images_per_block(64), 256);
    cr_assert_eq(pr_images_per_block(32768), 256);
    cr_assert_eq(pr_images_per_block(32768 + 64), 128);
    cr_assert_eq(pr_images_per_block(65536), 128);
    cr_assert_eq(pr_images_per_block(65536 + 64), 64);
    cr_assert_eq(pr_images_per_block(131072), 64);
    cr_assert_eq(pr_images_per_block(131072 + 64), 32);
    cr_assert_eq(pr_images_per_block(CM_MAP_BYTES_MAX), 32);
}

/* What a flipped bit in the byte at `at` is refused as. */
static enum cm_err code_of_flip(size_t at)
{
    if (at < 8)
        return CM_EFORMAT;
    return at < 12 ? CM_EVERSION : CM_ECORRUPT;
}

Test(shard_format, every_flipped_bit_of_a_header_is_refused)
{
    struct pr_shard_header h = new_header(&shape);
    unsigned char *bytes = (unsigned char *)&h;
    for (size_t bit = 0; bit < 8 * sizeof h; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        cr_assert_eq(pr_shard_header_check(&h, &e), code_of_flip(bit / 8), "bit %zu: %s", bit,
                     e.text);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    cr_assert_eq(pr_shard_header_check(&h, &e), CM_OK);
}

Test(shard_format, says_what_the_page_is_not)
{
    struct pr_shard_header h = new_header(&shape);
    memcpy(h.magic, "VITRWGTS", 8);
    pr_shard_header_seal(&h);
    assert_refused(&h, CM_EFORMAT,
                   "not a vitrine shard file (its first 8 bytes are not 'VITRSHRD')");
    h = new_header(&shape);
    h.format_version = 2;
    pr_shard_header_seal(&h);
    assert_refused(&h, CM_EVERSION, "shard format version 2; this program reads version 1");
    h = new_header(&shape);
    h.reserved[7] = 1;
    assert_refused(&h, CM_ECORRUPT, "header checksum is ");
    memset(&h, 0, sizeof h);
    assert_refused(&h, CM_EFORMAT, "not a vitrine shard file");
}

/* One field changed by somebody who also fixed the checksum. */
struct change {
    size_t offset;
    size_t bytes;
    uint64_t value;
    enum cm_err code;
    const char *part;
};

#define FIELD(name) \
    offsetof(struct pr_shard_header, name), sizeof((struct pr_shard_header *)0)->name

static void assert_change_refused(const struct change *c)
{
    struct pr_shard_header h = new_header(&shape);
    memcpy((char *)&h + c->offset, &c->value, c->bytes);
    pr_shard_header_seal(&h);
    assert_refused(&h, c->code, c->part);
}

Test(shard_format, fields_that_contradict_each_other_are_refused)
{
    static const char contradict[] = "sizes and offsets contradict each other";
    static const struct change changes[] = {
        {FIELD(header_bytes), 8192, CM_ECORRUPT, contradict},
        {FIELD(matcher), CM_QACONV, CM_EFORMAT, "qaconv has one layer"},
        {FIELD(matcher), 9, CM_EFORMAT, "unknown matcher 9"},
        {FIELD(precision), 0, CM_EVERSION, "unknown precision 0"},
        {FIELD(precision), 7, CM_EVERSION, "unknown precision 7"},
        {FIELD(height), 6, CM_ECORRUPT, contradict},
        {FIELD(width), 0, CM_EFORMAT, "width is 0"},
        {FIELD(channels), 19, CM_ECORRUPT, contradict},
        {FIELD(layers), 3, CM_ECORRUPT, contradict},
        {FIELD(shard_index), 7, CM_ECORRUPT, "shard 7 of 7"},
        {FIELD(shards), 0, CM_ECORRUPT, "shard 2 of 0"},
        {FIELD(shards), 2, CM_ECORRUPT, "shard 2 of 2"},
        {FIELD(images_per_block), 64, CM_ECORRUPT, contradict},
        {FIELD(images_per_block), 31, CM_ECORRUPT, "31 images a block"},
        {FIELD(images_per_block), 0, CM_ECORRUPT, "0 images a block"},
        {FIELD(images), 71, CM_ECORRUPT, contradict},
        {FIELD(images), 69, CM_ECORRUPT, contradict},
        {FIELD(images), 0, CM_ECORRUPT, "0 images from id 1000"},
        {FIELD(image_stride), 2400, CM_ECORRUPT, contradict},
        {FIELD(block_bytes), 77824 + 4096, CM_ECORRUPT, contradict},
        {FIELD(blocks_offset), 0, CM_ECORRUPT, contradict},
        {FIELD(blocks), 2, CM_ECORRUPT, contradict},
        {FIELD(meta_offset), 4096, CM_ECORRUPT, contradict},
        {FIELD(meta_bytes), 2944 + 64, CM_ECORRUPT, contradict},
        {FIELD(meta_bytes), 2944 - 1, CM_ECORRUPT, contradict},
        {FIELD(meta_bytes), 70 * 32, CM_ECORRUPT, "2240 bytes of metadata for 70 images"},
        {FIELD(table_offset), 4096, CM_ECORRUPT, contradict},
        {FIELD(file_bytes), 4096, CM_ECORRUPT, contradict},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        assert_change_refused(&changes[i]);
}

Test(shard_format, sizes_that_would_overflow_are_refused)
{
    static const struct change changes[] = {
        {FIELD(height), UINT32_MAX, CM_ELIMIT, "height is 4294967295; at most 512"},
        {FIELD(width), 513, CM_ELIMIT, "width is 513"},
        {FIELD(channels), UINT32_MAX, CM_ELIMIT, "channels is 4294967295"},
        {FIELD(layers), UINT32_MAX, CM_ELIMIT, "layers is 4294967295"},
        {FIELD(ff), UINT32_MAX, CM_ELIMIT, "is 4294967295; at most 65536"},
        {FIELD(shards), UINT32_MAX, CM_ECORRUPT, "shard 2 of 4294967295"},
        {FIELD(shards), CM_SHARDS_MAX + 1, CM_ECORRUPT, "shard 2 of 65537"},
        {FIELD(images_per_block), UINT32_MAX, CM_ECORRUPT, "4294967295 images a block"},
        {FIELD(images_per_block), 257, CM_ECORRUPT, "257 images a block"},
        {FIELD(images), UINT64_MAX, CM_ECORRUPT, "18446744073709551615 images from id 1000"},
        {FIELD(images), CM_IMAGES_MAX + 1, CM_ECORRUPT, "1099511627777 images"},
        {FIELD(images), CM_IMAGES_MAX, CM_ELIMIT, "1099511627776 images of 2432 bytes"},
        {FIELD(images), CM_SHARD_BYTES_MAX / 2432 + 1, CM_ELIMIT, "of 2432 bytes"},
        {FIELD(first_image), UINT64_MAX, CM_ECORRUPT, "70 images from id 18446744073709551615"},
        {FIELD(first_image), CM_IMAGES_MAX + 1, CM_ECORRUPT, "70 images from id 1099511627777"},
        {FIELD(image_stride), UINT64_MAX, CM_ECORRUPT, "contradict"},
        {FIELD(block_bytes), UINT64_MAX, CM_ECORRUPT, "contradict"},
        {FIELD(blocks), UINT64_MAX, CM_ECORRUPT, "contradict"},
        {FIELD(blocks_offset), UINT64_MAX - 4095, CM_ECORRUPT, "contradict"},
        {FIELD(meta_offset), UINT64_MAX - 2943, CM_ECORRUPT, "contradict"},
        {FIELD(meta_bytes), UINT64_MAX, CM_ECORRUPT, "18446744073709551615 bytes of metadata"},
        {FIELD(meta_bytes), 70 * (32 + 4097) + 65, CM_ECORRUPT, "289095 bytes of metadata"},
        {FIELD(table_offset), UINT64_MAX, CM_ECORRUPT, "contradict"},
        {FIELD(file_bytes), UINT64_MAX, CM_ECORRUPT, "contradict"},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        assert_change_refused(&changes[i]);
}

/* The metadata of three images: "a", "" and "ccc", and what stands there after padding. */
enum { NAMES = 3 * PR_META_RECORD_BYTES, META_BYTES = 128 };

struct meta {
    struct pr_shard_header header;
    union {
        char bytes[META_BYTES + 64]; /* zeroes stand behind the section, as after any in a file */
        struct pr_meta_record records[3];
    };
};

static struct meta new_meta(void)
{
    struct pr_shard_shape s = shape;
    struct meta m;
    memset(&m, 0, sizeof m);
    s.images = 3;
    s.names_bytes = 7;
    m.header = new_header(&s);
    cr_assert_eq(m.header.meta_bytes, META_BYTES);
    m.records[0] = (struct pr_meta_record){-1, 5, 6, 1, 0};
    m.records[1] = (struct pr_meta_record){INT64_MAX, INT64_MIN, INT32_MIN, 0, 2};
    m.records[2] = (struct pr_meta_record){7, 8, 9, 3, 3};
    memcpy(m.bytes + NAMES, "a\0\0ccc", 7);
    return m;
}

Test(shard_format, metadata_is_read_back)
{
    struct meta m = new_meta();
    cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_OK, "%s", e.text);
    struct cm_image_meta a = pr_shard_meta(&m.header, m.bytes, 0);
    cr_assert(a.pid == -1 && a.timestamp == 5 && a.camid == 6 && strcmp(a.name, "a") == 0);
    struct cm_image_meta b = pr_shard_meta(&m.header, m.bytes, 1);
    cr_assert(b.pid == INT64_MAX && b.timestamp == INT64_MIN && b.camid == INT32_MIN);
    cr_assert_str_eq(b.name, "");
    cr_assert_str_eq(pr_shard_meta(&m.header, m.bytes, 2).name, "ccc");
}

Test(shard_format, names_that_do_not_lie_one_after_the_other_are_refused)
{
    static const struct {
        uint32_t image, name_bytes;
        uint64_t name_offset;
    } changes[] = {
        {0, 1, 1},  {0, 0, 0},          {0, 2, 0},          {0, 3, 0},    {0, 31, 0},
        {0, 32, 0}, {0, UINT32_MAX, 0}, {0, 1, UINT64_MAX}, {1, 0, 1},    {1, 0, 3},
        {1, 1, 2},  {1, 4, 2},          {2, 3, 0},          {2, 3, 4},    {2, 2, 3},
        {2, 4, 3},  {2, 28, 3},         {2, 29, 3},         {2, 4097, 3}, {2, UINT32_MAX, 3},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct meta m = new_meta();
        char want[80];
        m.records[changes[i].image].name_bytes = changes[i].name_bytes;
        m.records[changes[i].image].name_offset = changes[i].name_offset;
        cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_ECORRUPT, "change %zu", i);
        snprintf(want, sizeof want, "the metadata record of image %u is not sound",
                 1000 + changes[i].image);
        cr_assert_str_eq(e.text, want, "change %zu: %s", i, e.text);
    }
}

Test(shard_format, a_name_without_its_end_is_refused)
{
    struct meta m = new_meta();
    m.bytes[NAMES + 6] = 'c';
    cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_ECORRUPT);
    cr_assert_str_eq(e.text, "the metadata record of image 1002 is not sound");
    m = new_meta();
    m.bytes[NAMES + 4] = '\0';
    cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_ECORRUPT, "a NUL within a name");
    m = new_meta();
    memset(m.bytes + NAMES, 'x', META_BYTES - NAMES);
    cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_ECORRUPT, "no NUL at all");
    m = new_meta();
    memset(m.bytes + NAMES, 'x', META_BYTES - NAMES - 1);
    m.records[0].name_bytes = META_BYTES - NAMES - 1;
    cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_ECORRUPT);
    cr_assert_str_eq(e.text, "the names end at image 1000");
    m = new_meta();
    m.records[2].name_bytes = META_BYTES - NAMES - 3;
    memset(m.bytes + NAMES + 3, 'x', m.records[2].name_bytes);
    cr_assert_eq(pr_shard_meta_check(&m.header, m.bytes, &e), CM_ECORRUPT,
                 "a NUL behind the section");
}

static struct pr_weights_header new_weights_header(void)
{
    static const char payload[] = "folded weights";
    struct cm_fingerprint model;
    struct pr_weights_header h;
    for (size_t i = 0; i < sizeof model.bytes; i++)
        model.bytes[i] = (uint8_t)(i + 1);
    pr_weights_header_init(&h, &shape.geometry, payload, sizeof payload, &model);
    return h;
}

Test(shard_format, a_weights_header_is_read_back)
{
    struct pr_weights_header h = new_weights_header();
    struct cm_geometry g;
    cr_assert_eq(pr_weights_header_check(&h, &g, &e), CM_OK, "%s", e.text);
    cr_assert_eq(memcmp(&g, &shape.geometry, sizeof g), 0);
    cr_assert_eq(h.payload_bytes, sizeof "folded weights");
    cr_assert_eq(h.payload_crc32c, cm_crc32c(0, "folded weights", sizeof "folded weights"));
    cr_assert(h.model_fingerprint[0] == 1 && h.model_fingerprint[15] == 16);
}

Test(shard_format, every_flipped_bit_of_a_weights_header_is_refused)
{
    struct pr_weights_header h = new_weights_header();
    struct cm_geometry g;
    unsigned char *bytes = (unsigned char *)&h;
    for (size_t bit = 0; bit < 8 * sizeof h; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
        cr_assert_eq(pr_weights_header_check(&h, &g, &e), code_of_flip(bit / 8), "bit %zu: %s", bit,
                     e.text);
        bytes[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
}

Test(shard_format, a_weights_header_of_impossible_sizes_is_refused)
{
    struct pr_weights_header h = new_weights_header();
    struct cm_geometry g;
    h.channels = UINT32_MAX;
    h.header_crc32c = cm_crc32c(0, &h, offsetof(struct pr_weights_header, header_crc32c));
    cr_assert_eq(pr_weights_header_check(&h, &g, &e), CM_ELIMIT);
    cr_assert_str_eq(e.text, "channels is 4294967295; at most 8192 is supported");
    struct pr_shard_header shard = new_header(&shape);
    memcpy(&h, &shard, sizeof h);
    cr_assert_eq(pr_weights_header_check(&h, &g, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "not a vitrine weights file (its first 8 bytes are not 'VITRWGTS')");
}

Test(shard_format, the_bytes_of_version_1_never_change)
{
    struct pr_shard_header h = new_header(&shape);
    test_golden("v1/shard_header.bin", &h, sizeof h);
    struct pr_weights_header w = new_weights_header();
    test_golden("v1/weights_header.bin", &w, sizeof w);
    struct cm_fingerprint parts[2], content;
    memset(parts, 0x5a, sizeof parts);
    content = pr_content_fingerprint(parts, 2);
    test_golden("v1/content_fingerprint.bin", &content, sizeof content);
}
