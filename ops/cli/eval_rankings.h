/* eval_rankings.h: the rankings that a report of an evaluation shows: of the hardest queries, and
 * of some others. Main thread only. */
#ifndef CLI_EVAL_RANKINGS_H
#define CLI_EVAL_RANKINGS_H

#include "common/err.h"
#include "ops/cli/client.h"
#include "ops/cli/eval_run.h"
#include "ops/cli/report.h"

/* Queries whose rankings are shown. */
enum { CLI_RANKINGS_MAX = 12, CLI_RANKINGS_HARDEST = 8 };

struct cli_eval_rankings {
    struct cli_report_ranking items[CLI_RANKINGS_MAX]; /* [count] */
    struct pr_answer answers[CLI_RANKINGS_MAX];        /* items' hits point here */
    size_t count;
    size_t skipped; /* chosen, but the cluster could not rank the whole gallery for them */
};

/* Searches for the hardest queries first, then for others spread over the set. One that the cluster
 * cannot answer whole within some tries is skipped: pictures are no reason to fail. Errors: those
 * of reading queries; CM_EBUSY (Ctrl-C); CM_ENOMEM. Release in any case. */
enum cm_err cli_eval_rankings_fetch(struct cli_eval_rankings *r, const struct cli_eval *v,
                                    struct cm_error *e) __attribute__((warn_unused_result));
/* Leaves it zeroed; a zeroed one is fine. */
void cli_eval_rankings_fini(struct cli_eval_rankings *r);

#endif
