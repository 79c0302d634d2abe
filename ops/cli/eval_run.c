/* eval_run.c: see eval_run.h. */
#include "ops/cli/eval_run.h"

#include "common/geometry.h"
#include "common/io/loop.h"
#include "common/limits.h"
#include "common/mem.h"
#include "ops/cli/local.h"
#include "ops/cli/progress.h"
#include "ops/cli/query_map.h"
#include "ops/cli/ranking.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 16,   /* queries in flight: a pass at the workers, and one that waits */
    POLL_MS = 200, /* how often Ctrl-C is looked for */
    ASK_MS = 5000, /* silence after which the coordinator is asked how it is; again and again */
    PATIENCE_MS = 60000, /* silence after which it is taken for gone */
    REST_MS = 1000,      /* before a query that could not be counted is asked again */
    FAULTS_MAX = 3,  /* times that one query may meet a corrupt shard or a fault of a worker's */
    TELL_MS = 30000, /* between lines that say what is waited for */
};

/* One query on its way. */
struct flight {
    bool used;
    uint64_t again_ns; /* when it is sent again; 0: it is out */
    struct pr_evaluate message;
    struct cm_blob *map;
    uint64_t scores; /* that came of it */
    unsigned faults;
};

struct run {
    struct cli_eval *v;
    struct flight flights[WINDOW];
    uint64_t next;     /* the first query that was never sent */
    uint64_t heard_ns; /* when the coordinator last said anything */
    uint64_t asked_ns; /* when it was last asked how it is */
    uint64_t told_ns;  /* when it was last said what is waited for; 0: never */
    uint64_t started_ns, started_done;
    uint64_t next_progress_ns;
    char missing[512]; /* what is waited for; "" for nothing */
    struct cli_progress progress;
};

static uint64_t ms(uint64_t count)
{
    return count * UINT64_C(1000000);
}

bool cli_eval_is_done(const struct cli_eval *v, uint64_t query)
{
    const struct pr_census *c = &v->figures[query].census;
    return c->valid + c->same_camera + c->junk > 0;
}

enum cm_err cli_eval_take(struct cli_eval *v, uint64_t query, const struct pr_measured *m,
                          struct cm_error *e)
{
    if (query >= v->queries || cli_eval_is_done(v, query))
        return cm_fail(e, CM_EMISMATCH, "query %" PRIu64 " was not asked, or twice", query);
    enum cm_err rc = cli_figures_of(&m->census, &m->counts, &v->figures[query], e);
    if (rc)
        return cm_wrap(e, rc, "query %" PRIu64, query);
    v->done++;
    v->overflowed += m->overflowed;
    v->worker_bytes += m->worker_bytes;
    v->mixed |= m->mixed;
    return CM_OK;
}

/* --- progress --------------------------------------------------------------------------------- */

static void tell_json(struct run *r, uint64_t now)
{
    struct cli_eval *v = r->v;
    double seconds = (double)(now - r->started_ns) / 1e9;
    double rate = seconds > 0 ? (double)(v->done - r->started_done) / seconds : 0;
    double pairs = seconds > 0 ? (double)v->pairs / seconds : 0;
    if (now < r->next_progress_ns && v->done < v->queries)
        return;
    r->next_progress_ns = now + ms(1000);
    fprintf(stderr,
            "{\"queries_done\":%" PRIu64 ",\"queries\":%" PRIu64
            ",\"pairs_per_s\":%.1f,\"seconds_left\":%.1f,\"bytes_from_workers\":%" PRIu64
            ",\"waiting_for\":\"%s\"}\n",
            v->done, v->queries, pairs, rate > 0 ? (double)(v->queries - v->done) / rate : -1.0,
            v->worker_bytes, r->missing);
}

static void tell(struct run *r)
{
    uint64_t now = io_now_ns();
    if (r->v->progress_json)
        tell_json(r, now);
    else
        cli_progress_at(&r->progress, r->v->done - r->started_done, r->v->pairs);
    if (!r->missing[0] || (r->told_ns && now - r->told_ns < ms(TELL_MS)))
        return;
    r->told_ns = now;
    cli_progress_end(&r->progress);
    if (!r->v->progress_json)
        fprintf(stderr, "vitrine eval: waiting for shards that cannot be counted now: %s\n",
                r->missing);
}

/* --- sending ---------------------------------------------------------------------------------- */

static void clear_flight(struct flight *f)
{
    cm_blob_unref(&f->map);
    *f = (struct flight){0};
}

static void rest(struct flight *f, uint64_t for_ms)
{
    f->again_ns = io_now_ns() + ms(for_ms);
}

/* A coordinator that is away is no failure yet: the query rests. */
static void send_flight(struct run *r, struct flight *f)
{
    struct cm_error e;
    f->scores = 0;
    f->again_ns = 0;
    if (cli_client_evaluate(r->v->client, &f->message, f->map, &e))
        rest(f, REST_MS);
}

static enum cm_err load_flight(struct run *r, struct flight *f, uint64_t query, struct cm_error *e)
{
    struct cli_eval *v = r->v;
    const struct pr_npy *n = v->features;
    uint32_t crc32c;
    enum cm_err rc = cli_query_map(n, query, &f->map, &crc32c, e);
    if (rc)
        return rc;
    f->used = true;
    f->message = (struct pr_evaluate){
        .id = {query},
        .pid = v->labels[query].pid,
        .camid = v->labels[query].camid,
        .want_scores = v->scores != NULL,
        .dtype = n->dtype,
        .height = n->height,
        .width = n->width,
        .channels = n->channels,
        .payload_crc32c = crc32c,
    };
    return CM_OK;
}

/* The one query that asks again while shards are not served; the others wait for its success. */
static const struct flight *scout_of(const struct run *r)
{
    const struct flight *scout = NULL;
    for (size_t i = 0; i < WINDOW; i++) {
        const struct flight *f = &r->flights[i];
        if (f->used && (!scout || f->message.id.v < scout->message.id.v))
            scout = f;
    }
    return scout;
}

/* Sends what is due: queries that have rested, then new ones while there is room. */
static enum cm_err send_due(struct run *r, struct cm_error *e)
{
    uint64_t now = io_now_ns();
    const struct flight *scout = r->missing[0] ? scout_of(r) : NULL;
    for (size_t i = 0; i < WINDOW; i++) {
        struct flight *f = &r->flights[i];
        if (scout && f != scout)
            continue;
        if (f->used && f->again_ns && now >= f->again_ns)
            send_flight(r, f);
        if (f->used)
            continue;
        while (r->next < r->v->queries && cli_eval_is_done(r->v, r->next))
            r->next++;
        if (r->next == r->v->queries)
            continue;
        enum cm_err rc = load_flight(r, f, r->next++, e);
        if (rc)
            return rc;
        send_flight(r, f);
    }
    return CM_OK;
}

/* --- receiving -------------------------------------------------------------------------------- */

static struct flight *flight_of(struct run *r, struct cm_query_id id)
{
    for (size_t i = 0; i < WINDOW; i++)
        if (r->flights[i].used && r->flights[i].message.id.v == id.v)
            return &r->flights[i];
    return NULL;
}

static enum cm_err fail_shard(const struct flight *f, const struct pr_missing_shard *s,
                              struct cm_error *e)
{
    bool corrupt = s->reason == PR_REASON_CORRUPT;
    return cm_fail(e, corrupt ? CM_ECORRUPT : CM_EREFUSED,
                   "query %" PRIu64 " could not be counted over shard %u, %u times: %s; %s",
                   f->message.id.v, s->shard.v, f->faults, pr_reason_name(s->reason),
                   corrupt ? "run 'vitrine verify' on its worker's gallery"
                           : "its worker's log says why");
}

/* Some shard was not counted. Who is not there may come back; a fault may be one of the moment. */
static enum cm_err on_incomplete(struct run *r, struct flight *f, const struct pr_measured *m,
                                 struct cm_error *e)
{
    struct pr_answer answer = {.missing = m->missing, .missing_count = m->missing_count};
    const struct pr_missing_shard *fault = NULL;
    for (size_t i = 0; i < m->missing_count && !fault; i++) {
        enum pr_reason why = m->missing[i].reason;
        if (why == PR_REASON_CORRUPT || why == PR_REASON_INTERNAL)
            fault = &m->missing[i];
    }
    if (fault && ++f->faults >= FAULTS_MAX)
        return fail_shard(f, fault, e);
    cli_missing_text(&answer, r->missing, sizeof r->missing);
    rest(f, REST_MS);
    return CM_OK;
}

/* Another gallery than that with which it began? */
static enum cm_err check_gallery(const struct run *r, const struct cm_fingerprint *gallery,
                                 struct cm_error *e)
{
    char ours[CM_FINGERPRINT_TEXT_BYTES], its[CM_FINGERPRINT_TEXT_BYTES];
    if (cm_fingerprint_equal(gallery, &r->v->gallery))
        return CM_OK;
    return cm_fail(e, CM_EMISMATCH,
                   "the cluster serves gallery %s now; this evaluation began with %s",
                   cm_fingerprint_text(gallery, its), cm_fingerprint_text(&r->v->gallery, ours));
}

static enum cm_err on_measured(struct run *r, const struct pr_measured *m, struct cm_error *e)
{
    struct flight *f = flight_of(r, m->id);
    if (!f || f->again_ns)
        return CM_OK; /* of an earlier try */
    enum cm_err rc = check_gallery(r, &m->gallery, e);
    if (rc)
        return rc;
    if (m->missing_count > 0)
        return on_incomplete(r, f, m, e);
    if (r->v->scores && f->scores != m->images) {
        rest(f, REST_MS); /* some were lost on the way */
        return CM_OK;
    }
    struct cli_journal_record record = {.query = m->id.v,
                                        .map_crc32c = f->message.payload_crc32c,
                                        .has_scores = r->v->scores != NULL,
                                        .measured = *m};
    if (record.has_scores)
        rc = pr_npy_writer_row_crc32c(r->v->scores, m->id.v, &record.scores_crc32c, e);
    if (!rc)
        rc = cli_eval_take(r->v, m->id.v, m, e);
    if (!rc)
        rc = cli_journal_add(r->v->journal, &record, e);
    r->v->pairs += m->images;
    r->missing[0] = '\0';
    clear_flight(f);
    return rc;
}

static enum cm_err on_scores(struct run *r, const struct cli_reply *reply, struct cm_error *e)
{
    const struct pr_scores *m = &reply->u.scores;
    struct flight *f = flight_of(r, m->id);
    void *values; /* aligned, which the payload need not be */
    if (!f || f->again_ns || !r->v->scores)
        return CM_OK;
    if (m->first_image + m->count > r->v->images)
        return cm_fail(e, CM_EMISMATCH,
                       "scores of image %" PRIu64 " came, but this evaluation began over %" PRIu64
                       " images: does the cluster serve another gallery now?",
                       m->first_image + m->count - 1, r->v->images);
    enum cm_err rc = cm_new_aligned(&values, m->count, sizeof(float), e);
    if (rc)
        return rc;
    memcpy(values, cm_blob_data(reply->payload), cm_blob_size(reply->payload));
    rc = pr_npy_writer_put(r->v->scores, m->id.v, m->first_image, values, m->count, e);
    free(values);
    f->scores += m->count;
    return rc;
}

static enum cm_err on_error(struct run *r, const struct pr_error *error, struct cm_error *e)
{
    struct flight *f = flight_of(r, error->id);
    if (!f)
        return CM_OK;
    if (error->retry_after_ms == 0)
        return cm_fail(e, error->code == PR_ERROR_BAD_QUERY ? CM_EFORMAT : CM_EREFUSED,
                       "query %" PRIu64 ": %s", error->id.v, error->text);
    if (error->code == PR_ERROR_NO_GALLERY)
        snprintf(r->missing, sizeof r->missing, "all (no worker has joined)");
    rest(f, error->retry_after_ms);
    return CM_OK;
}

/* The coordinator lives. If it has no query of ours, it was restarted, or the connection broke: all
 * of them are sent again. */
static enum cm_err on_status(struct run *r, const struct pr_status *status, struct cm_error *e)
{
    enum cm_err rc = status->has_gallery ? check_gallery(r, &status->gallery.gallery, e) : CM_OK;
    for (size_t i = 0; !rc && status->queries_yours == 0 && i < WINDOW; i++)
        if (r->flights[i].used && !r->flights[i].again_ns)
            send_flight(r, &r->flights[i]);
    return rc;
}

static enum cm_err on_reply(struct run *r, const struct cli_reply *reply, struct cm_error *e)
{
    r->heard_ns = io_now_ns();
    switch (reply->type) {
    case PR_MEASURED:
        return on_measured(r, &reply->u.measured, e);
    case PR_SCORES:
        return on_scores(r, reply, e);
    case PR_ERROR:
        return on_error(r, &reply->u.error, e);
    case PR_STATUS:
        return on_status(r, &reply->u.status, e);
    default:
        return CM_OK;
    }
}

static enum cm_err on_silence(struct run *r, struct cm_error *e)
{
    struct cm_error unheard;
    uint64_t now = io_now_ns(), silent_ns = now - r->heard_ns;
    if (silent_ns > ms(PATIENCE_MS))
        return cm_fail(e, CM_EUNAVAIL,
                       "the coordinator has been silent for %.0f s; stopped at %" PRIu64
                       " of %" PRIu64 " queries, which --resume goes on from",
                       (double)silent_ns / 1e9, r->v->done, r->v->queries);
    if (silent_ns > ms(ASK_MS) && now - r->asked_ns > ms(ASK_MS)) {
        r->asked_ns = now;
        if (cli_client_ask_status(r->v->client, &unheard))
            return CM_OK; /* it is away; its silence will tell for how long */
    }
    return CM_OK;
}

static enum cm_err receive(struct run *r, struct cm_error *e)
{
    struct cli_reply reply;
    if (cli_interrupted())
        return cm_fail(e, CM_EBUSY,
                       "interrupted at %" PRIu64 " of %" PRIu64
                       " queries; --resume goes on from there",
                       r->v->done, r->v->queries);
    enum cm_err rc = cli_client_receive(r->v->client, POLL_MS, &reply, e);
    if (rc == CM_ETIMEOUT)
        return on_silence(r, e);
    if (rc)
        return rc;
    rc = on_reply(r, &reply, e);
    cli_reply_fini(&reply);
    return rc;
}

enum cm_err cli_eval_run(struct cli_eval *v, struct cm_error *e)
{
    struct run r = {.v = v, .started_done = v->done};
    enum cm_err rc = CM_OK;
    r.started_ns = r.heard_ns = io_now_ns();
    cli_progress_start(&r.progress, "queries", v->queries - v->done);
    r.progress.work = "pairs";
    r.progress.on &= !v->progress_json;
    while (!rc && v->done < v->queries) {
        rc = send_due(&r, e);
        if (!rc)
            rc = receive(&r, e);
        if (!rc && v->local && r.missing[0]) /* nobody else will start them again */
            rc = cli_local_check(v->local, e);
        tell(&r);
    }
    cli_progress_end(&r.progress);
    v->seconds = (double)(io_now_ns() - r.started_ns) / 1e9;
    for (size_t i = 0; i < WINDOW; i++)
        clear_flight(&r.flights[i]);
    return rc;
}
