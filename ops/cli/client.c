/* client.c: see client.h. */
#include "ops/cli/client.h"

#include "common/io/endpoint.h"
#include "common/io/socket.h"
#include "common/mem.h"
#include "ops/cli/local.h"
#include "proto/wire/control.h"
#include "proto/wire/envelope.h"

#include <stdlib.h>
#include <time.h>

enum {
    STEP_MS = 200,   /* how often Ctrl-C is looked for */
    AGAIN_MS = 1000, /* a coordinator that is started again never saw what was sent to the former */
};

struct cli_client {
    struct io_context *context;
    struct io_socket *socket;
    const char *endpoint; /* borrowed */
    uint64_t status_id;
};

static enum cm_err no_coordinator(const struct cli_client *c, struct cm_error *e)
{
    return cm_fail(e, CM_EUNAVAIL,
                   "no coordinator answers at %s (waited %.1f s): is it running, and is the "
                   "endpoint right?",
                   c->endpoint, CLI_CONNECT_MS / 1000.0);
}

/* Waits until a message can be sent, or Ctrl-C. */
static enum cm_err wait_send(struct cli_client *c, struct cm_error *e)
{
    enum cm_err rc = CM_ETIMEOUT;
    for (unsigned waited = 0; rc == CM_ETIMEOUT && waited < CLI_CONNECT_MS; waited += STEP_MS) {
        if (cli_interrupted())
            return cm_fail(e, CM_EBUSY, "interrupted while no coordinator answers at %s",
                           c->endpoint);
        rc = io_wait_send(c->socket, STEP_MS, e);
    }
    return rc ? no_coordinator(c, e) : CM_OK;
}

enum cm_err cli_client_open(struct cli_client **out, const char *endpoint, bool insecure,
                            struct pr_status *status, struct cm_error *e)
{
    void *p;
    struct cm_bytes any_id = {NULL, 0};
    *out = NULL;
    enum cm_err rc = io_endpoint_check(endpoint, insecure ? (unsigned)IO_ALLOW_INSECURE : 0, e);
    if (!rc)
        rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct cli_client *c = p;
    c->endpoint = endpoint;
    rc = io_context_new(&c->context, 1, e);
    if (!rc)
        rc = io_dealer_connect(&c->socket, c->context, endpoint, any_id, e);
    if (!rc)
        rc = wait_send(c, e);
    if (!rc)
        rc = cli_client_status(c, status, e);
    if (rc)
        cli_client_close(c);
    else
        *out = c;
    return rc;
}

void cli_client_close(struct cli_client *c)
{
    if (!c)
        return;
    io_socket_free(c->socket);
    io_context_free(c->context);
    free(c);
}

static enum cm_err send_packed(struct cli_client *c, struct pr_buffer *packed, struct cm_blob *map,
                               struct cm_error *e)
{
    struct cm_bytes header = {packed->data, packed->size};
    enum cm_err rc = io_send(c->socket, NULL, header, map, e);
    if (rc == CM_EBUSY) {
        rc = wait_send(c, e);
        if (!rc && io_send(c->socket, NULL, header, map, e))
            rc = no_coordinator(c, e);
    }
    pr_buffer_fini(packed);
    return rc;
}

enum cm_err cli_client_query(struct cli_client *c, const struct pr_query *query,
                             struct cm_blob *map, struct cm_error *e)
{
    struct pr_buffer packed;
    enum cm_err rc = pr_query_pack(query, &packed, e);
    return rc ? rc : send_packed(c, &packed, map, e);
}

enum cm_err cli_client_evaluate(struct cli_client *c, const struct pr_evaluate *evaluate,
                                struct cm_blob *map, struct cm_error *e)
{
    struct pr_buffer packed;
    enum cm_err rc = pr_evaluate_pack(evaluate, &packed, e);
    return rc ? rc : send_packed(c, &packed, map, e);
}

enum cm_err cli_client_ask_status(struct cli_client *c, struct cm_error *e)
{
    struct pr_control request = {.type = PR_STATUS_REQUEST, .id = {++c->status_id}};
    struct pr_buffer packed;
    enum cm_err rc = pr_control_pack(&request, &packed, e);
    return rc ? rc : send_packed(c, &packed, NULL, e);
}

enum cm_err cli_client_status(struct cli_client *c, struct pr_status *status, struct cm_error *e)
{
    enum cm_err rc = cli_client_ask_status(c, e);
    for (unsigned waited = 0; !rc;) {
        struct cli_reply reply;
        rc = cli_client_receive(c, AGAIN_MS, &reply, e);
        if (rc == CM_ETIMEOUT) {
            waited += AGAIN_MS;
            rc = waited < CLI_CONNECT_MS ? cli_client_ask_status(c, e) : no_coordinator(c, e);
            continue;
        }
        if (!rc && reply.type == PR_STATUS) {
            *status = reply.u.status;
            return CM_OK;
        }
        if (!rc && reply.type == PR_ERROR && reply.u.error.code == PR_ERROR_VERSION)
            rc = cm_fail(e, CM_EREFUSED, "the coordinator at %s: %s", c->endpoint,
                         reply.u.error.text);
        if (reply.type)
            cli_reply_fini(&reply);
    }
    return rc;
}

enum cm_err cli_client_wait_gallery(struct cli_client *c, struct pr_status *status,
                                    struct cm_error *e)
{
    const struct timespec step = {.tv_nsec = STEP_MS * 1000000};
    enum cm_err rc = CM_OK;
    for (unsigned waited = 0; !rc && !status->has_gallery; waited += STEP_MS) {
        if (waited >= CLI_CONNECT_MS || cli_interrupted())
            break;
        nanosleep(&step, NULL);
        pr_status_fini(status);
        *status = (struct pr_status){0};
        rc = cli_client_status(c, status, e);
    }
    return rc;
}

static enum cm_err decode_scores(const struct io_incoming *in, struct cli_reply *out,
                                 struct cm_error *e)
{
    struct cm_bytes bytes = {NULL, 0};
    if (in->payload)
        bytes = (struct cm_bytes){cm_blob_data(in->payload), cm_blob_size(in->payload)};
    enum cm_err rc = pr_scores_unpack(in->header, &out->u.scores, e);
    if (!rc)
        rc = pr_scores_check_payload(&out->u.scores, bytes, e);
    if (!rc)
        out->payload = cm_blob_ref(in->payload);
    return rc;
}

static enum cm_err decode(const struct io_incoming *in, struct cli_reply *out, struct cm_error *e)
{
    struct cm_bytes header = in->header;
    struct pr_envelope envelope;
    enum cm_err rc = pr_peek(header, &envelope, e);
    if (rc)
        return rc;
    switch (envelope.type) {
    case PR_ANSWER:
        rc = pr_answer_unpack(header, &out->u.answer, e);
        break;
    case PR_MEASURED:
        rc = pr_measured_unpack(header, &out->u.measured, e);
        break;
    case PR_SCORES:
        rc = decode_scores(in, out, e);
        break;
    case PR_ERROR:
        rc = pr_error_unpack(header, &out->u.error, e);
        break;
    case PR_STATUS:
        rc = pr_status_unpack(header, &out->u.status, e);
        break;
    case PR_PLACED:
        rc = pr_placed_unpack(header, &out->u.placed, e);
        break;
    default:
        return cm_fail(e, CM_EFORMAT, "the coordinator sent %s, which is not for a client",
                       pr_type_name(envelope.type));
    }
    out->type = envelope.type;
    if (rc)
        cli_reply_fini(out);
    return rc;
}

enum cm_err cli_client_receive(struct cli_client *c, unsigned timeout_ms, struct cli_reply *out,
                               struct cm_error *e)
{
    struct io_incoming in;
    *out = (struct cli_reply){0};
    enum cm_err rc = io_wait(c->socket, timeout_ms, e);
    if (rc)
        return rc;
    rc = io_recv(c->socket, &in, e);
    if (!rc)
        rc = decode(&in, out, e);
    io_incoming_fini(&in);
    return rc == CM_EBUSY ? cm_fail(e, CM_ETIMEOUT, "no reply") : rc;
}

/* Waits for the word on what an operator asked under this id. */
static enum cm_err take_placed(struct cli_client *c, uint64_t id, struct pr_placed *placed,
                               struct cm_error *e)
{
    for (;;) {
        struct cli_reply reply;
        bool done = false;
        enum cm_err rc = cli_client_receive(c, CLI_CONNECT_MS, &reply, e);
        if (rc == CM_ETIMEOUT)
            return no_coordinator(c, e);
        if (rc)
            return rc;
        if (reply.type == PR_PLACED && reply.u.placed.id.v == id) {
            *placed = reply.u.placed;
            done = true;
        } else if (reply.type == PR_ERROR && reply.u.error.id.v == id) {
            rc = cm_fail(e, CM_EREFUSED, "%s", reply.u.error.text);
        }
        cli_reply_fini(&reply);
        if (rc || done)
            return rc;
    }
}

enum cm_err cli_client_drain(struct cli_client *c, struct pr_drain *drain, struct pr_placed *placed,
                             struct cm_error *e)
{
    struct pr_buffer packed;
    drain->id.v = ++c->status_id;
    enum cm_err rc = pr_drain_pack(drain, &packed, e);
    if (!rc)
        rc = send_packed(c, &packed, NULL, e);
    return rc ? rc : take_placed(c, drain->id.v, placed, e);
}

enum cm_err cli_client_replicas(struct cli_client *c, struct pr_replicas *replicas,
                                struct pr_placed *placed, struct cm_error *e)
{
    struct pr_buffer packed;
    replicas->id.v = ++c->status_id;
    enum cm_err rc = pr_replicas_pack(replicas, &packed, e);
    if (!rc)
        rc = send_packed(c, &packed, NULL, e);
    return rc ? rc : take_placed(c, replicas->id.v, placed, e);
}

void cli_reply_fini(struct cli_reply *r)
{
    if (r->type == PR_ANSWER)
        pr_answer_fini(&r->u.answer);
    if (r->type == PR_MEASURED)
        pr_measured_fini(&r->u.measured);
    cm_blob_unref(&r->payload);
    if (r->type == PR_STATUS)
        pr_status_fini(&r->u.status);
    *r = (struct cli_reply){0};
}
