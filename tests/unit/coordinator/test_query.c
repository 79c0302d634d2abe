/* test_query.c: what a client may ask, and what it is told. */
#include "common/checksum.h"
#include "common/mem.h"
#include "tests/support/fake_co.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void expect_error(struct fake_co *f, uint64_t id, enum pr_error_code code, const char *word)
{
    struct pr_error error = fake_co_take_error(f, "client");
    cr_assert_eq(error.id.v, id);
    cr_assert_eq(error.code, code, "%s", error.text);
    cr_assert(strstr(error.text, word) != NULL, "\"%s\" has no \"%s\"", error.text, word);
    cr_assert_eq(error.retry_after_ms > 0, code == PR_ERROR_BUSY || code == PR_ERROR_NO_GALLERY);
    cr_assert_eq(f->sent.count, 0);
}

static void with_worker(struct fake_co *f)
{
    fake_co_init(f);
    fake_co_join(f, "w0", 0, FAKE_SHARDS);
}

Test(co_query, there_is_no_gallery_before_the_first_worker)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_query(&f, "client", 41, 5, 1000);
    expect_error(&f, 41, PR_ERROR_NO_GALLERY, "no worker has joined");
    fake_co_fini(&f);
}

Test(co_query, the_shape_is_the_gallerys)
{
    struct fake_co f;
    with_worker(&f);
    struct cm_blob *map = fake_map(1);
    struct pr_query query = fake_query(1, 5, 1000);
    query.height = 1;
    query.width = 2; /* as many floats */
    fake_co_query_as(&f, "client", &query, map);
    expect_error(&f, 1, PR_ERROR_BAD_QUERY, "1x2x2, but the model takes 2x1x2");
    cm_blob_unref(&map);
    fake_co_fini(&f);
}

Test(co_query, k_is_at_most_the_gallery)
{
    struct fake_co f;
    with_worker(&f);
    fake_co_query(&f, "client", 1, FAKE_SHARDS * FAKE_SHARD_IMAGES + 1, 1000);
    expect_error(&f, 1, PR_ERROR_BAD_QUERY, "k is 41, but the gallery has 40 images");
    fake_co_query(&f, "client", 2, FAKE_SHARDS * FAKE_SHARD_IMAGES, 1000);
    fake_co_take(&f, "w0", PR_SEARCH);
    fake_co_fini(&f);
}

Test(co_query, the_map_is_whole)
{
    struct fake_co f;
    struct cm_error e;
    with_worker(&f);
    struct pr_query query = fake_query(1, 5, 1000);
    fake_co_query_as(&f, "client", &query, NULL);
    expect_error(&f, 1, PR_ERROR_BAD_QUERY, "no map");
    struct cm_blob *map = fake_map(1), *less;
    cr_assert_eq(cm_blob_copy(&less, cm_blob_data(map), cm_blob_size(map) - 1, &e), CM_OK);
    fake_co_query_as(&f, "client", &query, less);
    expect_error(&f, 1, PR_ERROR_BAD_QUERY, "15");
    query.payload_crc32c ^= 1;
    fake_co_query_as(&f, "client", &query, map);
    expect_error(&f, 1, PR_ERROR_BAD_QUERY, "checksum");
    cm_blob_unref(&map);
    cm_blob_unref(&less);
    fake_co_fini(&f);
}

static void release_nothing(void *owner)
{
    (void)owner;
}

/* Sends a map of these bytes, at an odd address. */
static void send_map(struct fake_co *f, enum cm_dtype dtype, const void *bytes, size_t size)
{
    unsigned char odd[64];
    struct cm_blob *map;
    struct cm_error e;
    memcpy(odd + 1, bytes, size);
    cr_assert_eq(cm_blob_new(&map, odd + 1, size, release_nothing, NULL, &e), CM_OK);
    struct pr_query query = fake_query(1, 5, 1000);
    query.dtype = dtype;
    query.payload_crc32c = cm_crc32c(0, odd + 1, size);
    fake_co_query_as(f, "client", &query, map);
    cm_blob_unref(&map);
}

Test(co_query, the_map_is_finite)
{
    struct fake_co f;
    with_worker(&f);
    const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        float map[FAKE_MAP_FLOATS] = {1, 2, 3, bad[i]};
        send_map(&f, CM_DTYPE_F32, map, sizeof map);
        expect_error(&f, 1, PR_ERROR_BAD_QUERY, "NaN");
    }
    const uint16_t bad_half[] = {0x7c00, 0xfc00, 0x7e00, 0x7c01};
    for (size_t i = 0; i < 4; i++) {
        uint16_t map[FAKE_MAP_FLOATS] = {0x3c00, bad_half[i], 0, 0};
        send_map(&f, CM_DTYPE_F16, map, sizeof map);
        expect_error(&f, 1, PR_ERROR_BAD_QUERY, "NaN");
    }
    const uint16_t largest[FAKE_MAP_FLOATS] = {0x7bff, 0xfbff, 0x0001, 0x8000};
    send_map(&f, CM_DTYPE_F16, largest, sizeof largest);
    cr_assert_eq(f.sent.count, 1);
    struct pr_search search = fake_co_take_search(&f, "w0");
    cr_assert_eq(search.dtype, CM_DTYPE_F16);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

/* In maps of `floats` numbers, all of which may be wrong: many are looked at together, and the rest
 * alone. */
static void expect_each_found(struct fake_co *f, enum cm_dtype dtype, size_t floats)
{
    unsigned char bytes[1024] = {0};
    const unsigned char bad[2][4] = {{0, 0x7c}, {0, 0, 0x80, 0x7f}};
    size_t width = dtype == CM_DTYPE_F16 ? 2 : 4;
    struct cm_blob *map;
    struct cm_error e;
    struct pr_query query = fake_query(1, 5, 1000);
    query.dtype = dtype;
    query.channels = (uint32_t)floats / 2;
    for (size_t i = 0; i < floats; i++) {
        memcpy(bytes + i * width, bad[width / 4], width);
        cr_assert_eq(cm_blob_copy(&map, bytes, floats * width, &e), CM_OK);
        query.payload_crc32c = cm_crc32c(0, bytes, floats * width);
        fake_co_query_as(f, "client", &query, map);
        cm_blob_unref(&map);
        expect_error(f, 1, PR_ERROR_BAD_QUERY, "NaN");
        memset(bytes + i * width, 0, width);
    }
}

Test(co_query, a_number_that_is_not_finite_is_found_anywhere)
{
    enum { FLOATS = 150 };
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init(&f);
    f.gallery.geometry.channels = FLOATS / 2; /* of 2 x 1 tokens */
    fake_hello(&hello, held, "w0", &f.gallery, 0, FAKE_SHARDS);
    fake_co_hello(&f, "w0", &hello);
    fake_co_take(&f, "w0", PR_WELCOME);
    expect_each_found(&f, CM_DTYPE_F16, FLOATS);
    expect_each_found(&f, CM_DTYPE_F32, FLOATS);
    fake_co_fini(&f);
}

/* Maps of 16 MiB: 32 of them are 512 MiB, long before 256 queries wait; one client has half. */
Test(co_query, more_bytes_than_the_queue_holds_is_busy)
{
    enum { SIDE = 64, CHANNELS = CM_MAP_BYTES_MAX / (SIDE * SIDE * sizeof(float)) };
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    struct cm_error e;
    struct cm_blob *map;
    void *zeros;
    fake_co_init(&f);
    f.gallery.geometry.height = f.gallery.geometry.width = SIDE;
    f.gallery.geometry.channels = CHANNELS;
    f.gallery.geometry.layers = 1;
    fake_hello(&hello, held, "w0", &f.gallery, 0, FAKE_SHARDS);
    hello.credits = 1;
    fake_co_hello(&f, "w0", &hello);
    fake_co_take(&f, "w0", PR_WELCOME);
    cr_assert_eq(cm_new(&zeros, CM_MAP_BYTES_MAX, 1, &e), CM_OK);
    cr_assert_eq(cm_blob_new(&map, zeros, CM_MAP_BYTES_MAX, free, zeros, &e), CM_OK);
    struct pr_query query = fake_query(0, 5, 1000);
    query.dtype = CM_DTYPE_F32;
    query.height = query.width = SIDE;
    query.channels = CHANNELS;
    query.payload_crc32c = cm_crc32c(0, zeros, CM_MAP_BYTES_MAX);
    for (; query.id.v <= CM_QUEUED_BYTES_MAX / CM_MAP_BYTES_MAX / 2; query.id.v++)
        fake_co_query_as(&f, "client", &query, map);
    fake_co_take(&f, "w0", PR_SEARCH);
    cr_assert_eq(f.sent.count, 0, "one runs, and 16 wait");
    fake_co_query_as(&f, "client", &query, map);
    expect_error(&f, query.id.v, PR_ERROR_BUSY, "16 queries wait, 16 of them this client's");
    fake_co_query_as(&f, "another", &query, map);
    cr_assert_eq(f.sent.count, 0, "there is room for another client");
    fake_co_fini(&f);
    cm_blob_unref(&map);
}

Test(co_query, a_closed_coordinator_finishes_and_takes_no_more)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_query(&f, "client", 1, 5, 1000);
    fake_co_query(&f, "client", 2, 5, 1000);
    fake_co_take(&f, "w0", PR_SEARCH);
    co_close(f.core);
    fake_co_query(&f, "client", 3, 5, 1000);
    expect_error(&f, 3, PR_ERROR_BUSY, "shutting down");
    cr_assert(!co_idle(f.core));
    fake_co_sleep(&f, 2000 * FAKE_MS);
    cr_assert_eq(test_mailbox_count(&f.sent, "client", PR_ANSWER), 2);
    cr_assert(co_idle(f.core));
    fake_co_fini(&f);
}

Test(co_query, another_version_is_told_so)
{
    struct fake_co f;
    with_worker(&f);
    struct pr_query query = fake_query(77, 5, 1000);
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_query_pack(&query, &packed, &e), CM_OK);
    unsigned char *bytes = packed.data; /* a map, key 0, the version */
    while (bytes < (unsigned char *)packed.data + 8 && !(bytes[0] == 0 && bytes[1] == PR_VERSION))
        bytes++;
    bytes[1] = PR_VERSION + 1;
    fake_co_get(&f, "client", pr_buffer_bytes(&packed), NULL);
    expect_error(&f, 77, PR_ERROR_VERSION, "version 2");
    pr_buffer_fini(&packed);
    fake_co_fini(&f);
}

Test(co_query, noise_is_counted_and_survived)
{
    struct fake_co f;
    with_worker(&f);
    struct test_random seed = {5};
    for (int i = 0; i < 2000; i++) {
        unsigned char noise[40];
        size_t size = 1 + test_random_below(&seed, sizeof noise);
        for (size_t b = 0; b < size; b++)
            noise[b] = (unsigned char)test_random_below(&seed, 256);
        fake_co_get(&f, i % 2 ? "w0" : "noisy", (struct cm_bytes){noise, size}, NULL);
    }
    struct cm_peer peer = test_peer("noisy");
    co_on_garbage(f.core, &peer, "9 frames");
    fake_co_control(&f, "noisy", PR_CANCEL, 1); /* only a coordinator sends those */
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 1);
    struct pr_status status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.counters.garbage, 2002, "%lu", status.counters.garbage);
    cr_assert_eq(fake_co_logged(&f, "event=garbage"), 1);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

Test(co_query, status_says_how_the_cluster_is)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 8);
    struct pr_status status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.id.v, 8);
    cr_assert(!status.has_gallery);
    cr_assert_eq(status.members_count, 0);
    pr_status_fini(&status);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 1);
    fake_co_heartbeat(&f, "w1");
    f.now_ns += 1500 * FAKE_MS;
    fake_co_query(&f, "client", 1, 5, 60000);
    fake_co_control(&f, "w1", PR_LEAVING, 0);
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 9);
    status = fake_co_take_status(&f, "client");
    cr_assert(status.has_gallery);
    cr_assert_eq(status.gallery.images, 40);
    cr_assert_eq(status.uptime_ms, 1500);
    cr_assert_eq(status.shards_covered, 2, "a worker that leaves covers nothing");
    cr_assert_eq(status.queries_inflight, 1);
    cr_assert_eq(status.counters.queries, 1);
    cr_assert_eq(status.members_count, 2);
    const struct pr_member *w0 = &status.members[0], *w1 = &status.members[1];
    cr_assert_str_eq(w0->node, "w0");
    cr_assert_eq(w0->state, PR_MEMBER_READY);
    cr_assert_eq(w0->shards, 2);
    cr_assert_eq(w0->images, 20);
    cr_assert_eq(w0->inflight, 1);
    cr_assert_eq(w0->silent_ms, 1500);
    cr_assert_eq(w1->state, PR_MEMBER_LEAVING);
    cr_assert_eq(w1->searches_done, 17);
    cr_assert_eq(w1->pairs_scored, 1700);
    cr_assert_eq(w1->silent_ms, 0);
    pr_status_fini(&status);
    fake_co_fini(&f);
}
