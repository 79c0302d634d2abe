/* work.h: what a worker did with its time, in HEARTBEAT and in STATUS. Pure; any thread. */
#ifndef PR_WORK_H
#define PR_WORK_H

#include <stdint.h>

/* Since it started. One block scored for one query counts as one block, whatever became of it. */
struct pr_work {
    uint64_t blocks_scored;
    uint64_t blocks_late; /* of them, those begun after their search was cancelled or expired */
    uint64_t cancelled;   /* searches and evaluations that ended because nobody waited any more */
    uint64_t expired;     /* searches that ended because their time was over */
};

#endif
