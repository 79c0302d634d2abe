/* fetch.c: see fetch.h. */
#include "worker/fetch.h"

#include "common/checksum.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define DIALLING_PERIOD_NS UINT64_C(20000000) /* while there is no connection */
#define SAVED_UP_NS        UINT64_C(50000000) /* of unused rate: a timer is late now and then */
#define NS_PER_S           UINT64_C(1000000000)

enum state { FETCHING, SEALING, OVER };

struct wk_fetch {
    struct wk_fetch_plan plan;
    struct wk_fetch_io io;
    const struct cm_log *log;
    enum state state;
    uint32_t source; /* index of the one dialled; the plan's count: none is left */
    bool dialled;
    bool connected;      /* it took the last READ */
    bool mixed;          /* not all bytes since the first came from this source */
    uint64_t file_bytes; /* 0: not known yet */
    /* Offsets in the file: asked >= received >= written. */
    uint64_t asked, received, written;
    uint64_t asked_id;    /* of the last READ */
    uint64_t answered_id; /* of the last BLOCK; the same if nothing is outstanding */
    uint64_t heard_ns;    /* when the source last did what it should, or was dialled */
    uint64_t ask_ns;      /* no READ goes out before that */
};

static uint64_t now_ns(const struct wk_fetch *f)
{
    return f->io.now_ns(f->io.ctx);
}

static void end(struct wk_fetch *f, enum cm_err outcome, const char *why)
{
    f->state = OVER;
    f->io.end(f->io.ctx, outcome, why);
}

enum cm_err wk_fetch_new(struct wk_fetch **out, const struct wk_fetch_plan *plan,
                         const struct wk_fetch_io *io, const struct cm_log *log, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_fetch *f = *out = p;
    if (rc)
        return rc;
    f->plan = *plan;
    f->io = *io;
    f->log = log;
    f->file_bytes = plan->file_bytes;
    if (plan->have_bytes <= plan->file_bytes) /* else it is no part of this file */
        f->written = plan->have_bytes - plan->have_bytes % CM_TRANSFER_BYTES_MAX;
    f->mixed = f->written > 0;
    f->asked = f->received = f->written;
    f->heard_ns = f->ask_ns = now_ns(f);
    return CM_OK;
}

void wk_fetch_free(struct wk_fetch *f)
{
    free(f);
}

/* --- sources ---------------------------------------------------------------------------------- */

static const char *source_name(const struct wk_fetch *f)
{
    return f->plan.sources.endpoints[f->source];
}

/* This one is of no use: the next, from where we are. Ends the fetch if it was the last. */
static void leave_source(struct wk_fetch *f, const char *why)
{
    char text[CM_TEXT_BYTES_MAX + 1];
    snprintf(text, sizeof text, "%s: %s", source_name(f), why);
    cm_log(f->log, CM_LOG_WARN, "source_left", "msg=\"%s\"", text);
    f->source++;
    f->dialled = f->connected = false;
    f->asked = f->received;
    f->answered_id = f->asked_id;
    f->mixed = f->received > 0;
    if (f->source == f->plan.sources.count)
        end(f, CM_EUNAVAIL, text);
}

/* The next one that can be dialled, if none is. */
static void dial(struct wk_fetch *f)
{
    struct cm_error e;
    while (f->state == FETCHING && !f->dialled) {
        f->heard_ns = now_ns(f);
        f->dialled = f->io.dial(f->io.ctx, source_name(f), &e) == CM_OK;
        if (!f->dialled)
            leave_source(f, e.text);
    }
}

/* --- asking ----------------------------------------------------------------------------------- */

/* Bytes to ask for now, whatever the time: 0 while the window is full, and at the end. */
static uint32_t want_bytes(const struct wk_fetch *f)
{
    uint64_t left = f->file_bytes - f->asked;
    if (f->file_bytes == 0) /* a first BLOCK will say */
        return f->asked_id == f->answered_id ? CM_TRANSFER_BYTES_MAX : 0;
    if (left > CM_TRANSFER_BYTES_MAX)
        left = CM_TRANSFER_BYTES_MAX;
    return f->asked + left - f->written <= WK_WINDOW_BYTES ? (uint32_t)left : 0;
}

/* All of it is here; the rest is being written. */
static bool is_received(const struct wk_fetch *f)
{
    return f->file_bytes > 0 && f->received == f->file_bytes;
}

static enum cm_err send_read(struct wk_fetch *f, uint32_t bytes, struct cm_error *e)
{
    struct pr_read read = {
        .id = {f->asked_id + 1},
        .gallery = f->plan.gallery,
        .file = f->plan.file,
        .shard = {f->plan.shard},
        .offset = f->asked,
        .bytes = bytes,
    };
    struct pr_buffer packed;
    enum cm_err rc = pr_read_pack(&read, &packed, e);
    if (rc)
        return rc;
    rc = f->io.send(f->io.ctx, pr_buffer_bytes(&packed), e);
    pr_buffer_fini(&packed);
    return rc;
}

/* One READ is out. */
static void count_read(struct wk_fetch *f, uint32_t bytes, uint64_t now)
{
    if (f->asked_id == f->answered_id)
        f->heard_ns = now; /* nothing was owed before */
    f->connected = true;
    f->asked_id++;
    if (f->file_bytes > 0)
        f->asked += bytes;
    if (f->ask_ns + SAVED_UP_NS < now)
        f->ask_ns = now - SAVED_UP_NS;
    f->ask_ns += bytes * NS_PER_S / f->plan.bytes_per_s;
}

static void ask(struct wk_fetch *f)
{
    struct cm_error e;
    uint64_t now = now_ns(f);
    for (uint32_t bytes; (bytes = want_bytes(f)) > 0 && now >= f->ask_ns;) {
        enum cm_err rc = send_read(f, bytes, &e);
        if (rc == CM_EBUSY) {
            if (f->connected && f->asked_id == f->answered_id)
                f->heard_ns = now; /* it owed nothing; now it owes a connection */
            f->connected = false;
            f->ask_ns = now + DIALLING_PERIOD_NS;
            return;
        }
        if (rc) {
            leave_source(f, e.text);
            return;
        }
        count_read(f, bytes, now);
    }
}

/* Asks for more, or has the whole checked. */
static void go_on(struct wk_fetch *f)
{
    if (f->state == FETCHING && f->file_bytes > 0 && f->written == f->file_bytes) {
        f->state = SEALING;
        f->io.seal(f->io.ctx, f->file_bytes);
    }
    while (f->state == FETCHING && !is_received(f)) {
        dial(f);
        if (f->state == FETCHING)
            ask(f);
        if (f->dialled)
            return;
    }
}

/* --- what comes ------------------------------------------------------------------------------- */

/* Once all is received nobody is needed any more, and what still comes changes nothing. */
static bool is_listening(const struct wk_fetch *f)
{
    return f->state == FETCHING && f->dialled && !is_received(f);
}

static enum cm_err check_block(const struct wk_fetch *f, const struct pr_block *b,
                               const struct cm_blob *payload, struct cm_error *e)
{
    uint64_t bytes = payload ? cm_blob_size(payload) : 0;
    if (f->asked_id == f->answered_id || b->id.v != f->answered_id + 1)
        return cm_fail(e, CM_EFORMAT, "a BLOCK that was not asked for");
    if (b->file_bytes == 0)
        return cm_fail(e, CM_ENOENT, "%s", *b->text ? b->text : "it does not give the file");
    if (f->file_bytes ? b->file_bytes != f->file_bytes : b->file_bytes > f->plan.most_bytes)
        return cm_fail(e, CM_EMISMATCH, "the file has %" PRIu64 " bytes there; %" PRIu64 " %s",
                       b->file_bytes, f->file_bytes ? f->file_bytes : f->plan.most_bytes,
                       f->file_bytes ? "are right" : "at most are right");
    uint64_t left = b->file_bytes - f->received;
    uint64_t due = left < CM_TRANSFER_BYTES_MAX ? left : CM_TRANSFER_BYTES_MAX;
    if (b->offset != f->received || bytes != due)
        return cm_fail(e, CM_EFORMAT,
                       "a BLOCK of %" PRIu64 " bytes at %" PRIu64 "; %" PRIu64 " at %" PRIu64
                       " were asked for",
                       bytes, b->offset, due, f->received);
    if (cm_crc32c(0, cm_blob_data(payload), bytes) != b->payload_crc32c)
        return cm_fail(e, CM_ECORRUPT, "the bytes at %" PRIu64 " do not match their checksum",
                       b->offset);
    return CM_OK;
}

static void take_block(struct wk_fetch *f, const struct pr_block *b, struct cm_blob *payload)
{
    uint64_t offset = f->received;
    f->answered_id++;
    f->heard_ns = now_ns(f);
    f->received += cm_blob_size(payload);
    if (f->file_bytes == 0) {
        f->file_bytes = b->file_bytes;
        f->asked = f->received;
    }
    f->io.write(f->io.ctx, offset, payload);
}

void wk_fetch_on_message(struct wk_fetch *f, struct cm_bytes header, struct cm_blob *payload)
{
    struct pr_block block;
    struct cm_error e;
    if (!is_listening(f))
        return;
    enum cm_err rc = pr_block_unpack(header, &block, &e);
    if (!rc)
        rc = check_block(f, &block, payload, &e);
    if (rc)
        leave_source(f, e.text);
    else
        take_block(f, &block, payload);
    go_on(f);
}

void wk_fetch_on_garbage(struct wk_fetch *f, const char *why)
{
    if (!is_listening(f))
        return;
    leave_source(f, why);
    go_on(f);
}

void wk_fetch_on_written(struct wk_fetch *f, uint64_t bytes, enum cm_err rc, const char *why)
{
    if (f->state != FETCHING)
        return;
    if (rc) {
        end(f, rc, why);
        return;
    }
    f->written += bytes;
    go_on(f);
}

/* --- the whole -------------------------------------------------------------------------------- */

static bool is_bad_file(enum cm_err rc)
{
    return rc == CM_ECORRUPT || rc == CM_EFORMAT || rc == CM_EVERSION || rc == CM_EMISMATCH;
}

void wk_fetch_on_sealed(struct wk_fetch *f, enum cm_err rc, const char *why)
{
    if (f->state != SEALING)
        return;
    if (!is_bad_file(rc)) {
        end(f, rc, rc ? why : "");
        return;
    }
    f->state = FETCHING;
    f->asked = f->received = f->written = 0;
    f->file_bytes = f->plan.file_bytes;
    if (f->mixed)
        cm_log(f->log, CM_LOG_WARN, "fetched_bad", "source=%s msg=\"%s\"", source_name(f), why);
    else
        leave_source(f, why);
    f->mixed = false;
    go_on(f);
}

/* --- time ------------------------------------------------------------------------------------- */

/* The source owes us something: an answer, or a connection. */
static bool is_owed(const struct wk_fetch *f)
{
    return f->state == FETCHING && f->dialled && (f->asked_id != f->answered_id || !f->connected);
}

void wk_fetch_on_tick(struct wk_fetch *f)
{
    if (is_owed(f) && now_ns(f) - f->heard_ns >= WK_SOURCE_SILENCE_NS) {
        char why[64];
        snprintf(why, sizeof why, "not a word for %u s",
                 (unsigned)(WK_SOURCE_SILENCE_NS / NS_PER_S));
        leave_source(f, why);
    }
    go_on(f);
}

uint64_t wk_fetch_wakeup_ns(const struct wk_fetch *f)
{
    uint64_t next = UINT64_MAX;
    if (f->state != FETCHING)
        return next;
    if (!f->dialled)
        return 0;
    if (is_owed(f))
        next = f->heard_ns + WK_SOURCE_SILENCE_NS;
    if (want_bytes(f) > 0 && f->ask_ns < next)
        next = f->ask_ns;
    return next;
}
