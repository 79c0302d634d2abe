/* control.h: the messages that are an envelope and nothing else. Pure; any thread.
 *
 * REHELLO (coordinator to worker): "I do not know you; say HELLO again."
 * LEAVING (worker to coordinator): "Send me nothing more."
 * DISMISS (coordinator to worker): "Your shards are with others now: leave."
 * CANCEL (coordinator to worker): "Nobody waits for search `id` any longer."
 * STATUS_REQUEST (client to coordinator): answered by a STATUS of the same id. */
#ifndef PR_CONTROL_H
#define PR_CONTROL_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

struct pr_control {
    enum pr_type type; /* one of the five above */
    struct cm_query_id id;
    uint64_t epoch;
};

/* Errors: CM_ENOMEM; CM_EUSAGE for another type. */
enum cm_err pr_control_pack(const struct pr_control *m, struct pr_buffer *out, struct cm_error *e);

/* Unpacks a message that must be of `type`, one of the five.
 * Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM; CM_EUSAGE for another type. */
enum cm_err pr_control_unpack(struct cm_bytes header, enum pr_type type, struct pr_control *out,
                              struct cm_error *e);

#endif
