/* welcome.h: WELCOME, the coordinator takes a worker in and tells it the beat. Pure; any thread. */
#ifndef PR_WELCOME_H
#define PR_WELCOME_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

/* A beat of a minute, and ten of them missed, is as slow as it gets. */
enum { PR_HEARTBEAT_MS_MAX = 60000, PR_DEAD_AFTER_MS_MAX = 600000 };

struct pr_welcome {
    struct cm_query_id id; /* of the HELLO with which the worker became a member */
    uint64_t epoch;
    uint32_t heartbeat_ms;  /* send one so often; 1..PR_HEARTBEAT_MS_MAX */
    uint32_t dead_after_ms; /* silence that counts as death; heartbeat_ms..PR_DEAD_AFTER_MS_MAX */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_welcome_pack(const struct pr_welcome *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_welcome_unpack(struct cm_bytes header, struct pr_welcome *out, struct cm_error *e);

#endif
