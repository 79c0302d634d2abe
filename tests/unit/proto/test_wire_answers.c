/* test_wire_answers.c: RESULT, QUERY, ANSWER, ERROR and STATUS keep every field at both ends of its
 * range, and each rule of theirs holds when packing. */
#include "common/checksum.h"
#include "common/limits.h"
#include "proto/wire/answer.h"
#include "proto/wire/error.h"
#include "proto/wire/query.h"
#include "proto/wire/result.h"
#include "proto/wire/status.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;
static struct pr_buffer b;
static char long_name[CM_NAME_BYTES_MAX + 1];

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

/* Two hits at the ends of every range. */
static void extreme_hits(struct pr_hit hits[2])
{
    fill(long_name, 'n', CM_NAME_BYTES_MAX);
    hits[0] = (struct pr_hit){{.score = 3.402823466e38f, .image = CM_IMAGES_MAX - 1},
                              {INT64_MAX, INT64_MIN, INT32_MAX, long_name}};
    hits[1] =
        (struct pr_hit){{.score = -INFINITY, .image = 0}, {INT64_MIN, INT64_MAX, INT32_MIN, "x"}};
}

static void expect_same_hits(const struct pr_hits *got, const struct pr_hits *want)
{
    cr_assert_eq(got->count, want->count);
    for (size_t i = 0; i < want->count; i++) {
        cr_assert_eq(memcmp(&got->items[i].hit.score, &want->items[i].hit.score, 4), 0);
        cr_assert_eq(got->items[i].hit.image, want->items[i].hit.image);
        cr_assert_eq(got->items[i].meta.pid, want->items[i].meta.pid);
        cr_assert_eq(got->items[i].meta.camid, want->items[i].meta.camid);
        cr_assert_eq(got->items[i].meta.timestamp, want->items[i].meta.timestamp);
        cr_assert_str_eq(got->items[i].meta.name, want->items[i].meta.name);
    }
}

static void round_trip_result(const struct pr_result *m)
{
    struct pr_result got;
    cr_assert_eq(pr_result_pack(m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_result_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch);
    cr_assert_eq(got.reason, m->reason);
    cr_assert_eq(got.shards_count, m->shards_count);
    for (size_t i = 0; i < m->shards_count; i++) {
        cr_assert_eq(got.shards[i].shard.v, m->shards[i].shard.v);
        cr_assert_eq(got.shards[i].images_scored, m->shards[i].images_scored);
        cr_assert_eq(got.shards[i].images, m->shards[i].images);
        cr_assert_eq(got.shards[i].overflowed, m->shards[i].overflowed);
    }
    cr_assert_eq(got.queue_us, m->queue_us);
    cr_assert_eq(got.project_us, m->project_us);
    cr_assert_eq(got.score_us, m->score_us);
    expect_same_hits(&got.hits, &m->hits);
    pr_result_fini(&got);
    cr_assert(got.shards == NULL && got.hits.items == NULL && got.hits.names == NULL);
}

Test(wire_result, both_ends_go_round)
{
    struct pr_hit hits[2];
    struct pr_scored shard = {{0}, 0, 0, 0};
    extreme_hits(hits);
    struct pr_result m = {.reason = PR_REASON_INTERNAL, .shards = &shard, .shards_count = 1};
    round_trip_result(&m);
    shard = (struct pr_scored){{CM_SHARDS_MAX - 1}, CM_IMAGES_MAX, CM_IMAGES_MAX, CM_IMAGES_MAX};
    m = (struct pr_result){.id = {UINT64_MAX},
                           .epoch = UINT64_MAX - 1,
                           .shards = &shard,
                           .shards_count = 1,
                           .queue_us = UINT64_MAX,
                           .project_us = UINT64_MAX - 1,
                           .score_us = UINT64_MAX - 2,
                           .hits = {.items = hits, .count = 2}};
    round_trip_result(&m);
}

/* As many as there may be, each with as many images as there may be. */
Test(wire_result, all_shards_of_the_largest_gallery_go_round)
{
    struct pr_scored *shards = calloc(CM_SHARDS_MAX + 1, sizeof *shards);
    cr_assert(shards != NULL);
    for (uint32_t i = 0; i <= CM_SHARDS_MAX; i++)
        shards[i] = (struct pr_scored){{i}, CM_IMAGES_MAX, CM_IMAGES_MAX, i};
    struct pr_result m = {.shards = shards, .shards_count = CM_SHARDS_MAX};
    round_trip_result(&m);
    m.shards_count++;
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "number of shards is 65537");
    free(shards);
}

Test(wire_result, shards_ascend_and_share_a_ranking_only_if_whole)
{
    struct pr_scored shards[] = {{{3}, 5, 5, 0}, {{4}, 6, 6, 0}};
    struct pr_result m = {.shards = shards};
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "number of shards is 0");
    m.shards_count = 2;
    round_trip_result(&m);
    shards[1].shard.v = 3;
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "shard 3 comes after shard 3");
    shards[1].shard.v = 2;
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "shard 2 comes after shard 3");
    shards[1].shard.v = 4;
    shards[0].images_scored = shards[1].images_scored = 0;
    m.reason = PR_REASON_DEADLINE;
    round_trip_result(&m);
    shards[1].images_scored = 1;
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT,
                   "2 shards share a ranking, and are not whole: deadline");
    m.shards++;
    m.shards_count = 1;
    round_trip_result(&m);
    shards[1].overflowed = 2;
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "shard 4: overflowed is 2");
}

Test(wire_result, ten_thousand_hits_go_round)
{
    struct pr_hit *hits = calloc(CM_K_MAX + 1, sizeof *hits);
    cr_assert(hits != NULL);
    for (size_t i = 0; i <= CM_K_MAX; i++)
        hits[i] = (struct pr_hit){{.score = -(float)i, .image = CM_K_MAX - i},
                                  {.pid = (int64_t)i, .name = "1501_c6s1_000451_03.jpg"}};
    struct pr_scored shard = {{0}, CM_K_MAX + 1, CM_K_MAX + 1, 0};
    struct pr_result m = {
        .shards = &shard, .shards_count = 1, .hits = {.items = hits, .count = CM_K_MAX}};
    round_trip_result(&m);
    m.hits.count++;
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "number of hits is 10001");
    fill(long_name, 'n', CM_NAME_BYTES_MAX);
    for (size_t i = 0; i <= CM_K_MAX; i++)
        hits[i].meta.name = long_name;
    m.hits.count = CM_K_MAX;
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "more than 4194304 bytes");
    free(hits);
}

static void expect_shard_refused(enum pr_reason reason, struct pr_scored shard, enum cm_err rc,
                                 const char *text)
{
    struct pr_result m = {.reason = reason, .shards = &shard, .shards_count = 1};
    expect_refused(pr_result_pack(&m, &b, &e), rc, text);
}

Test(wire_result, each_rule_of_coverage_holds)
{
    expect_shard_refused(PR_REASON_NONE, (struct pr_scored){{1}, 4, 5, 0}, CM_EFORMAT,
                         "4 of 5 images scored does not go with reason \"none\"");
    expect_shard_refused(PR_REASON_DEADLINE, (struct pr_scored){{1}, 5, 5, 0}, CM_EFORMAT,
                         "does not go with reason \"deadline\"");
    expect_shard_refused(PR_REASON_NONE, (struct pr_scored){{1}, 0, 0, 0}, CM_EFORMAT,
                         "0 of 0 images scored");
    expect_shard_refused(PR_REASON_CORRUPT, (struct pr_scored){{1}, 6, 5, 0}, CM_EFORMAT,
                         "6 images scored of only 5");
    expect_shard_refused(7, (struct pr_scored){{1}, 0, 5, 0}, CM_EFORMAT, "unknown reason 7");
    expect_shard_refused(PR_REASON_DEADLINE, (struct pr_scored){{1}, 0, CM_IMAGES_MAX + 1, 0},
                         CM_ELIMIT, "images is 1099511627777");
    expect_shard_refused(PR_REASON_NONE, (struct pr_scored){{1}, 5, 5, 6}, CM_ELIMIT,
                         "shard 1: overflowed is 6");
    expect_shard_refused(PR_REASON_NONE, (struct pr_scored){{CM_SHARDS_MAX}, 5, 5, 0}, CM_ELIMIT,
                         "shard is 65536");
    cr_assert_str_eq(pr_reason_name(PR_REASON_WORKER_LOST), "worker-lost");
}

Test(wire_result, each_rule_of_hits_holds)
{
    struct pr_hit hits[2] = {{{1.0f, 5}, {.name = "a"}}, {{0.5f, 4}, {.name = "b"}}};
    struct pr_scored shard = {{0}, 2, 2, 0};
    struct pr_result m = {.shards = &shard, .shards_count = 1, .hits = {.items = hits, .count = 2}};
    round_trip_result(&m);
    hits[1].hit = (struct cm_hit){1.0f, 6}; /* a tie goes to the lower id */
    round_trip_result(&m);
    hits[1].hit = (struct cm_hit){1.0f, 4};
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "hit 1: image 4 does not rank after");
    hits[1].hit = (struct cm_hit){1.0f, 5};
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "hit 1: image 5 does not rank after");
    hits[1].hit = (struct cm_hit){2.0f, 6};
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "hit 1: image 6 does not rank after");
    hits[1].hit = (struct cm_hit){NAN, 6};
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "hit 1: score nan of image 6");
    hits[1].hit = (struct cm_hit){0.5f, CM_IMAGES_MAX};
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "hit 1: image 1099511627776");
    hits[1].hit = (struct cm_hit){0.5f, 6};
    hits[0].hit.score = INFINITY;
    expect_refused(pr_result_pack(&m, &b, &e), CM_EFORMAT, "hit 0: score inf of image 5");
    hits[0].hit.score = 1;
    hits[1].meta.name = "";
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "1 to 4096 fit");
    shard.images_scored = shard.images = 1;
    expect_refused(pr_result_pack(&m, &b, &e), CM_ELIMIT, "number of hits is 2");
}

static const struct pr_query small_query = {
    .k = 1, .deadline_ms = 1, .dtype = CM_DTYPE_F16, .height = 1, .width = 1, .channels = 1};

Test(wire_query, both_ends_go_round)
{
    const struct pr_query ends[] = {small_query,
                                    {.id = {UINT64_MAX},
                                     .epoch = UINT64_MAX - 1,
                                     .k = CM_K_MAX,
                                     .deadline_ms = CM_DEADLINE_MS_MAX,
                                     .dtype = CM_DTYPE_F32,
                                     .height = 2,
                                     .width = 4,
                                     .channels = CM_CHANNELS_MAX * CM_LAYERS_MAX,
                                     .payload_crc32c = UINT32_MAX}};
    for (size_t i = 0; i < 2; i++) {
        struct pr_query got;
        cr_assert_eq(pr_query_pack(&ends[i], &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_query_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert(got.id.v == ends[i].id.v && got.epoch == ends[i].epoch && got.k == ends[i].k);
        cr_assert_eq(got.deadline_ms, ends[i].deadline_ms);
        cr_assert_eq(got.dtype, ends[i].dtype);
        cr_assert_eq(got.height, ends[i].height);
        cr_assert_eq(got.width, ends[i].width);
        cr_assert_eq(got.channels, ends[i].channels);
        cr_assert_eq(got.payload_crc32c, ends[i].payload_crc32c);
    }
}

Test(wire_query, each_rule_holds)
{
    struct pr_query m = small_query;
    m.k = 0;
    expect_refused(pr_query_pack(&m, &b, &e), CM_EFORMAT, "k is 0");
    m.k = CM_K_MAX + 1;
    expect_refused(pr_query_pack(&m, &b, &e), CM_ELIMIT, "k is 10001");
    m = small_query;
    m.deadline_ms = 0;
    expect_refused(pr_query_pack(&m, &b, &e), CM_EFORMAT, "deadline_ms is 0");
    m.deadline_ms = CM_DEADLINE_MS_MAX + 1;
    expect_refused(pr_query_pack(&m, &b, &e), CM_ELIMIT, "deadline_ms is 86400001");
    m = small_query;
    m.dtype = 0;
    expect_refused(pr_query_pack(&m, &b, &e), CM_EFORMAT, "unknown element type 0");
    m = small_query;
    m.height = 0;
    expect_refused(pr_query_pack(&m, &b, &e), CM_EFORMAT, "height is 0");
    m = small_query;
    m.width = CM_SIDE_MAX + 1;
    expect_refused(pr_query_pack(&m, &b, &e), CM_ELIMIT, "width is 513");
    m = small_query;
    m.channels = CM_CHANNELS_MAX * CM_LAYERS_MAX + 1;
    expect_refused(pr_query_pack(&m, &b, &e), CM_ELIMIT, "channels is 524289");
    m = small_query;
    m.height = m.width = CM_SIDE_MAX;
    m.channels = 33;
    expect_refused(pr_query_pack(&m, &b, &e), CM_ELIMIT, "size in bytes is 17301504");
}

Test(wire_query, payload_is_checked_against_the_header)
{
    static const char payload[24] = "some feature map, 24 b.";
    struct pr_query m = {.dtype = CM_DTYPE_F32,
                         .height = 3,
                         .width = 2,
                         .channels = 1,
                         .payload_crc32c = cm_crc32c(0, payload, 24)};
    cr_assert_eq(pr_query_check_payload(&m, (struct cm_bytes){payload, 24}, &e), CM_OK, "%s",
                 e.text);
    cr_assert_eq(pr_query_check_payload(&m, (struct cm_bytes){payload, 20}, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "the feature map has 20 bytes; 6 elements of float32 take 24");
    m.payload_crc32c = 0;
    cr_assert_eq(pr_query_check_payload(&m, (struct cm_bytes){payload, 24}, &e), CM_ECORRUPT);
}

static void round_trip_answer(const struct pr_answer *m)
{
    struct pr_answer got;
    cr_assert_eq(pr_answer_pack(m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_answer_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch && got.mixed == m->mixed);
    cr_assert_eq(got.images_scored, m->images_scored);
    cr_assert_eq(got.images, m->images);
    cr_assert_eq(got.shards_scored, m->shards_scored);
    cr_assert_eq(got.shards, m->shards);
    cr_assert_eq(got.overflowed, m->overflowed);
    cr_assert_eq(memcmp(&got.timings, &m->timings, sizeof got.timings), 0);
    cr_assert_eq(got.missing_count, m->missing_count);
    for (size_t i = 0; i < m->missing_count; i++)
        cr_assert(got.missing[i].shard.v == m->missing[i].shard.v &&
                      got.missing[i].reason == m->missing[i].reason &&
                      got.missing[i].images_scored == m->missing[i].images_scored &&
                      got.missing[i].images == m->missing[i].images,
                  "missing shard %zu", i);
    expect_same_hits(&got.hits, &m->hits);
    pr_answer_fini(&got);
    cr_assert(got.missing == NULL && got.hits.items == NULL);
}

Test(wire_answer, both_ends_go_round)
{
    struct pr_missing_shard *missing = calloc(CM_SHARDS_MAX, sizeof *missing);
    cr_assert(missing != NULL);
    for (uint32_t i = 0; i < CM_SHARDS_MAX; i++)
        missing[i] =
            (struct pr_missing_shard){{i}, PR_REASON_INTERNAL, CM_IMAGES_MAX - 1, CM_IMAGES_MAX};
    missing[0] = (struct pr_missing_shard){{0}, PR_REASON_DEADLINE, 0, 0};
    struct pr_hit hits[2];
    extreme_hits(hits);
    struct pr_answer m = {.images = 1, .shards = 1, .missing = missing, .missing_count = 1};
    round_trip_answer(&m);
    m = (struct pr_answer){.images = 1, .images_scored = 1, .shards = 1, .shards_scored = 1};
    round_trip_answer(&m);
    m = (struct pr_answer){.id = {UINT64_MAX},
                           .epoch = UINT64_MAX - 1,
                           .images_scored = CM_IMAGES_MAX,
                           .images = CM_IMAGES_MAX,
                           .shards = CM_SHARDS_MAX,
                           .overflowed = CM_IMAGES_MAX,
                           .mixed = true,
                           .timings = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 2, UINT64_MAX - 3,
                                       UINT64_MAX - 4, UINT64_MAX - 5, UINT64_MAX - 6},
                           .missing = missing,
                           .missing_count = CM_SHARDS_MAX,
                           .hits = {.items = hits, .count = 2}};
    round_trip_answer(&m);
    free(missing);
}

Test(wire_answer, each_rule_holds)
{
    struct pr_missing_shard missing[2] = {{{1}, PR_REASON_DEADLINE, 1, 3},
                                          {{2}, PR_REASON_NO_WORKER, 0, 0}};
    const struct pr_answer sound = {.images_scored = 4,
                                    .images = 9,
                                    .shards_scored = 1,
                                    .shards = 3,
                                    .missing = missing,
                                    .missing_count = 2};
    struct pr_answer m = sound;
    round_trip_answer(&m);
    m.images_scored = 10;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_ELIMIT, "images_scored is 10");
    m = sound;
    m.images = 0;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "images is 0");
    m = sound;
    m.overflowed = 5;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_ELIMIT, "overflowed is 5");
    m = sound;
    m.shards = 0;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "shards is 0");
    m = sound;
    m.shards_scored = 2;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT,
                   "2 shards scored and 2 missing do not make 3");
    m.shards_scored = 4;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "4 shards scored");
    m.shards_scored = 0;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT,
                   "0 shards scored and 2 missing do not make 3");
    struct pr_hit hits[5] = {{{0, 0}, {.name = "a"}}};
    m = sound;
    m.hits = (struct pr_hits){.items = hits, .count = 5};
    expect_refused(pr_answer_pack(&m, &b, &e), CM_ELIMIT, "number of hits is 5");
    m.hits.count = 2;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "hit 1: image 0 does not rank after");
    m = sound;
    missing[1].shard.v = 3;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "shard 3 of a gallery of 3");
    missing[1].shard.v = 1;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "shard 1 comes after shard 1");
    missing[1].shard.v = 2;
    missing[1].reason = PR_REASON_NONE;
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "shard 2 is missing without a reason");
    missing[1] = (struct pr_missing_shard){{2}, PR_REASON_DEADLINE, 5, 5};
    expect_refused(pr_answer_pack(&m, &b, &e), CM_EFORMAT, "missing shard 2: 5 of 5 images scored");
}

Test(wire_error, goes_round_and_its_rules_hold)
{
    struct pr_error m = {.code = PR_ERROR_BAD_QUERY};
    struct pr_error got;
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(pr_error_pack(&m, &b, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_error_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
        pr_buffer_fini(&b);
        cr_assert(got.id.v == m.id.v && got.epoch == m.epoch && got.code == m.code);
        cr_assert_str_eq(got.text, m.text);
        cr_assert_eq(got.retry_after_ms, m.retry_after_ms);
        m = (struct pr_error){.id = {UINT64_MAX},
                              .epoch = UINT64_MAX - 1,
                              .code = PR_ERROR_VERSION,
                              .retry_after_ms = CM_DEADLINE_MS_MAX};
        fill(m.text, 't', CM_TEXT_BYTES_MAX);
    }
    m.retry_after_ms++;
    expect_refused(pr_error_pack(&m, &b, &e), CM_ELIMIT, "retry_after_ms is 86400001");
    m.code = 7;
    expect_refused(pr_error_pack(&m, &b, &e), CM_EFORMAT, "unknown error code 7");
    cr_assert_str_eq(pr_error_name(PR_ERROR_NO_GALLERY), "no-gallery");
}

static const struct pr_member small_member = {.node = "a",
                                              .state = PR_MEMBER_READY,
                                              .numeric_class = "x",
                                              .threads = 1,
                                              .credits = 1,
                                              .shards = 1,
                                              .images = 1};

static void expect_same_member(const struct pr_member *got, const struct pr_member *want)
{
    cr_assert_str_eq(got->node, want->node);
    cr_assert_eq(got->incarnation, want->incarnation);
    cr_assert_eq(got->state, want->state);
    cr_assert_str_eq(got->numeric_class, want->numeric_class);
    cr_assert_eq(got->threads, want->threads);
    cr_assert_eq(got->credits, want->credits);
    cr_assert_eq(got->inflight, want->inflight);
    cr_assert_eq(got->shards, want->shards);
    cr_assert_eq(got->images, want->images);
    cr_assert_eq(got->searches_done, want->searches_done);
    cr_assert_eq(got->pairs_scored, want->pairs_scored);
    cr_assert_eq(got->silent_ms, want->silent_ms);
    cr_assert_eq(got->slow, want->slow);
    cr_assert_eq(memcmp(&got->work, &want->work, sizeof got->work), 0);
}

static void round_trip_status(const struct pr_status *m)
{
    struct pr_status got;
    cr_assert_eq(pr_status_pack(m, &b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_status_unpack(pr_buffer_bytes(&b), &got, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(&b);
    cr_assert(got.id.v == m->id.v && got.epoch == m->epoch && got.uptime_ms == m->uptime_ms);
    cr_assert_eq(got.has_gallery, m->has_gallery);
    cr_assert_eq(got.gallery.images, m->gallery.images);
    cr_assert_eq(got.gallery.shards, m->gallery.shards);
    cr_assert_eq(got.shards_covered, m->shards_covered);
    cr_assert_eq(memcmp(&got.counters, &m->counters, sizeof got.counters), 0);
    cr_assert_eq(got.queries_waiting, m->queries_waiting);
    cr_assert_eq(got.queries_inflight, m->queries_inflight);
    cr_assert_eq(got.queries_yours, m->queries_yours);
    cr_assert_eq(got.memory_bytes, m->memory_bytes);
    cr_assert_eq(got.pace_us, m->pace_us);
    cr_assert_eq(got.clients_waiting, m->clients_waiting);
    cr_assert_eq(got.most_waiting, m->most_waiting);
    cr_assert_eq(got.members_count, m->members_count);
    for (size_t i = 0; i < m->members_count; i++)
        expect_same_member(&got.members[i], &m->members[i]);
    pr_status_fini(&got);
    cr_assert(got.members == NULL && got.members_count == 0);
}

Test(wire_status, both_ends_go_round)
{
    struct pr_member *members = calloc(CM_MEMBERS_MAX, sizeof *members);
    cr_assert(members != NULL);
    struct pr_member big = {.incarnation = UINT64_MAX,
                            .state = PR_MEMBER_LEAVING,
                            .threads = UINT32_MAX,
                            .credits = UINT32_MAX - 1,
                            .inflight = UINT32_MAX - 2,
                            .shards = CM_SHARDS_MAX,
                            .images = CM_IMAGES_MAX,
                            .searches_done = UINT64_MAX - 1,
                            .pairs_scored = UINT64_MAX - 2,
                            .silent_ms = UINT64_MAX - 3,
                            .slow = true,
                            .work = {UINT64_MAX, 1, UINT64_MAX - 1, 2}};
    fill(big.node, '_', CM_NODE_BYTES_MAX);
    fill(big.numeric_class, '!', CM_CLASS_BYTES_MAX);
    for (size_t i = 0; i < CM_MEMBERS_MAX; i++)
        members[i] = big;
    members[0] = small_member;
    struct pr_status m = {0};
    round_trip_status(&m);
    m = (struct pr_status){.id = {UINT64_MAX},
                           .epoch = UINT64_MAX - 1,
                           .uptime_ms = UINT64_MAX - 2,
                           .has_gallery = true,
                           .gallery = {.geometry = {CM_QACONV, 1, 1, 1, 1, 0},
                                       .precision = CM_F32,
                                       .images = CM_IMAGES_MAX,
                                       .shards = CM_SHARDS_MAX},
                           .shards_covered = CM_SHARDS_MAX,
                           .counters = {1, UINT64_MAX, 2, UINT64_MAX - 1, 3, UINT64_MAX - 2, 4,
                                        UINT64_MAX - 3, UINT64_MAX - 4, UINT64_MAX - 5, 5},
                           .queries_waiting = UINT32_MAX,
                           .queries_inflight = UINT32_MAX - 1,
                           .queries_yours = UINT32_MAX - 2,
                           .memory_bytes = UINT64_MAX,
                           .pace_us = UINT64_MAX,
                           .clients_waiting = UINT32_MAX,
                           .most_waiting = UINT32_MAX - 1,
                           .members = members,
                           .members_count = CM_MEMBERS_MAX};
    round_trip_status(&m);
    free(members);
}

Test(wire_status, each_rule_holds)
{
    struct pr_member member = small_member;
    struct pr_status m = {.members = &member, .members_count = 1};
    round_trip_status(&m);
    m.shards_covered = 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "shards_covered is 1");
    m.shards_covered = 0;
    m.has_gallery = true;
    expect_refused(pr_status_pack(&m, &b, &e), CM_EFORMAT, "gallery: unknown matcher 0");
    m.has_gallery = false;
    m.members_count = CM_MEMBERS_MAX + 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "number of members is 1025");
    m.members_count = 1;
    member.node[0] = '/';
    expect_refused(pr_status_pack(&m, &b, &e), CM_EFORMAT, "member 0: node name \"/\"");
    member = small_member;
    member.state = 5;
    expect_refused(pr_status_pack(&m, &b, &e), CM_EFORMAT, "unknown member state 5");
    member = small_member;
    member.numeric_class[0] = ' ';
    expect_refused(pr_status_pack(&m, &b, &e), CM_EFORMAT, "numeric class \" \"");
    member = small_member;
    member.threads = 0;
    expect_refused(pr_status_pack(&m, &b, &e), CM_EFORMAT, "threads is 0");
    member = small_member;
    member.credits = 0;
    expect_refused(pr_status_pack(&m, &b, &e), CM_EFORMAT, "credits is 0");
    member = small_member;
    member.shards = CM_SHARDS_MAX + 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "shards is 65537");
    member = small_member;
    member.moving = member.assigned + 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "moving is");
    member = small_member;
    member.state = PR_MEMBER_AWAY;
    member.threads = member.credits = member.shards = 0;
    member.images = 0;
    round_trip_status(&m);
    m.shards_whole = 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "shards_whole is 1");
    m.shards_whole = 0;
    m.queries_waiting = 4;
    m.clients_waiting = 5;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "clients_waiting is 5");
    m.clients_waiting = 4;
    m.most_waiting = 6;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "most_waiting is 6");
    m.most_waiting = 0;
    m.replicas = CM_REPLICAS_MAX + 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "replicas is 17");
    m.replicas = 0;
    member = small_member;
    member.images = CM_IMAGES_MAX + 1;
    expect_refused(pr_status_pack(&m, &b, &e), CM_ELIMIT, "images is 1099511627777");
    cr_assert_str_eq(pr_member_state_name(PR_MEMBER_LEAVING), "leaving");
}
