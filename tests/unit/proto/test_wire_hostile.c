/* test_wire_hostile.c: bytes that no pack function makes. Whatever comes, unpacking ends in CM_OK
 * or in a sentence, and what it accepts packs to something that it accepts again. */
#include "common/limits.h"
#include "proto/wire/answer.h"
#include "proto/wire/reader.h"
#include "proto/wire/refuse.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/writer.h"
#include "tests/fuzz/wire_repack.h"
#include "tests/unit/proto/test_wire_examples.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

/* Unpacks as `type` a copy without a byte to spare, so that a sanitizer sees each step too far. */
static enum cm_err offer(enum pr_type type, const void *bytes, size_t size)
{
    void *exact = malloc(size ? size : 1);
    cr_assert(exact != NULL);
    memcpy(exact, bytes, size);
    struct pr_buffer once;
    struct pr_buffer twice;
    e.text[0] = '\0';
    enum cm_err rc = wire_repack(type, (struct cm_bytes){exact, size}, &once, &e);
    free(exact);
    if (rc) {
        cr_assert(once.data == NULL && e.text[0] != '\0');
        return rc;
    }
    cr_assert_eq(wire_repack(type, pr_buffer_bytes(&once), &twice, &e), CM_OK, "%s", e.text);
    cr_assert(once.size == twice.size && memcmp(once.data, twice.data, once.size) == 0);
    pr_buffer_fini(&once);
    pr_buffer_fini(&twice);
    return CM_OK;
}

static struct pr_buffer example(size_t i)
{
    struct pr_buffer b;
    cr_assert_eq(wire_example_pack(wire_examples[i].type, &b, &e), CM_OK, "%s", e.text);
    return b;
}

Test(wire_hostile, no_message_survives_a_cut_or_a_spare_byte)
{
    for (size_t i = 0; i < WIRE_EXAMPLES; i++) {
        struct pr_buffer b = example(i);
        struct pr_envelope env;
        for (size_t size = 0; size < b.size; size++) {
            cr_assert_eq(offer(wire_examples[i].type, b.data, size), CM_EFORMAT, "%s cut at %zu",
                         wire_examples[i].file, size);
            cr_assert_eq(pr_peek((struct cm_bytes){b.data, size}, &env, &e), CM_EFORMAT);
        }
        char *longer = calloc(b.size + 1, 1);
        cr_assert(longer != NULL);
        memcpy(longer, b.data, b.size);
        cr_assert_eq(offer(wire_examples[i].type, longer, b.size + 1), CM_EFORMAT);
        cr_assert_str_eq(e.text, "1 bytes follow the end of the message header");
        free(longer);
        pr_buffer_fini(&b);
    }
}

Test(wire_hostile, any_byte_may_change)
{
    static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80, 0xff};
    size_t refused = 0;
    for (size_t i = 0; i < WIRE_EXAMPLES; i++) {
        struct pr_buffer b = example(i);
        uint8_t *bytes = b.data;
        for (size_t at = 0; at < b.size; at++)
            for (size_t f = 0; f < sizeof flips; f++) {
                bytes[at] ^= flips[f];
                refused += offer(wire_examples[i].type, bytes, b.size) != CM_OK;
                bytes[at] ^= flips[f];
            }
        pr_buffer_fini(&b);
    }
    cr_assert(refused > 1000, "only %zu refused", refused);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* Between one and four changes: a byte set, a run copied elsewhere, an end cut off. */
static size_t mutate(uint8_t *bytes, size_t size, uint64_t *seed)
{
    for (uint64_t n = 1 + next_random(seed) % 4; n > 0 && size > 0; n--) {
        size_t at = next_random(seed) % size;
        size_t from = next_random(seed) % size;
        size_t room = size - (at > from ? at : from);
        switch (next_random(seed) % 8) {
        case 0:
            memmove(bytes + at, bytes + from, next_random(seed) % room);
            break;
        case 1:
            size = at;
            break;
        default:
            bytes[at] = (uint8_t)next_random(seed);
        }
    }
    return size;
}

Test(wire_hostile, random_changes_with_a_fixed_seed)
{
    uint64_t seed = 20240607;
    size_t accepted = 0;
    for (size_t round = 0; round < 1000; round++)
        for (size_t i = 0; i < WIRE_EXAMPLES; i++) {
            struct pr_buffer b = example(i);
            size_t size = mutate(b.data, b.size, &seed);
            accepted += offer(wire_examples[i].type, b.data, size) == CM_OK;
            pr_buffer_fini(&b);
        }
    cr_assert(accepted > 100 && accepted < 1000 * WIRE_EXAMPLES, "%zu accepted", accepted);
}

static void expect_refused(struct pr_writer *w, enum cm_err want, const char *text)
{
    struct pr_buffer b;
    enum pr_type type = w->type;
    cr_assert_eq(pr_writer_close(w, &b), CM_OK);
    enum cm_err rc = offer(type, b.data, b.size);
    pr_buffer_fini(&b);
    cr_assert_eq(rc, want, "got %d (%s), not refused for \"%s\"", (int)rc, e.text, text);
    cr_assert(strstr(e.text, text) != NULL, "\"%s\" does not say \"%s\"", e.text, text);
}

/* A SEARCH up to its list of shards. */
static void open_search(struct pr_writer *w, size_t shards)
{
    pr_writer_open(w, PR_SEARCH, (struct cm_query_id){1}, 0, 5, NULL);
    pr_put_u64(w, 16, 10);
    pr_put_u64(w, 17, 1000);
    pr_put_u64(w, 18, CM_DTYPE_F32);
    pr_put_u64(w, 19, 0);
    pr_write_key(w, 20);
    pr_write_list(w, shards);
}

Test(wire_hostile, searches)
{
    struct pr_writer w;
    open_search(&w, 0);
    expect_refused(&w, CM_EFORMAT, "bad SEARCH message: the number of shards is 0");
    open_search(&w, 2);
    pr_write_u64(&w, 7);
    pr_write_u64(&w, 7);
    expect_refused(&w, CM_EFORMAT, "shard 7 comes after shard 7");
    open_search(&w, 1);
    pr_write_i64(&w, -1);
    expect_refused(&w, CM_EFORMAT, "shard is a negative integer");
    open_search(&w, 1);
    pr_write_u64(&w, UINT64_C(1) << 32);
    expect_refused(&w, CM_EFORMAT, "shard is 4294967296; at most 4294967295 fits");
    open_search(&w, CM_SHARDS_MAX + 1);
    for (uint32_t i = 0; i <= CM_SHARDS_MAX; i++)
        pr_write_u64(&w, i);
    expect_refused(&w, CM_ELIMIT, "shards holds 65537 items; at most 65536 are allowed");
    open_search(&w, UINT32_MAX);
    expect_refused(&w, CM_EFORMAT, "message header claims 4294967295 more values");
}

/* A complete RESULT for shard 0 up to its list of hits. */
static void open_scored(struct pr_writer *w, enum pr_reason reason, uint64_t scored,
                        uint64_t images, size_t hits)
{
    pr_writer_open(w, PR_RESULT, (struct cm_query_id){1}, 0, 6, NULL);
    pr_write_key(w, 16);
    pr_write_list(w, 1);
    pr_write_list(w, 4);
    pr_write_u64(w, 0);
    pr_write_u64(w, scored);
    pr_write_u64(w, images);
    pr_write_u64(w, 0);
    for (uint32_t key = 17; key <= 20; key++)
        pr_put_u64(w, key, key == 17 ? reason : 0);
    pr_write_key(w, 21);
    pr_write_list(w, hits);
}

static void open_result(struct pr_writer *w, uint64_t images, size_t hits)
{
    open_scored(w, PR_REASON_NONE, images, images, hits);
}

static void write_hit(struct pr_writer *w, uint64_t image, float score, const char *name)
{
    pr_write_list(w, 6);
    pr_write_u64(w, image);
    pr_write_f32(w, score);
    pr_write_i64(w, 0);
    pr_write_i64(w, 0);
    pr_write_i64(w, 0);
    pr_write_text(w, name, 0, CM_NAME_BYTES_MAX);
}

Test(wire_hostile, rankings)
{
    struct pr_writer w;
    open_result(&w, 1, 1);
    write_hit(&w, 0, NAN, "a");
    expect_refused(&w, CM_EFORMAT, "bad RESULT message: hit 0: score nan of image 0");
    open_result(&w, 1, 1);
    write_hit(&w, 0, -NAN, "a");
    expect_refused(&w, CM_EFORMAT, "hit 0: score");
    open_result(&w, 1, 1);
    write_hit(&w, 0, INFINITY, "a");
    expect_refused(&w, CM_EFORMAT, "hit 0: score inf of image 0");
    open_result(&w, 2, 2);
    write_hit(&w, 0, 1, "a");
    write_hit(&w, 1, 2, "b");
    expect_refused(&w, CM_EFORMAT, "hit 1: image 1 does not rank after the hit before it");
    open_result(&w, 1, 2);
    write_hit(&w, 0, 1, "a");
    write_hit(&w, 1, 1, "b");
    expect_refused(&w, CM_ELIMIT, "the number of hits is 2; it must be at most 1");
    open_result(&w, 1, 1);
    write_hit(&w, 0, 1, "");
    expect_refused(&w, CM_EFORMAT, "hit 0: the length of name is 0");
    open_result(&w, CM_K_MAX + 1, CM_K_MAX + 1);
    for (uint64_t i = 0; i <= CM_K_MAX; i++)
        write_hit(&w, i, 0, "a");
    expect_refused(&w, CM_ELIMIT, "hits holds 10001 items; at most 10000 are allowed");
}

/* A RESULT with one hit, whose value `at` is spoiled by `spoil`. */
static void open_spoiled_hit(struct pr_writer *w, unsigned at, void (*spoil)(struct pr_writer *w))
{
    open_result(w, 1, 1);
    pr_write_list(w, 6);
    for (unsigned i = 0; i < 6; i++)
        if (i == at)
            spoil(w);
        else if (i == 1)
            pr_write_f32(w, 1);
        else if (i == 5)
            pr_write_text(w, "a", 1, 1);
        else
            pr_write_u64(w, 0);
}

static void write_double(struct pr_writer *w)
{
    msgpack_pack_double(&w->packer, 1);
}

static void write_2_to_31(struct pr_writer *w)
{
    pr_write_u64(w, UINT64_C(1) << 31);
}

static void write_2_to_63(struct pr_writer *w)
{
    pr_write_u64(w, UINT64_C(1) << 63);
}

static void write_bad_text(struct pr_writer *w)
{
    msgpack_pack_str(&w->packer, 2);
    msgpack_pack_str_body(&w->packer, "\xc3(", 2);
}

static void write_nul(struct pr_writer *w)
{
    msgpack_pack_str(&w->packer, 3);
    msgpack_pack_str_body(&w->packer, "a\0b", 3);
}

static void write_long_text(struct pr_writer *w)
{
    static char name[CM_NAME_BYTES_MAX + 1];
    memset(name, 'n', sizeof name);
    msgpack_pack_str(&w->packer, sizeof name);
    msgpack_pack_str_body(&w->packer, name, sizeof name);
}

Test(wire_hostile, hits_of_another_make)
{
    struct pr_writer w;
    open_spoiled_hit(&w, 1, write_double);
    expect_refused(&w, CM_EFORMAT, "hit 0: score is a float64; it must be a float32");
    open_spoiled_hit(&w, 3, write_2_to_31);
    expect_refused(&w, CM_EFORMAT, "hit 0: camid is 2147483648; it does not fit 32 bits");
    open_spoiled_hit(&w, 2, write_2_to_63);
    expect_refused(&w, CM_EFORMAT, "hit 0: pid is 9223372036854775808");
    open_spoiled_hit(&w, 5, write_bad_text);
    expect_refused(&w, CM_EFORMAT, "hit 0: name is not printable UTF-8");
    open_spoiled_hit(&w, 5, write_nul);
    expect_refused(&w, CM_EFORMAT, "hit 0: name is not printable UTF-8");
    open_spoiled_hit(&w, 5, write_long_text);
    expect_refused(&w, CM_ELIMIT, "hit 0: name has 4097 bytes; at most 4096 fit");
    open_result(&w, 1, 1);
    pr_write_list(&w, 0);
    expect_refused(&w, CM_EFORMAT, "hit 0: it holds 0 values; it must hold 6");
    open_result(&w, 1, 1);
    pr_write_list(&w, 7);
    for (int i = 0; i < 7; i++)
        pr_write_u64(&w, 0);
    expect_refused(&w, CM_EFORMAT, "hit 0: it holds 7 values; it must hold 6");
    open_result(&w, 1, 1);
    pr_write_u64(&w, 5);
    expect_refused(&w, CM_EFORMAT, "hit 0: it is an integer; it must be an array");
}

Test(wire_hostile, coverage_that_does_not_add_up)
{
    struct pr_writer w;
    open_result(&w, 0, 0);
    expect_refused(&w, CM_EFORMAT, "0 of 0 images scored does not go with reason \"none\"");
    open_scored(&w, PR_REASON_DEADLINE, 6, 5, 0);
    expect_refused(&w, CM_EFORMAT, "6 images scored of only 5");
}

/* The example of a type without the value of field `key`, which comes last: the test writes it. */
static void open_spoiled(struct pr_writer *w, enum pr_type type, uint32_t key)
{
    struct pr_buffer b;
    cr_assert_eq(wire_example_pack(type, &b, &e), CM_OK, "%s", e.text);
    struct pr_reader r;
    struct pr_fields f;
    pr_reader_open_message(&r, &f, pr_buffer_bytes(&b), type, &e);
    cr_assert(pr_has(&f, key), "type %d, key %u", (int)type, key);
    pr_writer_open(w, type, (struct cm_query_id){1}, 0, r.unpacked.data.via.map.size - 4, NULL);
    for (uint32_t k = 16; k < PR_KEYS; k++)
        if (k != key && pr_has(&f, k)) {
            pr_write_key(w, k);
            msgpack_pack_object(&w->packer, *f.values[k]);
        }
    pr_write_key(w, key);
    cr_assert_eq(pr_reader_close(&r), CM_OK);
    pr_buffer_fini(&b);
}

/* One value in the example of an evaluation's message that it may not have. */
static const struct {
    enum pr_type type;
    uint32_t key;
    uint64_t value;
    enum cm_err want;
    const char *text;
} spoiled[] = {
    {PR_EVALUATE, 16, 0, CM_EFORMAT, "bad EVALUATE message: pid 0 is that of a distractor"},
    {PR_EVALUATE, 16, UINT64_MAX, CM_EFORMAT, "pid is 18446744073709551615"},
    {PR_EVALUATE, 17, 1u << 31, CM_EFORMAT, "camid is 2147483648; it does not fit 32 bits"},
    {PR_EVALUATE, 18, 1, CM_EFORMAT, "want_scores is an integer; it must be a boolean"},
    {PR_EVALUATE, 19, 3, CM_EFORMAT, "unknown element type 3"},
    {PR_EVALUATE, 20, 0, CM_EFORMAT, "height is 0"},
    {PR_EVALUATE, 20, 513, CM_ELIMIT, "height is 513"},
    {PR_EVALUATE, 21, 0, CM_EFORMAT, "width is 0"},
    {PR_EVALUATE, 21, 513, CM_ELIMIT, "width is 513"},
    {PR_EVALUATE, 22, 0, CM_EFORMAT, "channels is 0"},
    {PR_EVALUATE, 22, 524289, CM_ELIMIT, "channels is 524289"},
    {PR_EVALUATE, 22, 524288, CM_ELIMIT, "size in bytes is 402653184"},
    {PR_EVALUATE, 23, UINT64_C(1) << 32, CM_EFORMAT, "payload_crc32c is 4294967296"},
    {PR_MEASURE, 16, 0, CM_EFORMAT, "bad MEASURE message: pid 0 is that of a distractor"},
    {PR_MEASURE, 17, 1u << 31, CM_EFORMAT, "camid is 2147483648; it does not fit 32 bits"},
    {PR_MEASURE, 18, 0, CM_EFORMAT, "want_scores is an integer; it must be a boolean"},
    {PR_MEASURE, 19, 0, CM_EFORMAT, "unknown element type 0"},
    {PR_MEASURE, 20, UINT64_C(1) << 32, CM_EFORMAT, "payload_crc32c is 4294967296"},
    {PR_MEASURE, 21, 0, CM_EFORMAT, "shards is an integer; it must be an array"},
    {PR_POSITIVES, 16, 65536, CM_ELIMIT, "bad POSITIVES message: shard is 65536"},
    {PR_POSITIVES, 17, 7, CM_EFORMAT, "unknown reason 7"},
    {PR_POSITIVES, 17, PR_REASON_CORRUPT, CM_ELIMIT, "valid is 3900; it must be at most 0"},
    {PR_POSITIVES, 18, 0, CM_EFORMAT, "0 of 0 images scored does not go with reason \"none\""},
    {PR_POSITIVES, 18, CM_IMAGES_MAX + 1, CM_ELIMIT, "images is 1099511627777"},
    {PR_POSITIVES, 18, 3999, CM_EFORMAT,
     "3900 valid images, 60 of the same camera and 40 of junk do not make 3999"},
    {PR_POSITIVES, 19, 3901, CM_EFORMAT, "3901 valid images, 60 of the same"},
    {PR_POSITIVES, 19, UINT64_MAX - 99, CM_ELIMIT, "valid is 18446744073709551516"},
    {PR_POSITIVES, 20, 59, CM_EFORMAT, "59 of the same camera"},
    {PR_POSITIVES, 20, UINT64_MAX, CM_ELIMIT, "same_camera is 18446744073709551615"},
    {PR_POSITIVES, 21, 41, CM_EFORMAT, "41 of junk"},
    {PR_POSITIVES, 21, UINT64_MAX, CM_ELIMIT, "junk is 18446744073709551615"},
    {PR_POSITIVES, 22, 3901, CM_ELIMIT, "distractors is 3901; it must be at most 3900"},
    {PR_POSITIVES, 22, 3898, CM_ELIMIT, "number of positives is 3; it must be at most 2"},
    {PR_POSITIVES, 23, 4001, CM_ELIMIT, "overflowed is 4001; it must be at most 4000"},
    {PR_POSITIVES, 27, 0, CM_EFORMAT, "positives is an integer; it must be an array"},
    {PR_COUNT, 16, 0, CM_EFORMAT, "bad COUNT message: positives is an integer"},
    {PR_COUNTS, 16, 0, CM_EFORMAT, "bad COUNTS message: counts is an integer"},
    {PR_SCORES, 16, 65536, CM_ELIMIT, "bad SCORES message: shard is 65536"},
    {PR_SCORES, 17, CM_IMAGES_MAX - 3999, CM_ELIMIT, "first_image is 1099511623777"},
    {PR_SCORES, 17, UINT64_MAX, CM_ELIMIT, "first_image is 18446744073709551615"},
    {PR_SCORES, 18, 0, CM_EFORMAT, "count is 0"},
    {PR_SCORES, 18, CM_SCORES_MAX + 1, CM_ELIMIT, "count is 1048577"},
    {PR_SCORES, 19, UINT64_C(1) << 32, CM_EFORMAT, "payload_crc32c is 4294967296"},
    {PR_MEASURED, 16, 0, CM_EFORMAT, "bad MEASURED message: images is 0"},
    {PR_MEASURED, 16, CM_IMAGES_MAX + 1, CM_ELIMIT, "images is 1099511627777"},
    {PR_MEASURED, 16, 1000001, CM_EFORMAT, "do not make 1000001"},
    {PR_MEASURED, 17, 0, CM_EFORMAT, "shards is 0"},
    {PR_MEASURED, 17, 65537, CM_ELIMIT, "shards is 65537"},
    {PR_MEASURED, 18, 949999, CM_EFORMAT, "949999 valid images"},
    {PR_MEASURED, 19, 1000001, CM_ELIMIT, "same_camera is 1000001"},
    {PR_MEASURED, 20, 20001, CM_EFORMAT, "20001 of junk"},
    {PR_MEASURED, 21, 949998, CM_ELIMIT, "number of positives is 3; it must be at most 2"},
    {PR_MEASURED, 22, 1000001, CM_ELIMIT, "overflowed is 1000001"},
    {PR_MEASURED, 23, 1, CM_EFORMAT, "mixed is an integer; it must be a boolean"},
    {PR_MEASURED, 29, 0, CM_EFORMAT, "missing shards is an integer; it must be an array"},
    {PR_MEASURED, 30, 0, CM_EFORMAT, "positives is an integer; it must be an array"},
    {PR_MEASURED, 31, 0, CM_EFORMAT, "counts is an integer; it must be an array"},
};

Test(wire_hostile, fields_of_an_evaluation)
{
    struct pr_writer w;
    for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
        open_spoiled(&w, spoiled[i].type, spoiled[i].key);
        pr_write_u64(&w, spoiled[i].value);
        expect_refused(&w, spoiled[i].want, spoiled[i].text);
    }
    open_spoiled(&w, PR_EVALUATE, 16);
    pr_write_i64(&w, -1);
    expect_refused(&w, CM_EFORMAT, "pid -1 is that of junk; no image is right for it");
    open_spoiled(&w, PR_MEASURE, 16);
    pr_write_i64(&w, -1);
    expect_refused(&w, CM_EFORMAT, "pid -1 is that of junk; no image is right for it");
    open_spoiled(&w, PR_MEASURE, 21);
    pr_write_list(&w, 0);
    expect_refused(&w, CM_EFORMAT, "the number of shards is 0");
}

/* A COUNT or MEASURED up to its list of positives. */
static void open_positives(struct pr_writer *w, enum pr_type type, size_t positives)
{
    open_spoiled(w, type, type == PR_COUNT ? 16 : 30);
    pr_write_list(w, positives);
}

static void write_positive(struct pr_writer *w, uint64_t image, float score)
{
    pr_write_list(w, 2);
    pr_write_u64(w, image);
    pr_write_f32(w, score);
}

/* Two positives of which the second is no good. */
static void expect_second_refused(uint64_t image, float score, enum cm_err want, const char *text)
{
    struct pr_writer w;
    open_positives(&w, PR_COUNT, 2);
    write_positive(&w, 5, 1);
    write_positive(&w, image, score);
    expect_refused(&w, want, text);
}

Test(wire_hostile, positives)
{
    struct pr_writer w;
    expect_second_refused(6, NAN, CM_EFORMAT, "positive 1: score nan of image 6");
    expect_second_refused(6, INFINITY, CM_EFORMAT, "positive 1: score inf of image 6");
    expect_second_refused(6, 2, CM_EFORMAT, "positive 1: image 6 does not rank after");
    expect_second_refused(4, 1, CM_EFORMAT, "positive 1: image 4 does not rank after");
    expect_second_refused(5, 1, CM_EFORMAT, "positive 1: image 5 does not rank after");
    expect_second_refused(CM_IMAGES_MAX, 0, CM_ELIMIT, "positive 1: image 1099511627776");
    open_positives(&w, PR_COUNT, 0);
    expect_refused(&w, CM_EFORMAT, "the number of positives is 0");
    open_positives(&w, PR_COUNT, UINT32_MAX);
    expect_refused(&w, CM_EFORMAT, "message header claims 4294967295 more values");
    open_positives(&w, PR_COUNT, 1);
    write_hit(&w, 0, 1, "a");
    expect_refused(&w, CM_EFORMAT, "positive 0: it holds 6 values; it must hold 2");
    open_positives(&w, PR_COUNT, 1);
    pr_write_list(&w, 2);
    pr_write_u64(&w, 0);
    write_double(&w);
    expect_refused(&w, CM_EFORMAT, "positive 0: score is a float64; it must be a float32");
    open_positives(&w, PR_COUNT, CM_POSITIVES_MAX + 1);
    for (uint64_t i = 0; i <= CM_POSITIVES_MAX; i++)
        write_positive(&w, i, 0);
    expect_refused(&w, CM_ELIMIT, "positives holds 65537 items; at most 65536 are allowed");
    open_positives(&w, PR_MEASURED, 2);
    write_positive(&w, 5, 1);
    write_positive(&w, 6, 0);
    expect_refused(&w, CM_EFORMAT, "counts for 3 of 2 positives");
}

static void write_counts(struct pr_writer *w, uint64_t higher, uint64_t equal_lower, uint64_t equal)
{
    pr_write_list(w, 3);
    pr_write_u64(w, higher);
    pr_write_u64(w, equal_lower);
    pr_write_u64(w, equal);
}

/* Three counts, as the example of MEASURED has positives, of which the last are no good. */
static void expect_third_refused(enum pr_type type, struct pr_counts last, enum cm_err want,
                                 const char *text)
{
    struct pr_writer w;
    open_spoiled(&w, type, type == PR_COUNTS ? 16 : 31);
    pr_write_list(&w, 3);
    write_counts(&w, 0, 0, 1);
    write_counts(&w, 1, 0, 1);
    write_counts(&w, last.higher, last.equal_lower, last.equal);
    expect_refused(&w, want, text);
}

Test(wire_hostile, counts)
{
    static const uint64_t images = CM_IMAGES_MAX;
    struct pr_writer w;
    expect_third_refused(PR_COUNTS, (struct pr_counts){0, 2, 1}, CM_ELIMIT,
                         "counts 2: equal_lower is 2; it must be at most 1");
    expect_third_refused(PR_COUNTS, (struct pr_counts){images + 1, 0, 0}, CM_ELIMIT,
                         "counts 2: higher is 1099511627777");
    expect_third_refused(PR_COUNTS, (struct pr_counts){0, 0, images + 1}, CM_ELIMIT,
                         "counts 2: equal is 1099511627777");
    expect_third_refused(PR_MEASURED, (struct pr_counts){2, 2, 1}, CM_ELIMIT,
                         "counts 2: equal_lower is 2; it must be at most 1");
    expect_third_refused(PR_MEASURED, (struct pr_counts){2, 0, 0}, CM_EFORMAT,
                         "counts 2: equal is 0; it must be at least 1");
    expect_third_refused(PR_MEASURED, (struct pr_counts){2, 3, 3}, CM_EFORMAT,
                         "counts 2: equal is 3; it must be at least 4");
    expect_third_refused(PR_MEASURED, (struct pr_counts){2, 0, 950001}, CM_ELIMIT,
                         "counts 2: equal is 950001; it must be at most 950000");
    expect_third_refused(PR_MEASURED, (struct pr_counts){949998, 0, 3}, CM_ELIMIT,
                         "counts 2: higher is 949998; it must be at most 949997");
    open_spoiled(&w, PR_COUNTS, 16);
    pr_write_list(&w, 0);
    expect_refused(&w, CM_EFORMAT, "the number of counts is 0");
    open_spoiled(&w, PR_COUNTS, 16);
    pr_write_list(&w, 1);
    write_positive(&w, 0, 0);
    expect_refused(&w, CM_EFORMAT, "counts 0: it holds 2 values; it must hold 3");
    open_spoiled(&w, PR_COUNTS, 16);
    pr_write_list(&w, CM_POSITIVES_MAX + 1);
    for (uint64_t i = 0; i <= CM_POSITIVES_MAX; i++)
        write_counts(&w, 0, 0, 0);
    expect_refused(&w, CM_ELIMIT, "counts holds 65537 items; at most 65536 are allowed");
    open_spoiled(&w, PR_MEASURED, 31);
    pr_write_list(&w, 0);
    expect_refused(&w, CM_EFORMAT, "counts for 0 of 3 positives");
    open_spoiled(&w, PR_MEASURED, 29); /* a shard is missing, and yet there are figures */
    pr_write_list(&w, 1);
    pr_write_list(&w, 4);
    for (int i = 0; i < 4; i++)
        pr_write_u64(&w, i == 1 ? PR_REASON_DEADLINE : 0);
    expect_refused(&w, CM_ELIMIT, "valid is 950000; it must be at most 0");
}

Test(wire_hostile, fields_inside_a_gallery)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_STATUS, (struct cm_query_id){1}, 0, 2, NULL);
    pr_put_u64(&w, 16, 1);
    pr_write_key(&w, 17);
    pr_write_map(&w, 1);
    pr_write_key(&w, 0);
    msgpack_pack_bin_with_body(&w.packer, "fifteen bytes!!", 15);
    expect_refused(&w, CM_EFORMAT, "gallery fingerprint has 15 bytes; it must have 16");
    pr_writer_open(&w, PR_STATUS, (struct cm_query_id){1}, 0, 2, NULL);
    pr_put_u64(&w, 16, 1);
    pr_write_key(&w, 17);
    pr_write_map(&w, 1);
    pr_put_u64(&w, 64, 1);
    expect_refused(&w, CM_EFORMAT, "key 64 is not known here");
    pr_writer_open(&w, PR_STATUS, (struct cm_query_id){1}, 0, 2, NULL);
    pr_put_u64(&w, 16, 1);
    pr_write_key(&w, 17);
    pr_write_bool(&w, false);
    expect_refused(&w, CM_EFORMAT, "gallery is a boolean; it must be a map");
}

Test(wire_hostile, a_text_with_an_escape_does_not_reach_a_terminal)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_REFUSE, (struct cm_query_id){0}, 0, 2, NULL);
    pr_put_u64(&w, 16, PR_REFUSAL_NAME);
    pr_write_key(&w, 17);
    msgpack_pack_str(&w.packer, 4);
    msgpack_pack_str_body(&w.packer, "\x1b[2J", 4);
    expect_refused(&w, CM_EFORMAT, "text is not printable UTF-8");
}
