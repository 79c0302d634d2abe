/* giver_uv.h: gives the files of a worker's gallery to others that READ them. The loop's thread.
 *
 * A ROUTER of its own; blocks are read on the disk's thread. Memory: WK_GIVER_JOBS_MAX blocks at
 * the most, and what ZeroMQ holds for a peer that does not read. Whatever else comes is counted,
 * logged at a bounded rate, and survived. */
#ifndef WK_GIVER_UV_H
#define WK_GIVER_UV_H

#include "common/err.h"
#include "common/io/loop.h"
#include "common/io/socket.h"
#include "common/log.h"
#include "common/types.h"
#include "worker/disk_uv.h"

enum { WK_GIVER_JOBS_MAX = 32 }; /* blocks being read at a time: 32 MiB */

struct wk_giver;

struct wk_giver_options {
    const char *listen; /* endpoint; a tcp port may be 0 */
    const char *dir;    /* the gallery's folder */
    struct cm_fingerprint gallery;
    uint32_t shards; /* of the whole gallery */
};

/* Listens. What `o` points to, the loop, the context, the disk and the log outlive it. Errors:
 * those of io_router_bind. */
enum cm_err wk_giver_new(struct wk_giver **out, const struct wk_giver_options *o,
                         struct io_loop *loop, struct io_context *context, struct wk_disk *disk,
                         const struct cm_log *log, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Where it listens, with the port that the system picked. */
const char *wk_giver_endpoint(const struct wk_giver *g);

/* After the disk and the loop were freed. NULL is fine. */
void wk_giver_free(struct wk_giver *g);

#endif
