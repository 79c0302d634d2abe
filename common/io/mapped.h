/* mapped.h: files mapped read-only, which may be truncated or fail to read without killing us.
 *
 * Touching a page that the file no longer has, or that the disk cannot give, raises SIGBUS. The
 * first io_map_open installs a handler for the whole process that puts a page of zeros in its
 * place, remembers that, and lets the interrupted computation (inside BLAS, say) go on. So the rule
 * is: compute from the bytes, then ask io_map_faulted about their range, and throw the result away
 * if it says yes. A SIGBUS anywhere else still ends the process.
 *
 * Two things stay with the caller. System calls do not raise SIGBUS but fail with EFAULT: never
 * give them mapped bytes. ZeroMQ's own threads block SIGBUS: never send mapped bytes. */
#ifndef IO_MAPPED_H
#define IO_MAPPED_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>

struct io_map;

/* Maps the whole of a regular file, at its present size. What memory does not hold is read when it
 * is touched, and ahead of a reader that goes in order; where memory is short, the kernel drops
 * these bytes before others. Any thread. Errors: those of cm_fail_errno; CM_EFORMAT (empty, or not
 * a regular file), CM_ELIMIT (too many maps are open), CM_ENOMEM. */
enum cm_err io_map_open(struct io_map **out, const char *path, struct cm_error *e)
    __attribute__((warn_unused_result));
/* Any thread, once nobody reads the bytes any more. NULL is fine. */
void io_map_close(struct io_map *m);

/* The bytes, page-aligned; valid until io_map_close. Any thread. */
const void *io_map_data(const struct io_map *m);
size_t io_map_size(const struct io_map *m);

/* True if a byte of [offset, offset + size) may have been read as zero although the file once held
 * something else: a page of it ever faulted, or the file is now shorter. The range lies within the
 * map. Any thread; a few hundred nanoseconds. */
bool io_map_faulted(const struct io_map *m, size_t offset, size_t size);

#endif
