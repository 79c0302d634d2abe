/* fetch_world.h: the world around one fetch on a fake clock: sources, whose answers a test gives,
 * and a disk, whose writes it finishes. Failures stop the test. */
#ifndef TEST_WORKER_FETCH_WORLD_H
#define TEST_WORKER_FETCH_WORLD_H

#include "common/checksum.h"
#include "proto/wire/transfer.h"
#include "worker/fetch.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS  UINT64_C(1000000)
#define SEC UINT64_C(1000000000)
#define MIB UINT64_C(1048576)

/* Room for the longest queue; the shard that is fetched. */
enum { QUEUE_MAX = 64, SHARD = 3 };

/* A run of bytes that io.write was given and that is not written yet. */
struct run {
    uint64_t offset, bytes;
};

/* The world around one fetch. Its file: byte i of it is byte_at(i). */
struct world {
    struct wk_fetch *fetch;
    uint64_t now_ns;
    uint64_t file_bytes;
    struct pr_read reads[QUEUE_MAX]; /* [reads_count] not answered; of the present source alone */
    size_t reads_count;
    struct run runs[QUEUE_MAX]; /* [runs_count] to be written */
    size_t runs_count;
    uint64_t taken;   /* bytes that io.write was given, which is in order */
    uint64_t written; /* of the file, whose bytes were all right */
    uint64_t asked_bytes;
    unsigned dials, seals, ends;
    char dialled[CM_ENDPOINT_BYTES_MAX + 1];
    enum cm_err dial_fails, send_fails;
    unsigned dials_that_fail; /* so many yet */
    enum cm_err outcome;
    char why[CM_TEXT_BYTES_MAX + 1];
};

/* Byte number `i` of the file. */
static inline unsigned char byte_at(uint64_t i)
{
    return (unsigned char)(i * 7 + i / MIB);
}

/* --- the io ----------------------------------------------------------------------------------- */

/* Connects: what was asked of the source before is gone. */
static inline enum cm_err dial(void *ctx, const char *endpoint, struct cm_error *e)
{
    struct world *w = ctx;
    cr_assert_eq(w->ends, 0);
    w->dials++;
    w->reads_count = 0;
    snprintf(w->dialled, sizeof w->dialled, "%s", endpoint);
    if (w->dials_that_fail > 0 && w->dials_that_fail-- > 0)
        return cm_fail(e, CM_EUSAGE, "%s is no endpoint", endpoint);
    return CM_OK;
}

/* Takes a READ. */
static inline enum cm_err send(void *ctx, struct cm_bytes header, struct cm_error *e)
{
    struct world *w = ctx;
    struct pr_read read;
    cr_assert_eq(w->ends, 0);
    if (w->send_fails)
        return cm_fail(e, w->send_fails, "cannot be sent");
    cr_assert_eq(pr_read_unpack(header, &read, e), CM_OK, "%s", e->text);
    cr_assert(w->reads_count < QUEUE_MAX);
    w->reads[w->reads_count++] = read;
    w->asked_bytes += read.bytes;
    return CM_OK;
}

/* Takes a run of bytes, which must be the next ones of the file, and right. */
static inline void write_bytes(void *ctx, uint64_t offset, struct cm_blob *bytes)
{
    struct world *w = ctx;
    const unsigned char *data = cm_blob_data(bytes);
    uint64_t size = cm_blob_size(bytes);
    cr_assert_eq(w->ends, 0);
    cr_assert_eq(offset, w->taken, "bytes at %" PRIu64 " after %" PRIu64, offset, w->taken);
    cr_assert(w->runs_count < QUEUE_MAX);
    for (uint64_t i = 0; i < size; i += 4099)
        cr_assert_eq(data[i], byte_at(offset + i), "byte %" PRIu64, offset + i);
    w->taken += size;
    w->runs[w->runs_count++] = (struct run){offset, size};
}

/* All must be written. */
static inline void seal(void *ctx, uint64_t file_bytes)
{
    struct world *w = ctx;
    cr_assert_eq(w->ends, 0);
    cr_assert_eq(file_bytes, w->file_bytes);
    cr_assert_eq(w->written, file_bytes);
    cr_assert_eq(w->runs_count, 0);
    w->seals++;
}

/* Keeps how it ended. */
static inline void end(void *ctx, enum cm_err outcome, const char *why)
{
    struct world *w = ctx;
    cr_assert_eq(w->ends, 0, "it ends twice");
    w->ends++;
    w->outcome = outcome;
    snprintf(w->why, sizeof w->why, "%s", why);
}

/* The test's clock. */
static inline uint64_t now_ns(void *ctx)
{
    return ((struct world *)ctx)->now_ns;
}

/* --- its life --------------------------------------------------------------------------------- */

/* A shard of so many bytes, of "ipc://s0" and so on. */
static inline struct wk_fetch_plan plan_of(uint64_t file_bytes, uint32_t sources)
{
    struct wk_fetch_plan plan = {
        .gallery = {{1, 2, 3}},
        .file = PR_FILE_SHARD,
        .shard = SHARD,
        .file_bytes = file_bytes,
        .most_bytes = file_bytes,
        .bytes_per_s = 2 * MIB * SEC, /* no bound: a block takes less than a nanosecond */
        .sources = {.count = sources},
    };
    for (uint32_t i = 0; i < sources; i++)
        snprintf(plan.sources.endpoints[i], sizeof plan.sources.endpoints[i], "ipc://s%u", i);
    return plan;
}

/* Begins it; `have` of the plan are in the file already. */
static inline void begin(struct world *w, const struct wk_fetch_plan *plan, uint64_t file_bytes)
{
    const struct wk_fetch_io io = {w, dial, send, write_bytes, seal, end, now_ns};
    struct cm_error e;
    *w = (struct world){.now_ns = 77 * SEC, .file_bytes = file_bytes};
    if (plan->have_bytes <= plan->file_bytes)
        w->taken = w->written = plan->have_bytes - plan->have_bytes % MIB;
    cr_assert_eq(wk_fetch_new(&w->fetch, plan, &io, NULL, &e), CM_OK, "%s", e.text);
    wk_fetch_on_tick(w->fetch);
}

/* Likewise, from the beginning, as plan_of has it. */
static inline void begin_plain(struct world *w, uint64_t file_bytes, uint32_t sources)
{
    struct wk_fetch_plan plan = plan_of(file_bytes, sources);
    begin(w, &plan, file_bytes);
}

/* Frees it. */
static inline void over(struct world *w)
{
    wk_fetch_free(w->fetch);
}

/* Time passes, and it is ticked where it asked for it. */
static inline void pass_time(struct world *w, uint64_t ns)
{
    uint64_t end_ns = w->now_ns + ns;
    for (uint64_t next; (next = wk_fetch_wakeup_ns(w->fetch)) <= end_ns;) {
        if (next > w->now_ns)
            w->now_ns = next;
        wk_fetch_on_tick(w->fetch);
        cr_assert(wk_fetch_wakeup_ns(w->fetch) > w->now_ns, "a tick left work for this moment");
    }
    w->now_ns = end_ns;
}

/* --- a source --------------------------------------------------------------------------------- */

/* Takes the first READ that is not answered. */
static inline struct pr_read take_read(struct world *w)
{
    cr_assert(w->reads_count > 0, "nothing was asked for");
    struct pr_read read = w->reads[0];
    memmove(&w->reads[0], &w->reads[1], --w->reads_count * sizeof w->reads[0]);
    return read;
}

/* The bytes from `offset` on, as they are in the file. */
static inline struct cm_blob *bytes_of(uint64_t offset, uint64_t bytes)
{
    struct cm_blob *blob;
    struct cm_error e;
    unsigned char *data = malloc(bytes + 1);
    cr_assert(data != NULL);
    for (uint64_t i = 0; i < bytes; i++)
        data[i] = byte_at(offset + i);
    cr_assert_eq(cm_blob_copy(&blob, data, bytes, &e), CM_OK);
    free(data);
    return blob;
}

/* A BLOCK comes. */
static inline void say(struct world *w, const struct pr_block *block, struct cm_blob *payload)
{
    struct pr_buffer packed;
    struct cm_error e;
    cr_assert_eq(pr_block_pack(block, &packed, &e), CM_OK, "%s", e.text);
    wk_fetch_on_message(w->fetch, pr_buffer_bytes(&packed), payload);
    pr_buffer_fini(&packed);
}

/* The true answer to a READ, and its bytes, which the caller gives back. */
static inline struct pr_block truth(const struct world *w, const struct pr_read *read,
                                    struct cm_blob **payload)
{
    uint64_t left = w->file_bytes - read->offset, bytes = left < read->bytes ? left : read->bytes;
    *payload = bytes_of(read->offset, bytes);
    return (struct pr_block){
        .id = read->id,
        .offset = read->offset,
        .file_bytes = w->file_bytes,
        .payload_crc32c = cm_crc32c(0, cm_blob_data(*payload), bytes),
    };
}

/* The first READ is answered as it should be. */
static inline void answer(struct world *w)
{
    struct cm_blob *payload;
    struct pr_read read = take_read(w);
    struct pr_block block = truth(w, &read, &payload);
    say(w, &block, payload);
    cm_blob_unref(&payload);
}

/* The disk: writes the first run. */
static inline void write_one(struct world *w)
{
    cr_assert(w->runs_count > 0, "nothing is to be written");
    struct run run = w->runs[0];
    memmove(&w->runs[0], &w->runs[1], --w->runs_count * sizeof w->runs[0]);
    w->written += run.bytes;
    wk_fetch_on_written(w->fetch, run.bytes, CM_OK, "");
}

/* Answers and writes until nothing is asked for and all is written. */
static inline void give_all(struct world *w)
{
    while (!w->ends && (w->reads_count > 0 || w->runs_count > 0)) {
        if (w->reads_count > 0)
            answer(w);
        else
            write_one(w);
    }
}

/* The whole turns out as `rc`; a bad one is gone. */
static inline void sealed(struct world *w, enum cm_err rc, const char *why)
{
    if (rc)
        w->taken = w->written = 0;
    wk_fetch_on_sealed(w->fetch, rc, why);
}

/* The whole is sound: it ends well, and is freed. */
static inline void expect_done(struct world *w)
{
    cr_assert_eq(w->seals, 1);
    sealed(w, CM_OK, "");
    cr_assert_eq(w->ends, 1);
    cr_assert_eq(w->outcome, CM_OK, "%s", w->why);
    cr_assert_eq(wk_fetch_wakeup_ns(w->fetch), UINT64_MAX);
    over(w);
}

#endif
