/* test_wire_examples.c: see test_wire_examples.h. */
#include "tests/unit/proto/test_wire_examples.h"

#include "proto/wire/answer.h"
#include "proto/wire/control.h"
#include "proto/wire/count.h"
#include "proto/wire/error.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/hello.h"
#include "proto/wire/join.h"
#include "proto/wire/measure.h"
#include "proto/wire/measured.h"
#include "proto/wire/operate.h"
#include "proto/wire/place.h"
#include "proto/wire/positives.h"
#include "proto/wire/query.h"
#include "proto/wire/refuse.h"
#include "proto/wire/result.h"
#include "proto/wire/scores.h"
#include "proto/wire/search.h"
#include "proto/wire/status.h"
#include "proto/wire/transfer.h"
#include "proto/wire/welcome.h"

#include <math.h>

const struct wire_example wire_examples[WIRE_EXAMPLES] = {
    {PR_HELLO, "hello.bin"},
    {PR_WELCOME, "welcome.bin"},
    {PR_REFUSE, "refuse.bin"},
    {PR_REHELLO, "rehello.bin"},
    {PR_HEARTBEAT, "heartbeat.bin"},
    {PR_LEAVING, "leaving.bin"},
    {PR_SEARCH, "search.bin"},
    {PR_CANCEL, "cancel.bin"},
    {PR_RESULT, "result.bin"},
    {PR_QUERY, "query.bin"},
    {PR_ANSWER, "answer.bin"},
    {PR_ERROR, "error.bin"},
    {PR_STATUS_REQUEST, "status_request.bin"},
    {PR_STATUS, "status.bin"},
    {PR_EVALUATE, "evaluate.bin"},
    {PR_MEASURE, "measure.bin"},
    {PR_POSITIVES, "positives.bin"},
    {PR_COUNT, "count.bin"},
    {PR_COUNTS, "counts.bin"},
    {PR_SCORES, "scores.bin"},
    {PR_MEASURED, "measured.bin"},
    {PR_JOIN, "join.bin"},
    {PR_GIVERS, "givers.bin"},
    {PR_PLACE, "place.bin"},
    {PR_HOLDS, "holds.bin"},
    {PR_DISMISS, "dismiss.bin"},
    {PR_READ, "read.bin"},
    {PR_BLOCK, "block.bin"},
    {PR_DRAIN, "drain.bin"},
    {PR_REPLICAS, "replicas.bin"},
    {PR_PLACED, "placed.bin"},
};

static const struct pr_gallery_info gallery = {
    .gallery = {{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd,
                 0xee, 0xff}},
    .model = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}},
    .geometry = {.matcher = CM_TRANSMATCHER,
                 .height = 24,
                 .width = 8,
                 .channels = 512,
                 .layers = 3,
                 .ff = 2048},
    .precision = CM_F32,
    .images = 1000000,
    .shards = 300,
};

static struct pr_hit hits[] = {
    {{.score = 12.5f, .image = 70000},
     {.pid = 1501, .timestamp = 1712345678901, .camid = 6, .name = "1501_c6s1_000451_03.jpg"}},
    {{.score = -0.25f, .image = 7},
     {.pid = -1, .timestamp = -1, .camid = -1, .name = "b\xc3\xa9.png"}},
    {{.score = -0.25f, .image = 8}, {.pid = 0, .timestamp = 0, .camid = 0, .name = "c"}},
    {{.score = -INFINITY, .image = 3}, {.pid = 3, .timestamp = 3, .camid = 3, .name = "d"}},
};

static enum cm_err pack_hello(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_held_shard held[] = {
        {.shard = {0}, .first_image = 0, .images = 3000},
        {.shard = {7}, .first_image = 21000, .images = 4000},
        {.shard = {299}, .first_image = 999999, .images = 1},
    };
    struct pr_hello m = {
        .epoch = 4,
        .node = "worker-0",
        .incarnation = 0x0123456789abcdef,
        .version_min = 1,
        .version_max = 2,
        .gallery = gallery,
        .numeric_class = "f32/haswell/openblas-0.3.21",
        .threads = 8,
        .credits = 16,
        .held = held,
        .held_count = 3,
        .placed = true,
        .endpoint = "tcp://10.0.0.7:5600",
    };
    return pr_hello_pack(&m, out, e);
}

static enum cm_err pack_search(struct pr_buffer *out, struct cm_error *e)
{
    struct cm_shard_id shards[] = {{0}, {7}, {65535}};
    struct pr_search m = {
        .id = {77},
        .epoch = 4,
        .k = 10,
        .time_left_us = 2500000,
        .dtype = CM_DTYPE_F16,
        .payload_crc32c = 0xe3069283,
        .shards = shards,
        .shards_count = 3,
    };
    return pr_search_pack(&m, out, e);
}

static enum cm_err pack_result(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_scored shards[] = {{{7}, 2048, 2048, 1}, {{9}, 4000, 4000, 0}};
    struct pr_result m = {
        .id = {77},
        .epoch = 4,
        .shards = shards,
        .shards_count = 2,
        .queue_us = 120,
        .project_us = 900,
        .score_us = 2480000,
        .hits = {.items = hits, .count = 4},
    };
    return pr_result_pack(&m, out, e);
}

static enum cm_err pack_query(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_query m = {
        .id = {1},
        .k = 10,
        .deadline_ms = 3000,
        .dtype = CM_DTYPE_F32,
        .height = 24,
        .width = 8,
        .channels = 1536,
        .payload_crc32c = 0x01020304,
    };
    return pr_query_pack(&m, out, e);
}

static enum cm_err pack_answer(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_missing_shard missing[] = {
        {.shard = {7}, .reason = PR_REASON_DEADLINE, .images_scored = 2048, .images = 4000},
        {.shard = {8}, .reason = PR_REASON_NO_WORKER},
    };
    struct pr_answer m = {
        .id = {1},
        .images_scored = 995000,
        .images = 1000000,
        .shards_scored = 298,
        .shards = 300,
        .overflowed = 1,
        .mixed = true,
        .timings = {11, 22, 33, 44, 55, 66, 77},
        .missing = missing,
        .missing_count = 2,
        .hits = {.items = hits, .count = 4},
    };
    return pr_answer_pack(&m, out, e);
}

static enum cm_err pack_status(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_member members[] = {
        {.node = "worker-0",
         .incarnation = 99,
         .state = PR_MEMBER_READY,
         .numeric_class = "f32/haswell",
         .threads = 8,
         .credits = 16,
         .inflight = 2,
         .shards = 150,
         .images = 500000,
         .searches_done = 12,
         .pairs_scored = 6000000,
         .silent_ms = 250,
         .placed = true,
         .assigned = 160,
         .moving = 10,
         .queued = 3,
         .memory_bytes = 1000000,
         .slow = true,
         .work = {600000, 2, 33, 4}},
        {.node = "worker-1",
         .incarnation = 100,
         .state = PR_MEMBER_LEAVING,
         .numeric_class = "f32/zen",
         .threads = 1,
         .credits = 1,
         .shards = 1,
         .images = 1,
         .silent_ms = 70000},
    };
    struct pr_status m = {
        .id = {5},
        .uptime_ms = 86400000,
        .has_gallery = true,
        .gallery = gallery,
        .shards_covered = 150,
        .counters = {21, 20, 3, 1, 2, 4, 9, 40, 30, 70000, 11},
        .queries_waiting = 6,
        .queries_inflight = 2,
        .queries_yours = 1,
        .memory_bytes = 12345678,
        .replicas = 2,
        .shards_whole = 140,
        .pace_us = 25000,
        .clients_waiting = 3,
        .most_waiting = 4,
        .members = members,
        .members_count = 2,
    };
    return pr_status_pack(&m, out, e);
}

static struct cm_hit positives[] = {
    {.score = 12.5f, .image = 70000},
    {.score = -0.25f, .image = 7},
    {.score = -INFINITY, .image = 3},
};

static struct pr_counts counts[] = {{0, 0, 1}, {70000, 2, 5}, {949980, 1, 20}};

static enum cm_err pack_evaluate(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_evaluate m = {
        .id = {2},
        .pid = 1501,
        .camid = 6,
        .want_scores = true,
        .dtype = CM_DTYPE_F32,
        .height = 24,
        .width = 8,
        .channels = 1536,
        .payload_crc32c = 0x01020304,
    };
    return pr_evaluate_pack(&m, out, e);
}

static enum cm_err pack_measure(struct pr_buffer *out, struct cm_error *e)
{
    struct cm_shard_id shards[] = {{0}, {7}, {65535}};
    struct pr_measure m = {
        .id = {78},
        .epoch = 4,
        .pid = -1501,
        .camid = -6,
        .dtype = CM_DTYPE_F16,
        .payload_crc32c = 0xe3069283,
        .shards = shards,
        .shards_count = 3,
    };
    return pr_measure_pack(&m, out, e);
}

static enum cm_err pack_positives(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_positives_message m = {
        .id = {78},
        .epoch = 4,
        .shard = {7},
        .images = 4000,
        .census = {.valid = 3900, .same_camera = 60, .junk = 40, .distractors = 500},
        .overflowed = 1,
        .queue_us = 120,
        .project_us = 900,
        .score_us = 2480000,
        .positives = {.items = positives, .count = 3},
    };
    return pr_positives_pack(&m, out, e);
}

static enum cm_err pack_scores(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_scores m = {.id = {78},
                          .epoch = 4,
                          .shard = {7},
                          .first_image = 21000,
                          .count = 4000,
                          .payload_crc32c = 0x8a9136aa};
    return pr_scores_pack(&m, out, e);
}

static enum cm_err pack_measured(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_measured m = {
        .id = {2},
        .epoch = 4,
        .gallery = {{9, 8, 7}},
        .images = 1000000,
        .shards = 300,
        .census = {.valid = 950000, .same_camera = 30000, .junk = 20000, .distractors = 9000},
        .overflowed = 20,
        .mixed = true,
        .queue_us = 11,
        .project_us = 22,
        .score_us = 33,
        .total_us = 77,
        .worker_bytes = 30000,
        .positives = {.items = positives, .count = 3},
        .counts = {.items = counts, .count = 3},
    };
    return pr_measured_pack(&m, out, e);
}

static const struct pr_sources sources = {2, {"tcp://10.0.0.7:5600", "ipc:///run/v/w1"}};

static enum cm_err pack_read(struct pr_buffer *out, struct cm_error *e)
{
    struct pr_read m = {
        .id = {9},
        .gallery = gallery.gallery,
        .file = PR_FILE_SHARD,
        .shard = {7},
        .offset = 1 << 20,
        .bytes = 1 << 20,
    };
    return pr_read_pack(&m, out, e);
}

static enum cm_err pack_control(enum pr_type type, uint64_t id, struct pr_buffer *out,
                                struct cm_error *e)
{
    struct pr_control m = {.type = type, .id = {id}, .epoch = 4};
    return pr_control_pack(&m, out, e);
}

enum cm_err wire_example_pack(enum pr_type type, struct pr_buffer *out, struct cm_error *e)
{
    switch (type) {
    case PR_HELLO:
        return pack_hello(out, e);
    case PR_WELCOME:
        return pr_welcome_pack(&(struct pr_welcome){{0}, 4, 500, 2500}, out, e);
    case PR_REFUSE:
        return pr_refuse_pack(&(struct pr_refuse){4, PR_REFUSAL_MODEL, "another model"}, out, e);
    case PR_HEARTBEAT:
        return pr_heartbeat_pack(
            &(struct pr_heartbeat){4, 3, 400, 50000000000, 1, 70000, {80000, 1, 17, 5}}, out, e);
    case PR_SEARCH:
        return pack_search(out, e);
    case PR_RESULT:
        return pack_result(out, e);
    case PR_QUERY:
        return pack_query(out, e);
    case PR_ANSWER:
        return pack_answer(out, e);
    case PR_ERROR:
        return pr_error_pack(&(struct pr_error){{1}, 4, PR_ERROR_BUSY, "256 queries wait", 1500},
                             out, e);
    case PR_STATUS:
        return pack_status(out, e);
    case PR_EVALUATE:
        return pack_evaluate(out, e);
    case PR_MEASURE:
        return pack_measure(out, e);
    case PR_POSITIVES:
        return pack_positives(out, e);
    case PR_COUNT:
        return pr_count_pack(&(struct pr_count){{78}, 4, {positives, 3}}, out, e);
    case PR_COUNTS:
        return pr_counts_pack(&(struct pr_counts_message){{78}, 4, {counts, 3}}, out, e);
    case PR_SCORES:
        return pack_scores(out, e);
    case PR_MEASURED:
        return pack_measured(out, e);
    case PR_CANCEL:
        return pack_control(type, 77, out, e);
    case PR_STATUS_REQUEST:
        return pack_control(type, 5, out, e);
    case PR_JOIN:
        return pr_join_pack(&(struct pr_join){"worker-3"}, out, e);
    case PR_GIVERS:
        return pr_givers_pack(&(struct pr_givers){4, gallery.gallery, sources}, out, e);
    case PR_PLACE:
        return pr_place_pack(&(struct pr_place){4, {7}, sources}, out, e);
    case PR_HOLDS:
        return pr_holds_pack(&(struct pr_holds){{7}, 21000, 4000, "all \xc3\xa9"}, out, e);
    case PR_READ:
        return pack_read(out, e);
    case PR_BLOCK:
        return pr_block_pack(&(struct pr_block){{9}, 1 << 20, 240000000, 0x8a9136aa, ""}, out, e);
    case PR_DRAIN:
        return pr_drain_pack(&(struct pr_drain){{3}, "worker-0", true}, out, e);
    case PR_REPLICAS:
        return pr_replicas_pack(&(struct pr_replicas){{4}, 2}, out, e);
    case PR_PLACED:
        return pr_placed_pack(&(struct pr_placed){{4}, 12, 2, 5, 130}, out, e);
    case PR_REHELLO:
    case PR_LEAVING:
    case PR_DISMISS:
        break;
    }
    return pack_control(type, 0, out, e);
}
