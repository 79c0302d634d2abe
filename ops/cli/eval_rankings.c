/* eval_rankings.c: see eval_rankings.h. */
#include "ops/cli/eval_rankings.h"

#include "common/limits.h"
#include "ops/cli/local.h"
#include "ops/cli/query_map.h"

#include <stdlib.h>
#include <time.h>

enum {
    TRIES = 5,
    REST_MS = 1000,
    POLL_MS = 200,
    DEADLINE_MS = 24 * 3600 * 1000, /* a gallery takes what it takes */
    MORE_HITS = 1000,               /* beyond those shown, for what the protocol drops */
    ASK_MS = 5000,                  /* silence after which the coordinator is asked how it is */
    PATIENCE_MS = 60000,            /* and after which it is taken for gone */
};

/* Counts, and is not chosen yet? */
static bool may_choose(const struct cli_eval *v, const uint64_t *chosen, size_t count, uint64_t q)
{
    for (size_t i = 0; i < count; i++)
        if (chosen[i] == q)
            return false;
    return v->figures[q].positives > 0;
}

/* The hardest, then every so-many-th of all. Returns how many. */
static size_t choose(const struct cli_eval *v, uint64_t chosen[CLI_RANKINGS_MAX])
{
    size_t count = cli_hardest_queries(v->figures, v->queries, CLI_RANKINGS_HARDEST, chosen);
    uint64_t others = CLI_RANKINGS_MAX - count;
    for (uint64_t i = 0; i < others; i++) {
        uint64_t q = i * v->queries / others;
        if (may_choose(v, chosen, count, q))
            chosen[count++] = q;
    }
    return count;
}

static enum cm_err load(const struct cli_eval *v, uint64_t query, struct cm_blob **map,
                        struct pr_query *message, struct cm_error *e)
{
    const struct pr_npy *n = v->features;
    const struct pr_census *c = &v->figures[query].census;
    uint64_t images = c->valid + c->same_camera + c->junk;
    uint64_t dropped = c->same_camera + c->junk;
    uint64_t k = CLI_REPORT_TOP + (dropped < MORE_HITS ? dropped : MORE_HITS);
    uint32_t crc32c;
    enum cm_err rc = cli_query_map(n, query, map, &crc32c, e);
    if (rc)
        return rc;
    *message = (struct pr_query){
        .id = {query},
        .k = (uint32_t)(k < images ? k : images),
        .deadline_ms = DEADLINE_MS,
        .dtype = n->dtype,
        .height = n->height,
        .width = n->width,
        .channels = n->channels,
        .payload_crc32c = crc32c,
    };
    return CM_OK;
}

static void rest(void)
{
    struct timespec t = {.tv_sec = REST_MS / 1000};
    nanosleep(&t, NULL);
}

/* Takes one reply. *done if nothing else is to come of the query; true then if it is the answer. */
static bool take_reply(struct cli_reply *reply, uint64_t query, struct pr_answer *out, bool *done)
{
    bool mine = reply->type == PR_ANSWER && reply->u.answer.id.v == query;
    if (mine) {
        *out = reply->u.answer;
        reply->type = 0; /* it is ours now */
    }
    *done = mine || reply->type == PR_ERROR ||
            (reply->type == PR_STATUS && reply->u.status.queries_yours == 0);
    cli_reply_fini(reply);
    return mine;
}

/* The reply to a query that is out. False if there is none: an error, a coordinator that does not
 * know of it, or nobody to answer. */
static bool await(struct cli_client *c, uint64_t query, struct pr_answer *out)
{
    struct cli_reply reply;
    struct cm_error e;
    bool mine = false;
    unsigned silent_ms = 0;
    for (bool done = false; !done && silent_ms < PATIENCE_MS && !cli_interrupted();) {
        enum cm_err rc = cli_client_receive(c, POLL_MS, &reply, &e);
        if (rc && rc != CM_ETIMEOUT)
            return false;
        if (!rc)
            mine = take_reply(&reply, query, out, &done);
        silent_ms = rc ? silent_ms + POLL_MS : 0;
        if (silent_ms > 0 && silent_ms % ASK_MS == 0 && cli_client_ask_status(c, &e))
            return false;
    }
    return mine;
}

/* Ranks one query. *found is false if the cluster could not, over the whole gallery. */
static enum cm_err rank(const struct cli_eval *v, uint64_t query, struct pr_answer *out,
                        bool *found, struct cm_error *e)
{
    struct cm_blob *map = NULL;
    struct pr_query message;
    struct cm_error unsent;
    *found = false;
    enum cm_err rc = load(v, query, &map, &message, e);
    for (unsigned i = 0; !rc && !*found && i < TRIES; i++) {
        if (i > 0)
            rest();
        if (cli_interrupted())
            rc = cm_fail(e, CM_EBUSY, "interrupted before the report was written");
        else if (!cli_client_query(v->client, &message, map, &unsent))
            *found = await(v->client, query, out);
        if (*found && out->missing_count > 0) {
            pr_answer_fini(out);
            *found = false;
        }
    }
    cm_blob_unref(&map);
    return rc;
}

enum cm_err cli_eval_rankings_fetch(struct cli_eval_rankings *r, const struct cli_eval *v,
                                    struct cm_error *e)
{
    uint64_t chosen[CLI_RANKINGS_MAX];
    *r = (struct cli_eval_rankings){.count = 0};
    size_t count = choose(v, chosen);
    enum cm_err rc = CM_OK;
    for (size_t i = 0; !rc && i < count; i++) {
        bool found;
        struct pr_answer *answer = &r->answers[r->count];
        rc = rank(v, chosen[i], answer, &found, e);
        if (!rc && found)
            r->items[r->count++] = (struct cli_report_ranking){chosen[i], &answer->hits};
        r->skipped += !rc && !found;
    }
    return rc;
}

void cli_eval_rankings_fini(struct cli_eval_rankings *r)
{
    for (size_t i = 0; i < r->count; i++)
        pr_answer_fini(&r->answers[i]);
    *r = (struct cli_eval_rankings){.count = 0};
}
