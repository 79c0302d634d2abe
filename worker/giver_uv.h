/* giver_uv.h: gives the files of a worker's gallery to others that READ them. The loop's thread.
 *
 * A ROUTER of its own, and a disk's thread of its own (disk_uv.h): who gets a shard himself, and
 * waits for the disk, gives all the same. READs wait their turn; blocks read and not sent yet are
 * WK_GIVER_BYTES_MAX at the most, whoever asks. What is refused says so in its BLOCK. Whatever else
 * comes is logged at a bounded rate, and survived.
 *
 * Memory: WK_GIVER_BYTES_MAX, and a few hundred bytes for each of WK_GIVER_PEERS_MAX x
 * WK_GIVER_READS_MAX READs. A peer that asks and does not read has its share of it until its
 * connection ends. */
#ifndef WK_GIVER_UV_H
#define WK_GIVER_UV_H

#include "common/err.h"
#include "common/io/loop.h"
#include "common/io/socket.h"
#include "common/limits.h"
#include "common/log.h"
#include "common/types.h"

enum {
    WK_GIVER_BYTES_MAX = 64 * CM_TRANSFER_BYTES_MAX,
    WK_GIVER_PEERS_MAX = 256, /* that wait for something at a time */
    WK_GIVER_READS_MAX = 16,  /* for which one of them waits; a fetch has a quarter as many */
};
static_assert(2 * WK_GIVER_READS_MAX * CM_TRANSFER_BYTES_MAX <= WK_GIVER_BYTES_MAX,
              "one peer that does not read cannot have it all");

struct wk_giver;

/* Where it listens, what it gives. Endpoints are checked (io_endpoint_check). What this points to
 * outlives it. */
struct wk_giver_options {
    const char *listen;  /* a tcp port may be 0; NULL: near `connect` (common/io/nearby.h) */
    const char *connect; /* the coordinator's endpoint */
    const char *node;
    const char *dir; /* the gallery's folder */
    struct cm_fingerprint gallery;
    uint32_t shards; /* of the whole gallery */
};

/* Listens; or, where it is to listen near the coordinator and does not know yet where that is, will
 * do so later: see wk_giver_endpoint. The loop, the context and the log outlive it. Errors:
 * CM_EUSAGE, CM_ENOMEM, those of io_router_bind. */
enum cm_err wk_giver_new(struct wk_giver **out, const struct wk_giver_options *o,
                         struct io_loop *loop, struct io_context *context, const struct cm_log *log,
                         struct cm_error *e) __attribute__((warn_unused_result));

/* Where others reach it; "" while it does not listen. It then tries again, once a second, and may
 * ask the name service. */
const char *wk_giver_endpoint(struct wk_giver *g);

/* Gives nothing more. Before the loop is freed. NULL is fine. */
void wk_giver_stop(struct wk_giver *g);
/* After the context was freed, which lets go of what is still to be sent. NULL is fine. */
void wk_giver_free(struct wk_giver *g);

#endif
