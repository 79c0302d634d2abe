/* heartbeat.h: HEARTBEAT, "I am here", both ways between worker and coordinator. Pure; any thread.
 */
#ifndef PR_HEARTBEAT_H
#define PR_HEARTBEAT_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/work.h"

/* From a worker, what it has done since it started; all 0 from the coordinator. */
struct pr_heartbeat {
    uint64_t epoch;
    uint32_t searches_queued; /* waiting now */
    uint64_t searches_done;
    uint64_t pairs_scored;
    uint32_t fetching;     /* shards that it is getting from others now */
    uint64_t memory_bytes; /* the most that it ever had resident, mapped shards counted in */
    struct pr_work work;
};

/* Errors: CM_ENOMEM. *out is empty then. */
enum cm_err pr_heartbeat_pack(const struct pr_heartbeat *m, struct pr_buffer *out,
                              struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_heartbeat_unpack(struct cm_bytes header, struct pr_heartbeat *out,
                                struct cm_error *e);

#endif
