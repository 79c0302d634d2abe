/* csv.c: see csv.h.
 *
 * libcsv takes bytes and calls back for every field and row, and its buffer grows with the field.
 * So it is fed no further than the next line end at a time: each step then completes one row at the
 * most, the line number is known, and a row over its limit is refused before libcsv sees it. */
#include "proto/file/csv.h"

#include "common/limits.h"
#include "common/mem.h"
#include "common/text.h"

#include <csv.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum column { NAME, PID, CAMID, TIMESTAMP, COLUMNS };
static const char *const column_names[COLUMNS] = {"name", "pid", "camid", "timestamp"};

enum { CHUNK_BYTES = 16 << 10, HEADER_TEXT_BYTES = 200 };

#define NO_FIELD SIZE_MAX

/* One field that is kept. Text longer than any allowed is cut, `size` is what it had. */
struct field {
    size_t size;
    char text[CM_NAME_BYTES_MAX + 1];
};

struct pr_csv {
    char *path;
    int fd;
    enum pr_names names;
    struct csv_parser parser;

    char chunk[CHUNK_BYTES]; /* bytes position .. filled-1 are not parsed yet */
    size_t position, filled;
    uint64_t line;     /* of the next byte, from 1 */
    uint64_t row_line; /* where the present row began */
    size_t row_bytes;  /* of the present row so far; 0 between rows */
    bool after_cr;

    size_t column_at[COLUMNS]; /* each column's place in a row, or NO_FIELD */
    size_t header_fields;
    bool header_done;
    char header_text[HEADER_TEXT_BYTES]; /* for errors; cut */
    const char *column_twice;            /* a column that the header names twice, or NULL */

    size_t row_fields; /* completed fields of the present row */
    bool row_done;
    bool row_waits; /* the first row was no header, and is still to be handed out */
    struct field fields[COLUMNS];
};

/* --- what libcsv calls -------------------------------------------------------------------------
 */

static void keep(struct field *f, const char *text, size_t size)
{
    size_t kept = size < sizeof f->text ? size : sizeof f->text - 1;
    if (kept > 0)
        memcpy(f->text, text, kept);
    f->text[kept] = '\0';
    f->size = size;
}

static void append_header_text(struct pr_csv *r, const char *text, size_t size)
{
    size_t have = strlen(r->header_text);
    size_t room = sizeof r->header_text - 1 - have;
    if (r->row_fields > 0 && room > 0) {
        r->header_text[have++] = ',';
        room--;
    }
    size_t kept = size < room ? size : room;
    if (kept > 0)
        memcpy(r->header_text + have, text, kept);
    r->header_text[have + kept] = '\0';
}

static void take_header_field(struct pr_csv *r, const char *text, size_t size)
{
    append_header_text(r, text, size);
    if (r->row_fields == 0)
        keep(&r->fields[NAME], text, size); /* should it turn out to be a list */
    for (size_t c = 0; c < COLUMNS; c++) {
        if (strlen(column_names[c]) != size || memcmp(column_names[c], text, size) != 0)
            continue;
        if (r->column_at[c] != NO_FIELD)
            r->column_twice = column_names[c];
        r->column_at[c] = r->row_fields;
    }
}

static void on_field(void *text, size_t size, void *user)
{
    struct pr_csv *r = user;
    if (!r->header_done)
        take_header_field(r, text, size);
    else
        for (size_t c = 0; c < COLUMNS; c++)
            if (r->column_at[c] == r->row_fields)
                keep(&r->fields[c], text, size);
    r->row_fields++;
}

static void on_row(int terminator, void *user)
{
    struct pr_csv *r = user;
    (void)terminator;
    r->row_done = true;
}

/* --- from bytes to one row ---------------------------------------------------------------------
 */

static enum cm_err parser_error(struct pr_csv *r, struct cm_error *e)
{
    if (csv_error(&r->parser) == CSV_EPARSE)
        return cm_fail(e, CM_EFORMAT,
                       "%s: line %llu: a quote stands where none may; put the whole field in "
                       "quotes and double the quotes within",
                       r->path, (unsigned long long)r->row_line);
    return cm_fail(e, CM_ENOMEM, "%s: line %llu: %s", r->path, (unsigned long long)r->row_line,
                   csv_strerror(csv_error(&r->parser)));
}

/* Bytes up to and with the next line end, or all that are left in the chunk. */
static size_t segment_bytes(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] == '\n' || p[i] == '\r')
            return i + 1;
    return size;
}

static bool is_blank(const char *p, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (p[i] != ' ' && p[i] != '\t' && p[i] != '\n' && p[i] != '\r')
            return false;
    return true;
}

static enum cm_err account(struct pr_csv *r, const char *segment, size_t size, struct cm_error *e)
{
    if (memchr(segment, '\0', size))
        return cm_fail(e, CM_EFORMAT, "%s: line %llu: holds a NUL byte; save it as UTF-8 text",
                       r->path, (unsigned long long)r->line);
    if (r->row_bytes == 0 && is_blank(segment, size))
        return CM_OK; /* libcsv passes over it and stores nothing */
    if (r->row_bytes == 0)
        r->row_line = r->line;
    r->row_bytes += size;
    if (r->row_bytes > CM_CSV_ROW_BYTES_MAX)
        return cm_fail(e, CM_ELIMIT,
                       "%s: line %llu: the row that begins here is longer than %u bytes; a quote "
                       "may be left open",
                       r->path, (unsigned long long)r->row_line, CM_CSV_ROW_BYTES_MAX);
    return CM_OK;
}

static void count_lines(struct pr_csv *r, const char *segment, size_t size)
{
    bool lf_of_crlf = r->after_cr && segment[0] == '\n';
    char last = segment[size - 1];
    if ((last == '\n' && !lf_of_crlf) || last == '\r')
        r->line++;
    r->after_cr = last == '\r';
}

/* Feeds libcsv up to the next line end. */
static enum cm_err feed(struct pr_csv *r, struct cm_error *e)
{
    const char *segment = r->chunk + r->position;
    size_t size = segment_bytes(segment, r->filled - r->position);
    enum cm_err rc = account(r, segment, size, e);
    if (rc)
        return rc;
    if (csv_parse(&r->parser, segment, size, on_field, on_row, r) != size)
        return parser_error(r, e);
    count_lines(r, segment, size);
    r->position += size;
    if (r->row_done)
        r->row_bytes = 0;
    return CM_OK;
}

/* The next bytes of the file; filled is 0 at its end. */
static enum cm_err fill(struct pr_csv *r, struct cm_error *e)
{
    ssize_t n;
    do
        n = read(r->fd, r->chunk, sizeof r->chunk);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return cm_fail_errno(e, errno, "%s: line %llu", r->path, (unsigned long long)r->line);
    r->position = 0;
    r->filled = (size_t)n;
    return CM_OK;
}

/* The last row may lack its line end. */
static enum cm_err finish(struct pr_csv *r, struct cm_error *e)
{
    if (csv_fini(&r->parser, on_field, on_row, r) == 0)
        return CM_OK;
    if (csv_error(&r->parser) == CSV_EPARSE)
        return cm_fail(e, CM_EFORMAT,
                       "%s: line %llu: the row that begins here opens a quote and never closes it",
                       r->path, (unsigned long long)r->row_line);
    return parser_error(r, e);
}

/* One row into r->fields, or *end. */
static enum cm_err next_row(struct pr_csv *r, bool *end, struct cm_error *e)
{
    *end = false;
    if (r->row_waits) {
        r->row_waits = false;
        return CM_OK;
    }
    r->row_fields = 0;
    r->row_done = false;
    enum cm_err rc = CM_OK;
    while (!rc && !r->row_done && !*end) {
        if (r->position < r->filled) {
            rc = feed(r, e);
            continue;
        }
        rc = fill(r, e);
        if (!rc && r->filled == 0) {
            rc = finish(r, e);
            *end = !r->row_done;
        }
    }
    return rc;
}

/* --- from one row to one image -----------------------------------------------------------------
 */

static enum cm_err check_name(const struct pr_csv *r, const struct field *f, struct cm_error *e)
{
    const char *what = NULL;
    if (f->size == 0)
        what = "is empty";
    else if (f->size > CM_NAME_BYTES_MAX)
        return cm_fail(e, CM_ELIMIT, "%s: line %llu: name has %zu bytes; at most %u are supported",
                       r->path, (unsigned long long)r->row_line, f->size, CM_NAME_BYTES_MAX);
    else if (!cm_is_utf8(f->text, f->size))
        what = "is not UTF-8; save the file as UTF-8 text";
    for (size_t i = 0; !what && i < f->size; i++)
        if ((unsigned char)f->text[i] < 0x20 || f->text[i] == 0x7f)
            what = "holds a control character or a line end; names go into logs and terminals";
    if (!what)
        return CM_OK;
    return cm_fail(e, CM_EFORMAT, "%s: line %llu: name %s", r->path,
                   (unsigned long long)r->row_line, what);
}

static enum cm_err take_number(const struct pr_csv *r, enum column c, int64_t least, int64_t most,
                               int64_t *out, struct cm_error *e)
{
    if (cm_int_of_text(r->fields[c].text, least, most, out))
        return CM_OK;
    return cm_fail(e, CM_EFORMAT,
                   "%s: line %llu: %s must be a whole number from %lld to %lld, not \"%.40s\"",
                   r->path, (unsigned long long)r->row_line, column_names[c], (long long)least,
                   (long long)most, r->fields[c].text);
}

/* Who and which camera: off the name, whose end is cut off if it is no part of it. */
static enum cm_err take_name(struct pr_csv *r, struct cm_image_meta *out, struct cm_error *e)
{
    struct pr_name name;
    enum cm_err rc = pr_name_read(r->names, r->fields[NAME].text, &name, e);
    if (rc)
        return cm_wrap(e, rc, "%s: line %llu", r->path, (unsigned long long)r->row_line);
    r->fields[NAME].text[name.bytes] = '\0';
    out->pid = name.pid;
    out->camid = name.camid;
    out->timestamp = name.timestamp;
    return CM_OK;
}

static enum cm_err take_columns(const struct pr_csv *r, struct cm_image_meta *out,
                                struct cm_error *e)
{
    int64_t camid = 0;
    enum cm_err rc = take_number(r, PID, INT64_MIN, INT64_MAX, &out->pid, e);
    if (!rc)
        rc = take_number(r, CAMID, INT32_MIN, INT32_MAX, &camid, e);
    out->camid = (int32_t)camid;
    return rc;
}

static enum cm_err take_row(struct pr_csv *r, struct cm_image_meta *out, struct cm_error *e)
{
    if (r->row_fields != r->header_fields)
        return cm_fail(e, CM_EFORMAT,
                       "%s: line %llu: has %zu fields, the header has %zu; a field that holds a "
                       "comma must be in quotes",
                       r->path, (unsigned long long)r->row_line, r->row_fields, r->header_fields);
    *out = (struct cm_image_meta){.name = r->fields[NAME].text};
    enum cm_err rc = check_name(r, &r->fields[NAME], e);
    if (!rc)
        rc = r->names ? take_name(r, out, e) : take_columns(r, out, e);
    if (!rc && r->column_at[TIMESTAMP] != NO_FIELD)
        rc = take_number(r, TIMESTAMP, INT64_MIN, INT64_MAX, &out->timestamp, e);
    return rc;
}

enum cm_err pr_csv_next(struct pr_csv *r, struct cm_image_meta *out, bool *end, struct cm_error *e)
{
    enum cm_err rc = next_row(r, end, e);
    return rc || *end ? rc : take_row(r, out, e);
}

/* --- the header row ----------------------------------------------------------------------------
 */

static enum cm_err skip_byte_order_mark(struct pr_csv *r, struct cm_error *e)
{
    static const char mark[3] = {'\xef', '\xbb', '\xbf'};
    enum cm_err rc = fill(r, e);
    if (!rc && r->filled >= sizeof mark && memcmp(r->chunk, mark, sizeof mark) == 0)
        r->position = sizeof mark;
    return rc;
}

static enum cm_err check_columns(const struct pr_csv *r, struct cm_error *e)
{
    const char *must =
        r->names ? "name it, or be a file name without a comma" : "name name, pid and camid";
    if (r->column_twice)
        return cm_fail(e, CM_EFORMAT, "%s: its header names the column %s twice", r->path,
                       r->column_twice);
    for (size_t c = NAME; c <= (r->names ? NAME : CAMID); c++)
        if (r->column_at[c] == NO_FIELD)
            return cm_fail(e, CM_EFORMAT,
                           "%s: the column %s is missing; the first line must %s, and is "
                           "\"%s\"",
                           r->path, column_names[c], must, r->header_text);
    return CM_OK;
}

/* One name a line: as a column without a header. */
static void begin_list(struct pr_csv *r)
{
    for (size_t c = 0; c < COLUMNS; c++)
        r->column_at[c] = c == NAME ? 0 : NO_FIELD;
    r->row_waits = true;
}

static enum cm_err read_header(struct pr_csv *r, struct cm_error *e)
{
    bool end = false;
    enum cm_err rc = skip_byte_order_mark(r, e);
    if (!rc)
        rc = next_row(r, &end, e);
    if (rc)
        return rc;
    if (end)
        return cm_fail(e, CM_EFORMAT,
                       "%s: is empty; its first line must be name,pid,camid,timestamp", r->path);
    if (r->names && r->row_fields == 1 && r->column_at[NAME] == NO_FIELD)
        begin_list(r);
    rc = check_columns(r, e);
    r->header_fields = r->row_fields;
    r->header_done = true;
    return rc;
}

/* Labels are read twice, so a pipe will not do; and one without a writer must not hold us up. */
static enum cm_err open_regular(struct pr_csv *r, const char *path, struct cm_error *e)
{
    struct stat st;
    r->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r->fd < 0 || fstat(r->fd, &st) != 0)
        return cm_fail_errno(e, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return cm_fail(e, CM_EFORMAT, "%s: is not a regular file; save the labels to one", path);
    return cm_copy_text(&r->path, path, e);
}

enum cm_err pr_csv_open(struct pr_csv **out, const char *path, enum pr_names names,
                        struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct pr_csv *r = p;
    r->names = names;
    r->line = r->row_line = 1;
    for (size_t c = 0; c < COLUMNS; c++)
        r->column_at[c] = NO_FIELD;
    csv_init(&r->parser, CSV_STRICT | CSV_STRICT_FINI); /* cannot fail */
    rc = open_regular(r, path, e);
    if (!rc)
        rc = read_header(r, e);
    if (rc) {
        pr_csv_close(r);
        return rc;
    }
    *out = r;
    return CM_OK;
}

void pr_csv_close(struct pr_csv *r)
{
    if (!r)
        return;
    csv_free(&r->parser);
    if (r->fd >= 0)
        close(r->fd);
    free(r->path);
    free(r);
}
