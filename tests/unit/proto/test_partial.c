/* test_partial.c: a matrix written in place, stopped, and gone on with. */
#include "proto/file/npy_writer.h"
#include "tests/support/files.h"
#include "tests/support/inputs.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 3, COLUMNS = 5 };

static struct test_folder folder;
static char path[TEST_PATH_BYTES], partial[TEST_PATH_BYTES], whole[TEST_PATH_BYTES];
static struct cm_error e;

static void setup(void)
{
    test_folder_init(&folder);
    test_path(&folder, "m.npy", path);
    test_path(&folder, "m.npy.partial", partial);
    test_path(&folder, "whole.npy", whole);
}

static void teardown(void)
{
    test_folder_fini(&folder);
}

TestSuite(partial, .init = setup, .fini = teardown);

static float value(uint64_t row, uint64_t column)
{
    return (float)(100 * row + column) / 7;
}

/* Puts values of one row. */
static void put(struct pr_npy_writer *w, uint64_t row, uint64_t column, size_t count)
{
    float values[COLUMNS];
    for (size_t i = 0; i < count; i++)
        values[i] = value(row, column + i);
    cr_assert_eq(pr_npy_writer_put(w, row, column, values, count, &e), CM_OK, "%s", e.text);
}

static struct pr_npy_writer *open_partial(bool resume)
{
    struct pr_npy_writer *w;
    cr_assert_eq(pr_npy_writer_open_partial(&w, path, ROWS, COLUMNS, resume, &e), CM_OK, "%s",
                 e.text);
    return w;
}

/* The same bytes as a matrix appended row by row. */
static void expect_whole(void)
{
    struct pr_npy_writer *w;
    size_t a, b;
    cr_assert_eq(pr_npy_writer_open(&w, whole, ROWS, COLUMNS, &e), CM_OK, "%s", e.text);
    for (uint64_t row = 0; row < ROWS; row++) {
        float values[COLUMNS];
        for (uint64_t i = 0; i < COLUMNS; i++)
            values[i] = value(row, i);
        cr_assert_eq(pr_npy_writer_add(w, values, 1, &e), CM_OK, "%s", e.text);
    }
    cr_assert_eq(pr_npy_writer_commit(w, &e), CM_OK, "%s", e.text);
    pr_npy_writer_close(w);
    char *x = test_read(path, &a), *y = test_read(whole, &b);
    cr_assert(a == b && memcmp(x, y, a) == 0);
    free(x);
    free(y);
}

Test(partial, any_order_and_twice_is_fine)
{
    struct pr_npy_writer *w = open_partial(false);
    put(w, 2, 0, COLUMNS);
    put(w, 0, 3, 2);
    put(w, 1, 0, COLUMNS);
    put(w, 0, 0, 4);
    put(w, 2, 1, 1);
    cr_assert(!test_exists(path));
    cr_assert_eq(pr_npy_writer_commit(w, &e), CM_OK, "%s", e.text);
    pr_npy_writer_close(w);
    cr_assert(!test_exists(partial));
    expect_whole();
}

Test(partial, is_gone_on_with)
{
    struct pr_npy_writer *w = open_partial(false);
    put(w, 1, 0, COLUMNS);
    put(w, 2, 0, 2);
    pr_npy_writer_close(w);
    cr_assert(test_exists(partial) && !test_exists(path));
    w = open_partial(true);
    put(w, 0, 0, COLUMNS);
    put(w, 2, 2, 3);
    cr_assert_eq(pr_npy_writer_commit(w, &e), CM_OK, "%s", e.text);
    pr_npy_writer_close(w);
    expect_whole();
}

/* Begun anew, what was there is gone: no value of an earlier run shows through. */
Test(partial, begun_anew_it_is_empty)
{
    struct pr_npy_writer *w = open_partial(false);
    put(w, 1, 0, COLUMNS);
    pr_npy_writer_close(w);
    w = open_partial(false);
    size_t size;
    char *bytes = test_read(partial, &size);
    cr_assert_eq(size, TEST_NPY_HEADER + ROWS * COLUMNS * sizeof(float));
    for (size_t i = TEST_NPY_HEADER; i < size; i++)
        cr_assert_eq(bytes[i], 0, "byte %zu", i);
    free(bytes);
    pr_npy_writer_close(w);
}

static void refused(uint64_t columns, enum cm_err code, const char *words)
{
    struct pr_npy_writer *w;
    cr_assert_eq(pr_npy_writer_open_partial(&w, path, ROWS, columns, true, &e), code, "%s", e.text);
    cr_assert(w == NULL && strstr(e.text, words), "%s", e.text);
}

Test(partial, only_its_own_file_is_gone_on_with)
{
    refused(COLUMNS, CM_ENOENT, "m.npy.partial is not there: nothing to resume");
    struct pr_npy_writer *w = open_partial(false);
    refused(COLUMNS, CM_EBUSY, "another process is writing it");
    pr_npy_writer_close(w);
    refused(COLUMNS + 1, CM_EMISMATCH, "is not a matrix of 3 x 6");
    test_resize(partial, TEST_NPY_HEADER + 3);
    refused(COLUMNS, CM_EMISMATCH, "is not a matrix of 3 x 5");
    cr_assert(test_exists(partial), "it was removed");
}
