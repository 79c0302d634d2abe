/* html.h: text from outside within a page of HTML. Pure but for the stream. */
#ifndef CLI_HTML_H
#define CLI_HTML_H

#include <stddef.h>
#include <stdio.h>

/* Prints a text so that it is nothing but text, between tags or within a quoted attribute. Control
 * characters come out as '?', and so does all above 127 where the whole is not UTF-8. */
void cli_html_text(const char *text, FILE *out);

/* Prints a path as a relative URL: what is neither plain nor '/' is percent-encoded. */
void cli_html_url(const char *path, FILE *out);

/* Prints bytes in base64. */
void cli_html_base64(const unsigned char *data, size_t size, FILE *out);

#endif
