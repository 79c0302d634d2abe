/* html.c: see html.h. */
#include "ops/cli/html.h"

#include "common/text.h"

#include <stdbool.h>
#include <string.h>

static void put_character(unsigned char c, bool utf8, FILE *out)
{
    switch (c) {
    case '&':
        fputs("&amp;", out);
        break;
    case '<':
        fputs("&lt;", out);
        break;
    case '>':
        fputs("&gt;", out);
        break;
    case '"':
        fputs("&quot;", out);
        break;
    case '\'':
        fputs("&#39;", out);
        break;
    default:
        fputc(c < 0x20 || c == 0x7f || (c > 0x7f && !utf8) ? '?' : c, out);
    }
}

void cli_html_text(const char *text, FILE *out)
{
    bool utf8 = cm_is_utf8(text, strlen(text));
    for (const char *p = text; *p; p++)
        put_character((unsigned char)*p, utf8, out);
}

void cli_html_url(const char *path, FILE *out)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
    for (const char *p = path; *p; p++) {
        if (strchr(plain, *p))
            fputc(*p, out);
        else
            fprintf(out, "%%%02X", (unsigned char)*p);
    }
}

void cli_html_base64(const unsigned char *data, size_t size, FILE *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        unsigned bits = (unsigned)data[i] << 16;
        bits |= i + 1 < size ? (unsigned)data[i + 1] << 8 : 0;
        bits |= i + 2 < size ? data[i + 2] : 0;
        fputc(digits[bits >> 18], out);
        fputc(digits[bits >> 12 & 63], out);
        fputc(i + 1 < size ? digits[bits >> 6 & 63] : '=', out);
        fputc(i + 2 < size ? digits[bits & 63] : '=', out);
    }
}
