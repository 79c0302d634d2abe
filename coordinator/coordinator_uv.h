/* coordinator_uv.h: the coordinator's edge: its socket, clock and signals around the core. */
#ifndef CO_COORDINATOR_UV_H
#define CO_COORDINATOR_UV_H

#include "common/err.h"
#include "common/log.h"
#include "coordinator/coordinator.h"

#include <stdbool.h>

struct co_edge_options {
    const char *listen;      /* endpoint */
    bool insecure;           /* an endpoint that other machines reach is fine */
    const char *state;       /* the file of the map; NULL: no shard is placed */
    struct co_config config; /* `places` and `map` are filled in here */
};

/* Listens and serves until SIGTERM or SIGINT: then no query is admitted, those here are finished
 * (10 s at most), and it returns CM_OK. A second signal ends it at once. Main thread. Errors:
 * CM_EUSAGE (endpoint), CM_EBUSY (somebody listens there, or has the state file), CM_EIO,
 * CM_ENOMEM, those of co_state_open. */
enum cm_err co_edge_run(const struct co_edge_options *o, const struct cm_log *log,
                        struct cm_error *e) __attribute__((warn_unused_result));

#endif
