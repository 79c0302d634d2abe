/* matrix.h: the matrices that the reference wrote: .npy of rank 2, float32, float64 or int32. */
#ifndef TEST_MATRIX_H
#define TEST_MATRIX_H

#include "common/err.h"

#include <stddef.h>

struct test_matrix {
    size_t rows;
    size_t columns;
    double *values; /* rows * columns, C order */
};

/* Reads `path`, of at most 1 GiB. Errors: as pr_npy_header_read, and CM_EFORMAT for what is no such
 * matrix; then there is nothing to free. */
enum cm_err test_matrix_read(struct test_matrix *out, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));

/* One value. Nobody checks the bounds. */
static inline double test_matrix_at(const struct test_matrix *m, size_t row, size_t column)
{
    return m->values[row * m->columns + column];
}

/* Frees the values. */
void test_matrix_free(struct test_matrix *m);

#endif
