/* A search whose coordinator is played by the test. */
#include "common/io/socket.h"
#include "proto/wire/answer.h"
#include "proto/wire/error.h"
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

/* The status of a coordinator that has been here for an hour and has `queries` of the client's. */
static void send_status(struct io_socket *router, const struct cm_peer *client,
                        struct cm_query_id id, uint32_t queries)
{
    struct cm_error e;
    struct pr_buffer packed;
    struct pr_status status = {
        .id = id, .uptime_ms = 3600000, .queries_inflight = 7, .queries_yours = queries};
    cr_assert_eq(pr_status_pack(&status, &packed, &e), CM_OK, "%s", e.text);
    send_packed(router, client, &packed);
}

static void tell_status(struct io_socket *router, uint32_t queries)
{
    struct cm_peer client;
    struct cm_query_id id = take(router, PR_STATUS_REQUEST, &client).id;
    send_status(router, &client, id, queries);
}

/* An answer over `scored` of two images, the other being in a shard that nobody serves. */
static void answer(struct io_socket *router, const struct cm_peer *client, struct cm_query_id id,
                   uint64_t scored)
{
    struct cm_error e;
    struct pr_buffer packed;
    struct pr_hit hits[2] = {{.hit = {.score = 1.5f}, .meta = {.name = "it"}},
                             {.hit = {.image = 1, .score = 1}, .meta = {.name = "other"}}};
    struct pr_missing_shard missing[2] = {{.reason = PR_REASON_NO_WORKER, .images = 1},
                                          {.reason = PR_REASON_NO_WORKER, .images = 1}};
    for (uint64_t i = scored; i < 2; i++)
        missing[i - scored].shard.v = (uint32_t)i;
    struct pr_answer a = {.id = id, .images = 2, .images_scored = scored, .shards = 2};
    a.shards_scored = (uint32_t)scored;
    a.hits = (struct pr_hits){.items = hits, .count = scored};
    a.missing = missing;
    a.missing_count = 2 - scored;
    cr_assert_eq(pr_answer_pack(&a, &packed, &e), CM_OK, "%s", e.text);
    send_packed(router, client, &packed);
}

/* A search of some queries, and the coordinator that it has dialled. */
struct scene {
    struct test_cluster c;
    struct io_context *context;
    struct io_socket *router;
    struct cm_peer client;
    struct test_run r;
};

static void scene_init(struct scene *s, size_t queries, const char *const more[])
{
    struct cm_error e;
    test_cluster_init(&s->c);
    snprintf(s->c.endpoint, sizeof s->c.endpoint, "ipc://%s", test_cluster_path(&s->c, "socket"));
    cr_assert_eq(io_context_new(&s->context, 1, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_router_bind(&s->router, s->context, s->c.endpoint, &e), CM_OK, "%s", e.text);
    struct test_material few = test_few_queries(&s->c, &test_small, queries);
    test_search_start(&s->c, &s->r, &few, more);
}

static void scene_end(struct scene *s, int code)
{
    cr_assert_eq(test_finish(&s->r, TEST_RUN_MS), code, "%s", s->r.err);
}

static void scene_fini(struct scene *s)
{
    test_run_fini(&s->r);
    io_socket_free(s->router);
    io_context_free(s->context);
    test_cluster_fini(&s->c);
}

/* An answer goes to the address that a client had; a connection that breaks takes it along. The
 * coordinator, asked after a while, has no query: so it is sent again. While it has one, it is not.
 */
Test(client, an_answer_that_was_lost_is_asked_for_again)
{
    struct scene s;
    scene_init(&s, 1, NULL);
    tell_status(s.router, 0);
    struct cm_query_id id = take(s.router, PR_QUERY, &s.client).id;
    tell_status(s.router, 1); /* asked for because of our silence: the query is here */
    tell_status(s.router, 0); /* it is not */
    cr_assert_eq(take(s.router, PR_QUERY, &s.client).id.v, id.v);
    answer(s.router, &s.client, id, 2);
    scene_end(&s, 0);
    cr_assert(strstr(s.r.out, "\"name\":\"it\"") != NULL, "%s", s.r.out);
    scene_fini(&s);
}

/* A coordinator that was killed took the request for its status along: it is asked again, before
 * the first query as after. */
Test(client, a_status_that_was_lost_is_asked_for_again)
{
    struct scene s;
    scene_init(&s, 1, (const char *const[]){"--deadline-ms", "4000", NULL});
    take(s.router, PR_STATUS_REQUEST, &s.client);
    tell_status(s.router, 0);
    struct cm_query_id id = take(s.router, PR_QUERY, &s.client).id;
    take(s.router, PR_STATUS_REQUEST, &s.client);
    tell_status(s.router, 0);
    cr_assert_eq(take(s.router, PR_QUERY, &s.client).id.v, id.v);
    answer(s.router, &s.client, id, 2);
    scene_end(&s, 0);
    scene_fini(&s);
}

/* Of two queries the coordinator has one: which, it does not say. */
Test(client, a_lost_query_among_others_is_sent_again)
{
    struct scene s;
    scene_init(&s, 2, NULL);
    tell_status(s.router, 0);
    for (uint64_t i = 0; i < 2; i++)
        cr_assert_eq(take(s.router, PR_QUERY, &s.client).id.v, i);
    tell_status(s.router, 1);
    for (uint64_t i = 0; i < 2; i++)
        cr_assert_eq(take(s.router, PR_QUERY, &s.client).id.v, i);
    for (uint64_t i = 0; i < 2; i++)
        answer(s.router, &s.client, (struct cm_query_id){i}, 2);
    scene_end(&s, 0);
    scene_fini(&s);
}

/* Less than --min-coverage is asked again, while there is time. */
Test(client, too_little_is_asked_again)
{
    struct scene s;
    scene_init(&s, 1, (const char *const[]){"--min-coverage", "1", NULL});
    tell_status(s.router, 0);
    for (uint64_t scored = 0; scored <= 2; scored++)
        answer(s.router, &s.client, take(s.router, PR_QUERY, &s.client).id, scored);
    scene_end(&s, 0);
    cr_assert(strstr(s.r.out, "\"missing\":[]") != NULL, "%s", s.r.out);
    scene_fini(&s);
}

/* Answers whatever is asked, a query the first time with 1 and then with 0 images, until the search
 * has ended. Returns how often a query came. */
static unsigned answer_worse_each_time(struct scene *s)
{
    struct cm_error e;
    struct io_incoming in;
    struct pr_envelope envelope;
    unsigned queries = 0;
    while (!io_child_poll(&s->r.child)) {
        if (io_wait(s->router, 20, &e))
            continue;
        cr_assert_eq(io_recv(s->router, &in, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_peek(in.header, &envelope, &e), CM_OK, "%s", e.text);
        if (envelope.type == PR_QUERY)
            answer(s->router, &in.peer, envelope.id, queries++ == 0);
        else
            send_status(s->router, &in.peer, envelope.id, 1);
        io_incoming_fini(&in);
    }
    return queries;
}

/* The time is over: the best of the answers is printed, whichever came last. */
Test(client, the_best_of_too_little_is_the_answer)
{
    struct scene s;
    scene_init(&s, 1, (const char *const[]){"--min-coverage", "1", "--deadline-ms", "1000", NULL});
    cr_assert_gt(answer_worse_each_time(&s), 1);
    scene_end(&s, 1);
    cr_assert(strstr(s.r.out, "\"name\":\"it\"") != NULL, "%s", s.r.out);
    cr_assert(strstr(s.r.err, "1 of 2 images were scored; missing shards: 1 (no-worker)") != NULL,
              "%s", s.r.err);
    scene_fini(&s);
}

static struct pr_query take_query(struct scene *s)
{
    struct cm_error e;
    struct io_incoming in;
    struct pr_query query;
    cr_assert_eq(io_wait(s->router, PATIENCE_MS, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_recv(s->router, &in, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_query_unpack(in.header, &query, &e), CM_OK, "%s", e.text);
    s->client = in.peer;
    io_incoming_fini(&in);
    return query;
}

static void refuse(struct scene *s, const struct pr_query *query, uint32_t retry_after_ms)
{
    struct cm_error e;
    struct pr_buffer packed;
    struct pr_error error = {.id = query->id,
                             .code = PR_ERROR_BUSY,
                             .retry_after_ms = retry_after_ms,
                             .text = "too many queries wait"};
    cr_assert_eq(pr_error_pack(&error, &packed, &e), CM_OK, "%s", e.text);
    send_packed(s->router, &s->client, &packed);
}

/* A busy coordinator is asked again when it said, for what is left of the deadline. */
Test(client, busy_is_waited_out)
{
    struct scene s;
    scene_init(&s, 1, (const char *const[]){"--deadline-ms", "60000", NULL});
    tell_status(s.router, 0);
    struct pr_query first = take_query(&s);
    cr_assert_leq(first.deadline_ms, 60000);
    refuse(&s, &first, 700);
    struct pr_query again = take_query(&s);
    cr_assert_eq(again.id.v, first.id.v);
    cr_assert_leq(again.deadline_ms, first.deadline_ms - 700, "%u ms", again.deadline_ms);
    answer(s.router, &s.client, again.id, 2);
    scene_end(&s, 0);
    cr_assert(strstr(s.r.err, "query 0: busy: too many queries wait; asks again in 0.7 s") != NULL,
              "%s", s.r.err);
    scene_fini(&s);
}

/* It is told to come when its time is over: so it gives up at once. */
Test(client, busy_for_longer_than_the_deadline_is_a_failure)
{
    struct scene s;
    scene_init(&s, 1, (const char *const[]){"--deadline-ms", "10000", NULL});
    tell_status(s.router, 0);
    struct pr_query query = take_query(&s);
    refuse(&s, &query, 10001);
    scene_end(&s, 75);
    cr_assert(strstr(s.r.err, "query 0: too many queries wait") != NULL, "%s", s.r.err);
    scene_fini(&s);
}

/* Whoever does not ask for more gets it at once. */
Test(client, a_partial_answer_is_an_answer)
{
    struct scene s;
    scene_init(&s, 1, NULL);
    tell_status(s.router, 0);
    answer(s.router, &s.client, take(s.router, PR_QUERY, &s.client).id, 1);
    scene_end(&s, 0);
    cr_assert(strstr(s.r.out, "\"degraded\":[\"no-worker\"]") != NULL, "%s", s.r.out);
    scene_fini(&s);
}
