/* npy_header.c: see npy_header.h. */
#include "proto/file/npy_header.h"

#include "common/limits.h"
#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char magic[] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};
enum { VERSION_AT = sizeof magic, LENGTH_AT = VERSION_AT + 2 };

/* --- the dictionary ----------------------------------------------------------------------------
 */

struct cursor {
    const char *begin, *p, *end;
};

static enum cm_err not_numpy(const struct cursor *c, const char *expected, struct cm_error *e)
{
    return cm_fail(e, CM_EFORMAT, "the header is not as NumPy writes it: expected %s at byte %zu",
                   expected, (size_t)(c->p - c->begin));
}

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\n'))
        c->p++;
}

/* Steps over `word`, and the space before it, if it is next. */
static bool take(struct cursor *c, const char *word)
{
    skip_space(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0)
        return false;
    c->p += n;
    return true;
}

/* A string in single or double quotes, without escapes, that fits `out`. */
static enum cm_err take_string(struct cursor *c, char *out, size_t capacity, struct cm_error *e)
{
    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"'))
        return not_numpy(c, "a quoted text", e);
    char quote = *c->p++;
    size_t n = 0;
    for (; c->p < c->end && *c->p != quote; c->p++) {
        if (*c->p == '\\' || *c->p < 0x20 || n + 1 == capacity)
            return not_numpy(c, "a short, plain text", e);
        out[n++] = *c->p;
    }
    if (c->p == c->end)
        return not_numpy(c, "the end of a quoted text", e);
    c->p++;
    out[n] = '\0';
    return CM_OK;
}

static enum cm_err take_descr(struct cursor *c, struct pr_npy_header *h, struct cm_error *e)
{
    skip_space(c);
    if (c->p < c->end && *c->p == '[')
        return cm_fail(e, CM_EFORMAT,
                       "holds records (a structured dtype); save one plain float32 array");
    return take_string(c, h->descr, sizeof h->descr, e);
}

static enum cm_err take_order(struct cursor *c, struct pr_npy_header *h, struct cm_error *e)
{
    h->fortran_order = take(c, "True");
    if (!h->fortran_order && !take(c, "False"))
        return not_numpy(c, "True or False", e);
    return CM_OK;
}

static enum cm_err take_size(struct cursor *c, uint64_t *out, struct cm_error *e)
{
    skip_space(c);
    if (c->p == c->end || *c->p < '0' || *c->p > '9')
        return not_numpy(c, "a size of the shape", e);
    uint64_t value = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*c->p - '0'), &value))
            return cm_fail(e, CM_ELIMIT, "a size of the shape does not fit 64 bits");
    *out = value;
    return CM_OK;
}

/* "()", "(5,)", "(5, 3)", "(5, 3,)". */
static enum cm_err take_shape(struct cursor *c, struct pr_npy_header *h, struct cm_error *e)
{
    if (!take(c, "("))
        return not_numpy(c, "a shape in parentheses", e);
    while (!take(c, ")")) {
        if (h->rank == PR_NPY_RANK_MAX)
            return cm_fail(e, CM_ELIMIT, "the shape has more than %d sizes", PR_NPY_RANK_MAX);
        enum cm_err rc = take_size(c, &h->dims[h->rank++], e);
        if (rc)
            return rc;
        if (!take(c, ",") && (h->rank == 1 || c->p == c->end || *c->p != ')'))
            return not_numpy(c, "a comma in the shape", e); /* "(5)" is no tuple in Python */
    }
    return CM_OK;
}

struct key {
    const char *name;
    enum cm_err (*take_value)(struct cursor *c, struct pr_npy_header *h, struct cm_error *e);
};

static const struct key keys[] = {
    {"descr", take_descr},
    {"fortran_order", take_order},
    {"shape", take_shape},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static enum cm_err take_entry(struct cursor *c, struct pr_npy_header *h, unsigned *seen,
                              struct cm_error *e)
{
    char name[32];
    enum cm_err rc = take_string(c, name, sizeof name, e);
    if (rc)
        return rc;
    size_t k = 0;
    while (k < KEYS && strcmp(keys[k].name, name) != 0)
        k++;
    if (k == KEYS || (*seen & 1u << k))
        return cm_fail(e, CM_EFORMAT, "the header has %s '%s'",
                       k == KEYS ? "the unknown key" : "twice the key", name);
    *seen |= 1u << k;
    if (!take(c, ":"))
        return not_numpy(c, "a colon", e);
    return keys[k].take_value(c, h, e);
}

enum cm_err pr_npy_header_parse(struct pr_npy_header *out, const char *text, size_t size,
                                struct cm_error *e)
{
    struct cursor c = {text, text, text + size};
    unsigned seen = 0;
    *out = (struct pr_npy_header){0};
    if (!take(&c, "{"))
        return not_numpy(&c, "a dictionary", e);
    while (!take(&c, "}")) {
        enum cm_err rc = take_entry(&c, out, &seen, e);
        if (rc)
            return rc;
        if (!take(&c, ",") && (c.p == c.end || *c.p != '}'))
            return not_numpy(&c, "a comma", e);
    }
    for (size_t k = 0; k < KEYS; k++)
        if (!(seen & 1u << k))
            return cm_fail(e, CM_EFORMAT, "the header lacks the key '%s'", keys[k].name);
    skip_space(&c);
    return c.p == c.end ? CM_OK : not_numpy(&c, "nothing but padding", e);
}

/* --- the bytes around it -----------------------------------------------------------------------
 */

static enum cm_err cut_short(struct cm_error *e)
{
    return cm_fail(e, CM_EFORMAT, "is cut short within its header; copy or save it again");
}

static enum cm_err check_version(const unsigned char *preamble, struct cm_error *e)
{
    unsigned major = preamble[VERSION_AT], minor = preamble[VERSION_AT + 1];
    if (major < 1 || major > 3 || minor != 0)
        return cm_fail(e, CM_EVERSION, "is .npy version %u.%u; versions 1.0 to 3.0 are read", major,
                       minor);
    return CM_OK;
}

/* Checks magic and version, and stops where the dictionary begins; *size is its bytes. */
static enum cm_err read_preamble(struct pr_input *in, size_t *size, struct cm_error *e)
{
    unsigned char b[LENGTH_AT + 4] = {0};
    size_t want = LENGTH_AT + 2, n, more = 0; /* version 1.0's; later ones have two bytes more */
    enum cm_err rc = pr_input_next(in, b, want, &n, e);
    if (rc)
        return rc;
    if (n == 0)
        return cm_fail(e, CM_EFORMAT, "is empty");
    if (n < sizeof magic || memcmp(b, magic, sizeof magic) != 0)
        return cm_fail(e, CM_EFORMAT, "is not a .npy file; write it with np.save");
    if (n > VERSION_AT + 1)
        rc = check_version(b, e);
    if (!rc && n == want && b[VERSION_AT] > 1) {
        rc = pr_input_next(in, b + want, 2, &more, e);
        want += 2;
    }
    if (rc)
        return rc;
    if (n + more < want)
        return cut_short(e);
    *size = (size_t)b[LENGTH_AT] | (size_t)b[LENGTH_AT + 1] << 8 | (size_t)b[LENGTH_AT + 2] << 16 |
            (size_t)b[LENGTH_AT + 3] << 24;
    if (*size > CM_NPY_HEADER_MAX)
        return cm_fail(e, CM_ELIMIT, "its header takes %zu bytes; at most %u are supported", *size,
                       CM_NPY_HEADER_MAX);
    return CM_OK;
}

enum cm_err pr_npy_header_read(struct pr_npy_header *out, struct pr_input *in, struct cm_error *e)
{
    size_t size = 0, got = 0;
    enum cm_err rc = read_preamble(in, &size, e);
    if (rc)
        return rc;
    void *text;
    rc = cm_new(&text, size, 1, e);
    if (!rc)
        rc = pr_input_next(in, text, size, &got, e);
    if (!rc && got < size)
        rc = cut_short(e);
    if (!rc)
        rc = pr_npy_header_parse(out, text, size, e);
    out->data_offset = in->at;
    free(text);
    return rc;
}

char *pr_npy_shape_text(const struct pr_npy_header *h, char out[PR_NPY_SHAPE_TEXT_BYTES])
{
    size_t n = (size_t)snprintf(out, PR_NPY_SHAPE_TEXT_BYTES, "(");
    for (uint32_t i = 0; i < h->rank && n < PR_NPY_SHAPE_TEXT_BYTES; i++)
        n += (size_t)snprintf(out + n, PR_NPY_SHAPE_TEXT_BYTES - n, "%s%llu", i ? ", " : "",
                              (unsigned long long)h->dims[i]);
    if (n < PR_NPY_SHAPE_TEXT_BYTES)
        snprintf(out + n, PR_NPY_SHAPE_TEXT_BYTES - n, h->rank == 1 ? ",)" : ")");
    return out;
}

void pr_npy_matrix_header(uint64_t rows, uint64_t columns, char out[PR_NPY_MATRIX_HEADER_BYTES])
{
    enum { DICTIONARY_AT = LENGTH_AT + 2, DICTIONARY = PR_NPY_MATRIX_HEADER_BYTES - DICTIONARY_AT };
    char text[DICTIONARY];
    int n = snprintf(text, sizeof text,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%llu, %llu), }",
                     (unsigned long long)rows, (unsigned long long)columns);
    memset(out, ' ', PR_NPY_MATRIX_HEADER_BYTES);
    memcpy(out, magic, sizeof magic);
    out[VERSION_AT] = 1;
    out[VERSION_AT + 1] = 0;
    out[LENGTH_AT] = DICTIONARY;
    out[LENGTH_AT + 1] = 0;
    memcpy(out + DICTIONARY_AT, text, (size_t)n); /* at most 101 of 118 bytes */
    out[PR_NPY_MATRIX_HEADER_BYTES - 1] = '\n';
}
