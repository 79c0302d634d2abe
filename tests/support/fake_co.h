/* fake_co.h: a coordinator core on a fake clock, with what it sends recorded. A worker or client is
 * a name, which is its address too. Failures stop the test. */
#ifndef TEST_FAKE_CO_H
#define TEST_FAKE_CO_H

#include "common/limits.h"
#include "coordinator/coordinator.h"
#include "proto/wire/answer.h"
#include "proto/wire/count.h"
#include "proto/wire/error.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/measure.h"
#include "proto/wire/measured.h"
#include "proto/wire/query.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/status.h"
#include "tests/support/fake_gallery.h"
#include "tests/support/mailbox.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAKE_MS            UINT64_C(1000000)
#define FAKE_START_NS      UINT64_C(7000000000)
#define FAKE_HEARTBEAT_NS  (1000 * FAKE_MS)
#define FAKE_DEAD_AFTER_NS (5000 * FAKE_MS)
#define FAKE_HEDGE_PERCENT 5
#define FAKE_MEMORY_BYTES  UINT64_C(12345678)

struct fake_co {
    struct co_core *core;
    struct pr_gallery_info gallery; /* fake_gallery(FAKE_SHARDS, FAKE_SHARD_IMAGES) */
    uint64_t now_ns;
    uint64_t send_takes_ns; /* the clock moves so far with each message sent */
    struct test_mailbox sent;
    struct cm_peer deaf;  /* messages to this peer fail ... */
    enum cm_err deaf_why; /* ... with this */
    struct cm_log log;    /* into a file in memory */
    char *saved;          /* the text of the map that was saved last */
    unsigned saves;
    enum cm_err save_fails; /* CM_OK: it does not */
};

/* A coordinator without members, at FAKE_START_NS. */
void fake_co_init(struct fake_co *f);
void fake_co_init_mixed(struct fake_co *f); /* the same, with allow_mixed */
/* The same, with queries that wait for shards that nobody serves yet. */
void fake_co_init_settling(struct fake_co *f, uint64_t settle_ns);
/* The same, with no shard asked twice because of lateness, and nobody demoted for it. */
void fake_co_init_unhedged(struct fake_co *f);
/* The same, with shards placed: from nothing, or from a map that another one saved. */
void fake_co_init_placing(struct fake_co *f, uint32_t replicas, const char *saved);
#define FAKE_REPLACE_AFTER_NS (60000 * FAKE_MS)
/* Frees it; messages that nobody took are forgotten. */
void fake_co_fini(struct fake_co *f);

/* Time passes, and the core is ticked where it asked for it. */
void fake_co_sleep(struct fake_co *f, uint64_t ns);

/* All lines logged so far that hold `text`. */
size_t fake_co_logged(const struct fake_co *f, const char *text);

/* `from` sends these bytes. */
void fake_co_get(struct fake_co *f, const char *from, struct cm_bytes header,
                 struct cm_blob *payload);

/* `node` says HELLO from the address `from`. */
void fake_co_hello(struct fake_co *f, const char *from, const struct pr_hello *hello);
/* A worker with `count` shards from `first` on joins; its WELCOME is taken. */
void fake_co_join(struct fake_co *f, const char *node, uint32_t first, uint32_t count);
/* The same of one that lets shards be placed on it; others fetch from "ipc://NODE". */
void fake_co_join_placed(struct fake_co *f, const char *node, uint32_t first, uint32_t count);
/* The same with this many credits. */
void fake_co_join_with_credits(struct fake_co *f, const char *node, uint32_t first, uint32_t count,
                               uint32_t credits);
void fake_co_heartbeat(struct fake_co *f, const char *node);
/* The connection of `name` ends. */
void fake_co_disconnect(struct fake_co *f, const char *name);
void fake_co_control(struct fake_co *f, const char *from, uint32_t type, uint64_t id);

/* A sound query over the gallery; and one with fields and map of the caller's choice. */
void fake_co_query(struct fake_co *f, const char *client, uint64_t id, uint32_t k,
                   uint32_t deadline_ms);
struct pr_query fake_query(uint64_t id, uint32_t k, uint32_t deadline_ms);
void fake_co_query_as(struct fake_co *f, const char *client, const struct pr_query *query,
                      struct cm_blob *map);

/* An evaluation of fake_map(id) with these labels. */
void fake_co_evaluate(struct fake_co *f, const char *client, uint64_t id, int64_t pid,
                      int32_t camid, bool want_scores);

/* `node` answers for one shard of search `id`: all of it, as fake_score has it for query `query`.
 */
void fake_co_score(struct fake_co *f, const char *node, uint64_t id, uint32_t shard, uint64_t query,
                   uint32_t k);
/* It does not score it. */
void fake_co_decline(struct fake_co *f, const char *node, uint64_t id, uint32_t shard,
                     enum pr_reason reason);
void fake_co_result(struct fake_co *f, const char *node, const struct pr_result *result);

/* Takes the next message to `name`, which must be of that type. The caller calls pr_..._fini. */
struct pr_search fake_co_take_search(struct fake_co *f, const char *node);
struct pr_measure fake_co_take_measure(struct fake_co *f, const char *node);
struct pr_count fake_co_take_count(struct fake_co *f, const char *node);
struct pr_answer fake_co_take_answer(struct fake_co *f, const char *client);
struct pr_measured fake_co_take_measured(struct fake_co *f, const char *client);
struct pr_error fake_co_take_error(struct fake_co *f, const char *client);
struct pr_status fake_co_take_status(struct fake_co *f, const char *client);
/* `node` sends a packed message, which is freed. */
void fake_co_get_packed(struct fake_co *f, const char *node, enum cm_err packing,
                        struct pr_buffer *packed, struct cm_blob *payload);
/* The same, of whatever type; only the envelope is kept. */
struct pr_envelope fake_co_take(struct fake_co *f, const char *name, uint32_t type);

#endif
