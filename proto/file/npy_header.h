/* npy_header.h: the header of a NumPy .npy file, versions 1.0, 2.0 and 3.0.
 *
 * The header is the text of a Python dictionary. It is read by a strict parser of just what NumPy
 * writes, and never trusted: what it says about the data is for the caller to check. */
#ifndef PR_NPY_HEADER_H
#define PR_NPY_HEADER_H

#include "common/err.h"
#include "proto/file/input.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PR_NPY_RANK_MAX = 32, /* NumPy's own */
    PR_NPY_DESCR_BYTES = 16,
    PR_NPY_SHAPE_TEXT_BYTES = 128,
    PR_NPY_MATRIX_HEADER_BYTES = 128,
};

struct pr_npy_header {
    char descr[PR_NPY_DESCR_BYTES]; /* such as "<f4" */
    bool fortran_order;
    uint32_t rank;
    uint64_t dims[PR_NPY_RANK_MAX]; /* any value */
    uint64_t data_offset;           /* where the data begin; at most the file's size */
};

/* Reads the header of `in`, a file or stream of which nothing was taken; what pr_input_next gives
 * after it is the data. Any thread. Errors, which do not name the file: CM_EFORMAT (no .npy file,
 * cut short, a header that NumPy would not write), CM_EVERSION, CM_ELIMIT (header or rank),
 * CM_EIO. */
enum cm_err pr_npy_header_read(struct pr_npy_header *out, struct pr_input *in, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Parses the dictionary's text alone (what stands after the length, padding included); data_offset
 * becomes 0. Pure. Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_npy_header_parse(struct pr_npy_header *out, const char *text, size_t size,
                                struct cm_error *e) __attribute__((warn_unused_result));

/* The shape as Python prints it, "(626, 12, 12, 256)", cut if it is long. Returns `out`. */
char *pr_npy_shape_text(const struct pr_npy_header *h, char out[PR_NPY_SHAPE_TEXT_BYTES]);

/* The whole header of a float32 matrix [rows, columns] in C order, with magic and padding. Pure. */
void pr_npy_matrix_header(uint64_t rows, uint64_t columns, char out[PR_NPY_MATRIX_HEADER_BYTES]);

#endif
