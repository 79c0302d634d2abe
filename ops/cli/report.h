/* report.h: an evaluation as one page of HTML that stands by itself: the figures, the CMC curve,
 * the distribution of AP, the hardest queries, and rankings as pictures. It loads nothing, runs no
 * script and may be mailed; names in it are text, whatever they hold. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "ops/cli/tables.h"
#include "ops/cli/thumbnails.h"
#include "proto/wire/hits.h"

/* How much a page shows. */
enum {
    CLI_REPORT_HARDEST = 20, /* queries in the table of the hardest */
    CLI_REPORT_TOP = 10,     /* images of a ranking */
};

/* One query whose ranking is shown. */
struct cli_report_ranking {
    uint64_t query;             /* its index in the evaluation */
    const struct pr_hits *hits; /* best first. Those that the protocol drops are passed over, and of
                                   the rest the first CLI_REPORT_TOP shown: ask for some more. */
};

/* All that a page shows. Nothing is owned. */
struct cli_report {
    struct cli_evaluation evaluation;
    const char *subtitle; /* a line under the title, such as model and precision; may be NULL */
    const struct cli_report_ranking *rankings; /* in the order in which they are shown */
    size_t rankings_count;
    const char *images; /* the folder that names are paths in; NULL: names stand for pictures */
};

/* The indices of the `count` queries of least AP, the least first and of equal ones the first;
 * fewer if there are fewer that count. Returns how many; `out` has room for `count`. */
size_t cli_hardest_queries(const struct cli_query_figures *figures, size_t queries, size_t count,
                           uint64_t *out);

/* Writes `dir`/index.html, whole or not at all, in place of what had that name; makes the folder if
 * it is not there. *counts says what became of the pictures; a missing one is no error. Errors:
 * CM_ENOMEM; CM_ENOENT (no folder to make `dir` in, or no folder `images`), CM_EUSAGE (`dir` is no
 * folder), and those of proto/file/output.h. */
enum cm_err cli_report_write(const struct cli_report *r, const char *dir,
                             struct cli_thumbnail_counts *counts, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
