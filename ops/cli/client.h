/* client.h: a coordinator's client: blocking, for commands. One thread. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "common/blob.h"
#include "common/err.h"
#include "proto/wire/answer.h"
#include "proto/wire/error.h"
#include "proto/wire/evaluate.h"
#include "proto/wire/measured.h"
#include "proto/wire/operate.h"
#include "proto/wire/query.h"
#include "proto/wire/scores.h"
#include "proto/wire/status.h"

#include <stdbool.h>

struct cli_client;

enum { CLI_CONNECT_MS = 5000 }; /* how long to wait for a coordinator that does not answer */

/* Connects and asks for the cluster's status, which also proves that a coordinator is there;
 * *status is the caller's (pr_status_fini). Errors: CM_EUSAGE (endpoint), CM_EUNAVAIL (nobody
 * answered within CLI_CONNECT_MS), CM_EREFUSED (another protocol version), CM_EBUSY (Ctrl-C, where
 * it is blocked), CM_EIO, CM_ENOMEM. */
enum cm_err cli_client_open(struct cli_client **out, const char *endpoint, bool insecure,
                            struct pr_status *status, struct cm_error *e)
    __attribute__((warn_unused_result));
void cli_client_close(struct cli_client *c); /* NULL is fine */

/* Asks for the status again. Any answers to queries that come first are dropped. Errors as above.
 */
enum cm_err cli_client_status(struct cli_client *c, struct pr_status *status, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same until it names a gallery, which a coordinator lacks before the first worker has joined:
 * *status, which the caller has from before, is replaced while it names none, for CLI_CONNECT_MS at
 * the most. */
enum cm_err cli_client_wait_gallery(struct cli_client *c, struct pr_status *status,
                                    struct cm_error *e) __attribute__((warn_unused_result));

/* Sends a query. The map is borrowed. Errors: CM_EUNAVAIL (not connected), CM_EIO, CM_ENOMEM. */
enum cm_err cli_client_query(struct cli_client *c, const struct pr_query *query,
                             struct cm_blob *map, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same for an evaluation. */
enum cm_err cli_client_evaluate(struct cli_client *c, const struct pr_evaluate *evaluate,
                                struct cm_blob *map, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Asks for the status without waiting for it: cli_client_receive brings it. */
enum cm_err cli_client_ask_status(struct cli_client *c, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Asks the coordinator to drain a node, or to hold each shard so often, and waits for its word; the
 * message's id is filled in here. Errors: CM_EREFUSED (it says why not), CM_EUNAVAIL, CM_EIO,
 * CM_ENOMEM. */
enum cm_err cli_client_drain(struct cli_client *c, struct pr_drain *drain, struct pr_placed *placed,
                             struct cm_error *e) __attribute__((warn_unused_result));
enum cm_err cli_client_replicas(struct cli_client *c, struct pr_replicas *replicas,
                                struct pr_placed *placed, struct cm_error *e)
    __attribute__((warn_unused_result));

/* What cli_client_receive brought. */
struct cli_reply {
    uint32_t
        type; /* PR_ANSWER, PR_MEASURED, PR_SCORES, PR_ERROR, PR_STATUS, PR_PLACED: whose field */
    union {
        struct pr_answer answer;
        struct pr_measured measured;
        struct pr_scores scores;
        struct pr_error error;
        struct pr_status status;
        struct pr_placed placed;
    } u;
    struct cm_blob *payload; /* of SCORES, checked: bytes of any alignment */
};

/* The next reply, released with cli_reply_fini after CM_OK. Errors: CM_ETIMEOUT (none came in
 * time), CM_EFORMAT (the coordinator sent garbage), CM_EIO, CM_ENOMEM. */
enum cm_err cli_client_receive(struct cli_client *c, unsigned timeout_ms, struct cli_reply *out,
                               struct cm_error *e) __attribute__((warn_unused_result));
void cli_reply_fini(struct cli_reply *r); /* leaves it zeroed; a zeroed one is fine */

#endif
