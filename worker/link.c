/* link.c: what passes between a worker and the coordinator beside searches.
 *
 *      GREETING --WELCOME--> READY --wk_leave--> LEAVING (from GREETING too)
 *          ^  \                |
 *          |   --REFUSE--> REFUSED
 *          +---- REHELLO, or silence -- (searches are dropped: nobody waits for them)
 *
 * HELLO is said until it is answered, so several may be under way. WELCOME tells with which of them
 * the worker became a member: if it is another one than before, the coordinator had forgotten the
 * worker in between, and with it all that it was asked.
 *
 * A worker that leaves goes on until the coordinator has let go of it, which a REHELLO to one of
 * its heartbeats shows: a search that was already on its way is still answered. */
#include "proto/wire/control.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/refuse.h"
#include "proto/wire/welcome.h"
#include "worker/core.h"

#include <stdio.h>
#include <stdlib.h>

#define DIALLING_PERIOD_NS  UINT64_C(20000000)    /* while there is no connection */
#define GREETING_PERIOD_NS  UINT64_C(250000000)   /* while there is no answer */
#define SILENCE_PERIOD_NS   UINT64_C(60000000000) /* between complaints that nobody is there */
#define LEAVING_PERIOD_NS   UINT64_C(100000000)   /* so that REHELLO comes soon */
#define LEAVING_PATIENCE_NS UINT64_C(1000000000)  /* with a coordinator that has gone itself */

enum cm_err wk_send_packed(struct wk_core *w, enum cm_err rc, struct pr_buffer *packed,
                           struct cm_error *e)
{
    if (!rc) {
        rc = w->io.send(w->io.ctx, pr_buffer_bytes(packed), NULL, e);
        pr_buffer_fini(packed);
    }
    if (rc)
        cm_log(w->log, CM_LOG_DEBUG, "unsent", "msg=\"%s\"", e->text);
    return rc;
}

/* What is here to stay. What is on its way out goes at once: its searches were dropped. */
static size_t list_held(const struct wk_core *w, struct pr_held_shard *out)
{
    size_t count = 0;
    for (uint32_t i = 0; i < w->config.gallery.shards; i++)
        if (wk_is_served(w, i))
            out[count++] = (struct pr_held_shard){{i}, w->held[i].first_image, w->held[i].images};
    return count;
}

static enum cm_err say_hello(struct wk_core *w)
{
    struct pr_hello hello = {
        .id = {++w->hellos},
        .incarnation = w->config.incarnation,
        .version_min = PR_VERSION,
        .version_max = PR_VERSION,
        .gallery = w->config.gallery,
        .threads = w->config.threads,
        .credits = w->config.credits,
        .placed = w->config.placed,
    };
    struct pr_buffer packed;
    struct cm_error e;
    snprintf(hello.node, sizeof hello.node, "%s", w->config.node);
    snprintf(hello.numeric_class, sizeof hello.numeric_class, "%s", w->config.numeric_class);
    snprintf(hello.endpoint, sizeof hello.endpoint, "%s", w->io.endpoint(w->io.ctx));
    hello.held = calloc(w->config.gallery.shards, sizeof *hello.held);
    if (!hello.held)
        return CM_ENOMEM; /* the next tick tries again */
    hello.held_count = list_held(w, hello.held);
    enum cm_err rc = wk_send_packed(w, pr_hello_pack(&hello, &packed, &e), &packed, &e);
    pr_hello_fini(&hello);
    return rc;
}

static void say_heartbeat(struct wk_core *w)
{
    struct pr_heartbeat heartbeat = {
        .searches_queued = w->searches_count,
        .searches_done = w->searches_done,
        .pairs_scored = w->pairs_scored,
        .fetching = w->fetching,
        .memory_bytes = w->io.memory_bytes(w->io.ctx),
        .work = w->work,
    };
    struct pr_buffer packed;
    struct cm_error e;
    wk_send_packed(w, pr_heartbeat_pack(&heartbeat, &packed, &e), &packed, &e);
}

static void say_leaving(struct wk_core *w)
{
    struct pr_control leaving = {.type = PR_LEAVING};
    struct pr_buffer packed;
    struct cm_error e;
    wk_send_packed(w, pr_control_pack(&leaving, &packed, &e), &packed, &e);
}

/* Leaving, and nobody waits for anything of ours any more. */
static void release(struct wk_core *w)
{
    w->released = true;
    wk_drop_searches(w);
}

static void greet_again(struct wk_core *w)
{
    w->link = WK_GREETING;
    wk_drop_searches(w);
    w->heard_ns = wk_now(w);
    w->doubted_ns = 0;
    w->speak_ns = w->heard_ns;
}

static void lose_coordinator(struct wk_core *w)
{
    uint64_t missed;
    if (w->link == WK_READY)
        cm_log(w->log, CM_LOG_WARN, "coordinator_lost", "searches_dropped=%u", w->searches_count);
    else if (cm_log_rate_pass(&w->silence_rate, wk_now(w), SILENCE_PERIOD_NS, &missed))
        cm_log(w->log, CM_LOG_WARN, "no_coordinator",
               "msg=\"nobody answers HELLO: is the coordinator running, and --connect right?\"");
    greet_again(w);
    w->io.reconnect(w->io.ctx);
}

/* When the coordinator counts as silent, if nothing comes. As there, this takes a second look, a
 * quarter of a heartbeat after the first: we may have been stopped ourselves, and its messages
 * wait.
 */
static uint64_t next_look_ns(const struct wk_core *w)
{
    uint64_t look_ns = w->heartbeat_ns / 4, dead_ns = w->heard_ns + w->dead_after_ns;
    if (!w->doubted_ns)
        return dead_ns - look_ns;
    return w->doubted_ns + look_ns > dead_ns ? w->doubted_ns + look_ns : dead_ns;
}

/* Not while leaving: that has a patience of its own. */
static bool is_silent(struct wk_core *w, uint64_t now)
{
    if (now < next_look_ns(w))
        return false;
    if (w->doubted_ns)
        return true;
    w->doubted_ns = now;
    return false;
}

void wk_link_tick(struct wk_core *w)
{
    uint64_t now = wk_now(w);
    if (w->link == WK_REFUSED)
        return;
    if (w->link == WK_LEAVING && now - w->heard_ns >= LEAVING_PATIENCE_NS)
        release(w);
    else if (w->link != WK_LEAVING && is_silent(w, now))
        lose_coordinator(w);
    if (now < w->speak_ns)
        return;
    if (w->link == WK_GREETING) {
        w->speak_ns = now + (say_hello(w) ? DIALLING_PERIOD_NS : GREETING_PERIOD_NS);
    } else {
        say_heartbeat(w);
        w->speak_ns = now + (w->link == WK_LEAVING ? LEAVING_PERIOD_NS : w->heartbeat_ns);
    }
}

uint64_t wk_link_wakeup_ns(const struct wk_core *w)
{
    uint64_t look_ns = next_look_ns(w);
    if (w->link == WK_REFUSED)
        return UINT64_MAX;
    if (w->link == WK_LEAVING)
        return w->speak_ns; /* it does not dial again, however long nobody answers */
    return w->speak_ns < look_ns ? w->speak_ns : look_ns;
}

void wk_on_welcome(struct wk_core *w, struct cm_bytes header)
{
    struct pr_welcome welcome;
    struct cm_error e;
    if (pr_welcome_unpack(header, &welcome, &e)) {
        wk_on_garbage(w, e.text);
        return;
    }
    if (welcome.id.v != w->membership) /* asked in an earlier one, which nobody remembers */
        wk_drop_searches(w);
    w->membership = welcome.id.v;
    w->heartbeat_ns = welcome.heartbeat_ms * UINT64_C(1000000);
    w->dead_after_ns = welcome.dead_after_ms * UINT64_C(1000000);
    if (w->link != WK_GREETING)
        return; /* a second answer to a second hello */
    w->link = WK_READY;
    w->speak_ns = wk_now(w) + w->heartbeat_ns;
    w->place_epoch = welcome.epoch; /* lower than before: it began with a new map */
    cm_log(w->log, CM_LOG_INFO, "welcome", "heartbeat_ms=%u dead_after_ms=%u", welcome.heartbeat_ms,
           welcome.dead_after_ms);
    wk_tell_places(w);
}

void wk_on_refuse(struct wk_core *w, struct cm_bytes header)
{
    struct pr_refuse refuse;
    struct cm_error e;
    if (pr_refuse_unpack(header, &refuse, &e)) {
        wk_on_garbage(w, e.text);
        return;
    }
    cm_log(w->log, CM_LOG_ERROR, "refused", "msg=\"%s\"", refuse.text);
    w->link = WK_REFUSED;
    wk_drop_searches(w);
    w->io.refused(w->io.ctx, refuse.reason, refuse.text);
}

void wk_on_rehello(struct wk_core *w)
{
    if (w->link == WK_LEAVING)
        release(w); /* it knows us no more */
    if (w->link != WK_READY)
        return; /* a hello is on its way already */
    cm_log(w->log, CM_LOG_INFO, "rehello", "searches_dropped=%u", w->searches_count);
    greet_again(w);
    wk_link_tick(w);
}

void wk_leave(struct wk_core *w)
{
    if (w->link == WK_READY || w->link == WK_GREETING) {
        say_leaving(w); /* greeting, it comes behind a HELLO that may be on its way */
        w->link = WK_LEAVING;
        w->heard_ns = w->speak_ns = wk_now(w);
        wk_abandon_fetch(w);
    }
}
