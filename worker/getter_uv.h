/* getter_uv.h: gets one file at a time from other workers into a store: a fetch (fetch.h) with a
 * socket, a file and a timer. The loop's thread.
 *
 * The file is "<name>.part" until all of it is there and was checked; a fetch that ends early
 * leaves what it has, and the next one of that file goes on with it. Memory: WK_WINDOW_BYTES, and
 * what ZeroMQ holds of it. */
#ifndef WK_GETTER_UV_H
#define WK_GETTER_UV_H

#include "common/err.h"
#include "common/io/loop.h"
#include "common/io/socket.h"
#include "common/log.h"
#include "worker/disk_uv.h"
#include "worker/fetch.h"

#include <stdbool.h>

struct wk_getter;

/* What is got, and what is done with it. */
struct wk_get {
    struct wk_fetch_plan plan; /* have_bytes is filled in */
    const char *name;          /* of the file, in the folder; copied */
    bool publish;              /* it gets its name once it is sound; else it stays "<name>.part" */
    void *ctx;
    /* On the disk's thread: is "<name>.part" sound? `shard` is the plan's: by now ctx may be at
     * another one, and this one abandoned. Errors: CM_ECORRUPT, CM_EFORMAT, CM_EVERSION,
     * CM_EMISMATCH (it is thrown away), others (the fetch fails). */
    enum cm_err (*check)(void *ctx, uint32_t shard, const char *part, struct cm_error *e);
    /* It is over: CM_OK, or why not. Another may be begun from here. */
    void (*end)(void *ctx, enum cm_err outcome, const char *why);
};

/* `dir`, the loop, the context, the disk and the log outlive it. `allow` says which endpoints may
 * be dialled (io_endpoint_check). Errors: CM_ENOMEM. */
enum cm_err wk_getter_new(struct wk_getter **out, const char *dir, unsigned allow,
                          struct io_loop *loop, struct io_context *context, struct wk_disk *disk,
                          const struct cm_log *log, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Begins; none may be on its way. `end` comes later, never from inside. */
void wk_getter_start(struct wk_getter *g, const struct wk_get *get);

/* Ends what is on its way without a word; `forget` removes what came of it. A check that runs on
 * the disk's thread is waited for by whoever frees what it uses: wk_disk_free. */
void wk_getter_abandon(struct wk_getter *g, bool forget);

/* After the disk and the loop were freed. NULL is fine. */
void wk_getter_free(struct wk_getter *g);

#endif
