/* test_wire_place.c: the messages about who holds which shard keep every field at both ends of its
 * range, and each rule of theirs holds when packing. */
#include "common/geometry.h"
#include "common/limits.h"
#include "proto/wire/join.h"
#include "proto/wire/operate.h"
#include "proto/wire/place.h"
#include "proto/wire/transfer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct cm_error e;
static struct pr_buffer b;

static void expect_refused(enum cm_err got, enum cm_err want, const char *text)
{
    cr_assert_eq(got, want, "got %d, not refused for \"%s\"", (int)got, text);
    cr_assert(strstr(e.text, text) != NULL, "\"%s\" does not say \"%s\"", e.text, text);
    cr_assert(b.data == NULL && b.size == 0, "a refused message left bytes");
}

/* As many sources as there may be, each as long as it may be. */
static struct pr_sources full_sources(void)
{
    struct pr_sources s = {.count = CM_SOURCES_MAX};
    for (uint32_t i = 0; i < s.count; i++) {
        memset(s.endpoints[i], 'a' + (int)i, CM_ENDPOINT_BYTES_MAX);
        s.endpoints[i][CM_ENDPOINT_BYTES_MAX] = '\0';
    }
    return s;
}

static void check_sources(const struct pr_sources *got, const struct pr_sources *want)
{
    cr_assert_eq(got->count, want->count);
    for (uint32_t i = 0; i < want->count; i++)
        cr_assert_str_eq(got->endpoints[i], want->endpoints[i]);
}

Test(wire_place, place_goes_round)
{
    struct pr_place ends[] = {{0, {0}, {0}}, {UINT64_MAX, {CM_SHARDS_MAX - 1}, full_sources()}};
    for (size_t i = 0; i < 2; i++) {
        struct pr_place got;
        cr_assert_eq(pr_place_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_place_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert_eq(got.epoch, ends[i].epoch);
        cr_assert_eq(got.shard.v, ends[i].shard.v);
        check_sources(&got.sources, &ends[i].sources);
    }
    ends[1].shard.v++;
    expect_refused(pr_place_pack(&ends[1], &b, &e), CM_ELIMIT, "shard is 65536");
    ends[0].sources.count = 1;
    expect_refused(pr_place_pack(&ends[0], &b, &e), CM_ELIMIT, "0 bytes");
    ends[0].sources.count = CM_SOURCES_MAX + 1;
    expect_refused(pr_place_pack(&ends[0], &b, &e), CM_ELIMIT, "number of sources is 9");
}

Test(wire_place, givers_go_round)
{
    struct pr_givers want = {.epoch = 3, .gallery = {{1, 2, 3}}, .sources = full_sources()}, got;
    cr_assert_eq(pr_givers_pack(&want, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_givers_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(cm_fingerprint_equal(&got.gallery, &want.gallery));
    check_sources(&got.sources, &want.sources);
    struct pr_join join = {"a/b"};
    expect_refused(pr_join_pack(&join, &b, &e), CM_EFORMAT, "a/b");
}

Test(wire_place, holds_goes_round)
{
    struct pr_holds ends[] = {{{0}, 0, 0, ""}, {{CM_SHARDS_MAX - 1}, CM_IMAGES_MAX - 1, 1, "no"}};
    for (size_t i = 0; i < 2; i++) {
        struct pr_holds got;
        cr_assert_eq(pr_holds_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_holds_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert_eq(got.shard.v, ends[i].shard.v);
        cr_assert_eq(got.first_image, ends[i].first_image);
        cr_assert_eq(got.images, ends[i].images);
        cr_assert_str_eq(got.text, ends[i].text);
    }
    ends[0].first_image = 1;
    expect_refused(pr_holds_pack(&ends[0], &b, &e), CM_ELIMIT, "first_image is 1");
    ends[1].images = 2;
    expect_refused(pr_holds_pack(&ends[1], &b, &e), CM_ELIMIT, "first_image is");
}

Test(wire_place, read_and_block_go_round)
{
    struct pr_read read = {{UINT64_MAX},       {{9}},
                           PR_FILE_SHARD,      {CM_SHARDS_MAX - 1},
                           CM_SHARD_BYTES_MAX, CM_TRANSFER_BYTES_MAX},
                   got;
    cr_assert_eq(pr_read_pack(&read, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_read_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert_eq(got.id.v, read.id.v);
    cr_assert(cm_fingerprint_equal(&got.gallery, &read.gallery));
    cr_assert_eq(got.file, read.file);
    cr_assert_eq(got.shard.v, read.shard.v);
    cr_assert_eq(got.offset, read.offset);
    cr_assert_eq(got.bytes, read.bytes);
    read.file = PR_FILE_WEIGHTS;
    expect_refused(pr_read_pack(&read, &b, &e), CM_ELIMIT, "shard is 65535");
    read.file = 4;
    expect_refused(pr_read_pack(&read, &b, &e), CM_ELIMIT, "file is 4");
    read.file = PR_FILE_SHARD;
    read.bytes = 0;
    expect_refused(pr_read_pack(&read, &b, &e), CM_EFORMAT, "bytes is 0");

    struct pr_block block = {{7}, CM_SHARD_BYTES_MAX, CM_SHARD_BYTES_MAX, UINT32_MAX, "x"}, back;
    cr_assert_eq(pr_block_pack(&block, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_block_unpack(pr_buffer_bytes(&b), &back, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert_eq(back.id.v, 7);
    cr_assert_eq(back.offset, block.offset);
    cr_assert_eq(back.file_bytes, block.file_bytes);
    cr_assert_eq(back.payload_crc32c, UINT32_MAX);
    cr_assert_str_eq(back.text, "x");
    block.offset++;
    expect_refused(pr_block_pack(&block, &b, &e), CM_ELIMIT, "offset is");
}

Test(wire_place, an_operator_is_understood)
{
    struct pr_drain drain = {{3}, "w", true}, got;
    cr_assert_eq(pr_drain_pack(&drain, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_drain_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == 3 && got.force);
    cr_assert_str_eq(got.node, "w");

    struct pr_replicas replicas = {{4}, 0};
    expect_refused(pr_replicas_pack(&replicas, &b, &e), CM_EFORMAT, "replicas is 0");
    replicas.replicas = CM_REPLICAS_MAX + 1;
    expect_refused(pr_replicas_pack(&replicas, &b, &e), CM_ELIMIT, "replicas is 17");

    struct pr_placed placed = {{5}, 6, 2, CM_MEMBERS_MAX, UINT32_MAX}, back;
    cr_assert_eq(pr_placed_pack(&placed, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_placed_unpack(pr_buffer_bytes(&b), &back, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(back.id.v == 5 && back.epoch == 6 && back.replicas == 2);
    cr_assert(back.nodes == CM_MEMBERS_MAX && back.moves == UINT32_MAX);
}
