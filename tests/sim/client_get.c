/* client_get.c: what a client makes of replies; see client.h. */
#include "tests/sim/client_get.h"

#include "common/assert.h"
#include "proto/wire/answer.h"
#include "proto/wire/error.h"
#include "proto/wire/measured.h"
#include "proto/wire/scores.h"
#include "proto/wire/status.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#define EVAL_REST_NS       (1000 * SIM_MS) /* as in ops/cli */
#define SEARCH_REST_MAX_NS (2000 * SIM_MS)

enum { FAULTS_MAX = 3 };

static struct sim_flight *flight_of(struct sim_client *c, uint64_t id)
{
    for (unsigned i = 0; i < c->window; i++)
        if (c->flights[i].used && c->flights[i].id == id)
            return &c->flights[i];
    return NULL;
}

static void close_flight(struct sim_flight *f)
{
    cm_blob_unref(&f->map);
    *f = (struct sim_flight){0};
}

/* Does an answer lack something that may be there a moment later? */
static bool may_improve(const struct pr_answer *a)
{
    const unsigned hopeful =
        1u << PR_REASON_NO_WORKER | 1u << PR_REASON_WORKER_LOST | 1u << PR_REASON_OVERLOAD;
    for (size_t i = 0; i < a->missing_count; i++)
        if (hopeful >> a->missing[i].reason & 1)
            return true;
    return false;
}

static bool may_retry(const struct sim_client *c, const struct sim_flight *f, uint64_t after_ns)
{
    return after_ns > 0 && c->sim->now_ns + after_ns < f->end_ns;
}

/* Too little: it is asked again, for the time that is left. */
static void keep(struct sim_client *c, struct sim_flight *f)
{
    f->kept = true;
    f->again_ns = c->sim->now_ns + f->rest_ns;
    f->rest_ns = 2 * f->rest_ns < SEARCH_REST_MAX_NS ? 2 * f->rest_ns : SEARCH_REST_MAX_NS;
}

/* What it says was checked where it was sent: checks.h. */
static void on_answer(struct sim_client *c, const struct sim_message *m)
{
    struct pr_answer answer;
    struct cm_error e;
    struct sim_flight *f = flight_of(c, m->envelope.id.v);
    if (!f)
        return;
    CM_ASSERT(pr_answer_unpack(m->header, &answer, &e) == CM_OK);
    if (answer.images_scored > f->images_scored)
        f->images_scored = answer.images_scored;
    if (100 * f->images_scored < c->coverage * answer.images && may_improve(&answer) &&
        may_retry(c, f, f->rest_ns))
        keep(c, f);
    else
        close_flight(f);
    pr_answer_fini(&answer);
}

static void on_measured(struct sim_client *c, const struct sim_message *m)
{
    struct pr_measured measured;
    struct cm_error e;
    struct sim_flight *f = flight_of(c, m->envelope.id.v);
    if (!f || f->again_ns)
        return;
    CM_ASSERT(pr_measured_unpack(m->header, &measured, &e) == CM_OK);
    bool tired = false, lacks_scores = c->wants_scores && f->scores != measured.images;
    for (size_t i = 0; i < measured.missing_count; i++) {
        enum pr_reason why = measured.missing[i].reason;
        bool fault = why == PR_REASON_CORRUPT || why == PR_REASON_INTERNAL;
        tired |= fault && ++f->faults >= FAULTS_MAX;
    }
    c->starved = measured.missing_count > 0 || (lacks_scores && c->starved);
    if (measured.missing_count == 0 && !lacks_scores)
        close_flight(f);
    else
        f->again_ns = c->sim->now_ns + EVAL_REST_NS;
    pr_measured_fini(&measured);
    if (tired)
        sim_client_give_up(c, "a shard cannot be counted");
}

static void on_scores(struct sim_client *c, const struct sim_message *m)
{
    struct pr_scores scores;
    struct cm_error e;
    struct sim_flight *f = flight_of(c, m->envelope.id.v);
    if (!f || f->again_ns)
        return;
    CM_ASSERT(pr_scores_unpack(m->header, &scores, &e) == CM_OK);
    for (uint32_t i = 0; i < scores.count; i++) {
        float got, truth = fake_score(f->number, scores.first_image + i);
        memcpy(&got, (const char *)cm_blob_data(m->payload) + i * sizeof got, sizeof got);
        if (got != (isfinite(truth) ? truth : -INFINITY))
            sim_fail(c->sim, "%s: SCORES of evaluation %" PRIu64 ": image %" PRIu64 " is wrong",
                     c->host.name, f->number, scores.first_image + i);
    }
    f->scores += scores.count;
}

static void on_error(struct sim_client *c, const struct sim_message *m)
{
    struct pr_error error;
    struct cm_error e;
    struct sim_flight *f = flight_of(c, m->envelope.id.v);
    if (!f)
        return;
    CM_ASSERT(pr_error_unpack(m->header, &error, &e) == CM_OK);
    uint64_t wait_ns = error.retry_after_ms * SIM_MS;
    if (wait_ns > 0 && (c->evaluates || may_retry(c, f, wait_ns)))
        f->again_ns = c->sim->now_ns + wait_ns;
    else if (wait_ns > 0 && f->kept)
        close_flight(f);
    else
        sim_client_give_up(c, error.text);
    c->starved |= c->evaluates && error.code == PR_ERROR_NO_GALLERY;
}

static void on_status(struct sim_client *c, const struct sim_message *m)
{
    struct pr_status status;
    struct cm_error e;
    CM_ASSERT(pr_status_unpack(m->header, &status, &e) == CM_OK);
    if (c->open)
        sim_client_compare(c, status.queries_yours);
    c->open = true;
    pr_status_fini(&status);
}

void sim_client_read(struct sim_client *c, const struct sim_message *m)
{
    switch (m->envelope.type) {
    case PR_ANSWER:
        on_answer(c, m);
        return;
    case PR_MEASURED:
        on_measured(c, m);
        return;
    case PR_SCORES:
        on_scores(c, m);
        return;
    case PR_ERROR:
        on_error(c, m);
        return;
    case PR_STATUS:
        on_status(c, m);
        return;
    default:
        sim_fail(c->sim, "%s got %s", c->host.name, pr_type_name(m->envelope.type));
    }
}
