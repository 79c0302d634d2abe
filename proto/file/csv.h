/* csv.h: streaming reader of image metadata: CSV with the columns name, pid, camid, timestamp.
 *
 * The first row names the columns: name, pid and camid must be there, timestamp may be (0 without
 * it), in any order; others are ignored. RFC 4180 with LF, CRLF or CR, with or without a last line
 * end, UTF-8 with or without a byte order mark. Blank lines are passed over; space around a field
 * without quotes is not part of it. Memory does not grow with the file.
 *
 * Where the names say who is on an image (names.h), pid and camid come from them, and no column of
 * that name is looked at; the timestamp too, unless it has a column. The file may then be a plain
 * list instead, which names no columns: one image a line, from the first line on. */
#ifndef PR_CSV_H
#define PR_CSV_H

#include "common/err.h"
#include "common/types.h"
#include "proto/file/names.h"

#include <stdbool.h>

struct pr_csv;

/* Opens `path` and reads its first row. On failure *out is NULL. One thread at a time.
 * Errors: CM_ENOENT, CM_EIO, CM_ENOMEM; CM_EFORMAT for a header without the columns, and for what
 * is no regular file; and those of pr_csv_next. */
enum cm_err pr_csv_open(struct pr_csv **out, const char *path, enum pr_names names,
                        struct cm_error *e) __attribute__((warn_unused_result));

/* The next row in *out, whose name lives until the next call, or *end true after the last one. A
 * name is valid UTF-8 without control characters, 1 to CM_NAME_BYTES_MAX bytes; pid and timestamp
 * fit int64, camid int32. After an error only close may follow.
 * Errors, which name file and line (of the row's beginning): CM_EFORMAT (a bad number or name,
 * a name that its scheme does not know, another count of fields than the header's, a misplaced or
 * open quote, a NUL byte); CM_ELIMIT (a name or row over limits.h); CM_EIO, CM_ENOMEM. */
enum cm_err pr_csv_next(struct pr_csv *r, struct cm_image_meta *out, bool *end, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Closes and frees; NULL is fine. */
void pr_csv_close(struct pr_csv *r);

#endif
