/* plan.h: who is to be asked for which shard, in one attempt. For scatter.c; pure. */
#ifndef CO_PLAN_H
#define CO_PLAN_H

#include "coordinator/core.h"

/* In place of a member: the slot needs none, or waits for credit. */
enum { CO_NOT_NOW = UINT32_MAX - 1 };

/* What an attempt is for. */
enum co_purpose {
    CO_FOR_ALL,      /* of a gather that waits */
    CO_FOR_HOMELESS, /* slots of an open one */
    CO_FOR_LATE,     /* slots whose answer is late: second members */
};

struct co_plan {
    enum co_purpose purpose;
    uint64_t now_ns; /* one moment for all of it: what is late is counted first, and then chosen */
    bool evaluation;
    uint32_t load[CM_MEMBERS_MAX];    /* searches that each member has now */
    uint64_t images[CM_MEMBERS_MAX];  /* that each has not answered for, this plan's counted in */
    double cost[CM_MEMBERS_MAX];      /* of an image, to each: co_speed_cost */
    uint32_t part_of[CM_MEMBERS_MAX]; /* its part in this query; CO_NO_PART for none */
    uint32_t members[CM_MEMBERS_MAX]; /* [parts]: the other way round */
    uint32_t parts;
    uint32_t unreachable[CM_MEMBERS_MAX]; /* [unreachable_count]: members that are not connected */
    uint32_t unreachable_count;
    uint32_t *chosen; /* [shards]: the member asked, CO_NO_MEMBER if nobody can be, or CO_NOT_NOW */
    struct cm_shard_id *list; /* room for one part's shards */
};

/* Fills in the plan. Slots that need nobody, or have to wait for credit, are CO_NOT_NOW; of
 * CO_FOR_LATE also those for which there is nobody, or no room in the budget. False if a worker
 * that is needed has no credit left, and the purpose wants all. */
bool co_plan_make(const struct co_core *c, const struct co_gather *g, enum co_purpose purpose,
                  struct co_plan *plan);

#endif
