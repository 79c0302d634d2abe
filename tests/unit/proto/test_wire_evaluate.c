/* test_wire_evaluate.c: the messages of an evaluation keep every field at both ends of its range,
 * each rule of theirs holds when packing, and the largest of them fit a header. */
#include "common/checksum.h"
#include "common/limits.h"
#include "proto/wire/count.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/measure.h"
#include "proto/wire/measured.h"
#include "proto/wire/positives.h"
#include "proto/wire/scores.h"

#include <criterion/criterion.h>
#include <math.h>
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

static void expect_same_positives(const struct pr_positives *got, const struct pr_positives *want)
{
    cr_assert_eq(got->count, want->count);
    for (size_t i = 0; i < want->count; i++) {
        cr_assert_eq(got->items[i].image, want->items[i].image);
        cr_assert_eq(memcmp(&got->items[i].score, &want->items[i].score, 4), 0);
    }
}

static void expect_same_counts(const struct pr_counts_list *got, const struct pr_counts_list *want)
{
    cr_assert_eq(got->count, want->count);
    cr_assert(want->count == 0 ||
              memcmp(got->items, want->items, want->count * sizeof *want->items) == 0);
}

/* As many positives as there may be and one more, each as long as it gets on the wire. */
static struct cm_hit *most_positives(void)
{
    struct cm_hit *items = calloc(CM_POSITIVES_MAX + 1, sizeof *items);
    cr_assert(items != NULL);
    for (size_t i = 0; i <= CM_POSITIVES_MAX; i++)
        items[i] = (struct cm_hit){.score = -(float)i, .image = CM_IMAGES_MAX - 1 - i};
    items[CM_POSITIVES_MAX - 1].score = -INFINITY;
    return items;
}

static struct pr_counts *most_counts(void)
{
    struct pr_counts *items = calloc(CM_POSITIVES_MAX + 1, sizeof *items);
    cr_assert(items != NULL);
    for (size_t i = 0; i <= CM_POSITIVES_MAX; i++)
        items[i] = (struct pr_counts){CM_IMAGES_MAX / 2, CM_IMAGES_MAX / 2 - 1, CM_IMAGES_MAX / 2};
    return items;
}

/* What one tuple of these takes at the most: itself, an integer of 8 bytes and its format each, a
 * float of 4. */
enum { POSITIVE_BYTES = 1 + 9 + 5, COUNTS_BYTES = 1 + 3 * 9 };

/* The buffer holds the largest lists, and little else. */
static void expect_largest(size_t item_bytes)
{
    cr_assert_gt(b.size, CM_POSITIVES_MAX * item_bytes);
    cr_assert_lt(b.size, CM_POSITIVES_MAX * item_bytes + 200);
}

static const struct pr_evaluate small_evaluate = {
    .pid = 1, .dtype = CM_DTYPE_F16, .height = 1, .width = 1, .channels = 1};

Test(wire_evaluate, both_ends_go_round)
{
    const struct pr_evaluate ends[] = {small_evaluate,
                                       {.id = {UINT64_MAX},
                                        .epoch = UINT64_MAX - 1,
                                        .pid = INT64_MAX,
                                        .camid = INT32_MAX,
                                        .want_scores = true,
                                        .dtype = CM_DTYPE_F32,
                                        .height = 2,
                                        .width = 4,
                                        .channels = CM_CHANNELS_MAX * CM_LAYERS_MAX,
                                        .payload_crc32c = UINT32_MAX},
                                       {.pid = INT64_MIN,
                                        .camid = INT32_MIN,
                                        .dtype = CM_DTYPE_F16,
                                        .height = CM_SIDE_MAX,
                                        .width = CM_SIDE_MAX,
                                        .channels = 32}};
    for (size_t i = 0; i < 3; i++) {
        struct pr_evaluate got;
        cr_assert_eq(pr_evaluate_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_evaluate_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert(got.id.v == ends[i].id.v && got.epoch == ends[i].epoch);
        cr_assert(got.pid == ends[i].pid && got.camid == ends[i].camid);
        cr_assert_eq(got.want_scores, ends[i].want_scores);
        cr_assert_eq(got.dtype, ends[i].dtype);
        cr_assert_eq(got.height, ends[i].height);
        cr_assert_eq(got.width, ends[i].width);
        cr_assert_eq(got.channels, ends[i].channels);
        cr_assert_eq(got.payload_crc32c, ends[i].payload_crc32c);
    }
}

Test(wire_evaluate, each_rule_holds)
{
    struct pr_evaluate m = small_evaluate;
    m.pid = 0;
    expect_refused(pr_evaluate_pack(&m, &b, &e), CM_EFORMAT, "pid 0 is that of a distractor");
    m.pid = -1;
    expect_refused(pr_evaluate_pack(&m, &b, &e), CM_EFORMAT, "pid -1 is that of junk");
    m = small_evaluate;
    m.dtype = 0;
    expect_refused(pr_evaluate_pack(&m, &b, &e), CM_EFORMAT, "unknown element type 0");
    m = small_evaluate;
    m.height = m.width = CM_SIDE_MAX;
    m.channels = 33;
    expect_refused(pr_evaluate_pack(&m, &b, &e), CM_ELIMIT, "size in bytes is 17301504");
}

Test(wire_evaluate, payload_is_checked_against_the_header)
{
    static const char payload[24] = "some feature map, 24 b.";
    struct pr_evaluate m = {.dtype = CM_DTYPE_F32,
                            .height = 3,
                            .width = 2,
                            .channels = 1,
                            .payload_crc32c = cm_crc32c(0, payload, 24)};
    struct cm_bytes bytes = {payload, 24};
    cr_assert_eq(pr_evaluate_check_payload(&m, bytes, &e), CM_OK, "%s", e.text);
    bytes.size = 20;
    cr_assert_eq(pr_evaluate_check_payload(&m, bytes, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "the feature map has 20 bytes; 6 elements of float32 take 24");
    bytes.size = 24;
    m.payload_crc32c ^= 1;
    cr_assert_eq(pr_evaluate_check_payload(&m, bytes, &e), CM_ECORRUPT);
}

static void round_trip_measure(const struct pr_measure *m)
{
    struct pr_measure got;
    cr_assert_eq(pr_measure_pack(m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_measure_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch);
    cr_assert(got.pid == m->pid && got.camid == m->camid && got.want_scores == m->want_scores);
    cr_assert_eq(got.dtype, m->dtype);
    cr_assert_eq(got.payload_crc32c, m->payload_crc32c);
    cr_assert_eq(got.shards_count, m->shards_count);
    cr_assert_eq(memcmp(got.shards, m->shards, m->shards_count * sizeof *m->shards), 0);
    pr_measure_fini(&got);
    cr_assert(got.shards == NULL);
}

Test(wire_measure, both_ends_go_round)
{
    struct cm_shard_id *shards = calloc(CM_SHARDS_MAX, sizeof *shards);
    cr_assert(shards != NULL);
    for (uint32_t i = 0; i < CM_SHARDS_MAX; i++)
        shards[i].v = i;
    struct pr_measure m = {.pid = INT64_MIN,
                           .camid = INT32_MIN,
                           .dtype = CM_DTYPE_F16,
                           .shards = shards,
                           .shards_count = 1};
    round_trip_measure(&m);
    m = (struct pr_measure){.id = {UINT64_MAX},
                            .epoch = UINT64_MAX - 1,
                            .pid = INT64_MAX,
                            .camid = INT32_MAX,
                            .want_scores = true,
                            .dtype = CM_DTYPE_F32,
                            .payload_crc32c = UINT32_MAX,
                            .shards = shards,
                            .shards_count = CM_SHARDS_MAX};
    round_trip_measure(&m);
    free(shards);
}

Test(wire_measure, each_rule_holds)
{
    struct cm_shard_id shards[2] = {{3}, {4}};
    const struct pr_measure sound = {
        .pid = 1, .dtype = CM_DTYPE_F16, .shards = shards, .shards_count = 2};
    struct pr_measure m = sound;
    m.pid = 0;
    expect_refused(pr_measure_pack(&m, &b, &e), CM_EFORMAT, "pid 0 is that of a distractor");
    m.pid = -1;
    expect_refused(pr_measure_pack(&m, &b, &e), CM_EFORMAT, "pid -1 is that of junk");
    m = sound;
    m.dtype = 3;
    expect_refused(pr_measure_pack(&m, &b, &e), CM_EFORMAT, "unknown element type 3");
    m = sound;
    m.shards_count = 0;
    expect_refused(pr_measure_pack(&m, &b, &e), CM_EFORMAT, "number of shards is 0");
    m = sound;
    shards[1].v = 3;
    expect_refused(pr_measure_pack(&m, &b, &e), CM_EFORMAT, "shard 3 comes after shard 3");
    shards[1].v = CM_SHARDS_MAX;
    expect_refused(pr_measure_pack(&m, &b, &e), CM_ELIMIT, "shard is 65536");
}

Test(wire_measure, payload_is_checked_against_the_gallery)
{
    static const char payload[24] = "some feature map, 24 b.";
    struct pr_measure m = {.dtype = CM_DTYPE_F16, .payload_crc32c = cm_crc32c(0, payload, 24)};
    struct cm_geometry g = {CM_TRANSMATCHER, 2, 1, 3, 2, 4};
    struct cm_bytes bytes = {payload, 24};
    cr_assert_eq(pr_measure_check_payload(&m, &g, bytes, &e), CM_OK, "%s", e.text);
    bytes.size = 23;
    cr_assert_eq(pr_measure_check_payload(&m, &g, bytes, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "the feature map has 23 bytes; 12 elements of float16 take 24");
    bytes.size = 24;
    m.payload_crc32c ^= 1;
    cr_assert_eq(pr_measure_check_payload(&m, &g, bytes, &e), CM_ECORRUPT);
}

/* What was packed, read again. */
static void read_positives(const struct pr_positives_message *m)
{
    struct pr_positives_message got;
    cr_assert_eq(pr_positives_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch && got.shard.v == m->shard.v);
    cr_assert(got.reason == m->reason && got.images == m->images);
    cr_assert_eq(memcmp(&got.census, &m->census, sizeof got.census), 0);
    cr_assert_eq(got.overflowed, m->overflowed);
    cr_assert_eq(got.queue_us, m->queue_us);
    cr_assert_eq(got.project_us, m->project_us);
    cr_assert_eq(got.score_us, m->score_us);
    expect_same_positives(&got.positives, &m->positives);
    pr_positives_message_fini(&got);
    cr_assert(got.positives.items == NULL);
}

Test(wire_positives, both_ends_go_round)
{
    struct cm_hit *items = most_positives();
    struct pr_positives_message m = {.reason = PR_REASON_INTERNAL};
    cr_assert_eq(pr_positives_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_positives(&m);
    m = (struct pr_positives_message){.reason = PR_REASON_CORRUPT, .images = CM_IMAGES_MAX};
    cr_assert_eq(pr_positives_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_positives(&m);
    m = (struct pr_positives_message){.images = 1, .census = {.junk = 1}};
    cr_assert_eq(pr_positives_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_positives(&m);
    m = (struct pr_positives_message){
        .id = {UINT64_MAX},
        .epoch = UINT64_MAX - 1,
        .shard = {CM_SHARDS_MAX - 1},
        .images = CM_IMAGES_MAX,
        .census = {.valid = CM_IMAGES_MAX - 3,
                   .same_camera = 1,
                   .junk = 2,
                   .distractors = CM_IMAGES_MAX - 3 - CM_POSITIVES_MAX},
        .overflowed = CM_IMAGES_MAX,
        .queue_us = UINT64_MAX,
        .project_us = UINT64_MAX - 1,
        .score_us = UINT64_MAX - 2,
        .positives = {.items = items, .count = CM_POSITIVES_MAX}};
    cr_assert_eq(pr_positives_pack(&m, &b, &e), CM_OK, "%s", e.text);
    expect_largest(POSITIVE_BYTES);
    read_positives(&m);
    m.positives.count++;
    m.census.distractors--;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "number of positives is 65537");
    free(items);
}

Test(wire_positives, each_rule_holds)
{
    struct cm_hit items[2] = {{1.0f, 5}, {0.5f, 4}};
    const struct pr_positives_message sound = {
        .images = 9,
        .census = {.valid = 4, .same_camera = 3, .junk = 2, .distractors = 2},
        .positives = {.items = items, .count = 2}};
    struct pr_positives_message m = sound;
    cr_assert_eq(pr_positives_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_positives(&m);
    m.shard.v = CM_SHARDS_MAX;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "shard is 65536");
    m = sound;
    m.reason = 7;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_EFORMAT, "unknown reason 7");
    m = (struct pr_positives_message){.reason = PR_REASON_NONE};
    expect_refused(pr_positives_pack(&m, &b, &e), CM_EFORMAT, "0 of 0 images scored");
    m = sound;
    m.reason = PR_REASON_DEADLINE;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "valid is 4; it must be at most 0");
    m = (struct pr_positives_message){.reason = PR_REASON_DEADLINE, .images = 9, .overflowed = 1};
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "overflowed is 1");
    m = (struct pr_positives_message){
        .reason = PR_REASON_DEADLINE, .images = 9, .positives = {items, 1}};
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "number of positives is 1");
    m = sound;
    m.census.junk = 3;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_EFORMAT, "3 of junk do not make 9");
    m = sound;
    m.census.distractors = 3;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "number of positives is 2");
    m = sound;
    m.overflowed = 10;
    expect_refused(pr_positives_pack(&m, &b, &e), CM_ELIMIT, "overflowed is 10");
    items[1] = (struct cm_hit){1.0f, 5};
    expect_refused(pr_positives_pack(&sound, &b, &e), CM_EFORMAT, "image 5 does not rank after");
    items[1] = (struct cm_hit){NAN, 6};
    expect_refused(pr_positives_pack(&sound, &b, &e), CM_EFORMAT, "positive 1: score nan");
}

static void round_trip_count(const struct pr_count *m, size_t largest)
{
    struct pr_count got;
    cr_assert_eq(pr_count_pack(m, &b, &e), CM_OK, "%s", e.text);
    if (largest)
        expect_largest(largest);
    cr_assert_eq(pr_count_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch);
    expect_same_positives(&got.positives, &m->positives);
    pr_count_fini(&got);
    cr_assert(got.positives.items == NULL);
}

Test(wire_count, both_ends_go_round_and_its_rules_hold)
{
    struct cm_hit *items = most_positives();
    struct pr_count m = {.positives = {.items = items, .count = 1}};
    round_trip_count(&m, 0);
    m = (struct pr_count){{UINT64_MAX}, UINT64_MAX - 1, {items, CM_POSITIVES_MAX}};
    round_trip_count(&m, POSITIVE_BYTES);
    m.positives.count = 0;
    expect_refused(pr_count_pack(&m, &b, &e), CM_EFORMAT, "number of positives is 0");
    m.positives.count = CM_POSITIVES_MAX + 1;
    expect_refused(pr_count_pack(&m, &b, &e), CM_ELIMIT, "number of positives is 65537");
    m.positives.count = 2;
    items[1].score = 1;
    expect_refused(pr_count_pack(&m, &b, &e), CM_EFORMAT, "positive 1: image");
    items[0].score = INFINITY;
    expect_refused(pr_count_pack(&m, &b, &e), CM_EFORMAT, "positive 0: score inf");
    free(items);
}

static void round_trip_counts(const struct pr_counts_message *m, size_t largest)
{
    struct pr_counts_message got;
    cr_assert_eq(pr_counts_pack(m, &b, &e), CM_OK, "%s", e.text);
    if (largest)
        expect_largest(largest);
    cr_assert_eq(pr_counts_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch);
    expect_same_counts(&got.counts, &m->counts);
    pr_counts_fini(&got);
    cr_assert(got.counts.items == NULL);
}

Test(wire_counts, both_ends_go_round_and_its_rules_hold)
{
    struct pr_counts *items = most_counts();
    struct pr_counts ends[2] = {{0, 0, 0}, {CM_IMAGES_MAX, CM_IMAGES_MAX, CM_IMAGES_MAX}};
    struct pr_counts_message m = {.counts = {.items = ends, .count = 2}};
    round_trip_counts(&m, 0);
    m = (struct pr_counts_message){{UINT64_MAX}, UINT64_MAX - 1, {items, CM_POSITIVES_MAX}};
    round_trip_counts(&m, COUNTS_BYTES);
    m.counts.count = 0;
    expect_refused(pr_counts_pack(&m, &b, &e), CM_EFORMAT, "number of counts is 0");
    m.counts.count = CM_POSITIVES_MAX + 1;
    expect_refused(pr_counts_pack(&m, &b, &e), CM_ELIMIT, "number of counts is 65537");
    m.counts.count = 1;
    items[0] = (struct pr_counts){0, 2, 1};
    expect_refused(pr_counts_pack(&m, &b, &e), CM_ELIMIT, "counts 0: equal_lower is 2");
    items[0] = (struct pr_counts){CM_IMAGES_MAX + 1, 0, 0};
    expect_refused(pr_counts_pack(&m, &b, &e), CM_ELIMIT, "counts 0: higher is 1099511627777");
    items[0] = (struct pr_counts){0, 0, CM_IMAGES_MAX + 1};
    expect_refused(pr_counts_pack(&m, &b, &e), CM_ELIMIT, "counts 0: equal is 1099511627777");
    free(items);
}

Test(wire_scores, both_ends_go_round_and_its_rules_hold)
{
    const struct pr_scores ends[] = {{.count = 1},
                                     {.id = {UINT64_MAX},
                                      .epoch = UINT64_MAX - 1,
                                      .shard = {CM_SHARDS_MAX - 1},
                                      .first_image = CM_IMAGES_MAX - CM_SCORES_MAX,
                                      .count = CM_SCORES_MAX,
                                      .payload_crc32c = UINT32_MAX}};
    for (size_t i = 0; i < 2; i++) {
        struct pr_scores got;
        cr_assert_eq(pr_scores_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_scores_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert(got.id.v == ends[i].id.v && got.epoch == ends[i].epoch);
        cr_assert_eq(got.shard.v, ends[i].shard.v);
        cr_assert_eq(got.first_image, ends[i].first_image);
        cr_assert_eq(got.count, ends[i].count);
        cr_assert_eq(got.payload_crc32c, ends[i].payload_crc32c);
    }
    struct pr_scores m = ends[1];
    m.first_image++;
    expect_refused(pr_scores_pack(&m, &b, &e), CM_ELIMIT, "first_image is 1099510579201");
    m = ends[1];
    m.shard.v++;
    expect_refused(pr_scores_pack(&m, &b, &e), CM_ELIMIT, "shard is 65536");
    m = ends[0];
    m.count = 0;
    expect_refused(pr_scores_pack(&m, &b, &e), CM_EFORMAT, "count is 0");
    m.count = CM_SCORES_MAX + 1;
    expect_refused(pr_scores_pack(&m, &b, &e), CM_ELIMIT, "count is 1048577");
}

/* Three scores at an odd address, as they come out of a frame. */
static enum cm_err check_scores(const float scores[3], size_t size, uint32_t crc_flip)
{
    char frame[13];
    memcpy(frame + 1, scores, 12);
    struct pr_scores m = {
        .first_image = 70, .count = 3, .payload_crc32c = cm_crc32c(0, scores, 12) ^ crc_flip};
    return pr_scores_check_payload(&m, (struct cm_bytes){frame + 1, size}, &e);
}

Test(wire_scores, payload_is_checked)
{
    cr_assert_eq(check_scores((float[3]){1, -INFINITY, 3.4e38f}, 12, 0), CM_OK, "%s", e.text);
    cr_assert_eq(check_scores((float[3]){0}, 8, 0), CM_EFORMAT);
    cr_assert_str_eq(e.text, "the frame of scores has 8 bytes; 3 elements of float32 take 12");
    cr_assert_eq(check_scores((float[3]){0}, 12, 1), CM_ECORRUPT);
    cr_assert(strstr(e.text, "the checksum of the frame of scores is") != NULL, "%s", e.text);
    cr_assert_eq(check_scores((float[3]){0, 0, NAN}, 12, 0), CM_EFORMAT);
    cr_assert_str_eq(e.text, "score nan of image 72; it must be finite or -inf");
    cr_assert_eq(check_scores((float[3]){0, INFINITY, 0}, 12, 0), CM_EFORMAT);
    cr_assert_str_eq(e.text, "score inf of image 71; it must be finite or -inf");
}

/* What was packed, read again. */
static void read_measured(const struct pr_measured *m)
{
    struct pr_measured got;
    cr_assert_eq(pr_measured_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch && got.mixed == m->mixed);
    cr_assert(got.images == m->images && got.shards == m->shards);
    cr_assert_eq(memcmp(&got.census, &m->census, sizeof got.census), 0);
    cr_assert_eq(got.overflowed, m->overflowed);
    cr_assert_eq(got.queue_us, m->queue_us);
    cr_assert_eq(got.project_us, m->project_us);
    cr_assert_eq(got.score_us, m->score_us);
    cr_assert_eq(got.total_us, m->total_us);
    cr_assert_eq(got.worker_bytes, m->worker_bytes);
    cr_assert_eq(got.missing_count, m->missing_count);
    for (size_t i = 0; i < m->missing_count; i++)
        cr_assert(got.missing[i].shard.v == m->missing[i].shard.v &&
                      got.missing[i].reason == m->missing[i].reason &&
                      got.missing[i].images_scored == 0 &&
                      got.missing[i].images == m->missing[i].images,
                  "missing shard %zu", i);
    expect_same_positives(&got.positives, &m->positives);
    expect_same_counts(&got.counts, &m->counts);
    pr_measured_fini(&got);
    cr_assert(got.missing == NULL && got.positives.items == NULL && got.counts.items == NULL);
}

Test(wire_measured, both_ends_go_round)
{
    struct cm_hit *items = most_positives();
    struct pr_counts *counts = most_counts();
    struct pr_measured m = {.images = 1, .shards = 1, .census = {.same_camera = 1}};
    cr_assert_eq(pr_measured_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_measured(&m);
    m = (struct pr_measured){
        .id = {UINT64_MAX},
        .epoch = UINT64_MAX - 1,
        .images = CM_IMAGES_MAX,
        .shards = CM_SHARDS_MAX,
        .census = {.valid = CM_IMAGES_MAX, .distractors = CM_IMAGES_MAX - CM_POSITIVES_MAX},
        .overflowed = CM_IMAGES_MAX,
        .mixed = true,
        .queue_us = UINT64_MAX,
        .project_us = UINT64_MAX - 1,
        .score_us = UINT64_MAX - 2,
        .total_us = UINT64_MAX - 3,
        .worker_bytes = UINT64_MAX - 4,
        .positives = {.items = items, .count = CM_POSITIVES_MAX},
        .counts = {.items = counts, .count = CM_POSITIVES_MAX}};
    cr_assert_eq(pr_measured_pack(&m, &b, &e), CM_OK, "%s", e.text);
    expect_largest(POSITIVE_BYTES + COUNTS_BYTES);
    read_measured(&m);
    m.positives.count = m.counts.count = CM_POSITIVES_MAX + 1;
    m.census.distractors--;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "number of positives is 65537");
    free(items);
    free(counts);
}

Test(wire_measured, all_shards_may_be_missing)
{
    struct pr_missing_shard *missing = calloc(CM_SHARDS_MAX, sizeof *missing);
    cr_assert(missing != NULL);
    for (uint32_t i = 0; i < CM_SHARDS_MAX; i++)
        missing[i] = (struct pr_missing_shard){{i}, PR_REASON_INTERNAL, 0, CM_IMAGES_MAX};
    missing[0] = (struct pr_missing_shard){{0}, PR_REASON_NO_WORKER, 0, 0};
    struct pr_measured m = {.images = CM_IMAGES_MAX,
                            .shards = CM_SHARDS_MAX,
                            .missing = missing,
                            .missing_count = CM_SHARDS_MAX};
    cr_assert_eq(pr_measured_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_measured(&m);
    missing[2].images_scored = 1;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "missing shard 2: 1 images scored");
    missing[2].images_scored = 0;
    missing[2].reason = PR_REASON_NONE;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "shard 2 is missing without a reason");
    missing[2] = missing[1];
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "shard 1 comes after shard 1");
    m.shards = 1;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "shard 1 of a gallery of 1");
    free(missing);
}

Test(wire_measured, each_rule_of_its_census_holds)
{
    struct pr_missing_shard missing = {{1}, PR_REASON_DEADLINE, 0, 3};
    const struct pr_measured sound = {
        .images = 9,
        .shards = 3,
        .census = {.valid = 4, .same_camera = 3, .junk = 2, .distractors = 2}};
    struct pr_measured m = sound;
    cr_assert_eq(pr_measured_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_measured(&m);
    m.images = 0;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "images is 0");
    m = sound;
    m.shards = 0;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "shards is 0");
    m = sound;
    m.census.valid = 5;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "5 valid images");
    m = sound;
    m.census.distractors = 5;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "distractors is 5");
    m = sound;
    m.overflowed = 10;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "overflowed is 10");
    m = sound;
    m.missing = &missing;
    m.missing_count = 1;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "valid is 4; it must be at most 0");
    m.census = (struct pr_census){0};
    m.overflowed = 1;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "overflowed is 1");
}

Test(wire_measured, each_rule_of_its_counts_holds)
{
    struct pr_missing_shard missing = {{1}, PR_REASON_DEADLINE, 0, 3};
    struct cm_hit items[2] = {{1.0f, 5}, {1.0f, 6}};
    struct pr_counts counts[2] = {{2, 0, 2}, {2, 1, 2}};
    struct pr_measured m = {.images = 5,
                            .shards = 3,
                            .census = {.valid = 4, .junk = 1, .distractors = 2},
                            .positives = {items, 2},
                            .counts = {counts, 2}};
    cr_assert_eq(pr_measured_pack(&m, &b, &e), CM_OK, "%s", e.text);
    read_measured(&m);
    m.counts.count = 1;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "counts for 1 of 2 positives");
    m.counts.count = 2;
    counts[1] = (struct pr_counts){2, 2, 2}; /* it would stand fifth of four */
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "counts 1: equal is 2");
    counts[1] = (struct pr_counts){2, 0, 0};
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "counts 1: equal is 0");
    counts[1] = (struct pr_counts){3, 1, 2};
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "counts 1: higher is 3");
    counts[1] = (struct pr_counts){0, 1, 5};
    expect_refused(pr_measured_pack(&m, &b, &e), CM_ELIMIT, "counts 1: equal is 5");
    counts[1] = (struct pr_counts){2, 1, 2};
    items[1].score = 2;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "positive 1: image 6");
    m.positives.count = 0;
    m.census = (struct pr_census){0};
    m.missing = &missing;
    m.missing_count = 1;
    expect_refused(pr_measured_pack(&m, &b, &e), CM_EFORMAT, "counts for 2 of 0 positives");
}
