/* on_result.c: what a worker has scored of a query: checked, sifted, merged.
 *
 * A RESULT may be about several shards, with one ranking over all of them. Of those, some may have
 * their answer already, from another worker that was asked too: they are taken out first, with
 * their hits. That loses nothing, since all shards of such a RESULT are whole: who ranks below a
 * hit that is taken out ranks below the same hit in the answer. */
#include "coordinator/core.h"
#include "proto/wire/result.h"

#include <inttypes.h>

static bool is_in(const struct co_shard *s, uint64_t image)
{
    return image - s->first_image < s->images;
}

/* Is the image in one of the result's shards? They lie in ascending order in the gallery. */
static bool is_in_any(const struct co_core *c, const struct pr_result *r, uint64_t image)
{
    size_t low = 0, high = r->shards_count;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (c->map.shards[r->shards[middle].shard.v].first_image <= image)
            low = middle;
        else
            high = middle;
    }
    return is_in(&c->map.shards[r->shards[low].shard.v], image);
}

static enum cm_err check_shard(const struct co_core *c, const struct pr_scored *scored,
                               struct cm_error *e)
{
    if (scored->shard.v >= c->map.shards_count)
        return cm_fail(e, CM_EFORMAT, "a result for shard %u of %u", scored->shard.v,
                       c->map.shards_count);
    const struct co_shard *s = &c->map.shards[scored->shard.v];
    bool declined = scored->images == 0; /* the worker does not hold it: proto/wire/result.h */
    if (scored->images != s->images && !declined)
        return cm_fail(e, CM_EFORMAT, "a result over %" PRIu64 " images; shard %u has %" PRIu64,
                       scored->images, scored->shard.v, s->images);
    return CM_OK;
}

/* Checks a result's numbers against what its shards are known to hold. */
static enum cm_err check_result(const struct co_core *c, const struct pr_result *r,
                                struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (size_t i = 0; i < r->shards_count && !rc; i++)
        rc = check_shard(c, &r->shards[i], e);
    for (size_t i = 0; i < r->hits.count && !rc; i++)
        if (!is_in_any(c, r, r->hits.items[i].hit.image))
            rc = cm_fail(e, CM_EFORMAT, "a hit on image %" PRIu64 ", which is not in shard %u%s",
                         r->hits.items[i].hit.image, r->shards[0].shard.v,
                         r->shards_count > 1 ? " or the others" : "");
    return rc;
}

/* --- what counts of it ------------------------------------------------------------------------ */

/* A shard that this member did not score, though another might. */
static bool is_fault(enum pr_reason reason)
{
    return reason == PR_REASON_OVERLOAD || reason == PR_REASON_CORRUPT ||
           reason == PR_REASON_INTERNAL;
}

/* A shard that has its answer takes no other, but a whole one in place of one that is not: who
 * ranks below its hits in a shared ranking is missing without them. */
static bool is_wanted(const struct co_slot *slot, enum pr_reason reason)
{
    return !slot->closed || (slot->reason != PR_REASON_NONE && reason == PR_REASON_NONE);
}

/* Is it to be merged? If it was not scored, another member may be asked instead. */
static bool counts(struct co_core *c, struct co_gather *g, uint32_t member, uint32_t shard,
                   enum pr_reason reason)
{
    const struct co_slot *slot = &g->slots[shard];
    if (!is_wanted(slot, reason))
        return false;
    if (slot->closed)
        co_gather_reopen_slot(g, shard);
    return !is_fault(reason) || !co_retry_elsewhere(c, g, shard, member, reason);
}

/* Leaves the hits in the shards that are left. */
static void sift_hits(const struct co_core *c, struct pr_result *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->hits.count && r->shards_count > 0; i++)
        if (is_in_any(c, r, r->hits.items[i].hit.image))
            r->hits.items[kept++] = r->hits.items[i];
    r->hits.count = kept;
}

/* Was this member asked for all of it, under this id? */
static enum cm_err check_asked(const struct co_gather *g, uint32_t member,
                               const struct pr_result *r, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    bool wanted = false;
    for (size_t i = 0; i < r->shards_count && rc != CM_EMISMATCH; i++) {
        rc = co_gather_check_sender(g, r->shards[i].shard.v, member, r->id, e);
        wanted |= is_wanted(&g->slots[r->shards[i].shard.v], r->reason);
    }
    return rc == CM_EMISMATCH || !wanted ? rc : CM_OK;
}

/* Leaves in the result what counts of it; the other shards come to lie behind. */
static void sift(struct co_core *c, struct co_gather *g, uint32_t member, struct pr_result *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->shards_count; i++) {
        uint32_t shard = r->shards[i].shard.v;
        if (!counts(c, g, member, shard, r->reason))
            continue;
        struct pr_scored scored = r->shards[i];
        r->shards[i] = r->shards[kept];
        r->shards[kept++] = scored;
    }
    bool whole = kept == r->shards_count;
    r->shards_count = kept;
    if (!whole)
        sift_hits(c, r);
}

/* --- taking it in ----------------------------------------------------------------------------- */

/* A slot of a part has closed, after all of its message were noted. If it owes nothing any more,
 * its share is timed, once, and it is told to stop, should it be at something still. */
static void settle_part(struct co_core *c, struct co_gather *g, uint32_t part, bool answered)
{
    struct co_part *p = &g->parts[part];
    bool over = p->open == 0 && !p->settled;
    if (p->gone)
        return;
    p->settled |= over;
    co_time_part(c, g, part, answered, over);
    if (over && p->beaten)
        co_cancel_part(c, g, part);
}

/* A member's answer has closed a slot, and whoever else was asked for the shard is beaten. */
static void note_closed(struct co_core *c, struct co_gather *g, uint32_t shard, uint32_t member)
{
    const struct co_slot *slot = &g->slots[shard];
    uint32_t part = co_gather_part_of(g, shard, member);
    uint32_t rival = co_gather_rival_of(g, shard, part);
    g->parts[part].images -= slot->images - slot->images_scored;
    /* A whole answer is the last one: it wins once. */
    c->counters.hedges_won += slot->hedged && part == slot->second && !slot->reason;
    if (rival != CO_NO_PART)
        g->parts[rival].beaten = true;
}

static void settle_parts(struct co_core *c, struct co_gather *g, uint32_t shard, uint32_t member)
{
    uint32_t part = co_gather_part_of(g, shard, member);
    uint32_t rival = co_gather_rival_of(g, shard, part);
    settle_part(c, g, part, g->slots[shard].reason != PR_REASON_DEADLINE);
    if (rival != CO_NO_PART)
        settle_part(c, g, rival, false);
}

static enum cm_err merge_result(struct co_core *c, struct co_gather *g, uint32_t member,
                                struct pr_result *r, struct cm_error *e)
{
    enum cm_err rc = check_asked(g, member, r, e);
    if (rc)
        return rc;
    sift(c, g, member, r);
    rc = co_gather_on_result(g, c->members.slots[member].hello.numeric_class, r, e);
    for (size_t i = 0; i < r->shards_count; i++)
        note_closed(c, g, r->shards[i].shard.v, member);
    for (size_t i = 0; i < r->shards_count; i++)
        settle_parts(c, g, r->shards[i].shard.v, member);
    return rc;
}

static void take_result(struct co_core *c, uint32_t member, struct pr_result *r)
{
    struct cm_error e;
    const struct co_member *m = &c->members.slots[member];
    struct co_gather *g = co_find_open(c, r->id);
    enum cm_err rc = CM_ENOENT;
    if (g && g->evaluation)
        g = NULL; /* that is no query */
    if (g) {
        uint64_t start = co_now(c);
        rc = merge_result(c, g, member, r, &e);
        g->timings.merge_us += (co_now(c) - start) / 1000;
    } else {
        cm_fail(&e, CM_ENOENT, "query %" PRIu64 " is over", r->id.v);
    }
    uint64_t missed; /* who comes second in a race is no news */
    if (rc && cm_log_rate_pass(&c->late_rate, co_now(c), CO_LOG_PERIOD_NS, &missed))
        cm_log(c->log, CM_LOG_DEBUG, "result_dropped", "worker=%s msg=\"%s\" unreported=%" PRIu64,
               m->hello.node, e.text, missed);
    if (g)
        co_finish_if_complete(c, g);
    co_release_leaver(c, member);
}

void co_on_result(struct co_core *c, uint32_t member, struct cm_bytes header)
{
    struct pr_result r;
    struct cm_error e;
    enum cm_err rc = pr_result_unpack(header, &r, &e);
    if (!rc)
        rc = check_result(c, &r, &e);
    if (rc) {
        co_on_garbage(c, &c->members.slots[member].peer, e.text);
    } else {
        co_judge(c); /* before: of several that come at once the first would seem to be all */
        size_t count = r.shards_count; /* sifted, it may have fewer */
        uint64_t images = 0;
        for (size_t i = 0; i < count; i++)
            images += r.shards[i].images_scored;
        co_speed_add(&c->members.slots[member].speed, images, co_now(c));
        if (!co_take_probe(c, member, &r))
            take_result(c, member, &r);
        for (size_t i = 0; i < count && r.reason == PR_REASON_CORRUPT; i++)
            if (c->members.slots[member].used)
                co_distrust(c, member, r.shards[i].shard.v);
        co_scatter_waiting(c);
    }
    pr_result_fini(&r);
}
