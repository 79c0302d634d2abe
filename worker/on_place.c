/* on_place.c: which shards are here, as the coordinator says. See the picture in worker.h. */
#include "common/assert.h"
#include "proto/wire/control.h"
#include "proto/wire/place.h"
#include "worker/core.h"

#include <inttypes.h>
#include <stdio.h>

/* --- what the coordinator is told ------------------------------------------------------------- */

/* "I have it" or "I have it not", as it is. */
static enum cm_err say_holds(struct wk_core *w, uint32_t shard, const char *text)
{
    struct pr_holds holds = {.shard = {shard}};
    struct pr_buffer packed;
    struct cm_error e;
    if (wk_is_served(w, shard)) {
        holds.first_image = w->held[shard].first_image;
        holds.images = w->held[shard].images;
    }
    snprintf(holds.text, sizeof holds.text, "%s", text);
    return wk_send_packed(w, pr_holds_pack(&holds, &packed, &e), &packed, &e);
}

/* Something changed: says so, or keeps it until we are welcomed. HELLO lists what is held, but a
 * second one, or one sent before the change, tells the coordinator nothing of it. */
static void tell(struct wk_core *w, uint32_t shard)
{
    if (w->link == WK_GREETING || (w->link == WK_READY && say_holds(w, shard, "")))
        w->places[shard].untold = true;
}

void wk_tell_places(struct wk_core *w)
{
    for (uint32_t i = 0; i < w->config.gallery.shards; i++) {
        if (!w->places[i].untold)
            continue;
        w->places[i].untold = false;
        tell(w, i);
    }
}

/* --- a shard goes ----------------------------------------------------------------------------- */

static void release(struct wk_core *w, uint32_t shard)
{
    cm_log(w->log, CM_LOG_INFO, "released", "shard=%u images=%" PRIu64, shard,
           w->held[shard].images);
    w->held[shard] = (struct wk_held){.shard = shard};
    w->places[shard].leaving = false;
    w->io.release(w->io.ctx, shard);
    tell(w, shard);
}

void wk_use_shard(struct wk_core *w, uint32_t shard)
{
    w->places[shard].uses++;
}

void wk_unuse_shard(struct wk_core *w, uint32_t shard)
{
    struct wk_place *place = &w->places[shard];
    CM_ASSERT(place->uses > 0);
    if (--place->uses == 0 && place->leaving)
        release(w, shard);
}

static void let_go(struct wk_core *w, uint32_t shard)
{
    struct wk_place *place = &w->places[shard];
    if (w->fetching && w->fetching_shard == shard) {
        w->fetching = false;
        w->io.abandon(w->io.ctx, true);
        cm_log(w->log, CM_LOG_INFO, "fetch_dropped", "shard=%u", shard);
        say_holds(w, shard, "");
    } else if (w->held[shard].images == 0) {
        say_holds(w, shard, "");
    } else if (!place->leaving) {
        place->leaving = true;
        if (place->uses == 0)
            release(w, shard);
    }
}

/* --- a shard comes ---------------------------------------------------------------------------- */

static void get(struct wk_core *w, uint32_t shard, const struct pr_sources *sources)
{
    char busy[64];
    if (w->held[shard].images > 0) {
        w->places[shard].leaving = false;
        say_holds(w, shard, "");
    } else if (!w->fetching) {
        w->fetching = true;
        w->fetching_shard = shard;
        cm_log(w->log, CM_LOG_INFO, "fetch", "shard=%u sources=%u", shard, sources->count);
        w->io.fetch(w->io.ctx, shard, sources);
    } else if (w->fetching_shard != shard) {
        snprintf(busy, sizeof busy, "busy getting shard %u", w->fetching_shard);
        say_holds(w, shard, busy);
    }
}

void wk_on_fetched(struct wk_core *w, const struct wk_held *held)
{
    CM_ASSERT(w->fetching && held->shard == w->fetching_shard && held->images > 0);
    w->fetching = false;
    w->held[held->shard] = *held;
    cm_log(w->log, CM_LOG_INFO, "fetched", "shard=%u images=%" PRIu64, held->shard, held->images);
    tell(w, held->shard);
}

void wk_on_fetch_failed(struct wk_core *w, const char *why)
{
    CM_ASSERT(w->fetching);
    w->fetching = false;
    cm_log(w->log, CM_LOG_WARN, "fetch_failed", "shard=%u msg=\"%s\"", w->fetching_shard, why);
    if (w->link == WK_READY) /* else whoever asked is gone, and asks anew */
        say_holds(w, w->fetching_shard, why);
}

void wk_abandon_fetch(struct wk_core *w)
{
    if (!w->fetching)
        return;
    w->fetching = false;
    w->io.abandon(w->io.ctx, false);
}

/* --- orders ----------------------------------------------------------------------------------- */

void wk_on_place(struct wk_core *w, struct cm_bytes header)
{
    struct pr_place m;
    struct cm_error e;
    if (pr_place_unpack(header, &m, &e)) {
        wk_on_garbage(w, e.text);
        return;
    }
    if (!w->config.placed || m.shard.v >= w->config.gallery.shards) {
        wk_on_garbage(w, w->config.placed ? "a PLACE of a shard that the gallery has not"
                                          : "a PLACE, although --shards says what is here");
        return;
    }
    if (w->link != WK_READY)
        return; /* on the way out, or not heard by who sent it: HELLO says what is here */
    if (m.epoch < w->place_epoch) {
        cm_log(w->log, CM_LOG_INFO, "stale_place", "shard=%u epoch=%" PRIu64 " seen=%" PRIu64,
               m.shard.v, m.epoch, w->place_epoch);
        return;
    }
    w->place_epoch = m.epoch;
    if (m.sources.count > 0)
        get(w, m.shard.v, &m.sources);
    else
        let_go(w, m.shard.v);
}

void wk_on_dismiss(struct wk_core *w, struct cm_bytes header)
{
    struct pr_control m;
    struct cm_error e;
    if (pr_control_unpack(header, PR_DISMISS, &m, &e)) {
        wk_on_garbage(w, e.text);
        return;
    }
    if (w->link != WK_READY)
        return;
    cm_log(w->log, CM_LOG_INFO, "dismissed", "pairs_scored=%" PRIu64, w->pairs_scored);
    wk_leave(w);
    w->io.dismissed(w->io.ctx);
}
