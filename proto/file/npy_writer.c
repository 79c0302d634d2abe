/* npy_writer.c: see npy_writer.h. */
#include "proto/file/npy_writer.h"

#include "common/assert.h"
#include "common/mem.h"
#include "proto/file/npy_header.h"
#include "proto/file/output.h"

#include <stdlib.h>

struct pr_npy_writer {
    struct pr_output out;
    uint64_t columns;
    uint64_t rows_left;
};

static enum cm_err begin(struct pr_npy_writer *w, const char *path, struct cm_error *e)
{
    char header[PR_NPY_MATRIX_HEADER_BYTES];
    uint64_t bytes;
    if (__builtin_mul_overflow(w->rows_left, w->columns, &bytes) ||
        bytes > (INT64_MAX - sizeof header) / sizeof(float))
        return cm_fail(e, CM_ELIMIT, "%s: %llu x %llu floats are more than a file holds", path,
                       (unsigned long long)w->rows_left, (unsigned long long)w->columns);
    bytes = bytes * sizeof(float) + sizeof header;
    enum cm_err rc = pr_output_open(&w->out, path, e);
    if (!rc)
        rc = pr_output_reserve(&w->out, bytes, e);
    pr_npy_matrix_header(w->rows_left, w->columns, header);
    return rc ? rc : pr_output_write(&w->out, header, sizeof header, e);
}

enum cm_err pr_npy_writer_open(struct pr_npy_writer **out, const char *path, uint64_t rows,
                               uint64_t columns, struct cm_error *e)
{
    void *p;
    *out = NULL;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    if (rc)
        return rc;
    struct pr_npy_writer *w = p;
    *w = (struct pr_npy_writer){.out = {.fd = -1}, .columns = columns, .rows_left = rows};
    rc = begin(w, path, e);
    if (rc) {
        pr_npy_writer_close(w);
        return rc;
    }
    *out = w;
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
