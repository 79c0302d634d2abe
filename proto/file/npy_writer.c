/* npy_writer.c: see npy_writer.h. */
#include "proto/file/npy_writer.h"

#include "common/assert.h"
#include "common/mem.h"
#include "proto/file/npy_header.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct pr_npy_writer {
    int fd;
    char *path;
    char *temporary; /* NULL once there is none to remove */
    uint64_t columns;
    uint64_t rows_left;
};

/* A name of its own, so that two writers of one path do not meet; mode 0666, so that the umask
 * decides as for any file, which mkstemp would not let it. */
static enum cm_err create_temporary(struct pr_npy_writer *w, struct cm_error *e)
{
    uint32_t tag;
    if (getrandom(&tag, sizeof tag, 0) != sizeof tag)
        return cm_fail_errno(e, errno, "%s: picking a temporary name", w->path);
    char *name;
    if (asprintf(&name, "%s.tmp-%08x", w->path, tag) < 0)
        return cm_fail(e, CM_ENOMEM, "%s: no memory for a temporary name", w->path);
    w->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd < 0) {
        enum cm_err rc =
            errno == ENOENT
                ? cm_fail(e, CM_EIO, "%s: the folder that it is to stand in is missing", w->path)
                : cm_fail_errno(e, errno, "%s", name);
        free(name);
        return rc;
    }
    w->temporary = name;
    return CM_OK;
}

static enum cm_err write_all(struct pr_npy_writer *w, const void *data, size_t size,
                             struct cm_error *e)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(w->fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cm_fail_errno(e, errno, "%s: writing", w->temporary);
        p += n;
        size -= (size_t)n;
    }
    return CM_OK;
}

static enum cm_err reserve(struct pr_npy_writer *w, uint64_t bytes, struct cm_error *e)
{
    int failed;
    do
        failed = fallocate(w->fd, 0, 0, (off_t)bytes);
    while (failed && errno == EINTR);
    if (!failed || errno == EOPNOTSUPP || errno == ENOSYS)
        return CM_OK; /* a file system that cannot reserve shows a full disk later */
    return cm_fail_errno(e, errno, "%s: reserving %llu bytes", w->temporary,
                         (unsigned long long)bytes);
}

static enum cm_err begin(struct pr_npy_writer *w, uint64_t rows, struct cm_error *e)
{
    char header[PR_NPY_MATRIX_HEADER_BYTES];
    struct stat st;
    uint64_t bytes;
    if (__builtin_mul_overflow(rows, w->columns, &bytes) ||
        bytes > (INT64_MAX - sizeof header) / sizeof(float))
        return cm_fail(e, CM_ELIMIT, "%s: %llu x %llu floats are more than a file holds", w->path,
                       (unsigned long long)rows, (unsigned long long)w->columns);
    bytes = bytes * sizeof(float) + sizeof header;
    if (stat(w->path, &st) == 0 && S_ISDIR(st.st_mode))
        return cm_fail(e, CM_EUSAGE, "%s: is a directory; name a file in it", w->path);
    enum cm_err rc = create_temporary(w, e);
    if (!rc)
        rc = reserve(w, bytes, e);
    pr_npy_matrix_header(rows, w->columns, header);
    return rc ? rc : write_all(w, header, sizeof header, e);
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
    *w = (struct pr_npy_writer){.fd = -1, .columns = columns, .rows_left = rows};
    rc = cm_copy_text(&w->path, path, e);
    if (!rc)
        rc = begin(w, rows, e);
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
    return write_all(w, values, count * (size_t)w->columns * sizeof *values, e);
}

/* A rename lasts through a power failure only once its directory is on disk. */
static enum cm_err sync_directory(const struct pr_npy_writer *w, struct cm_error *e)
{
    char *copy;
    enum cm_err rc = cm_copy_text(&copy, w->path, e);
    if (rc)
        return rc;
    const char *directory = dirname(copy);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        rc = cm_fail_errno(e, errno, "%s: syncing its directory", w->path);
    if (fd >= 0)
        close(fd);
    free(copy);
    return rc;
}

enum cm_err pr_npy_writer_commit(struct pr_npy_writer *w, struct cm_error *e)
{
    CM_ASSERT(w->rows_left == 0 && w->temporary);
    if (fsync(w->fd) < 0)
        return cm_fail_errno(e, errno, "%s: syncing", w->temporary);
    int failed = close(w->fd);
    w->fd = -1;
    if (failed)
        return cm_fail_errno(e, errno, "%s: closing", w->temporary);
    if (rename(w->temporary, w->path) < 0)
        return cm_fail_errno(e, errno, "%s: taking its place", w->path);
    free(w->temporary);
    w->temporary = NULL;
    return sync_directory(w, e);
}

void pr_npy_writer_close(struct pr_npy_writer *w)
{
    if (!w)
        return;
    if (w->fd >= 0)
        close(w->fd);
    if (w->temporary)
        unlink(w->temporary);
    free(w->temporary);
    free(w->path);
    free(w);
}
