/* report_style.h: how the page of report.h looks. */
#ifndef CLI_REPORT_STYLE_H
#define CLI_REPORT_STYLE_H

/* The style sheet: light and dark, from a phone to a desk. Static storage. */
const char *cli_report_style(void);

#endif
