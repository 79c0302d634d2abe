/* npy_writer.c: see npy_writer.h. */
#include "proto/file/npy_writer.h"

#include "common/assert.h"
#include "common/checksum.h"
#include "common/mem.h"
#include "proto/file/npy_header.h"
#include "proto/file/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE_BYTES = 64 << 10 };

struct pr_npy_writer {
    struct pr_output out;
    uint64_t rows, columns;
    uint64_t rows_left; /* to be appended; 0 where values are put in place */
};

/* What the whole file takes. */
static enum cm_err file_bytes(const struct pr_npy_writer *w, const char *path, uint64_t *out,
                              struct cm_error *e)
{
    uint64_t floats;
    if (__builtin_mul_overflow(w->rows, w->columns, &floats) ||
        floats > (INT64_MAX - PR_NPY_MATRIX_HEADER_BYTES) / sizeof(float))
        return cm_fail(e, CM_ELIMIT, "%s: %llu x %llu floats are more than a file holds", path,
                       (unsigned long long)w->rows, (unsigned long long)w->columns);
    *out = floats * sizeof(float) + PR_NPY_MATRIX_HEADER_BYTES;
    return CM_OK;
}

/* A new file's header, and room for the rest. */
static enum cm_err begin(struct pr_npy_writer *w, uint64_t bytes, struct cm_error *e)
{
    char header[PR_NPY_MATRIX_HEADER_BYTES];
    pr_npy_matrix_header(w->rows, w->columns, header);
    enum cm_err rc = pr_output_reserve(&w->out, bytes, e);
    return rc ? rc : pr_output_write(&w->out, header, sizeof header, e);
}

/* Is a file that is gone on with one of our size? */
static enum cm_err check_resumed(const struct pr_npy_writer *w, uint64_t bytes, struct cm_error *e)
{
    char header[PR_NPY_MATRIX_HEADER_BYTES], there[PR_NPY_MATRIX_HEADER_BYTES];
    struct stat st;
    pr_npy_matrix_header(w->rows, w->columns, header);
    if (fstat(w->out.fd, &st) != 0)
        return cm_fail_errno(e, errno, "%s", w->out.temporary);
    if ((uint64_t)st.st_size != bytes ||
        pread(w->out.fd, there, sizeof there, 0) != (ssize_t)sizeof there ||
        memcmp(header, there, sizeof there) != 0)
        return cm_fail(e, CM_EMISMATCH, "%s is not a matrix of %llu x %llu: nothing to resume",
                       w->out.temporary, (unsigned long long)w->rows,
                       (unsigned long long)w->columns);
    return CM_OK;
}

static enum cm_err new_writer(struct pr_npy_writer **out, uint64_t rows, uint64_t columns,
                              struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = p;
    if (!rc)
        **out = (struct pr_npy_writer){.out = {.fd = -1}, .rows = rows, .columns = columns};
    return rc;
}

enum cm_err pr_npy_writer_open(struct pr_npy_writer **out, const char *path, uint64_t rows,
                               uint64_t columns, struct cm_error *e)
{
    uint64_t bytes = 0;
    enum cm_err rc = new_writer(out, rows, columns, e);
    if (rc)
        return rc;
    (*out)->rows_left = rows;
    rc = file_bytes(*out, path, &bytes, e);
    if (!rc)
        rc = pr_output_open(&(*out)->out, path, e);
    if (!rc)
        rc = begin(*out, bytes, e);
    if (rc) {
        pr_npy_writer_close(*out);
        *out = NULL;
    }
    return rc;
}

/* The file has its size from the beginning, also where no room can be reserved. */
static enum cm_err begin_partial(struct pr_npy_writer *w, uint64_t bytes, struct cm_error *e)
{
    enum cm_err rc = begin(w, bytes, e);
    if (!rc && ftruncate(w->out.fd, (off_t)bytes) != 0)
        rc = cm_fail_errno(e, errno, "%s", w->out.temporary);
    return rc;
}

enum cm_err pr_npy_writer_open_partial(struct pr_npy_writer **out, const char *path, uint64_t rows,
                                       uint64_t columns, bool resume, struct cm_error *e)
{
    uint64_t bytes = 0;
    enum cm_err rc = new_writer(out, rows, columns, e);
    if (rc)
        return rc;
    rc = file_bytes(*out, path, &bytes, e);
    if (!rc)
        rc = pr_output_open_partial(&(*out)->out, path, resume, e);
    if (!rc)
        rc = resume ? check_resumed(*out, bytes, e) : begin_partial(*out, bytes, e);
    if (rc) {
        pr_npy_writer_close(*out);
        *out = NULL;
    }
    return rc;
}

enum cm_err pr_npy_writer_put(struct pr_npy_writer *w, uint64_t row, uint64_t column,
                              const float *values, size_t count, struct cm_error *e)
{
    CM_ASSERT(w->out.partial && row < w->rows && column <= w->columns &&
              count <= w->columns - column);
    uint64_t at = (row * w->columns + column) * sizeof *values + PR_NPY_MATRIX_HEADER_BYTES;
    return pr_output_write_at(&w->out, at, values, count * sizeof *values, e);
}

enum cm_err pr_npy_writer_row_crc32c(const struct pr_npy_writer *w, uint64_t row, uint32_t *out,
                                     struct cm_error *e)
{
    char piece[PIECE_BYTES];
    uint64_t left = w->columns * sizeof(float);
    uint64_t at = row * left + PR_NPY_MATRIX_HEADER_BYTES;
    CM_ASSERT(w->out.partial && row < w->rows);
    *out = 0;
    while (left > 0) {
        ssize_t n = pread(w->out.fd, piece, left < sizeof piece ? left : sizeof piece, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return cm_fail_errno(e, n ? errno : EIO, "%s: reading", w->out.temporary);
        *out = cm_crc32c(*out, piece, (size_t)n);
        at += (uint64_t)n;
        left -= (uint64_t)n;
    }
    return CM_OK;
}

enum cm_err pr_npy_writer_add(struct pr_npy_writer *w, const float *values, size_t count,
                              struct cm_error *e)
{
    CM_ASSERT(count <= w->rows_left);
    w->rows_left -= count;
    return pr_output_write(&w->out, values, count * (size_t)w->columns * sizeof *values, e);
}

enum cm_err pr_npy_writer_commit(struct pr_npy_writer *w, struct cm_error *e)
{
    CM_ASSERT(w->rows_left == 0);
    return pr_output_commit(&w->out, e);
}

void pr_npy_writer_close(struct pr_npy_writer *w)
{
    if (!w)
        return;
    pr_output_close(&w->out);
    free(w);
}
