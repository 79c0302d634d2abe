/* test_wire_worker.c: the messages between coordinator and worker keep every field at both ends of
 * its range, and each rule of theirs holds when packing; what packs is what unpacks
 * (test_wire_hostile.c sends what no pack function makes). */
#include "common/checksum.h"
#include "common/limits.h"
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/hello.h"
#include "proto/wire/refuse.h"
#include "proto/wire/search.h"
#include "proto/wire/welcome.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;
static struct pr_buffer b;

static void expect_refused(enum cm_err got, enum cm_err want, const char *text)
{
    cr_assert_eq(got, want, "got %d, not refused for \"%s\"", (int)got, text);
    cr_assert(strstr(e.text, text) != NULL, "\"%s\" does not say \"%s\"", e.text, text);
    cr_assert(b.data == NULL && b.size == 0, "a refused message left bytes");
}

static void fill(char *out, char c, size_t size)
{
    memset(out, c, size);
    out[size] = '\0';
}

static struct pr_hello small_hello(struct pr_held_shard *held)
{
    *held = (struct pr_held_shard){.shard = {0}, .first_image = 0, .images = 1};
    return (struct pr_hello){
        .node = "a",
        .version_min = 1,
        .version_max = 1,
        .gallery = {.geometry = {CM_QACONV, 1, 1, 1, 1, 0},
                    .precision = CM_F32,
                    .images = 1,
                    .shards = 1},
        .numeric_class = "x",
        .threads = 1,
        .credits = 1,
        .held = held,
        .held_count = 1,
    };
}

static void round_trip_hello(const struct pr_hello *m)
{
    struct pr_hello got;
    cr_assert_eq(pr_hello_pack(m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_hello_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert_eq(got.epoch, m->epoch);
    cr_assert_str_eq(got.node, m->node);
    cr_assert_eq(got.incarnation, m->incarnation);
    cr_assert_eq(got.version_min, m->version_min);
    cr_assert_eq(got.version_max, m->version_max);
    cr_assert_eq(memcmp(got.gallery.gallery.bytes, m->gallery.gallery.bytes, 16), 0);
    cr_assert_eq(memcmp(got.gallery.model.bytes, m->gallery.model.bytes, 16), 0);
    cr_assert_eq(memcmp(&got.gallery.geometry, &m->gallery.geometry, sizeof got.gallery.geometry),
                 0);
    cr_assert_eq(got.gallery.precision, m->gallery.precision);
    cr_assert_eq(got.gallery.images, m->gallery.images);
    cr_assert_eq(got.gallery.shards, m->gallery.shards);
    cr_assert_str_eq(got.numeric_class, m->numeric_class);
    cr_assert_eq(got.threads, m->threads);
    cr_assert_eq(got.credits, m->credits);
    cr_assert_eq(got.held_count, m->held_count);
    for (size_t i = 0; i < m->held_count; i++)
        cr_assert(got.held[i].shard.v == m->held[i].shard.v &&
                      got.held[i].first_image == m->held[i].first_image &&
                      got.held[i].images == m->held[i].images,
                  "held shard %zu", i);
    pr_hello_fini(&got);
    cr_assert(got.held == NULL && got.held_count == 0);
}

Test(wire_hello, smallest_goes_round)
{
    struct pr_held_shard held;
    struct pr_hello m = small_hello(&held);
    round_trip_hello(&m);
}

Test(wire_hello, largest_goes_round)
{
    struct pr_held_shard *held = calloc(CM_SHARDS_MAX, sizeof *held);
    cr_assert(held != NULL);
    for (uint32_t i = 0; i < CM_SHARDS_MAX; i++)
        held[i] = (struct pr_held_shard){{i}, CM_IMAGES_MAX - 1 - i, i + 1};
    struct pr_hello m = {
        .epoch = UINT64_MAX,
        .incarnation = UINT64_MAX,
        .version_min = UINT32_MAX,
        .version_max = UINT32_MAX,
        .gallery = {.geometry = {CM_TRANSMATCHER, CM_SIDE_MAX, 8, 1024, 1, CM_FF_MAX},
                    .precision = CM_F32,
                    .images = CM_IMAGES_MAX,
                    .shards = CM_SHARDS_MAX},
        .threads = UINT32_MAX,
        .credits = UINT32_MAX,
        .held = held,
        .held_count = CM_SHARDS_MAX,
    };
    memset(&m.gallery.gallery, 0xff, 16);
    memset(&m.gallery.model, 0xfe, 16);
    fill(m.node, 'Z', CM_NODE_BYTES_MAX);
    fill(m.numeric_class, '~', CM_CLASS_BYTES_MAX);
    round_trip_hello(&m);
    free(held);
}

Test(wire_hello, each_rule_holds)
{
    struct pr_held_shard held[2];
    struct pr_hello m = small_hello(held);
    snprintf(m.node, sizeof m.node, "%s", "a b");
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "node name \"a b\" must be 1 to 64");
    m = small_hello(held);
    m.node[0] = '\0';
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "node name \"\"");
    m = small_hello(held);
    snprintf(m.numeric_class, sizeof m.numeric_class, "%s", "a\"b");
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "numeric class");
    m = small_hello(held);
    m.version_min = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "version_min is 0");
    m.version_min = 2;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT,
                   "version_max is 1; it must be at least 2");
    m = small_hello(held);
    m.threads = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "threads is 0");
    m = small_hello(held);
    m.credits = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "credits is 0");
}

Test(wire_hello, each_rule_of_the_gallery_holds)
{
    struct pr_held_shard held[2];
    struct pr_hello m = small_hello(held);
    m.gallery.geometry.height = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT,
                   "cannot pack HELLO: gallery: height is 0");
    m = small_hello(held);
    m.gallery.geometry.matcher = 9;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "unknown matcher 9");
    m = small_hello(held);
    m.gallery.precision = 9;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "unknown precision 9");
    m = small_hello(held);
    m.gallery.images = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "images is 0");
    m.gallery.images = CM_IMAGES_MAX + 1;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_ELIMIT, "images is 1099511627777");
    m = small_hello(held);
    m.gallery.shards = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "shards is 0");
    m.gallery.shards = CM_SHARDS_MAX + 1;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_ELIMIT, "shards is 65537");
}

Test(wire_hello, each_rule_of_the_held_shards_holds)
{
    struct pr_held_shard held[2];
    struct pr_hello m = small_hello(held);
    m.held_count = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "number of held shards is 0");
    m.held_count = 2; /* of a gallery of one */
    expect_refused(pr_hello_pack(&m, &b, &e), CM_ELIMIT, "number of held shards is 2");
    m = small_hello(held);
    held[0].shard.v = 1;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "shard 1 of a gallery of 1");
    m = small_hello(held);
    held[0].images = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "shard 0 claims 0 images");
    held[0].images = 2;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT,
                   "claims 2 images from 0 of a gallery of 1");
    held[0].images = 1;
    held[0].first_image = UINT64_MAX;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT,
                   "claims 1 images from 18446744073709551615");
    m = small_hello(held);
    m.gallery.shards = 3;
    m.held_count = 2;
    held[0].shard.v = 1;
    held[1] = held[0];
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "shard 1 comes after shard 1");
    held[1].shard.v = 0;
    expect_refused(pr_hello_pack(&m, &b, &e), CM_EFORMAT, "shard 0 comes after shard 1");
}

Test(wire_welcome, goes_round_and_its_rules_hold)
{
    static const struct pr_welcome ends[] = {{{0}, 0, 1, 1}, {{7}, UINT64_MAX, 60000, 600000}};
    for (size_t i = 0; i < 2; i++) {
        struct pr_welcome got;
        cr_assert_eq(pr_welcome_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_welcome_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert_eq(got.id.v, ends[i].id.v);
        cr_assert_eq(got.epoch, ends[i].epoch);
        cr_assert_eq(got.heartbeat_ms, ends[i].heartbeat_ms);
        cr_assert_eq(got.dead_after_ms, ends[i].dead_after_ms);
    }
    expect_refused(pr_welcome_pack(&(struct pr_welcome){{0}, 0, 0, 1}, &b, &e), CM_EFORMAT,
                   "heartbeat_ms is 0");
    expect_refused(pr_welcome_pack(&(struct pr_welcome){{0}, 0, 60001, 60001}, &b, &e), CM_ELIMIT,
                   "heartbeat_ms is 60001");
    expect_refused(pr_welcome_pack(&(struct pr_welcome){{0}, 0, 500, 499}, &b, &e), CM_EFORMAT,
                   "dead_after_ms is 499; it must be at least 500");
    expect_refused(pr_welcome_pack(&(struct pr_welcome){{0}, 0, 500, 600001}, &b, &e), CM_ELIMIT,
                   "dead_after_ms is 600001");
}

Test(wire_refuse, goes_round_and_its_rules_hold)
{
    struct pr_refuse m = {.epoch = 3, .reason = PR_REFUSAL_GALLERY};
    struct pr_refuse got;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pr_refuse_pack(&m, &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_refuse_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert(got.epoch == m.epoch && got.reason == m.reason);
        cr_assert_str_eq(got.text, m.text);
        m.epoch = UINT64_MAX;
        m.reason = PR_REFUSAL_NAME;
        fill(m.text, 't', CM_TEXT_BYTES_MAX);
    }
    m.reason = 0;
    expect_refused(pr_refuse_pack(&m, &b, &e), CM_EFORMAT, "unknown refusal 0");
    m.reason = 9;
    expect_refused(pr_refuse_pack(&m, &b, &e), CM_EFORMAT, "unknown refusal 9");
    cr_assert_str_eq(pr_refusal_name(PR_REFUSAL_SHARDS), "shards");
}

Test(wire_refuse, a_text_cut_inside_a_character_goes_out_clean)
{
    struct pr_refuse m = {.reason = PR_REFUSAL_FULL, .text = "caf\xc3\xa9 \xe2\x82"};
    struct pr_refuse got;
    cr_assert_eq(pr_refuse_pack(&m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_refuse_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert_str_eq(got.text, "caf\xc3\xa9 ??");
}

Test(wire_heartbeat, goes_round)
{
    static const struct pr_heartbeat ends[] = {
        {.epoch = 0},
        {1,
         UINT32_MAX,
         UINT64_MAX,
         UINT64_MAX - 1,
         UINT32_MAX,
         UINT64_MAX,
         {UINT64_MAX, UINT64_MAX - 2, UINT64_MAX - 3, UINT64_MAX - 4}}};
    for (size_t i = 0; i < 2; i++) {
        struct pr_heartbeat got;
        cr_assert_eq(pr_heartbeat_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_heartbeat_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert_eq(got.epoch, ends[i].epoch);
        cr_assert_eq(got.searches_queued, ends[i].searches_queued);
        cr_assert_eq(got.searches_done, ends[i].searches_done);
        cr_assert_eq(got.pairs_scored, ends[i].pairs_scored);
        cr_assert_eq(got.fetching, ends[i].fetching);
        cr_assert_eq(got.memory_bytes, ends[i].memory_bytes);
        cr_assert_eq(memcmp(&got.work, &ends[i].work, sizeof got.work), 0);
    }
}

Test(wire_control, goes_round_and_only_its_types)
{
    static const enum pr_type types[] = {PR_REHELLO, PR_LEAVING, PR_DISMISS, PR_CANCEL,
                                         PR_STATUS_REQUEST};
    for (size_t i = 0; i < 5; i++) {
        struct pr_control m = {types[i], {UINT64_MAX - i}, UINT64_MAX};
        struct pr_control got;
        cr_assert_eq(pr_control_pack(&m, &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_control_unpack(pr_buffer_bytes(&b), types[i], &got, &e), CM_OK, "%s",
                     e.text);
        cr_assert(got.type == m.type && got.id.v == m.id.v && got.epoch == m.epoch);
        cr_assert_eq(pr_control_unpack(pr_buffer_bytes(&b), types[(i + 1) % 4], &got, &e),
                     CM_EFORMAT);
        cr_assert_eq(pr_control_unpack(pr_buffer_bytes(&b), PR_SEARCH, &got, &e), CM_EUSAGE);
        pr_buffer_fini(&b);
    }
    struct pr_control m = {.type = PR_SEARCH};
    expect_refused(pr_control_pack(&m, &b, &e), CM_EUSAGE, "type 7 is not one without fields");
}

static void round_trip_search(const struct pr_search *m)
{
    struct pr_search got;
    cr_assert_eq(pr_search_pack(m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_search_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert_eq(got.id.v, m->id.v);
    cr_assert_eq(got.epoch, m->epoch);
    cr_assert_eq(got.k, m->k);
    cr_assert_eq(got.time_left_us, m->time_left_us);
    cr_assert_eq(got.dtype, m->dtype);
    cr_assert_eq(got.payload_crc32c, m->payload_crc32c);
    cr_assert_eq(got.shards_count, m->shards_count);
    cr_assert_eq(memcmp(got.shards, m->shards, m->shards_count * sizeof *m->shards), 0);
    pr_search_fini(&got);
}

Test(wire_search, both_ends_go_round)
{
    struct cm_shard_id *shards = calloc(CM_SHARDS_MAX, sizeof *shards);
    cr_assert(shards != NULL);
    for (uint32_t i = 0; i < CM_SHARDS_MAX; i++)
        shards[i].v = i;
    struct pr_search m = {
        .k = 1, .time_left_us = 1, .dtype = CM_DTYPE_F16, .shards = shards, .shards_count = 1};
    round_trip_search(&m);
    m = (struct pr_search){.id = {UINT64_MAX},
                           .epoch = UINT64_MAX - 1,
                           .k = CM_K_MAX,
                           .time_left_us = UINT64_C(1000) * CM_DEADLINE_MS_MAX,
                           .dtype = CM_DTYPE_F32,
                           .payload_crc32c = UINT32_MAX,
                           .shards = shards,
                           .shards_count = CM_SHARDS_MAX};
    round_trip_search(&m);
    free(shards);
}

Test(wire_search, each_rule_holds)
{
    struct cm_shard_id shards[2] = {{3}, {4}};
    const struct pr_search sound = {
        .k = 1, .time_left_us = 1, .dtype = CM_DTYPE_F16, .shards = shards, .shards_count = 2};
    struct pr_search m = sound;
    m.k = 0;
    expect_refused(pr_search_pack(&m, &b, &e), CM_EFORMAT, "k is 0");
    m.k = CM_K_MAX + 1;
    expect_refused(pr_search_pack(&m, &b, &e), CM_ELIMIT, "k is 10001");
    m = sound;
    m.time_left_us = 0;
    expect_refused(pr_search_pack(&m, &b, &e), CM_EFORMAT, "time_left_us is 0");
    m.time_left_us = UINT64_C(1000) * CM_DEADLINE_MS_MAX + 1;
    expect_refused(pr_search_pack(&m, &b, &e), CM_ELIMIT, "time_left_us is 86400000001");
    m = sound;
    m.dtype = 3;
    expect_refused(pr_search_pack(&m, &b, &e), CM_EFORMAT, "unknown element type 3");
    m = sound;
    m.shards_count = 0;
    expect_refused(pr_search_pack(&m, &b, &e), CM_EFORMAT, "number of shards is 0");
    m = sound;
    shards[1].v = 3;
    expect_refused(pr_search_pack(&m, &b, &e), CM_EFORMAT, "shard 3 comes after shard 3");
    shards[1].v = CM_SHARDS_MAX;
    expect_refused(pr_search_pack(&m, &b, &e), CM_ELIMIT, "shard is 65536");
}

Test(wire_search, payload_is_checked_against_the_gallery)
{
    static const char payload[24] = "some feature map, 24 b.";
    struct pr_search m = {.dtype = CM_DTYPE_F16, .payload_crc32c = cm_crc32c(0, payload, 24)};
    struct cm_geometry g = {CM_TRANSMATCHER, 2, 1, 3, 2, 4};
    struct cm_bytes bytes = {payload, 24};
    cr_assert_eq(pr_search_check_payload(&m, &g, bytes, &e), CM_OK, "%s", e.text);
    bytes.size = 23;
    cr_assert_eq(pr_search_check_payload(&m, &g, bytes, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "the feature map has 23 bytes; 12 elements of float16 take 24");
    bytes.size = 24;
    m.payload_crc32c ^= 1;
    cr_assert_eq(pr_search_check_payload(&m, &g, bytes, &e), CM_ECORRUPT);
    cr_assert(strstr(e.text, "send it again") != NULL, "%s", e.text);
}
