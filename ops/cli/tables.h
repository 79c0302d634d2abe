/* tables.h: what an evaluation found, as the table that papers print, as CSV and as JSON. */
#ifndef CLI_TABLES_H
#define CLI_TABLES_H

#include "common/types.h"
#include "ops/cli/metrics.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* One evaluation. Nothing is owned. */
struct cli_evaluation {
    const char *train, *test; /* names of what the model learned from and of what was searched; may
                                 be NULL */
    const struct cli_summary *summary;       /* of a set with a valid query */
    const struct cli_query_figures *figures; /* [summary->queries] */
    const struct cm_image_meta *labels;      /* [summary->queries]: names are UTF-8 without control
                                                characters, else whatever they like */
    bool trapezoid;                          /* show mAP by trapezoids too */
    double ms_per_query;                     /* time a query took; negative: not known */
};

/* One sentence that says how the figures are defined. Static storage. */
const char *cli_definitions(bool trapezoid);

/* "train -> test", or what there is of it, in `out`, cut to `room`. Returns `out`. */
char *cli_evaluation_name(const struct cli_evaluation *v, char *out, size_t room);

/* Prints the pipe table, in per cent, and under it what was dropped and how it is defined. */
void cli_table_print(const struct cli_evaluation *v, FILE *out);

/* Writes a row of CSV for each query, in their order, under a header:
 *
 *     query,name,pid,camid,ap,ap_trapezoid,first_hit,positives,inp
 *
 * `query` counts from 0, `first_hit` is a rank and counts from 1; ap_trapezoid is there if
 * `trapezoid` is. Reals read back as themselves. A query that does not count has empty figures and
 * 0 positives. RFC 4180, with LF. The file appears whole or not at all. Errors: CM_ENOMEM, and
 * those of proto/file/output.h. */
enum cm_err cli_queries_csv(const struct cli_evaluation *v, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The object that `eval --json` promises: rank1, rank5, rank10, rank20, mAP, mAP_trapezoid (if
 * asked), mINP, as parts of 1; then the counts of struct cli_summary by their names, and
 * `definitions`. Print it with cli_print_json_exact. NULL for want of memory. */
json_t *cli_summary_json(const struct cli_summary *s, bool trapezoid);

#endif
