/* matrix.c: see matrix.h. */
#include "tests/support/matrix.h"

#include "common/mem.h"
#include "proto/file/input.h"
#include "proto/file/npy_header.h"

#include <stdlib.h>
#include <string.h>

static double value_at(const unsigned char *data, const char *descr, size_t i)
{
    if (strcmp(descr, "<f8") == 0) {
        double d;
        memcpy(&d, data + i * sizeof d, sizeof d);
        return d;
    }
    if (strcmp(descr, "<f4") == 0) {
        float f;
        memcpy(&f, data + i * sizeof f, sizeof f);
        return (double)f;
    }
    int32_t v;
    memcpy(&v, data + i * sizeof v, sizeof v);
    return v;
}

static size_t bytes_of(const char *descr)
{
    if (strcmp(descr, "<f8") == 0)
        return 8;
    return strcmp(descr, "<f4") == 0 || strcmp(descr, "<i4") == 0 ? 4 : 0;
}

static enum cm_err read_values(struct test_matrix *out, const struct pr_input *in,
                               const struct pr_npy_header *h, struct cm_error *e)
{
    const uint64_t most = UINT64_C(1) << 27;
    size_t bytes = bytes_of(h->descr);
    if (!bytes || h->fortran_order || h->rank != 2 || h->dims[0] > most || h->dims[1] > most ||
        h->dims[0] * h->dims[1] > most ||
        h->data_offset + h->dims[0] * h->dims[1] * bytes != in->size)
        return cm_fail(e, CM_EFORMAT, "is not a matrix of float32, float64 or int32");
    out->rows = (size_t)h->dims[0];
    out->columns = (size_t)h->dims[1];
    size_t count = out->rows * out->columns;
    void *data, *values = NULL;
    enum cm_err rc = cm_new(&data, count, bytes, e);
    if (!rc)
        rc = cm_new(&values, count, sizeof *out->values, e);
    if (!rc)
        rc = pr_input_read(in, h->data_offset, data, count * bytes, e);
    out->values = values;
    for (size_t i = 0; i < count && !rc; i++)
        out->values[i] = value_at(data, h->descr, i);
    free(data);
    return rc;
}

enum cm_err test_matrix_read(struct test_matrix *out, const char *path, struct cm_error *e)
{
    struct pr_input in;
    struct pr_npy_header header;
    *out = (struct test_matrix){0};
    enum cm_err rc = pr_input_open(&in, path, e);
    if (!rc)
        rc = pr_npy_header_read(&header, &in, e);
    if (!rc)
        rc = read_values(out, &in, &header, e);
    pr_input_close(&in);
    if (!rc)
        return CM_OK;
    test_matrix_free(out);
    return cm_wrap(e, rc, "%s", path);
}

void test_matrix_free(struct test_matrix *m)
{
    free(m->values);
    *m = (struct test_matrix){0};
}
