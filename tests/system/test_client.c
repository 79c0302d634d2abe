/* A search whose coordinator is played by the test. */
#include "common/io/socket.h"
#include "proto/wire/answer.h"
#include "proto/wire/query.h"
#include "proto/wire/status.h"
#include "tests/support/cluster.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { PATIENCE_MS = 30000 };

/* Takes the next message, which must be of this type. */
static struct pr_envelope take(struct io_socket *router, uint32_t type, struct cm_peer *from)
{
    struct cm_error e;
    struct io_incoming in;
    struct pr_envelope envelope;
    cr_assert_eq(io_wait(router, PATIENCE_MS, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_recv(router, &in, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_peek(in.header, &envelope, &e), CM_OK, "%s", e.text);
    cr_assert_eq(envelope.type, type, "%s came", pr_type_name(envelope.type));
    *from = in.peer;
    io_incoming_fini(&in);
    return envelope;
}

static void send_packed(struct io_socket *router, const struct cm_peer *to,
                        struct pr_buffer *packed)
{
    struct cm_error e;
    cr_assert_eq(io_send(router, to, pr_buffer_bytes(packed), NULL, &e), CM_OK, "%s", e.text);
    pr_buffer_fini(packed);
}

/* The status of a coordinator that has been here for an hour and has queries in flight, of which
 * `yours` are the asker's. */
static void tell_status(struct io_socket *router, uint32_t yours)
{
    struct cm_error e;
    struct cm_peer client;
    struct pr_buffer packed;
    struct pr_status status = {.uptime_ms = 3600000, .queries_inflight = 7, .queries_yours = yours};
    status.id = take(router, PR_STATUS_REQUEST, &client).id;
    cr_assert_eq(pr_status_pack(&status, &packed, &e), CM_OK, "%s", e.text);
    send_packed(router, &client, &packed);
}

static void answer(struct io_socket *router, const struct cm_peer *client, struct cm_query_id id)
{
    struct cm_error e;
    struct pr_buffer packed;
    struct pr_hit hit = {.hit = {.score = 1.5f}, .meta = {.name = "it"}};
    struct pr_answer whole = {.id = id, .images = 1, .images_scored = 1, .shards = 1};
    whole.shards_scored = 1;
    whole.hits = (struct pr_hits){.items = &hit, .count = 1};
    cr_assert_eq(pr_answer_pack(&whole, &packed, &e), CM_OK, "%s", e.text);
    send_packed(router, client, &packed);
}

/* An answer goes to the address that a client had; a connection that breaks takes it along. The
 * coordinator, asked after a while, has queries of others, but none of ours: so it is sent again.
 * While it has one, it is not. */
Test(client, an_answer_that_was_lost_is_asked_for_again)
{
    struct test_cluster c;
    struct io_context *context;
    struct io_socket *router;
    struct cm_error e;
    struct cm_peer client;
    struct test_run r;
    test_cluster_init(&c);
    snprintf(c.endpoint, sizeof c.endpoint, "ipc://%s", test_cluster_path(&c, "socket"));
    cr_assert_eq(io_context_new(&context, 1, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_router_bind(&router, context, c.endpoint, &e), CM_OK, "%s", e.text);
    struct test_material one = test_few_queries(&c, &test_small, 1);
    test_search_start(&c, &r, &one, NULL);
    tell_status(router, 0);
    struct cm_query_id id = take(router, PR_QUERY, &client).id;
    tell_status(router, 1); /* asked for because of our silence: the query is here */
    tell_status(router, 0); /* it is not */
    cr_assert_eq(take(router, PR_QUERY, &client).id.v, id.v);
    answer(router, &client, id);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    cr_assert(strstr(r.out, "\"name\":\"it\"") != NULL, "%s", r.out);
    test_run_fini(&r);
    io_socket_free(router);
    io_context_free(context);
    test_cluster_fini(&c);
}
