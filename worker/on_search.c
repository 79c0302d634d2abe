/* on_search.c: searches as they come and go. */
#include "common/mem.h"
#include "worker/core.h"

#include <inttypes.h>
#include <stdlib.h>

static void link_search(struct wk_core *w, struct wk_search *s)
{
    s->prev = w->tail;
    *(w->tail ? &w->tail->next : &w->head) = s;
    w->tail = s;
    w->searches_count++;
    s->number = ++w->arrivals;
    for (uint32_t i = 0; i < s->parts_count; i++)
        wk_use_shard(w, s->parts[i].shard);
}

void wk_end_search(struct wk_core *w, struct wk_search *s)
{
    *(s->prev ? &s->prev->next : &w->head) = s->next;
    *(s->next ? &s->next->prev : &w->tail) = s->prev;
    w->searches_count--;
    s->state = WK_OVER;
    wk_leave_out(w, s);
    s->over_ns = wk_now(w);
    for (uint32_t i = 0; i < s->parts_count; i++)
        if (!s->parts[i].answered)
            wk_unuse_shard(w, s->parts[i].shard);
    if (s->jobs_out == 0)
        wk_search_free(s);
}

static enum cm_err check_held(const struct wk_core *w, const struct wk_ask *ask, struct cm_error *e)
{
    for (size_t i = 0; i < ask->shards_count; i++)
        if (!wk_is_served(w, ask->shards[i].v))
            return cm_fail(e, CM_EMISMATCH, "a search of shard %u, which is not here",
                           ask->shards[i].v);
    return CM_OK;
}

static enum cm_err take(struct wk_core *w, const struct wk_ask *ask, struct cm_blob *map,
                        struct cm_error *e)
{
    struct wk_search *s;
    enum cm_err rc = check_held(w, ask, e);
    if (!rc && w->searches_count >= w->config.credits)
        rc = cm_fail(e, CM_EBUSY, "more searches than the %u credits granted", w->config.credits);
    if (!rc)
        rc = wk_search_new(&s, ask, w->held, w->config.packed_bytes, map, wk_now(w), e);
    if (!rc)
        link_search(w, s);
    return rc;
}

enum cm_err wk_take(struct wk_core *w, const struct wk_ask *ask, struct cm_blob *map,
                    struct cm_error *e)
{
    if (wk_find_search(w, ask->id)) /* declined, its shards would count here and elsewhere */
        return cm_fail(e, CM_EEXIST, "search %" PRIu64 " is here already", ask->id.v);
    enum cm_err rc = take(w, ask, map, e);
    bool overload = rc == CM_EBUSY || rc == CM_ENOMEM;
    if (rc)
        wk_decline(w, ask, overload ? PR_REASON_OVERLOAD : PR_REASON_INTERNAL);
    return rc;
}

static enum cm_err check_map(const struct wk_core *w, const struct pr_search *message,
                             const struct cm_blob *map, struct cm_error *e)
{
    if (!map)
        return cm_fail(e, CM_EFORMAT, "a search without a map");
    struct cm_bytes bytes = {cm_blob_data(map), cm_blob_size(map)};
    return pr_search_check_payload(message, &w->config.gallery.geometry, bytes, e);
}

void wk_on_search(struct wk_core *w, struct cm_bytes header, struct cm_blob *payload)
{
    struct pr_search message;
    struct cm_error e;
    enum cm_err rc = pr_search_unpack(header, &message, &e);
    if (!rc) {
        struct wk_ask ask = {
            .id = message.id,
            .k = message.k,
            .time_left_us = message.time_left_us,
            .dtype = message.dtype,
            .shards = message.shards,
            .shards_count = message.shards_count,
        };
        rc = check_map(w, &message, payload, &e);
        if (rc)
            wk_decline(w, &ask, PR_REASON_INTERNAL);
        else
            rc = wk_take(w, &ask, payload, &e);
    }
    if (rc)
        wk_on_garbage(w, e.text);
    pr_search_fini(&message);
    wk_schedule(w);
}

struct wk_search *wk_find_search(const struct wk_core *w, struct cm_query_id id)
{
    struct wk_search *s = w->head;
    while (s && s->id.v != id.v)
        s = s->next;
    return s;
}

void wk_on_cancel(struct wk_core *w, struct cm_query_id id)
{
    struct wk_search *s = wk_find_search(w, id);
    if (!s)
        return;
    w->work.cancelled++;
    wk_end_search(w, s);
}

void wk_expire_searches(struct wk_core *w)
{
    uint64_t now = wk_now(w);
    for (struct wk_search *s = w->head, *next; s; s = next) {
        next = s->next;
        if (now >= s->deadline_ns)
            wk_answer_late(w, s);
    }
}

void wk_drop_searches(struct wk_core *w)
{
    while (w->head)
        wk_end_search(w, w->head);
}
