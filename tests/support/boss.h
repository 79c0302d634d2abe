/* boss.h: a coordinator and a giver that the test plays itself, so that they can say what they like
 * to a real worker. Failures stop the test. One thread. */
#ifndef TEST_BOSS_H
#define TEST_BOSS_H

#include "proto/wire/hello.h"
#include "proto/wire/place.h"
#include "proto/wire/transfer.h"
#include "tests/support/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A coordinator that places shards. It speaks to whom it heard last. */
struct test_boss {
    struct test_peer peer;
    char endpoint[128]; /* with the port that the system picked */
    uint64_t epoch;     /* of its orders */
};

/* Listens; a port may be 0. */
void test_boss_init(struct test_boss *b, const char *endpoint);
void test_boss_fini(struct test_boss *b);

/* Waits for a HELLO and welcomes whoever said it; pr_hello_fini is the caller's. */
void test_boss_greet(struct test_boss *b, struct pr_hello *hello);
/* Waits for a JOIN and answers with these sources, up to a NULL. */
void test_boss_give(struct test_boss *b, const struct cm_fingerprint *gallery,
                    const char *const sources[]);
/* PLACE with these sources, up to a NULL; none: let go of it. */
void test_boss_place(struct test_boss *b, uint32_t shard, const char *const sources[]);
void test_boss_dismiss(struct test_boss *b);
/* The next HOLDS; the second waits no longer than timeout_ms, and is false if none came. */
struct pr_holds test_boss_holds(struct test_boss *b);
bool test_boss_poll_holds(struct test_boss *b, struct pr_holds *out, unsigned timeout_ms);

/* A giver of one file. */
struct test_giver {
    struct test_peer peer;
    char *bytes; /* the file; the test may spoil it */
    size_t size;
    unsigned reads;        /* READs so far */
    uint64_t least_offset; /* of all of them; UINT64_MAX: there were none */
    uint64_t last_offset;
    /* Called with each BLOCK before it goes out, its bytes among it; may change all. False: it is
     * not sent. May be NULL. */
    bool (*lie)(void *ctx, struct pr_block *block, struct cm_bytes *payload);
    void *ctx;
};

/* Listens at `endpoint`, with the file `path`. */
void test_giver_init(struct test_giver *g, const char *endpoint, const char *path);
void test_giver_fini(struct test_giver *g);
/* Answers the next READ, if one comes within timeout_ms; false if none does. */
bool test_giver_serve(struct test_giver *g, unsigned timeout_ms);
/* Serves until the boss has its next HOLDS, which is returned. */
struct pr_holds test_giver_serve_all(struct test_giver *g, struct test_boss *b);

/* One READ sent to a real giver and its BLOCK; the message is the caller's test_message_fini. */
struct pr_block test_read_block(struct test_peer *p, const struct pr_read *read,
                                struct test_message *out);

#endif
