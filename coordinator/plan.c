/* plan.c: see plan.h. */
#include "coordinator/plan.h"

#include "common/assert.h"

#include <string.h>

/* So often is chosen again for each shard. Of eight workers, the shards of each of whom the next
 * one has too, the one with the most has a quarter more than its share by the first choice, and
 * three hundredths more by the last. */
enum { CHOICES_MORE = 3 };

static void count_costs(const struct co_core *c, struct co_plan *plan)
{
    struct co_speed all = co_all_speeds(c, plan->now_ns);
    for (uint32_t m = 0; m < c->members.end; m++)
        plan->cost[m] = co_speed_cost(&c->members.slots[m].speed, &all, plan->now_ns);
}

static void count_load(const struct co_core *c, struct co_plan *plan)
{
    memset(plan->load, 0, sizeof plan->load);
    memset(plan->images, 0, sizeof plan->images);
    for (uint32_t m = 0; m < c->members.end; m++)
        plan->load[m] = c->members.slots[m].probe.left > 0;
    for (const struct co_gather *g = c->open.head; g; g = g->next)
        for (uint32_t p = 0; p < g->parts_count; p++) {
            plan->load[g->parts[p].member] += g->parts[p].open > 0;
            plan->images[g->parts[p].member] += g->parts[p].images_left;
        }
}

/* Searches that a member may have at a time for one more of this plan's kind. */
static uint32_t credits_of(const struct co_member *m, const struct co_plan *plan)
{
    uint32_t kept_back = m->hello.credits / 4;
    return plan->evaluation ? m->hello.credits - kept_back : m->hello.credits;
}

/* An evaluation waits for all its work anyway, and a slow worker does some of that. */
static bool is_passed_over(const struct co_member *m, const struct co_plan *plan)
{
    return plan->evaluation ? m->silent : co_member_is_demoted(m);
}

/* What a member has to do until it is done with this shard too. */
static double done_after(const struct co_plan *plan, uint32_t m, const struct co_shard *s)
{
    return (double)(plan->images[m] + s->images) * plan->cost[m];
}

/* Of the holders that are passed over, or of those that are not: the one with the least to do, what
 * this plan has given it counted in, so that one query spreads over replicas too. CO_NO_MEMBER if
 * none has credit; *held says whether there are any. */
static uint32_t best_holder(const struct co_core *c, const struct co_shard *s,
                            const struct co_plan *plan, const uint32_t avoid[2], bool demoted,
                            bool *held)
{
    uint32_t best = CO_NO_MEMBER;
    for (uint32_t h = 0; h < s->holders_count; h++) {
        uint32_t m = s->holders[h];
        const struct co_member *member = &c->members.slots[m];
        if (member->state != PR_MEMBER_READY || m == avoid[0] || m == avoid[1] ||
            is_passed_over(member, plan) != demoted)
            continue;
        *held = true;
        if (plan->load[m] < credits_of(member, plan) &&
            (best == CO_NO_MEMBER || done_after(plan, m, s) < done_after(plan, best, s)))
            best = m;
    }
    return best;
}

/* Whom to ask for a shard: never the members in `avoid`, and one that is passed over only as a
 * first one, where there is no other. CO_NO_MEMBER if nobody who stays holds it, or nobody has
 * credit: then *wait is set. */
static uint32_t choose_holder(const struct co_core *c, const struct co_shard *s,
                              const struct co_plan *plan, const uint32_t avoid[2], bool *wait)
{
    bool held = false;
    uint32_t best = best_holder(c, s, plan, avoid, false, &held);
    if (!held && plan->purpose != CO_FOR_LATE)
        best = best_holder(c, s, plan, avoid, true, &held);
    *wait = held && best == CO_NO_MEMBER;
    return best;
}

/* A query gets all the hedges that it needs now or none: it waits for its last shard. */
static bool can_hedge(const struct co_core *c, const struct co_gather *g, uint64_t now_ns)
{
    uint32_t hedges = 0;
    for (uint32_t s = 0; s < g->slots_count; s++)
        hedges += co_slot_due_ns(c, g, s) <= now_ns && co_is_hedge(c, g, s);
    return hedges <= c->hedge_room / CO_HEDGE_COST;
}

static bool needs_one(const struct co_core *c, const struct co_gather *g, uint32_t s,
                      const struct co_plan *plan, bool hedges)
{
    if (plan->purpose == CO_FOR_LATE)
        return co_slot_due_ns(c, g, s) <= plan->now_ns && (hedges || !co_is_hedge(c, g, s));
    return plan->purpose == CO_FOR_ALL || g->slots[s].homeless;
}

static void clear(const struct co_core *c, const struct co_gather *g, enum co_purpose purpose,
                  struct co_plan *plan)
{
    plan->purpose = purpose;
    plan->now_ns = co_now(c);
    count_load(c, plan);
    count_costs(c, plan);
    plan->evaluation = g->evaluation != NULL;
    plan->parts = 0;
    plan->unreachable_count = 0;
    for (uint32_t m = 0; m < CM_MEMBERS_MAX; m++)
        plan->part_of[m] = CO_NO_PART;
}

/* Chooses for a shard. False if it is needed, and has to wait for credit. */
static bool choose(const struct co_core *c, const struct co_gather *g, uint32_t s,
                   struct co_plan *plan)
{
    bool wait;
    uint32_t avoid[2] = {CO_NO_MEMBER, CO_NO_MEMBER};
    if (g->slots)
        avoid[0] = g->slots[s].avoid;
    if (g->slots && g->slots[s].part != CO_NO_PART)
        avoid[1] = g->parts[g->slots[s].part].member;
    uint32_t member = choose_holder(c, &c->map.shards[s], plan, avoid, &wait);
    if (wait || (member == CO_NO_MEMBER && plan->purpose == CO_FOR_LATE))
        return !wait;
    plan->chosen[s] = member;
    if (member != CO_NO_MEMBER)
        plan->images[member] += c->map.shards[s].images;
    return true;
}

/* Chooses once more for each, now that it shows what the others were given: the first ones were
 * given as if there were no others. Who could be asked then can be asked now. False if nothing
 * changed. */
static bool choose_again(const struct co_core *c, const struct co_gather *g, struct co_plan *plan)
{
    bool changed = false;
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        uint32_t before = plan->chosen[s];
        if (before == CO_NOT_NOW || before == CO_NO_MEMBER)
            continue;
        plan->images[before] -= c->map.shards[s].images;
        bool chosen = choose(c, g, s, plan);
        CM_ASSERT(chosen);
        changed |= plan->chosen[s] != before;
    }
    return changed;
}

static void list_parts(const struct co_core *c, struct co_plan *plan)
{
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        uint32_t member = plan->chosen[s];
        if (member == CO_NOT_NOW || member == CO_NO_MEMBER || plan->part_of[member] != CO_NO_PART)
            continue;
        plan->members[plan->parts] = member;
        plan->part_of[member] = plan->parts++;
    }
}

bool co_plan_make(const struct co_core *c, const struct co_gather *g, enum co_purpose purpose,
                  struct co_plan *plan)
{
    clear(c, g, purpose, plan);
    bool hedges = purpose == CO_FOR_LATE && can_hedge(c, g, plan->now_ns);
    for (uint32_t s = 0; s < c->map.shards_count; s++) {
        plan->chosen[s] = CO_NOT_NOW;
        if (needs_one(c, g, s, plan, hedges) && !choose(c, g, s, plan) && purpose == CO_FOR_ALL)
            return false;
    }
    for (int i = 0; i < CHOICES_MORE && choose_again(c, g, plan); i++) {
    }
    list_parts(c, plan);
    return true;
}
