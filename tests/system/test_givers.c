/* test_givers.c: a worker gets shards from workers that the test plays, by orders of a coordinator
 * that it plays too: they lie, fall silent, and change their minds. */
#include "common/checksum.h"
#include "proto/wire/hello.h"
#include "proto/wire/join.h"
#include "proto/wire/place.h"
#include "proto/wire/transfer.h"
#include "proto/wire/welcome.h"
#include "tests/support/files.h"
#include "tests/support/peer.h"
#include "tests/support/random.h"
#include "tests/support/store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { IMAGES = 112, SHARDS = 2 };

/* --- the test's own coordinator and giver ----------------------------------------------------- */

/* A coordinator that the test plays, a giver that it plays, and a true one, worker 0. */
struct stage {
    struct test_cluster c;
    struct test_peer coordinator, liar;
    char liar_endpoint[TEST_ENDPOINT_BYTES], giver_endpoint[TEST_ENDPOINT_BYTES];
    struct cm_fingerprint gallery;
};

static void say(struct test_peer *p, enum cm_err rc, struct pr_buffer *packed)
{
    cr_assert_eq(rc, CM_OK, "the test's own message is bad");
    test_peer_say_packed(p, packed);
}

/* Takes a HELLO and welcomes who said it. */
static void greet(struct test_peer *p, struct cm_fingerprint *gallery)
{
    const struct pr_welcome welcome = {.heartbeat_ms = 500, .dead_after_ms = 600000};
    struct test_message m;
    struct pr_buffer packed;
    struct pr_hello hello;
    struct cm_error e;
    test_peer_expect(p, PR_HELLO, &m);
    cr_assert_eq(pr_hello_unpack(test_message_header(&m), &hello, &e), CM_OK, "%s", e.text);
    *gallery = hello.gallery.gallery;
    pr_hello_fini(&hello);
    test_message_fini(&m);
    say(p, pr_welcome_pack(&welcome, &packed, &e), &packed);
}

static void place(struct test_peer *p, uint32_t shard, const char *one, const char *other)
{
    struct pr_place m = {.epoch = 1, .shard = {shard}};
    struct pr_buffer packed;
    struct cm_error e;
    for (const char *from = one; from; from = from == one ? other : NULL)
        snprintf(m.sources.endpoints[m.sources.count++], sizeof m.sources.endpoints[0], "%s", from);
    say(p, pr_place_pack(&m, &packed, &e), &packed);
}

static struct pr_holds take_holds(struct test_peer *p)
{
    struct test_message m;
    struct pr_holds holds;
    struct cm_error e;
    test_peer_expect(p, PR_HOLDS, &m);
    cr_assert_eq(pr_holds_unpack(test_message_header(&m), &holds, &e), CM_OK, "%s", e.text);
    test_message_fini(&m);
    return holds;
}

/* Answers a JOIN with these givers. */
static void give_givers(struct stage *s, const char *one, const char *other)
{
    struct pr_givers givers = {.gallery = s->gallery};
    struct test_message m;
    struct pr_buffer packed;
    struct cm_error e;
    for (const char *from = one; from; from = from == one ? other : NULL)
        snprintf(givers.sources.endpoints[givers.sources.count++],
                 sizeof givers.sources.endpoints[0], "%s", from);
    test_peer_expect(&s->coordinator, PR_JOIN, &m);
    test_message_fini(&m);
    say(&s->coordinator, pr_givers_pack(&givers, &packed, &e), &packed);
}

/* Worker 0 gives from "g" to a coordinator of its own; worker 1, with an empty folder, dials the
 * test. */
static void set_stage(struct stage *s, const char *const more[])
{
    struct test_peer own;
    char endpoint[TEST_ENDPOINT_BYTES];
    test_cluster_init(&s->c);
    test_import(&s->c, "g", &test_sample, 1, SHARDS);
    snprintf(endpoint, sizeof endpoint, "ipc://%s/own", s->c.dir);
    snprintf(s->giver_endpoint, sizeof s->giver_endpoint, "ipc://%s/own.w0", s->c.dir);
    snprintf(s->liar_endpoint, sizeof s->liar_endpoint, "ipc://%s/liar", s->c.dir);
    snprintf(s->c.endpoint, sizeof s->c.endpoint, "%s", endpoint);
    test_peer_listen(&own, endpoint);
    test_worker_start(&s->c, 0, "g", NULL, NULL);
    greet(&own, &s->gallery);
    test_peer_fini(&own); /* it goes on giving */
    snprintf(s->c.endpoint, sizeof s->c.endpoint, "ipc://%s/socket", s->c.dir);
    test_peer_listen(&s->coordinator, s->c.endpoint);
    test_peer_listen(&s->liar, s->liar_endpoint);
    test_worker_start(&s->c, 1, "store", NULL, more);
}

static void strike_stage(struct stage *s)
{
    test_peer_fini(&s->liar);
    test_peer_fini(&s->coordinator);
    test_cluster_fini(&s->c);
}

/* Joins by the true giver. */
static void join(struct stage *s)
{
    give_givers(s, s->giver_endpoint, NULL);
    greet(&s->coordinator, &s->gallery);
}

/* Takes a READ. */
static struct pr_read take_read(struct test_peer *p)
{
    struct test_message m;
    struct pr_read read;
    struct cm_error e;
    test_peer_expect(p, PR_READ, &m);
    cr_assert_eq(pr_read_unpack(test_message_header(&m), &read, &e), CM_OK, "%s", e.text);
    test_message_fini(&m);
    return read;
}

/* Answers with zeros, as many as are asked for, in a file of this size. */
static void give_zeros(struct test_peer *p, const struct pr_read *read, uint64_t file_bytes)
{
    static unsigned char zeros[CM_TRANSFER_BYTES_MAX];
    uint64_t left = file_bytes - read->offset, bytes = left < read->bytes ? left : read->bytes;
    struct pr_block block = {.id = read->id,
                             .offset = read->offset,
                             .file_bytes = file_bytes,
                             .payload_crc32c = cm_crc32c(0, zeros, bytes)};
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_block_pack(&block, &packed, &e), CM_OK, "%s", e.text);
    test_peer_send(p, (const struct cm_bytes[]){pr_buffer_bytes(&packed), {zeros, bytes}}, 2);
    pr_buffer_fini(&packed);
}

/* Bytes of a file; 0 if it is not there. */
static uint64_t size_of(struct stage *s, const char *file)
{
    char path[512];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", s->c.dir, file);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static uint64_t shard_bytes(struct stage *s)
{
    return size_of(s, "g/shard-00000.vts");
}

/* Answers with what is really there. */
static void give_truth(struct stage *s, const struct pr_read *read)
{
    char path[512];
    size_t size;
    snprintf(path, sizeof path, "%s/g/shard-0000%u.vts", s->c.dir, read->shard.v);
    char *data = test_read(path, &size);
    uint64_t left = size - read->offset, bytes = left < read->bytes ? left : read->bytes;
    struct pr_block block = {.id = read->id,
                             .offset = read->offset,
                             .file_bytes = size,
                             .payload_crc32c = cm_crc32c(0, data + read->offset, bytes)};
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_block_pack(&block, &packed, &e), CM_OK, "%s", e.text);
    test_peer_send(
        &s->liar, (const struct cm_bytes[]){pr_buffer_bytes(&packed), {data + read->offset, bytes}},
        2);
    pr_buffer_fini(&packed);
    free(data);
}

/* What a liar says to a READ. */
static void lie_noise(struct stage *s, const struct pr_read *read)
{
    (void)read;
    test_peer_say(&s->liar, (struct cm_bytes){"rubbish", 7});
}

static void lie_frames(struct stage *s, const struct pr_read *read)
{
    const struct cm_bytes some = {"some", 4};
    (void)read;
    test_peer_send(&s->liar, (const struct cm_bytes[]){some, some, some, some, some, some}, 6);
}

static void lie_size(struct stage *s, const struct pr_read *read)
{
    give_zeros(&s->liar, read, shard_bytes(s) + 1);
}

static void lie_unasked(struct stage *s, const struct pr_read *read)
{
    struct pr_read other = *read;
    other.id.v += 1000;
    give_zeros(&s->liar, &other, shard_bytes(s));
}

/* All of a shard, every checksum right, and nothing but zeros. */
static void lie_zeros(struct stage *s, const struct pr_read *read)
{
    uint64_t bytes = shard_bytes(s);
    give_zeros(&s->liar, read, bytes);
    for (uint64_t at = read->offset + read->bytes; at < bytes; at += CM_TRANSFER_BYTES_MAX) {
        struct pr_read next = take_read(&s->liar);
        give_zeros(&s->liar, &next, bytes);
    }
}

/* Each is found out, and the shard got from the true giver. */
Test(givers, a_giver_that_sends_rubbish)
{
    static void (*const lies[])(struct stage *, const struct pr_read *) = {
        lie_noise, lie_frames, lie_size, lie_unasked, lie_zeros};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct stage s;
        set_stage(&s, NULL);
        join(&s);
        place(&s.coordinator, 0, s.liar_endpoint, s.giver_endpoint);
        struct pr_read read = take_read(&s.liar);
        cr_assert_eq(read.file, PR_FILE_SHARD);
        lies[i](&s, &read);
        struct pr_holds holds = take_holds(&s.coordinator);
        cr_assert_eq(holds.images, IMAGES / SHARDS, "lie %zu: %s", i, holds.text);
        cr_assert(test_says(&s.c.workers[1].run, "event=source_left"));
        test_store_same(&s.c, "store", "shard-00000.vts");
        strike_stage(&s);
    }
}

/* Nobody has it: the coordinator is told why, and nothing has the shard's name. */
Test(givers, only_givers_that_are_no_good)
{
    struct stage s;
    char nobody[TEST_ENDPOINT_BYTES + 8];
    set_stage(&s, NULL);
    join(&s);
    snprintf(nobody, sizeof nobody, "%s.none", s.liar_endpoint);
    place(&s.coordinator, 0, "tcp://10.0.0.1:7", s.liar_endpoint); /* not without --insecure */
    struct pr_read read = take_read(&s.liar);
    lie_zeros(&s, &read);
    struct pr_holds holds = take_holds(&s.coordinator);
    cr_assert_eq(holds.images, 0);
    cr_assert(strstr(holds.text, s.liar_endpoint) && strstr(holds.text, "shard-00000.vts"), "%s",
              holds.text);
    cr_assert(test_says(&s.c.workers[1].run, "10.0.0.1:7 is reachable from other machines"));
    cr_assert(!test_store_has(&s.c, "store", "shard-00000.vts"));
    place(&s.coordinator, 0, nobody, NULL);
    holds = take_holds(&s.coordinator);
    cr_assert_eq(holds.images, 0);
    cr_assert(strstr(holds.text, "not a word for 5 s"), "%s", holds.text);
    place(&s.coordinator, 0, s.giver_endpoint, NULL);
    cr_assert_eq(take_holds(&s.coordinator).images, IMAGES / SHARDS);
    test_store_check(&s.c, "store");
    strike_stage(&s);
}

/* Killed in the middle it goes on where it was; and so it does with another giver when the first
 * falls silent. What is there is not asked for again. */
Test(givers, the_rest_from_another)
{
    enum { BLOCKS = 3 };
    struct stage s;
    struct test_message m;
    set_stage(&s, NULL);
    join(&s);
    place(&s.coordinator, 0, s.liar_endpoint, s.giver_endpoint);
    for (unsigned i = 0; i < BLOCKS; i++) {
        struct pr_read read = take_read(&s.liar);
        cr_assert_eq(read.offset, (uint64_t)i * CM_TRANSFER_BYTES_MAX);
        give_truth(&s, &read);
    }
    while (size_of(&s, "store/shard-00000.vts.part") < (uint64_t)BLOCKS * CM_TRANSFER_BYTES_MAX)
        test_sleep_ms(5); /* they are written */
    test_worker_kill(&s.c, 1);
    while (test_peer_receive(&s.liar, &m, 100))
        test_message_fini(&m); /* asked for before that */
    test_worker_start(&s.c, 1, "store", NULL, NULL);
    greet(&s.coordinator, &s.gallery);
    place(&s.coordinator, 0, s.liar_endpoint, s.giver_endpoint);
    struct pr_read read = take_read(&s.liar);
    cr_assert_eq(read.offset, (uint64_t)BLOCKS * CM_TRANSFER_BYTES_MAX, "not where it was");
    give_truth(&s, &read);
    struct pr_holds holds = take_holds(&s.coordinator); /* it waits for five seconds, no more */
    cr_assert_eq(holds.images, IMAGES / SHARDS, "%s", holds.text);
    cr_assert(test_says(&s.c.workers[1].run, "not a word for 5 s"));
    test_store_same(&s.c, "store", "shard-00000.vts");
    strike_stage(&s);
}

/* A worker that joins by a giver that is dead, or lies, asks again. */
Test(givers, joining_by_givers_that_are_no_good)
{
    struct stage s;
    set_stage(&s, NULL);
    give_givers(&s, s.liar_endpoint, NULL);
    struct pr_read read = take_read(&s.liar);
    cr_assert_eq(read.file, PR_FILE_MANIFEST);
    give_zeros(&s.liar, &read, 100000);
    give_givers(&s, s.liar_endpoint, NULL); /* a second time, and it says nothing at all */
    take_read(&s.liar);
    test_wait_says(&s.c.workers[1].run, "not a word for 5 s");
    cr_assert(!test_store_has(&s.c, "store", "manifest.json"));
    join(&s);
    place(&s.coordinator, 1, s.giver_endpoint, NULL);
    cr_assert_eq(take_holds(&s.coordinator).images, IMAGES / SHARDS);
    cr_assert_eq(test_store_check(&s.c, "store"), 3);
    strike_stage(&s);
}

/* Orders that change while one before them is being carried out, at any moment of it. In a folder
 * that was imported that is the check of a whole shard. */
static void change_minds(struct stage *s, const char *from, unsigned within_ms)
{
    enum { ROUNDS = 60 };
    struct test_random random = {7};
    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t shard = i / 2 % SHARDS;
        place(&s->coordinator, shard, from, NULL);
        test_sleep_ms((unsigned)test_random_below(&random, within_ms));
        place(&s->coordinator, shard, NULL, NULL);
    }
    for (uint32_t gone = 0;
         gone < ROUNDS;) { /* now and then one had come before it was called off */
        struct pr_holds holds = take_holds(&s->coordinator);
        cr_assert_str_eq(holds.text, "");
        gone += holds.images == 0;
    }
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        place(&s->coordinator, shard, from, NULL);
        struct pr_holds holds = take_holds(&s->coordinator);
        cr_assert_eq(holds.shard.v, shard);
        cr_assert_eq(holds.images, IMAGES / SHARDS, "%s", holds.text);
    }
    cr_assert(!io_child_poll(&s->c.workers[1].run.child), "the worker ended");
}

/* Tells it to let go of all. */
static void let_go_of_all(struct stage *s)
{
    for (uint32_t shard = 0; shard < SHARDS; shard++) {
        place(&s->coordinator, shard, NULL, NULL);
        struct pr_holds holds = take_holds(&s->coordinator);
        cr_assert_eq(holds.shard.v, shard);
        cr_assert_eq(holds.images, 0);
    }
}

/* What is called off leaves nothing, also when the whole was just being checked. */
Test(givers, called_off_at_any_moment)
{
    struct stage s;
    struct test_random random = {9};
    set_stage(&s, (const char *const[]){"--transfer-mb-s", "100000", NULL});
    join(&s);
    for (unsigned i = 0; i < 60; i++) {
        place(&s.coordinator, 0, s.giver_endpoint, NULL);
        test_sleep_ms((unsigned)test_random_below(&random, 60));
        place(&s.coordinator, 0, NULL, NULL);
        while (take_holds(&s.coordinator).images > 0)
            ; /* it came before it was called off, and goes again */
        place(&s.coordinator, 1, s.liar_endpoint, NULL);
        while (take_read(&s.liar).offset > 0)
            ; /* of the round before; the disk's thread is through with the other shard now */
        cr_assert_eq(test_store_check(&s.c, "store"), 2, "round %u: a shard nobody wants", i);
        cr_assert(!test_store_has(&s.c, "store", "shard-00000.vts.part"));
        place(&s.coordinator, 1, NULL, NULL);
        take_holds(&s.coordinator);
    }
    strike_stage(&s);
}

Test(givers, changed_minds)
{
    struct stage s;
    set_stage(&s, (const char *const[]){"--transfer-mb-s", "100000", NULL});
    join(&s);
    change_minds(&s, s.giver_endpoint, 50);
    let_go_of_all(&s);
    test_worker_signal(&s.c, 1, SIGTERM);
    cr_assert_eq(test_finish(&s.c.workers[1].run, TEST_RUN_MS), 0, "%s", s.c.workers[1].run.err);
    cr_assert_eq(test_store_check(&s.c, "store"), 2, "a shard that is not wanted is there");
    strike_stage(&s);
}

Test(givers, changed_minds_of_what_was_imported)
{
    struct stage s;
    set_stage(&s, NULL);
    test_worker_kill(&s.c, 1);
    test_worker_start(&s.c, 1, "g", NULL, NULL);
    greet(&s.coordinator, &s.gallery);
    let_go_of_all(&s);
    change_minds(&s, s.giver_endpoint, 4);
    test_store_whole(&s.c, "g", 2 + SHARDS);
    strike_stage(&s);
}
