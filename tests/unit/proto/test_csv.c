/* Metadata from CSV files, good and hostile. */
#include "common/limits.h"
#include "proto/file/csv.h"
#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct test_folder folder;
static char path[TEST_PATH_BYTES];
static struct cm_error e;

static void setup(void)
{
    test_folder_init(&folder);
    test_path(&folder, "m.csv", path);
}

static void teardown(void)
{
    test_folder_fini(&folder);
}

TestSuite(csv, .init = setup, .fini = teardown);

static struct pr_csv *open_bytes(const void *data, size_t size)
{
    struct pr_csv *r;
    test_write(path, data, size);
    cr_assert_eq(pr_csv_open(&r, path, PR_NAMES_CSV, &e), CM_OK, "%s", e.text);
    return r;
}

static struct pr_csv *open_text(const char *text)
{
    return open_bytes(text, strlen(text));
}

static void assert_row(struct pr_csv *r, const char *name, int64_t pid, int32_t camid,
                       int64_t timestamp)
{
    struct cm_image_meta m;
    bool end;
    cr_assert_eq(pr_csv_next(r, &m, &end, &e), CM_OK, "%s", e.text);
    cr_assert(!end, "no row where %s should be", name);
    cr_assert_str_eq(m.name, name);
    cr_assert(m.pid == pid && m.camid == camid && m.timestamp == timestamp, "%s: %lld %d %lld",
              name, (long long)m.pid, m.camid, (long long)m.timestamp);
}

static void assert_end(struct pr_csv *r)
{
    struct cm_image_meta m;
    bool end = false;
    for (int i = 0; i < 2; i++) { /* and it stays the end */
        cr_assert_eq(pr_csv_next(r, &m, &end, &e), CM_OK, "%s", e.text);
        cr_assert(end);
    }
    pr_csv_close(r);
}

/* Reading all of these bytes fails with `code` and `part` in a text that begins with the path. */
static void assert_bytes_refused(const void *data, size_t size, enum cm_err code, const char *part)
{
    struct pr_csv *r;
    struct cm_image_meta m;
    bool end = false;
    test_write(path, data, size);
    enum cm_err rc = pr_csv_open(&r, path, PR_NAMES_CSV, &e);
    cr_assert(!rc || !r, "nothing to close after a failure");
    while (!rc && !end)
        rc = pr_csv_next(r, &m, &end, &e);
    cr_assert_eq(rc, code, "expected \"%s\", got %d: %s", part, rc, rc ? e.text : "");
    cr_assert(strncmp(e.text, path, strlen(path)) == 0, "%s", e.text);
    cr_assert(strstr(e.text, part) != NULL, "expected \"%s\" in: %s", part, e.text);
    pr_csv_close(r);
}

static void assert_refused(const char *text, const char *part)
{
    assert_bytes_refused(text, strlen(text), CM_EFORMAT, part);
}

#define HEADER "name,pid,camid,timestamp\n"

Test(csv, reads_rows)
{
    struct pr_csv *r =
        open_text(HEADER "a/b.jpg,29,0,17\nc.jpg,-1,-2147483648,"
                         "-9223372036854775808\nd,9223372036854775807,2147483647,0\n");
    assert_row(r, "a/b.jpg", 29, 0, 17);
    assert_row(r, "c.jpg", -1, INT32_MIN, INT64_MIN);
    assert_row(r, "d", INT64_MAX, INT32_MAX, 0);
    assert_end(r);
}

Test(csv, finds_columns_by_name)
{
    struct pr_csv *r =
        open_text("split,camid,name,notes,pid\ntest,3,x.jpg,\"a, \"\"b\"\"\nc\",7\n");
    assert_row(r, "x.jpg", 7, 3, 0);
    assert_end(r);
}

Test(csv, reads_what_spreadsheets_write)
{
    struct pr_csv *r = open_text("\xef\xbb\xbf\"name\",pid,camid,timestamp\r\n"
                                 "\"a, \"\"b\"\".jpg\",1,2,3\r\n\r\n   \r\n"
                                 "caf\xc3\xa9.jpg , 4 ,5, 6");
    assert_row(r, "a, \"b\".jpg", 1, 2, 3);
    assert_row(r, "caf\xc3\xa9.jpg", 4, 5, 6);
    assert_end(r);
    r = open_text("name,pid,camid\ra,1,2\rb,3,4\r");
    assert_row(r, "a", 1, 2, 0);
    assert_row(r, "b", 3, 4, 0);
    assert_end(r);
    assert_end(open_text("name,pid,camid"));
}

Test(csv, says_which_column_is_missing_and_what_it_found)
{
    assert_refused("name,PID,camid\na,1,2\n",
                   "the column pid is missing; the first line must name name, pid and camid, and "
                   "is \"name,PID,camid\"");
    assert_refused("a.jpg,1,2,3\n", "the column name is missing");
    assert_refused("name;pid;camid\n", "is \"name;pid;camid\"");
    assert_refused("name,pid,camid,pid\n", "names the column pid twice");
    assert_refused("", "is empty; its first line must be name,pid,camid,timestamp");
    assert_refused("\n \r\n", "is empty");
    assert_refused("\xef\xbb\xbf", "is empty");
}

Test(csv, names_the_line_of_a_bad_number)
{
    assert_refused(HEADER "a,1,2,3\nb,x1,2,3\n",
                   "line 3: pid must be a whole number from -9223372036854775808 to "
                   "9223372036854775807, not \"x1\"");
    assert_refused(HEADER "a,9223372036854775808,2,3\n", "not \"9223372036854775808\"");
    assert_refused(HEADER "a,1,2147483648,3\n",
                   "line 2: camid must be a whole number from -2147483648 to 2147483647, not "
                   "\"2147483648\"");
    assert_refused(HEADER "a,1,2,1.5\n", "line 2: timestamp must be a whole number");
    assert_refused(HEADER "a,1,,3\n", "camid must be a whole number from -2147483648 to 2147483647,"
                                      " not \"\"");
}

Test(csv, counts_lines_within_quotes_and_of_every_kind)
{
    assert_refused("name,pid,camid,note\r\na,1,2,\"x\r\ny\nz\"\r\n\r\nb,1,no,w\r\n",
                   "line 6: camid");
    assert_refused("name,pid,camid\ra,1,2\r\rb,1,no\r", "line 4: camid");
    assert_refused("name,pid,camid,note\nb,1,no,\"x\ny\"\n", "line 2: camid");
}

Test(csv, refuses_rows_of_another_width)
{
    assert_refused(HEADER "a,1,2,3\nb,c,1,2,3\n",
                   "line 3: has 5 fields, the header has 4; a field that holds a comma must be in "
                   "quotes");
    assert_refused(HEADER "a,1,2", "line 2: has 3 fields, the header has 4");
}

Test(csv, refuses_bad_names)
{
    static const char nul[] = HEADER "a\0b,1,2,3\n";
    assert_refused(HEADER ",1,2,3\n", "line 2: name is empty");
    assert_refused(HEADER "\"\",1,2,3\n", "line 2: name is empty");
    assert_refused(HEADER "a,1,2,3\ncaf\xe9.jpg,1,2,3\n", "line 3: name is not UTF-8");
    assert_refused(HEADER "\"a\nb\",1,2,3\n", "line 2: name holds a control character");
    assert_refused(HEADER "a\x1b[31m,1,2,3\n", "line 2: name holds a control character");
    assert_refused(HEADER "a\x7f,1,2,3\n", "line 2: name holds a control character");
    assert_bytes_refused(nul, sizeof nul - 1, CM_EFORMAT, "line 2: holds a NUL byte");
}

Test(csv, refuses_misplaced_and_open_quotes)
{
    assert_refused(HEADER "a\"b,1,2,3\n", "line 2: a quote stands where none may");
    assert_refused(HEADER "a,1,2,3\n\"b\"c,1,2,3\n", "line 3: a quote stands where none may");
    assert_refused(HEADER "a,1,2,3\n\"b,1,2,3\nc,1,2,3\n",
                   "line 3: the row that begins here opens a quote and never closes it");
}

/* A file of `text`, then `count` bytes of `fill`, then `rest`. */
static char *build(const char *text, char fill, size_t count, const char *rest, size_t *size)
{
    *size = strlen(text) + count + strlen(rest);
    char *data = malloc(*size + 1);
    memcpy(data, text, strlen(text));
    memset(data + strlen(text), fill, count);
    memcpy(data + strlen(text) + count, rest, strlen(rest) + 1);
    return data;
}

Test(csv, takes_the_longest_name_and_no_longer_one)
{
    size_t size;
    char *data = build(HEADER, 'n', CM_NAME_BYTES_MAX, ",1,2,3\n", &size);
    char *name = build("", 'n', CM_NAME_BYTES_MAX, "", &(size_t){0});
    struct pr_csv *r = open_bytes(data, size);
    assert_row(r, name, 1, 2, 3);
    assert_end(r);
    free(data);
    free(name);
    data = build(HEADER, 'n', CM_NAME_BYTES_MAX + 1, ",1,2,3\n", &size);
    assert_bytes_refused(data, size, CM_ELIMIT, "line 2: name has 4097 bytes; at most 4096");
    free(data);
}

Test(csv, refuses_a_row_without_end_before_it_grows)
{
    size_t size;
    char *data = build(HEADER "a,1,2,3\n\"", 'x', 3 * CM_CSV_ROW_BYTES_MAX, "", &size);
    assert_bytes_refused(data, size, CM_ELIMIT,
                         "line 3: the row that begins here is longer than 65536 bytes");
    free(data);
    data = build(HEADER, ',', 3 * CM_CSV_ROW_BYTES_MAX, "", &size);
    assert_bytes_refused(data, size, CM_ELIMIT, "line 2: the row that begins here is longer");
    free(data);
    data = build("", 'h', 3 * CM_CSV_ROW_BYTES_MAX, "", &size);
    assert_bytes_refused(data, size, CM_ELIMIT, "line 1: the row that begins here is longer");
    free(data);
    data = build(HEADER, '\n', 3 * CM_CSV_ROW_BYTES_MAX, "a,1,2,x\n", &size);
    assert_bytes_refused(data, size, CM_EFORMAT, "line 196610: timestamp");
    free(data);
}

Test(csv, reads_across_chunks)
{
    enum { ROWS = 5000, ROOM = ROWS * 64 };
    char *data = malloc(ROOM), name[32];
    size_t size = (size_t)snprintf(data, ROOM, "name,pid,camid,timestamp\r\n");
    for (int i = 0; i < ROWS; i++)
        size += (size_t)snprintf(data + size, ROOM - size, "\"%d,\"\"\xe2\x82\xac\",%d,%d,%d\r\n",
                                 i, i, i % 7, 3 * i);
    struct pr_csv *r = open_bytes(data, size);
    for (int i = 0; i < ROWS; i++) {
        snprintf(name, sizeof name, "%d,\"\xe2\x82\xac", i);
        assert_row(r, name, i, i % 7, 3 * i);
    }
    assert_end(r);
    free(data);
}

Test(csv, refuses_paths_that_cannot_be_read)
{
    struct pr_csv *r;
    cr_assert_eq(pr_csv_open(&r, path, PR_NAMES_CSV, &e), CM_ENOENT);
    cr_assert_null(r);
    cr_assert_eq(pr_csv_open(&r, folder.path, PR_NAMES_CSV, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "is not a regular file") != NULL, "%s", e.text);
}
