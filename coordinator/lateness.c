/* lateness.c: which members are demoted, because they are slow or silent, and when that ends.
 *
 * A member is late an image of whose shares of queries takes three times as long as is usual, and
 * the shares too, smaller though they are for its being slow (plan.c gives it down to 9/16 of the
 * others'); usual is the median over the members. That may be its queue, where many have only him:
 * so he is not late while the images that he answers for (speed.h) come at three quarters of the
 * mean speed or more, and is if they come at less than half of it. What it did is forgotten then:
 * it keeps up again when CO_PACE_LEAST shares or more took one and a half times at the most. Until
 * then queries pass it over where they can, and it shows what it does by probes: about once a
 * second a query's share is sent to it besides (scatter.c). The answers to those only count here,
 * but for a shard that is corrupt. */
#include "coordinator/core.h"

#include <inttypes.h>
#include <stdlib.h>

/* How often members are set against each other, while answers come. */
#define JUDGE_NS UINT64_C(100000000)
/* Shares that take less are all alike: a scheduler's turn is as long, and nobody waits for that. */
#define SHARE_LEAST_NS 3e6
/* So long a probe is waited for at most: a query may have a day. */
#define PROBE_MAX_NS UINT64_C(30000000000)

/* So many times the usual is late, and is in time again; and one share is never taken for more than
 * OUTLIER, so that no single one condemns. */
#define LATE_IMAGE 3.0
#define LATE_SHARE (LATE_IMAGE / (CO_SPEED_MOST * CO_SPEED_MOST))
#define LATE_SPEED 2.0
#define IN_TIME    1.5
#define OUTLIER    10.0

void co_look_at_member(struct co_core *c, uint32_t member)
{
    uint64_t now = co_now(c);
    for (struct co_gather *g = c->open.head; g; g = g->next)
        for (uint32_t p = 0; p < g->parts_count && !g->evaluation; p++)
            if (g->parts[p].member == member && g->parts[p].open > 0)
                g->look_ns = now;
}

bool co_hear(struct co_core *c, uint32_t member)
{
    struct co_member *m = &c->members.slots[member];
    m->heard_ns = co_now(c);
    m->doubted_ns = 0;
    if (!m->silent)
        return false;
    m->silent = false;
    cm_log(c->log, CM_LOG_INFO, "worker_restored", "worker=%s why=\"heard\"", m->hello.node);
    return true;
}

void co_fall_silent(struct co_core *c, uint32_t member)
{
    struct co_member *m = &c->members.slots[member];
    m->silent = true;
    cm_log(c->log, CM_LOG_WARN, "worker_demoted", "worker=%s why=\"silent\" silent_ms=%" PRIu64,
           m->hello.node, (co_now(c) - m->heard_ns) / 1000000);
    co_look_at_member(c, member);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The lower one of an even number: of two members the slower can be late. */
static double median(double *values, uint32_t count)
{
    qsort(values, count, sizeof *values, by_value);
    return values[(count - 1) / 2];
}

/* Is a member behind by so many times, in a share and in an image? */
static bool is_behind(const struct co_core *c, const struct co_member *m, double share,
                      double image)
{
    return m->pace.share_ns > share * c->usual_share_ns &&
           m->pace.image_ns > image * c->usual_image_ns;
}

static void log_pace(const struct co_core *c, const struct co_member *m, enum cm_log_level level,
                     const char *event)
{
    cm_log(c->log, level, event, "worker=%s why=\"%s\" share_ms=%.1f usual_ms=%.1f", m->hello.node,
           m->late ? "late" : "keeps up", m->pace.share_ns / 1e6, c->usual_share_ns / 1e6);
}

static void demote(struct co_core *c, uint32_t member)
{
    struct co_member *m = &c->members.slots[member];
    m->late = true;
    log_pace(c, m, CM_LOG_WARN, "worker_demoted");
    m->pace = (struct co_pace){.shares = 0};
    co_look_at_member(c, member);
}

/* Looked at when a share has shown something new, and not whenever the others may have a bad
 * moment.
 */
static void restore_if_in_time(struct co_core *c, struct co_member *m)
{
    if (!m->late || !co_pace_known(&m->pace) || is_behind(c, m, IN_TIME, IN_TIME))
        return;
    m->late = false;
    m->latency = (struct co_latency){.total = 0};
    m->speed.images = m->speed.busy_ns = 0;
    log_pace(c, m, CM_LOG_INFO, "worker_restored");
}

struct co_speed co_all_speeds(const struct co_core *c, uint64_t now_ns)
{
    struct co_speed all = {.images = 0};
    for (uint32_t m = 0; m < c->members.end; m++)
        if (!c->members.slots[m].late)
            co_speed_sum(&all, &c->members.slots[m].speed, now_ns);
    return all;
}

static void demote_late(struct co_core *c)
{
    uint64_t now = co_now(c);
    struct co_speed all = co_all_speeds(c, now);
    for (uint32_t i = 0; i < c->members.end; i++) {
        const struct co_member *m = &c->members.slots[i];
        if (m->used && !m->late && co_pace_known(&m->pace) &&
            is_behind(c, m, LATE_SHARE, LATE_IMAGE) &&
            co_speed_shown(&m->speed, &all, co_owes(c, i), now) > LATE_SPEED)
            demote(c, i);
    }
}

void co_judge(struct co_core *c)
{
    double shares[CM_MEMBERS_MAX], images[CM_MEMBERS_MAX];
    uint32_t count = 0;
    uint64_t now = co_now(c);
    if (!c->config.demotes_late || now - c->judged_ns < JUDGE_NS)
        return;
    c->judged_ns = now;
    for (uint32_t i = 0; i < c->members.end; i++) {
        const struct co_member *m = &c->members.slots[i];
        if (!m->used || !co_pace_known(&m->pace))
            continue;
        shares[count] = m->pace.share_ns;
        images[count++] = m->pace.image_ns;
    }
    if (count < 2)
        return;
    c->usual_share_ns = median(shares, count);
    c->usual_image_ns = median(images, count);
    if (c->usual_share_ns < SHARE_LEAST_NS)
        c->usual_share_ns = SHARE_LEAST_NS;
    demote_late(c);
}

/* A share took so long, or longer. */
static void time_share(struct co_core *c, struct co_member *m, uint64_t took_ns, uint64_t images,
                       bool at_least)
{
    double share_ns = (double)took_ns, image_ns = (double)took_ns / (double)(images ? images : 1);
    if (c->usual_share_ns > 0 && share_ns > OUTLIER * c->usual_share_ns)
        share_ns = OUTLIER * c->usual_share_ns;
    if (c->usual_image_ns > 0 && image_ns > OUTLIER * c->usual_image_ns)
        image_ns = OUTLIER * c->usual_image_ns;
    /* Probes are few: each says more. */
    co_pace_add(&m->pace, share_ns, image_ns, m->late ? 1.0 / 4 : 1.0 / 16, at_least);
    restore_if_in_time(c, m);
}

void co_time_part(struct co_core *c, const struct co_gather *g, uint32_t part, bool answered,
                  bool over)
{
    const struct co_part *p = &g->parts[part];
    struct co_member *m = &c->members.slots[p->member];
    uint64_t took_ns = co_now(c) - p->sent_ns;
    if (g->evaluation)
        return;
    co_latency_add(&m->latency, took_ns);
    if (over && p->attempt == 0)
        time_share(c, m, took_ns, p->images, !answered);
}

bool co_take_probe(struct co_core *c, uint32_t member, const struct pr_result *result)
{
    struct co_member *m = &c->members.slots[member];
    struct co_probe *p = &m->probe;
    if (p->left == 0 || p->id.v != result->id.v)
        return false;
    for (size_t i = 0; i < result->shards_count; i++)
        p->images += result->shards[i].images_scored;
    p->left -= result->shards_count < p->left ? (uint32_t)result->shards_count : p->left;
    if (p->left > 0)
        return true;
    p->next_ns = p->sent_ns + CO_PROBE_NS;
    if (p->images > 0)
        time_share(c, m, co_now(c) - p->sent_ns, p->images, false);
    return true;
}

uint64_t co_probe_end_ns(const struct co_core *c, const struct co_gather *g)
{
    uint64_t most_ns = co_now(c) + PROBE_MAX_NS;
    return g->deadline_ns < most_ns ? g->deadline_ns : most_ns;
}

/* It would keep a credit of the worker's. No timer is set for it: the next heartbeat will do. */
void co_end_probes(struct co_core *c)
{
    for (uint32_t i = 0; i < c->members.end; i++) {
        struct co_member *m = &c->members.slots[i];
        if (!m->used || m->probe.left == 0 || co_now(c) < m->probe.next_ns)
            continue;
        m->probe.left = 0;
        (void)co_cancel(c, &m->peer, m->probe.id);
    }
}
