/* npy_writer.h: writes a float32 matrix as a .npy file that appears whole or not at all.
 *
 * Values go to a temporary file beside the target, which commit moves into place. */
#ifndef PR_NPY_WRITER_H
#define PR_NPY_WRITER_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pr_npy_writer;

/* Begins the matrix [rows, columns] that is to become `path`, and reserves its room, so that a full
 * disk shows now. On failure *out is NULL and nothing is left on disk. One thread at a time.
 * Errors: CM_ENOSPC, CM_EIO (also: no such directory), CM_EUSAGE (`path` is a directory),
 * CM_ELIMIT (larger than any file), CM_ENOMEM. */
enum cm_err pr_npy_writer_open(struct pr_npy_writer **out, const char *path, uint64_t rows,
                               uint64_t columns, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same, but the values are put where they belong, in any order and as often as may be, and the
 * temporary file is "<path>.partial", which stays when the writer is closed without a commit: with
 * `resume` such a file is gone on with, else it is emptied. Errors besides: CM_ENOENT (nothing to
 * resume), CM_EMISMATCH (it is a matrix of another size), CM_EBUSY (another process has it open).
 */
enum cm_err pr_npy_writer_open_partial(struct pr_npy_writer **out, const char *path, uint64_t rows,
                                       uint64_t columns, bool resume, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Of a writer opened so: values [row][column .. column + count), within the matrix. Errors: as
 * pr_npy_writer_add. */
enum cm_err pr_npy_writer_put(struct pr_npy_writer *w, uint64_t row, uint64_t column,
                              const float *values, size_t count, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Of a writer opened so: the CRC-32C of a row as it is in the file now. Errors: CM_EIO, CM_ENOMEM.
 */
enum cm_err pr_npy_writer_row_crc32c(const struct pr_npy_writer *w, uint64_t row, uint32_t *out,
                                     struct cm_error *e) __attribute__((warn_unused_result));

/* Appends `count` rows of `columns` floats; never more in all than was promised.
 * Errors: CM_ENOSPC, CM_EIO; after one, only close. */
enum cm_err pr_npy_writer_add(struct pr_npy_writer *w, const float *values, size_t count,
                              struct cm_error *e) __attribute__((warn_unused_result));

/* Once every promised value is there: syncs the file and gives it its name, in place of what had
 * it. Errors: CM_ENOSPC, CM_EIO. Close it afterwards in any case. */
enum cm_err pr_npy_writer_commit(struct pr_npy_writer *w, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Frees; removes the temporary file unless it was committed or is a partial one. NULL is fine. */
void pr_npy_writer_close(struct pr_npy_writer *w);

#endif
