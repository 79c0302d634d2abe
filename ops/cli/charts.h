/* charts.h: the figures of an evaluation as inline SVG. The page's style sheet gives the classes
 * their colours (report_style.c). Pure but for the stream. */
#ifndef CLI_CHARTS_H
#define CLI_CHARTS_H

#include "ops/cli/metrics.h"

#include <stddef.h>
#include <stdio.h>

/* The CMC curve over ranks 1..CLI_CMC_RANKS, with Rank-1, 5, 10 and 20 written at it. */
void cli_chart_cmc(const struct cli_summary *s, FILE *out);

/* How many queries have which AP, in twentieths, and where the mean lies. Queries that do not count
 * are left out. */
void cli_chart_ap(const struct cli_summary *s, const struct cli_query_figures *figures, FILE *out);

#endif
