/* fake_co.c: see fake_co.h. */
#include "tests/support/fake_co.h"

#include "common/checksum.h"
#include "proto/file/map.h"
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { LOG_BYTES_MAX = 1 << 20 };

/* --- the io ----------------------------------------------------------------------------------- */

static enum cm_err send(void *ctx, const struct cm_peer *to, struct cm_bytes header,
                        struct cm_blob *payload, struct cm_error *e)
{
    struct fake_co *f = ctx;
    if (f->deaf.size && cm_peer_equal(&f->deaf, to))
        return cm_fail(e, f->deaf_why, "%.*s does not listen", (int)to->size,
                       (const char *)to->bytes);
    test_mailbox_put(&f->sent, to, header, payload);
    f->now_ns += f->send_takes_ns;
    return CM_OK;
}

static uint64_t now_ns(void *ctx)
{
    return ((struct fake_co *)ctx)->now_ns;
}

static uint64_t memory_bytes(void *ctx)
{
    (void)ctx;
    return FAKE_MEMORY_BYTES;
}

static enum cm_err save(void *ctx, const char *text, struct cm_error *e)
{
    struct fake_co *f = ctx;
    if (f->save_fails)
        return cm_fail(e, f->save_fails, "the disk is full");
    free(f->saved);
    f->saved = strdup(text);
    cr_assert(f->saved != NULL);
    f->saves++;
    return CM_OK;
}

static struct co_config defaults(void)
{
    return (struct co_config){
        .replace_after_ns = FAKE_REPLACE_AFTER_NS,
        .heartbeat_ns = FAKE_HEARTBEAT_NS,
        .dead_after_ns = FAKE_DEAD_AFTER_NS,
        .hedge_percent = FAKE_HEDGE_PERCENT,
        .demotes_late = true,
        .first_id = UINT64_MAX, /* ids wrap without harm */
    };
}

static void init(struct fake_co *f, const struct co_config *config)
{
    struct cm_error e;
    *f = (struct fake_co){.gallery = fake_gallery(FAKE_SHARDS, FAKE_SHARD_IMAGES),
                          .now_ns = FAKE_START_NS};
    int fd = memfd_create("log", 0);
    cr_assert(fd >= 0);
    cm_log_init(&f->log, fd, CM_LOG_DEBUG, "coordinator");
    struct co_io io = {
        .ctx = f, .send = send, .now_ns = now_ns, .memory_bytes = memory_bytes, .save = save};
    cr_assert_eq(co_new(&f->core, config, &io, &f->log, &e), CM_OK, "%s", e.text);
}

void fake_co_init(struct fake_co *f)
{
    struct co_config config = defaults();
    init(f, &config);
}

void fake_co_init_mixed(struct fake_co *f)
{
    struct co_config config = defaults();
    config.allow_mixed = true;
    init(f, &config);
}

void fake_co_init_settling(struct fake_co *f, uint64_t settle_ns)
{
    struct co_config config = defaults();
    config.settle_ns = settle_ns;
    init(f, &config);
}

void fake_co_init_unhedged(struct fake_co *f)
{
    struct co_config config = defaults();
    config.hedge_percent = 0;
    config.demotes_late = false;
    init(f, &config);
}

void fake_co_init_placing(struct fake_co *f, uint32_t replicas, const char *saved)
{
    struct pr_map map = {0};
    struct cm_error e;
    if (saved)
        cr_assert_eq(pr_map_read(&map, saved, strlen(saved), &e), CM_OK, "%s", e.text);
    struct co_config config = defaults();
    config.places = true;
    config.replicas = replicas;
    config.map = saved ? &map : NULL;
    init(f, &config);
    pr_map_fini(&map);
}

void fake_co_fini(struct fake_co *f)
{
    co_free(f->core);
    test_mailbox_clear(&f->sent);
    close(f->log.fd);
    free(f->saved);
}

void fake_co_sleep(struct fake_co *f, uint64_t ns)
{
    uint64_t end_ns = f->now_ns + ns;
    for (uint64_t next; (next = co_next_wakeup_ns(f->core)) <= end_ns;) {
        if (next > f->now_ns)
            f->now_ns = next;
        co_on_tick(f->core);
        cr_assert(co_next_wakeup_ns(f->core) > f->now_ns, "a tick left work for the same moment");
    }
    f->now_ns = end_ns;
}

size_t fake_co_logged(const struct fake_co *f, const char *text)
{
    char *lines = calloc(LOG_BYTES_MAX, 1);
    size_t count = 0;
    cr_assert(lines != NULL);
    cr_assert(pread(f->log.fd, lines, LOG_BYTES_MAX - 1, 0) >= 0);
    for (char *line = lines, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        count += strstr(line, text) != NULL;
    }
    free(lines);
    return count;
}

/* --- what comes in ---------------------------------------------------------------------------- */

void fake_co_get(struct fake_co *f, const char *from, struct cm_bytes header,
                 struct cm_blob *payload)
{
    struct cm_peer peer = test_peer(from);
    co_on_message(f->core, &peer, header, payload);
}

static void get_packed(struct fake_co *f, const char *from, struct pr_buffer *packed,
                       struct cm_blob *payload)
{
    fake_co_get(f, from, pr_buffer_bytes(packed), payload);
    pr_buffer_fini(packed);
}

void fake_co_disconnect(struct fake_co *f, const char *name)
{
    struct cm_peer peer = test_peer(name);
    co_on_disconnect(f->core, &peer);
}

void fake_co_hello(struct fake_co *f, const char *from, const struct pr_hello *hello)
{
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_hello_pack(hello, &packed, &e), CM_OK, "%s", e.text);
    get_packed(f, from, &packed, NULL);
}

void fake_co_join_placed(struct fake_co *f, const char *node, uint32_t first, uint32_t count)
{
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_hello(&hello, held, node, &f->gallery, first, count);
    hello.placed = true;
    snprintf(hello.endpoint, sizeof hello.endpoint, "ipc://%s", node);
    fake_co_hello(f, node, &hello);
    test_message_free(test_mailbox_take(&f->sent, node, PR_WELCOME));
}

void fake_co_join_with_credits(struct fake_co *f, const char *node, uint32_t first, uint32_t count,
                               uint32_t credits)
{
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_hello(&hello, held, node, &f->gallery, first, count);
    hello.credits = credits;
    fake_co_hello(f, node, &hello);
    fake_co_take(f, node, PR_WELCOME);
}

void fake_co_join(struct fake_co *f, const char *node, uint32_t first, uint32_t count)
{
    fake_co_join_with_credits(f, node, first, count, CM_WORKER_CREDITS);
}

void fake_co_heartbeat(struct fake_co *f, const char *node)
{
    struct pr_heartbeat heartbeat = {.searches_done = 17, .pairs_scored = 1700};
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_heartbeat_pack(&heartbeat, &packed, &e), CM_OK, "%s", e.text);
    get_packed(f, node, &packed, NULL);
}

void fake_co_control(struct fake_co *f, const char *from, uint32_t type, uint64_t id)
{
    struct pr_control control = {.type = type, .id = {id}};
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_control_pack(&control, &packed, &e), CM_OK, "%s", e.text);
    get_packed(f, from, &packed, NULL);
}

struct pr_query fake_query(uint64_t id, uint32_t k, uint32_t deadline_ms)
{
    struct cm_blob *map = fake_map(id);
    struct pr_query query = {
        .id = {id},
        .k = k,
        .deadline_ms = deadline_ms,
        .dtype = CM_DTYPE_F32,
        .height = 2,
        .width = 1,
        .channels = 2,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map)),
    };
    cm_blob_unref(&map);
    return query;
}

void fake_co_query_as(struct fake_co *f, const char *client, const struct pr_query *query,
                      struct cm_blob *map)
{
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_query_pack(query, &packed, &e), CM_OK, "%s", e.text);
    get_packed(f, client, &packed, map);
}

void fake_co_query(struct fake_co *f, const char *client, uint64_t id, uint32_t k,
                   uint32_t deadline_ms)
{
    struct pr_query query = fake_query(id, k, deadline_ms);
    struct cm_blob *map = fake_map(id);
    fake_co_query_as(f, client, &query, map);
    cm_blob_unref(&map);
}

void fake_co_evaluate(struct fake_co *f, const char *client, uint64_t id, int64_t pid,
                      int32_t camid, bool want_scores)
{
    struct cm_blob *map = fake_map(id);
    struct pr_evaluate evaluate = {
        .id = {id},
        .pid = pid,
        .camid = camid,
        .want_scores = want_scores,
        .dtype = CM_DTYPE_F32,
        .height = 2,
        .width = 1,
        .channels = 2,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(map), cm_blob_size(map)),
    };
    struct pr_buffer packed;
    fake_co_get_packed(f, client, pr_evaluate_pack(&evaluate, &packed, NULL), &packed, map);
    cm_blob_unref(&map);
}

void fake_co_get_packed(struct fake_co *f, const char *node, enum cm_err packing,
                        struct pr_buffer *packed, struct cm_blob *payload)
{
    cr_assert_eq(packing, CM_OK, "the test's own message is bad");
    get_packed(f, node, packed, payload);
}

void fake_co_result(struct fake_co *f, const char *node, const struct pr_result *result)
{
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_result_pack(result, &packed, &e), CM_OK, "%s", e.text);
    get_packed(f, node, &packed, NULL);
}

void fake_co_score(struct fake_co *f, const char *node, uint64_t id, uint32_t shard, uint64_t query,
                   uint32_t k)
{
    unsigned char covered[FAKE_SHARDS * FAKE_SHARD_IMAGES] = {0};
    struct cm_hit best[FAKE_SHARD_IMAGES];
    struct pr_hit items[FAKE_SHARD_IMAGES];
    char names[FAKE_SHARD_IMAGES][FAKE_NAME_BYTES];
    memset(covered + shard * FAKE_SHARD_IMAGES, 1, FAKE_SHARD_IMAGES);
    struct pr_scored scored = {
        .shard = {shard}, .images_scored = FAKE_SHARD_IMAGES, .images = FAKE_SHARD_IMAGES};
    struct pr_result result = {
        .id = {id}, .shards = &scored, .shards_count = 1, .hits = {.items = items}};
    result.hits.count = fake_ranking(query, covered, sizeof covered, k, best);
    for (size_t i = 0; i < result.hits.count; i++)
        items[i] = (struct pr_hit){best[i], fake_meta(best[i].image, names[i])};
    fake_co_result(f, node, &result);
}

void fake_co_decline(struct fake_co *f, const char *node, uint64_t id, uint32_t shard,
                     enum pr_reason reason)
{
    struct pr_scored scored = {.shard = {shard}, .images = FAKE_SHARD_IMAGES};
    struct pr_result result = {.id = {id}, .reason = reason, .shards = &scored, .shards_count = 1};
    fake_co_result(f, node, &result);
}

/* --- what goes out ---------------------------------------------------------------------------- */

struct pr_envelope fake_co_take(struct fake_co *f, const char *name, uint32_t type)
{
    struct test_message *m = test_mailbox_take(&f->sent, name, type);
    struct pr_envelope envelope = m->envelope;
    test_message_free(m);
    return envelope;
}

struct pr_search fake_co_take_search(struct fake_co *f, const char *node)
{
    struct test_message *m = test_mailbox_take(&f->sent, node, PR_SEARCH);
    struct pr_search search;
    struct cm_error e;
    cr_assert_eq(pr_search_unpack(m->header, &search, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return search;
}

struct pr_answer fake_co_take_answer(struct fake_co *f, const char *client)
{
    struct test_message *m = test_mailbox_take(&f->sent, client, PR_ANSWER);
    struct pr_answer answer;
    struct cm_error e;
    cr_assert_eq(pr_answer_unpack(m->header, &answer, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return answer;
}

struct pr_measured fake_co_take_measured(struct fake_co *f, const char *client)
{
    struct test_message *m = test_mailbox_take(&f->sent, client, PR_MEASURED);
    struct pr_measured measured;
    struct cm_error e;
    cr_assert_eq(pr_measured_unpack(m->header, &measured, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return measured;
}

struct pr_measure fake_co_take_measure(struct fake_co *f, const char *node)
{
    struct test_message *m = test_mailbox_take(&f->sent, node, PR_MEASURE);
    struct pr_measure measure;
    struct cm_error e;
    cr_assert_eq(pr_measure_unpack(m->header, &measure, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return measure;
}

struct pr_count fake_co_take_count(struct fake_co *f, const char *node)
{
    struct test_message *m = test_mailbox_take(&f->sent, node, PR_COUNT);
    struct pr_count count;
    struct cm_error e;
    cr_assert_eq(pr_count_unpack(m->header, &count, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return count;
}

struct pr_error fake_co_take_error(struct fake_co *f, const char *client)
{
    struct test_message *m = test_mailbox_take(&f->sent, client, PR_ERROR);
    struct pr_error error;
    struct cm_error e;
    cr_assert_eq(pr_error_unpack(m->header, &error, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return error;
}

struct pr_status fake_co_take_status(struct fake_co *f, const char *client)
{
    struct test_message *m = test_mailbox_take(&f->sent, client, PR_STATUS);
    struct pr_status status;
    struct cm_error e;
    cr_assert_eq(pr_status_unpack(m->header, &status, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return status;
}
