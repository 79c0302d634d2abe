/* fetch.h: one file of a gallery on its way from another worker to this one.
 *
 *      READ, READ, READ, READ ------>  a source          WK_WINDOW_BYTES asked for and not yet
 *      <---- BLOCK + bytes ---------                     written, at the most
 *        |  the next one in order, of the right size, checksum right
 *        v
 *      io.write, in the order of the file, wk_fetch_on_written
 *        |  all is there
 *        v
 *      io.seal: the whole is checked and gets its name, wk_fetch_on_sealed
 *
 * It begins where a partial file ends. A source that is silent, or says what cannot be true, or no,
 * is left for the next, which goes on at the same place. A file that is bad as a whole is fetched
 * again from its beginning: from the same source, if some of it had been there or came from another
 * one, else from the next. When no source is left, the fetch has failed. So that queries keep their
 * share of the network, READs go out no faster than the rate.
 *
 * Pure: no clock, no socket, no thread, no file. One thread. */
#ifndef WK_FETCH_H
#define WK_FETCH_H

#include "common/blob.h"
#include "common/err.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/types.h"
#include "proto/wire/sources.h"
#include "proto/wire/transfer.h"

#include <stdint.h>

enum { WK_WINDOW_BYTES = 4 * CM_TRANSFER_BYTES_MAX };

#define WK_SOURCE_SILENCE_NS UINT64_C(5000000000) /* without a BLOCK that was asked for */

struct wk_fetch;

/* What is fetched, and from whom. */
struct wk_fetch_plan {
    struct cm_fingerprint gallery;
    enum pr_file file;
    uint32_t shard;      /* 0 unless the file is one */
    uint64_t file_bytes; /* of the whole; 0: not known, then what the source says, */
    uint64_t most_bytes; /* which is no more than this */
    uint64_t have_bytes; /* of it are here already */
    uint64_t bytes_per_s;
    struct pr_sources sources; /* at least one */
};

/* How a fetch acts on the world. */
struct wk_fetch_io {
    void *ctx;
    /* Connects to a source, and no longer to the one before: nothing of that one comes any more.
     * Errors: any; the source is then left. */
    enum cm_err (*dial)(void *ctx, const char *endpoint, struct cm_error *e);
    /* To the source. Errors: CM_EBUSY (not connected yet: tried again), others: the source is left.
     */
    enum cm_err (*send)(void *ctx, struct cm_bytes header, struct cm_error *e);
    /* Puts a run of bytes into the file; the blob is borrowed. wk_fetch_on_written comes later, for
     * each in the order of the calls, never from inside. */
    void (*write)(void *ctx, uint64_t offset, struct cm_blob *bytes);
    /* All `file_bytes` are written: checks the whole, and names it if it is sound, else removes it.
     * wk_fetch_on_sealed comes later. */
    void (*seal)(void *ctx, uint64_t file_bytes);
    /* It is over, and this is the last call: CM_OK, the file is here; CM_EUNAVAIL, no source is
     * left; or what io.write or io.seal failed with. Not the place to free the fetch. */
    void (*end)(void *ctx, enum cm_err outcome, const char *why);
    /* A clock that never goes back. */
    uint64_t (*now_ns)(void *ctx);
};

/* A fetch that has not begun; wk_fetch_on_tick begins. `plan` and `io` are copied, `log` outlives
 * it. Errors: CM_ENOMEM. */
enum cm_err wk_fetch_new(struct wk_fetch **out, const struct wk_fetch_plan *plan,
                         const struct wk_fetch_io *io, const struct cm_log *log, struct cm_error *e)
    __attribute__((warn_unused_result));
void wk_fetch_free(struct wk_fetch *f); /* NULL is fine */

/* One message from the source, borrowed; `payload` may be NULL. */
void wk_fetch_on_message(struct wk_fetch *f, struct cm_bytes header, struct cm_blob *payload);
/* Something came from it that is no message. */
void wk_fetch_on_garbage(struct wk_fetch *f, const char *why);

/* What io.write was given is written, or is not: the disk is full, say, which is no source's fault
 * and ends the fetch. */
void wk_fetch_on_written(struct wk_fetch *f, uint64_t bytes, enum cm_err rc, const char *why);

/* The whole is sound and has its name; or is bad (CM_ECORRUPT, CM_EFORMAT, CM_EVERSION,
 * CM_EMISMATCH) and was removed; or neither could be done (any other error), which ends the fetch.
 */
void wk_fetch_on_sealed(struct wk_fetch *f, enum cm_err rc, const char *why);

/* Time passed. Call at wk_fetch_wakeup_ns or later. */
void wk_fetch_on_tick(struct wk_fetch *f);
uint64_t wk_fetch_wakeup_ns(const struct wk_fetch *f);

#endif
