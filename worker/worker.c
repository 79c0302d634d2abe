/* worker.c: the worker's life and its dispatcher, see worker.h. */
#include "worker/worker.h"

#include "common/mem.h"
#include "proto/wire/control.h"
#include "proto/wire/envelope.h"
#include "worker/core.h"

#include <inttypes.h>
#include <stdlib.h>

#define LOG_PERIOD_NS       UINT64_C(1000000000)
#define FIRST_HEARTBEAT_NS  UINT64_C(1000000000) /* until WELCOME says otherwise */
#define FIRST_DEAD_AFTER_NS UINT64_C(5000000000)

static enum cm_err new_jobs(struct wk_core *w, struct cm_error *e)
{
    void *jobs = NULL, *idle = NULL;
    enum cm_err rc = cm_new(&jobs, w->config.jobs, sizeof *w->jobs, e);
    if (!rc)
        rc = cm_new(&idle, w->config.jobs, sizeof *w->idle, e);
    w->jobs = jobs;
    w->idle = idle;
    for (uint32_t i = 0; !rc && i < w->config.jobs; i++) {
        w->jobs[i].index = i;
        w->idle[w->idle_count++] = &w->jobs[i];
    }
    return rc;
}

static enum cm_err new_table(struct wk_core *w, const struct wk_config *config, struct cm_error *e)
{
    void *held = NULL, *places = NULL;
    uint32_t shards = config->gallery.shards;
    enum cm_err rc = cm_new(&held, shards, sizeof *w->held, e);
    if (!rc)
        rc = cm_new(&places, shards, sizeof *w->places, e);
    w->held = held;
    w->places = places;
    for (uint32_t i = 0; !rc && i < shards; i++)
        w->held[i].shard = i;
    for (uint32_t i = 0; !rc && i < config->held_count; i++)
        w->held[config->held[i].shard] = config->held[i];
    return rc;
}

enum cm_err wk_new(struct wk_core **out, const struct wk_config *config, const struct wk_io *io,
                   const struct cm_log *log, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    struct wk_core *w = *out = p;
    if (rc)
        return rc;
    w->config = *config;
    w->io = *io;
    w->log = log;
    w->heartbeat_ns = FIRST_HEARTBEAT_NS;
    w->dead_after_ns = FIRST_DEAD_AFTER_NS;
    w->heard_ns = w->speak_ns = wk_now(w);
    w->cursor_block = UINT64_MAX; /* before the first */
    w->config.held = NULL;        /* the caller's */
    rc = new_table(w, config, e);
    if (!rc)
        rc = new_jobs(w, e);
    if (rc) {
        wk_free(w);
        *out = NULL;
    }
    return rc;
}

void wk_free(struct wk_core *w)
{
    if (!w)
        return;
    for (uint32_t i = 0; w->places && i < w->config.gallery.shards; i++)
        w->places[i].leaving = false; /* nobody is told any more */
    wk_drop_searches(w);
    for (uint32_t i = 0; w->jobs && i < w->config.jobs; i++)
        wk_release_searches(&w->jobs[i]); /* of jobs that never came back */
    free(w->held);
    free(w->places);
    free(w->jobs);
    free(w->idle);
    free(w);
}

void wk_on_garbage(struct wk_core *w, const char *why)
{
    uint64_t missed;
    if (cm_log_rate_pass(&w->garbage_rate, wk_now(w), LOG_PERIOD_NS, &missed))
        cm_log(w->log, CM_LOG_WARN, "garbage", "msg=\"%s\" unreported=%" PRIu64, why, missed);
}

void wk_on_message(struct wk_core *w, struct cm_bytes header, struct cm_blob *payload)
{
    struct pr_envelope envelope;
    struct cm_error e;
    if (pr_peek(header, &envelope, &e)) {
        wk_on_garbage(w, e.text);
        return;
    }
    w->heard_ns = wk_now(w);
    w->doubted_ns = 0;
    switch (envelope.type) {
    case PR_WELCOME:
        wk_on_welcome(w, header);
        return;
    case PR_REFUSE:
        wk_on_refuse(w, header);
        return;
    case PR_REHELLO:
        wk_on_rehello(w);
        return;
    case PR_HEARTBEAT:
        return; /* that it was heard is all it says */
    case PR_SEARCH:
        wk_on_search(w, header, payload);
        return;
    case PR_MEASURE:
        wk_on_measure(w, header, payload);
        return;
    case PR_COUNT:
        wk_on_count(w, header);
        return;
    case PR_CANCEL:
        wk_on_cancel(w, envelope.id);
        return;
    case PR_PLACE:
        wk_on_place(w, header);
        return;
    case PR_DISMISS:
        wk_on_dismiss(w, header);
        return;
    default:
        wk_on_garbage(w, "a message that is not for a worker");
    }
}

void wk_on_tick(struct wk_core *w)
{
    wk_link_tick(w);
    wk_expire_searches(w);
    wk_tell_due(w);
}

uint64_t wk_next_wakeup_ns(const struct wk_core *w)
{
    uint64_t next = wk_link_wakeup_ns(w);
    for (const struct wk_search *s = w->head; s; s = s->next) {
        uint64_t due = wk_tell_at_ns(w, s);
        if (s->deadline_ns < due)
            due = s->deadline_ns;
        if (due < next)
            next = due;
    }
    return next;
}

bool wk_idle(const struct wk_core *w)
{
    bool may_go = w->link != WK_LEAVING || w->released;
    return may_go && !w->head && w->idle_count == w->config.jobs;
}
