/* file.h: whole-file operations that finish what they begin. Any thread; every call may block.
 *
 * Errors name the path and carry the codes of cm_fail_errno (CM_ENOENT, CM_ENOSPC, CM_EIO, ...)
 * beside those named at each function. Descriptors are close-on-exec. */
#ifndef IO_FILE_H
#define IO_FILE_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>

/* Writes all `size` bytes at `offset` of `fd`, through short writes and EINTR. `path` is for the
 * error. The file may hold some of the bytes after a failure. */
enum cm_err io_file_write_all(int fd, const char *path, uint64_t offset, const void *data,
                              size_t size, struct cm_error *e);

/* The bytes of a regular file, with a NUL behind the last; the caller frees *data with free().
 * Errors: CM_ELIMIT (longer than max_bytes), CM_EFORMAT (not a regular file); *data is then NULL.
 */
enum cm_err io_read_file(const char *path, size_t max_bytes, void **data, size_t *size,
                         struct cm_error *e) __attribute__((warn_unused_result));

/* Makes a file's bytes, or a directory's entries, survive a power cut. */
enum cm_err io_fsync_path(const char *path, struct cm_error *e);

/* Renames, and never over something that exists (CM_EEXIST). Where the filesystem cannot promise
 * that in one step, `to` is looked at first; two racing callers may then overwrite each other. */
enum cm_err io_rename_new(const char *from, const char *to, struct cm_error *e);

/* Removes a directory and all below it; a symbolic link is removed, never followed. CM_OK if
 * nothing is there. Errors: CM_EIO also if `path` is no directory. */
enum cm_err io_remove_tree(const char *path, struct cm_error *e);

/* Creates `path` if need be and takes its lock; *fd holds it until closed, or until the process
 * ends in any way. The file stays: removing it would let two holders in. *fd is -1 on failure.
 * Errors: CM_EBUSY (somebody holds it, perhaps this process). */
enum cm_err io_lock_file(const char *path, int *fd, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Lets this process have as many files open as the hard limit allows: a mapped shard and a
 * connection are one each, and the usual soft limit is 1024. Nothing changes where that fails. */
void io_raise_file_limit(void);

#endif
