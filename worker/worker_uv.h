/* worker_uv.h: the worker's edge: shards, threads, socket, clock and signals around the core. */
#ifndef WK_WORKER_UV_H
#define WK_WORKER_UV_H

#include "common/err.h"
#include "common/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wk_edge_options {
    const char *connect; /* the coordinator's endpoint */
    bool insecure;       /* a coordinator on another machine is fine */
    const char *gallery; /* folder: a gallery, or a store of the worker's own (folder.h) */
    const char *shards;  /* list such as "0,2,5-7"; NULL: as the coordinator says */
    const char *listen;  /* where other workers get files; NULL: near `connect` (nearby.h) */
    uint64_t transfer_bytes_per_s; /* at which it gets files itself */
    const char *node;
    unsigned threads;
    uint32_t credits;
};

/* A name for a worker that was given none, in `out`. One that serves from a store has the same each
 * time, since shards are placed on names; any other one of its own each time. */
void wk_default_node(char *out, size_t room, const char *gallery);

/* Opens the gallery, or joins with an empty folder, dials, and serves until SIGTERM or SIGINT, or
 * until the coordinator dismisses it: then the coordinator is told, searches here are finished (10
 * s at most), and it returns CM_OK. A second signal ends it at once. Main thread. Errors:
 * CM_EREFUSED (the coordinator wants no such worker), those of opening shards, CM_EUSAGE. */
enum cm_err wk_edge_run(const struct wk_edge_options *o, const struct cm_log *log,
                        struct cm_error *e) __attribute__((warn_unused_result));

#endif
