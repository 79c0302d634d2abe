/* fake_wk.h: a worker core on a fake clock: its messages are recorded, and its jobs wait until the
 * test finishes them, with scores as fake_score has them. Failures stop the test. */
#ifndef TEST_FAKE_WK_H
#define TEST_FAKE_WK_H

#include "common/log.h"
#include "proto/wire/count.h"
#include "proto/wire/measure.h"
#include "proto/wire/place.h"
#include "proto/wire/positives.h"
#include "proto/wire/result.h"
#include "proto/wire/search.h"
#include "proto/wire/work.h"
#include "tests/support/fake_gallery.h"
#include "tests/support/mailbox.h"
#include "worker/worker.h"

#include <stddef.h>
#include <stdint.h>

enum {
    FAKE_WK_SHARDS_MAX = 8,
    FAKE_WK_JOBS_MAX = 16,
    FAKE_WK_IMAGES_MAX = 1200, /* of the gallery */
    FAKE_PACKED_BYTES = 64,
    FAKE_WK_MEMORY_BYTES = 7654321,
};
#define FAKE_WK_ENDPOINT "ipc://fake"

/* What a worker is, for fake_wk_init. */
struct fake_wk_options {
    const char *node;
    uint64_t incarnation;
    struct pr_gallery_info gallery;
    uint32_t first_shard;
    uint32_t shards;
    uint32_t images_per_block;
    uint32_t jobs;
    uint32_t credits;
    uint64_t result_every_ns; /* 0: a RESULT for each shard, at once */
    bool placed;
};

struct fake_wk {
    struct wk_core *core;
    struct wk_held held[FAKE_WK_SHARDS_MAX]; /* by their numbers; images 0: not here */
    struct pr_gallery_info gallery;
    uint32_t images_per_block;
    uint32_t jobs_max;
    uint64_t *clock_ns; /* own_ns, or a clock that several share */
    uint64_t own_ns;
    struct test_mailbox sent;
    enum cm_err send_fails;                /* CM_OK: it does not */
    struct wk_job *jobs[FAKE_WK_JOBS_MAX]; /* [jobs_out] in the order in which they began */
    size_t jobs_out;
    unsigned reconnects;
    unsigned refusals;
    enum pr_refusal refusal;
    unsigned dismissals;
    bool fetching; /* a fetch was asked for, and neither finished nor abandoned */
    uint32_t fetching_shard;
    struct pr_sources sources; /* of the last fetch */
    unsigned fetches, abandoned, forgotten;
    uint32_t released[FAKE_WK_SHARDS_MAX]; /* [releases] the shards let go of, in order */
    unsigned releases;
    const char *one_name; /* every image's, if not NULL */
    char names[FAKE_WK_IMAGES_MAX][FAKE_NAME_BYTES];
};

/* Four shards of ten images in blocks of four, two jobs, sixteen credits: "w0" of fake_gallery. */
struct fake_wk_options fake_wk_defaults(void);

/* A worker that has not spoken yet. `clock_ns` may be NULL: it has its own then. */
void fake_wk_init(struct fake_wk *f, const struct fake_wk_options *o, uint64_t *clock_ns);
/* Frees it; jobs that are out are forgotten first. */
void fake_wk_fini(struct fake_wk *f);

/* The same, and it is welcomed: a heartbeat a second, dead after five. */
void fake_wk_init_ready(struct fake_wk *f, const struct fake_wk_options *o);

/* Time passes, and the core is ticked where it asked for it. */
void fake_wk_sleep(struct fake_wk *f, uint64_t ns);

/* Messages from the coordinator. */
void fake_wk_control(struct fake_wk *f, uint32_t type, uint64_t id);
void fake_wk_heartbeat(struct fake_wk *f);
void fake_wk_welcome(struct fake_wk *f, uint32_t heartbeat_ms, uint32_t dead_after_ms);
/* A search of fake_map(query) in `count` shards from `first` on; its id is `query`. */
void fake_wk_search(struct fake_wk *f, uint64_t query, uint32_t k, uint64_t time_left_us,
                    uint32_t first, uint32_t count);
void fake_wk_search_as(struct fake_wk *f, const struct pr_search *search, struct cm_blob *map);

/* An evaluation of fake_map(query), likewise. */
void fake_wk_measure(struct fake_wk *f, uint64_t query, int64_t pid, int32_t camid,
                     bool want_scores, uint32_t first, uint32_t count);
void fake_wk_measure_as(struct fake_wk *f, const struct pr_measure *measure, struct cm_blob *map);
void fake_wk_count(struct fake_wk *f, uint64_t query, const struct pr_positives *positives);

/* A thread begins with job number `i` of those out, if there is time; else it does so when the job
 * is finished. */
void fake_wk_begin(struct fake_wk *f, size_t i);
/* Finishes job number `i` of those out, which must be of this kind (and of the shard and block
 * given, if it scores). */
void fake_wk_finish(struct fake_wk *f, size_t i);
void fake_wk_finish_projection(struct fake_wk *f);
void fake_wk_finish_block(struct fake_wk *f, uint32_t shard, uint64_t block);
/* Finishes it badly: the outcome is as given, and the scores are rubbish. */
void fake_wk_fail(struct fake_wk *f, size_t i, enum cm_err outcome);
/* Finishes jobs, oldest first, until none is out. */
void fake_wk_finish_all(struct fake_wk *f);

/* PLACE with this many sources, "ipc://source-0" and so on; 0: let go of it. */
void fake_wk_place(struct fake_wk *f, uint64_t epoch, uint32_t shard, uint32_t sources);
/* The shard that is being fetched is here. */
void fake_wk_fetched(struct fake_wk *f);
/* It cannot be had. */
void fake_wk_fetch_failed(struct fake_wk *f, const char *why);

/* Takes the next message, which must be of this type; for a RESULT its content, to pr_result_fini.
 */
struct pr_envelope fake_wk_take(struct fake_wk *f, uint32_t type);
struct pr_result fake_wk_take_result(struct fake_wk *f);
/* Likewise: to pr_positives_message_fini, to pr_counts_fini. */
struct pr_positives_message fake_wk_take_positives(struct fake_wk *f);
struct pr_counts_message fake_wk_take_counts(struct fake_wk *f);
struct pr_holds fake_wk_take_holds(struct fake_wk *f);
/* What it has done so far: a heartbeat's time passes, and the one that it says is taken. */
struct pr_work fake_wk_work(struct fake_wk *f);

#endif
