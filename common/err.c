/* err.c: see err.h. */
#include "common/err.h"

#include "common/assert.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *cm_err_text(enum cm_err code)
{
    switch (code) {
#define CM_ERR_CASE(name, text) \
    case CM_##name:             \
        return text;
        CM_ERR_MAP(CM_ERR_CASE)
#undef CM_ERR_CASE
    }
    return "unknown error";
}

/* A sentence may quote a peer or a file: keep it one printable line. */
static void make_one_line(char *text)
{
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
}

/* Puts as much of two more pieces as there is room for behind `text`, a cm_error's. */
static void append(char *text, const char *first, const char *second)
{
    const char *pieces[] = {first, second};
    for (int i = 0; i < 2; i++) {
        size_t n = strlen(text), more = strnlen(pieces[i], CM_ERROR_TEXT_BYTES - 1 - n);
        memcpy(text + n, pieces[i], more);
        text[n + more] = '\0';
    }
}

enum cm_err cm_fail(struct cm_error *e, enum cm_err code, const char *fmt, ...)
{
    CM_ASSERT(code != CM_OK);
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    make_one_line(e->text);
    e->code = code;
    return code;
}

static enum cm_err code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
        return CM_ENOENT;
    case EEXIST:
    case ENOTEMPTY:
        return CM_EEXIST;
    case ENOMEM:
        return CM_ENOMEM;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return CM_ENOSPC;
    case ETIMEDOUT:
        return CM_ETIMEOUT;
    default:
        return CM_EIO;
    }
}

enum cm_err cm_fail_errno(struct cm_error *e, int errnum, const char *fmt, ...)
{
    enum cm_err code = code_of_errno(errnum);
    if (!e)
        return code;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    char buf[128];
    if (n >= 0)
        append(e->text, ": ", strerror_r(errnum, buf, sizeof buf));
    make_one_line(e->text);
    e->code = code;
    return code;
}

enum cm_err cm_wrap(struct cm_error *e, enum cm_err code, const char *fmt, ...)
{
    CM_ASSERT(code != CM_OK);
    if (!e)
        return code;
    char inner[CM_ERROR_TEXT_BYTES];
    memcpy(inner, e->text, sizeof inner);
    inner[sizeof inner - 1] = '\0';
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    if (n >= 0)
        append(e->text, ": ", inner);
    make_one_line(e->text);
    e->code = code;
    return code;
}
