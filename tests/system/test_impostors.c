/* test_impostors.c: a worker that lies to the coordinator, a coordinator that lies to a worker.
 * What cannot be true is dropped, and the rest goes on. */
#include "common/checksum.h"
#include "proto/file/npy.h"
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/hello.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/welcome.h"
#include "tests/support/cluster.h"
#include "tests/support/files.h"
#include "tests/support/matrix.h"
#include "tests/support/peer.h"
#include "tests/support/random.h"
#include "worker/store/gallery.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 9, SHARDS = 3, SHARD_IMAGES = 3, OURS = 2 };

/* --- a worker that lies ----------------------------------------------------------------------- */

/* Says HELLO for shard OURS of the gallery "g", in the numeric class of worker 0. */
static void join(struct test_cluster *c, struct test_peer *p)
{
    struct st_gallery g;
    struct cm_error e;
    struct pr_buffer packed;
    struct test_message welcome;
    struct pr_held_shard held = {{OURS}, OURS * SHARD_IMAGES, SHARD_IMAGES};
    cr_assert_eq(st_gallery_open(&g, test_cluster_path(c, "g"), &e), CM_OK, "%s", e.text);
    struct pr_hello hello = {
        .node = "liar",
        .incarnation = 1,
        .version_min = PR_VERSION,
        .version_max = PR_VERSION,
        .gallery = {.gallery = g.manifest.gallery,
                    .model = g.manifest.model,
                    .geometry = g.manifest.geometry,
                    .precision = g.manifest.precision,
                    .images = g.manifest.images,
                    .shards = g.manifest.shards_count},
        .threads = 1,
        .credits = 1,
        .held = &held,
        .held_count = 1,
    };
    json_t *status = test_status(c);
    snprintf(hello.numeric_class, sizeof hello.numeric_class, "%s",
             json_string_value(
                 json_object_get(json_array_get(json_object_get(status, "workers"), 0), "class")));
    json_decref(status);
    st_gallery_close(&g);
    cr_assert_eq(pr_hello_pack(&hello, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(p, &packed);
    test_peer_expect(p, PR_WELCOME, &welcome);
    test_message_fini(&welcome);
}

/* A true RESULT for the search `id`: our images with the scores -100, -101 and -102. */
static struct pr_result true_result(uint64_t id, struct pr_scored *scored,
                                    struct pr_hit hits[SHARD_IMAGES])
{
    *scored =
        (struct pr_scored){.shard = {OURS}, .images_scored = SHARD_IMAGES, .images = SHARD_IMAGES};
    for (unsigned i = 0; i < SHARD_IMAGES; i++)
        hits[i] = (struct pr_hit){{-100.0f - (float)i, OURS * SHARD_IMAGES + i}, {.name = "ours"}};
    return (struct pr_result){
        .id = {id},
        .shards = scored,
        .shards_count = 1,
        .hits = {.items = hits, .count = SHARD_IMAGES},
    };
}

static void say_result(struct test_peer *p, const struct pr_result *r)
{
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_result_pack(r, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(p, &packed);
}

/* Says lies about the search `id`; returns how many of them are garbage. */
static json_int_t lie(struct test_peer *p, uint64_t id)
{
    struct pr_hit hits[SHARD_IMAGES];
    struct pr_scored scored;
    struct pr_buffer packed;
    struct cm_error e;
    struct pr_result r = true_result(id, &scored, hits);
    scored.shard.v = 77; /* no such shard */
    say_result(p, &r);
    r = true_result(id, &scored, hits);
    scored.images = 1000; /* not its size */
    r.reason = PR_REASON_DEADLINE;
    say_result(p, &r);
    r = true_result(id, &scored, hits);
    hits[1].hit.image = 0; /* an image of another shard */
    say_result(p, &r);
    hits[1].hit.image = UINT64_C(1) << 39;
    say_result(p, &r);
    r = true_result(id, &scored, hits);
    hits[0].hit.score = 3.0f;
    cr_assert_eq(pr_result_pack(&r, &packed, &e), CM_OK, "%s", e.text);
    unsigned char *score = memmem(packed.data, packed.size, "\xca\x40\x40\0\0", 5);
    cr_assert(score != NULL);
    memcpy(score, "\xca\x7f\xc0\0\0", 5); /* not a number */
    test_peer_say_packed(p, &packed);
    json_int_t garbage = 5;
    r = true_result(id, &scored, hits);
    scored.shard.v = 0; /* somebody else's: sound in itself, dropped */
    for (unsigned i = 0; i < SHARD_IMAGES; i++)
        hits[i].hit.image = i;
    say_result(p, &r);
    r = true_result(id + 12345, &scored, hits); /* a query that nobody asked */
    say_result(p, &r);
    return garbage;
}

Test(impostors, a_worker_that_lies)
{
    struct test_cluster c;
    struct test_run r;
    struct test_peer p;
    struct test_message m;
    struct pr_search search;
    struct cm_error e;
    struct pr_hit hits[SHARD_IMAGES];
    struct pr_scored scored;
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, SHARDS);
    test_coordinator_start(&c, "ipc", (const char *const[]){"--dead-after-ms", "600000", NULL});
    test_worker_start(&c, 0, "g", "0-1", NULL);
    test_wait_exact(&c, "shards_covered", SHARDS - 1);
    test_peer_dial(&p, c.endpoint);
    join(&c, &p);
    struct test_material one = test_few_queries(&c, &test_small, 1);
    test_search_start(&c, &r, &one, (const char *const[]){"-k", "9", NULL});
    test_peer_expect(&p, PR_SEARCH, &m);
    cr_assert_eq(m.count, 2, "a search comes with its map");
    cr_assert_eq(pr_search_unpack(test_message_header(&m), &search, &e), CM_OK, "%s", e.text);
    json_int_t garbage = lie(&p, search.id.v);
    struct pr_result truth = true_result(search.id.v, &scored, hits);
    say_result(&p, &truth);
    say_result(&p, &truth); /* twice: the second is late */
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    cr_assert_eq(test_status_number(&c, "counters.garbage"), garbage);
    json_t *answers = test_answers(&r), *answer = json_array_get(answers, 0);
    cr_assert_eq(test_number(answer, "coverage.images"), IMAGES);
    cr_assert_eq(json_array_size(json_object_get(answer, "degraded")), 0);
    const json_t *list = json_object_get(answer, "hits");
    cr_assert_eq(json_array_size(list), IMAGES);
    for (json_int_t i = 0; i < IMAGES; i++) { /* ours last, the others' untouched */
        const json_t *hit = json_array_get(list, (size_t)i);
        bool ours = i >= IMAGES - SHARD_IMAGES;
        cr_assert_eq(ours, test_number(hit, "id") >= OURS * SHARD_IMAGES, "rank %d", (int)i);
        cr_assert(!ours || test_number(hit, "id") == i);
    }
    json_decref(answers);
    pr_search_fini(&search);
    test_message_fini(&m);
    test_run_fini(&r);
    test_peer_fini(&p);
    test_cluster_fini(&c);
}

/* --- a coordinator that lies ------------------------------------------------------------------ */

/* The first query's map, as a blob of bytes and what SEARCH says of it. */
struct map {
    unsigned char bytes[64 << 10];
    size_t size;
    struct pr_search search;
};

static void read_map(struct map *map)
{
    static struct cm_shard_id all[] = {{0}, {1}, {2}};
    char path[512];
    struct pr_npy *n;
    struct cm_error e;
    cr_assert_eq(pr_npy_open(&n, test_source(test_small.query, path, sizeof path), &e), CM_OK);
    cr_assert_leq(n->image_bytes, sizeof map->bytes);
    map->size = n->image_bytes;
    cr_assert_eq(pr_npy_read_raw(n, 0, 1, map->bytes, &e), CM_OK, "%s", e.text);
    map->search = (struct pr_search){
        .id = {99},
        .k = IMAGES,
        .time_left_us = 60000000,
        .dtype = n->dtype,
        .payload_crc32c = cm_crc32c(0, map->bytes, map->size),
        .shards = all,
        .shards_count = SHARDS,
    };
    pr_npy_close(n);
}

/* Asks for what `search` says, with the first `size` bytes of the map; SIZE_MAX: without one. */
static void ask(struct test_peer *p, const struct map *map, const struct pr_search *search,
                size_t size)
{
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_search_pack(search, &packed, &e), CM_OK, "%s", e.text);
    test_peer_send(p, (const struct cm_bytes[]){pr_buffer_bytes(&packed), {map->bytes, size}},
                   size == SIZE_MAX ? 1 : 2);
    pr_buffer_fini(&packed);
}

static void say_control(struct test_peer *p, enum pr_type type)
{
    struct pr_buffer packed;
    struct cm_error e;
    struct pr_control m = {.type = type};
    cr_assert_eq(pr_control_pack(&m, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(p, &packed);
}

/* Waits for a HELLO and answers it. */
static void greet(struct test_peer *p)
{
    struct pr_welcome welcome = {.heartbeat_ms = 1000, .dead_after_ms = 600000};
    struct test_message m;
    struct pr_buffer packed;
    struct cm_error e;
    test_peer_expect(p, PR_HELLO, &m);
    test_message_fini(&m);
    cr_assert_eq(pr_welcome_pack(&welcome, &packed, &e), CM_OK, "%s", e.text);
    test_peer_say_packed(p, &packed);
}

/* Cut messages, noise, and frames of the wrong number. */
static void say_garbage(struct test_peer *p)
{
    static const char *const names[] = {"hello",  "welcome", "refuse", "rehello", "heartbeat",
                                        "search", "cancel",  "result", "answer",  "status"};
    static unsigned char noise[4096];
    struct test_random random = {3};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[64], path[512];
        size_t size;
        snprintf(file, sizeof file, "tests/golden/wire/v1/%s.bin", names[i]);
        char *bytes = test_read(test_source(file, path, sizeof path), &size);
        for (size_t cut = 1; cut < size; cut++)
            test_peer_say(p, (struct cm_bytes){bytes, cut});
        free(bytes);
    }
    for (size_t i = 0; i < 200; i++) {
        size_t size = 1 + test_random_below(&random, sizeof noise);
        for (size_t j = 0; j < size; j++)
            noise[j] = (unsigned char)test_random_bits(&random);
        test_peer_say(p, (struct cm_bytes){noise, size});
    }
    const struct cm_bytes some = {"some", 4}, empty = {"", 0};
    test_peer_send(p, (const struct cm_bytes[]){some, some, some, some, some, some, some}, 7);
    test_peer_send(p, (const struct cm_bytes[]){empty, some}, 2);
}

/* Searches that cannot be done: each of their 17 shards is declined. */
static void ask_the_impossible(struct test_peer *p, const struct map *map)
{
    struct cm_shard_id beyond[] = {{0}, {7}};
    struct pr_search s = map->search;
    ask(p, map, &s, SIZE_MAX);
    ask(p, map, &s, 0);
    ask(p, map, &s, map->size - 4);
    s.payload_crc32c ^= 1;
    ask(p, map, &s, map->size);
    s = map->search;
    s.shards = beyond;
    s.shards_count = 2;
    ask(p, map, &s, map->size);
    s = map->search;
    s.dtype = s.dtype == CM_DTYPE_F16 ? CM_DTYPE_F32 : CM_DTYPE_F16;
    ask(p, map, &s, map->size);
}

/* Takes a RESULT, which must be of our search. pr_result_fini is the caller's. */
static void take_result(struct test_peer *p, struct pr_result *r)
{
    struct test_message m;
    struct cm_error e;
    test_peer_expect(p, PR_RESULT, &m);
    cr_assert_eq(pr_result_unpack(test_message_header(&m), r, &e), CM_OK, "%s", e.text);
    cr_assert_eq(r->id.v, 99);
    test_message_fini(&m);
}

static void check_declined(struct test_peer *p)
{
    for (size_t declined = 0; declined < 17;) {
        struct pr_result r;
        take_result(p, &r);
        cr_assert_eq(r.reason, PR_REASON_INTERNAL);
        for (size_t i = 0; i < r.shards_count; i++)
            cr_assert_eq(r.shards[i].images_scored, 0);
        declined += r.shards_count;
        pr_result_fini(&r);
    }
}

/* Takes the RESULTs of a sound search, and holds them against what `vitrine score` says. */
static void check_results(struct test_peer *p, const struct test_matrix *scores)
{
    uint64_t images = 0;
    while (images < IMAGES) {
        struct pr_result r;
        take_result(p, &r);
        cr_assert_eq(r.reason, PR_REASON_NONE);
        for (size_t i = 0; i < r.shards_count; i++)
            images += r.shards[i].images_scored;
        for (size_t h = 0; h < r.hits.count; h++) {
            const struct cm_hit *hit = &r.hits.items[h].hit;
            cr_assert(hit->score == (float)test_matrix_at(scores, 0, hit->image), "image %llu",
                      (unsigned long long)hit->image);
        }
        pr_result_fini(&r);
    }
    cr_assert_eq(images, IMAGES);
}

Test(impostors, a_coordinator_that_lies)
{
    struct test_cluster c;
    struct test_peer p;
    struct map map;
    struct test_matrix scores;
    struct cm_error e;
    test_cluster_init(&c);
    test_import(&c, "g", &test_small, 1, SHARDS);
    test_score(&c, &test_small, "scores.npy");
    cr_assert_eq(test_matrix_read(&scores, test_cluster_path(&c, "scores.npy"), &e), CM_OK);
    read_map(&map);
    snprintf(c.endpoint, sizeof c.endpoint, "ipc://%s/socket", c.dir);
    test_peer_listen(&p, c.endpoint);
    test_worker_start(&c, 0, "g", NULL, NULL);
    struct test_message hello;
    test_peer_expect(&p, PR_HELLO, &hello);
    test_message_fini(&hello);
    say_garbage(&p);
    greet(&p);
    say_garbage(&p);
    ask_the_impossible(&p, &map);
    check_declined(&p);
    ask(&p, &map, &map.search, map.size);
    check_results(&p, &scores);
    say_control(&p, PR_REHELLO); /* forgotten: it introduces itself again, and serves on */
    greet(&p);
    ask(&p, &map, &map.search, map.size);
    check_results(&p, &scores);
    cr_assert(!io_child_poll(&c.workers[0].run.child), "the worker ended");
    char *log = test_run_err(&c.workers[0].run);
    cr_assert(strstr(log, "event=garbage") != NULL, "%s", log);
    free(log);
    test_matrix_free(&scores);
    test_peer_fini(&p);
    test_cluster_fini(&c);
}
