/* output.c: see output.h. */
#include "proto/file/output.h"

#include "common/assert.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

/* A name of its own, so that two writers of one path do not meet; mode 0666, so that the umask
 * decides as for any file, which mkstemp would not let it. */
static enum cm_err fail_create(const struct pr_output *o, const char *name, struct cm_error *e)
{
    if (errno == ENOENT)
        return cm_fail(e, CM_EIO, "%s: the folder that it is to stand in is missing", o->path);
    return cm_fail_errno(e, errno, "%s", name);
}

static enum cm_err create_temporary(struct pr_output *o, struct cm_error *e)
{
    uint32_t tag;
    if (getrandom(&tag, sizeof tag, 0) != sizeof tag)
        return cm_fail_errno(e, errno, "%s: picking a temporary name", o->path);
    char *name;
    if (asprintf(&name, "%s.tmp-%08x", o->path, tag) < 0)
        return cm_fail(e, CM_ENOMEM, "%s: no memory for a temporary name", o->path);
    o->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (o->fd < 0) {
        enum cm_err rc = fail_create(o, name, e);
        free(name);
        return rc;
    }
    o->temporary = name;
    return CM_OK;
}

static enum cm_err begin(struct pr_output *o, const char *path, struct cm_error *e)
{
    struct stat st;
    *o = (struct pr_output){.fd = -1};
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return cm_fail(e, CM_EUSAGE, "%s: is a directory; name a file in it", path);
    return cm_copy_text(&o->path, path, e);
}

enum cm_err pr_output_open(struct pr_output *o, const char *path, struct cm_error *e)
{
    enum cm_err rc = begin(o, path, e);
    return rc ? rc : create_temporary(o, e);
}

enum cm_err pr_output_open_partial(struct pr_output *o, const char *path, bool resume,
                                   struct cm_error *e)
{
    char *name;
    enum cm_err rc = begin(o, path, e);
    if (rc)
        return rc;
    if (asprintf(&name, "%s.partial", path) < 0)
        return cm_fail(e, CM_ENOMEM, "%s: no memory for a temporary name", path);
    o->temporary = name;
    o->partial = true;
    o->fd = open(name, O_RDWR | O_CLOEXEC | (resume ? 0 : O_CREAT), 0666);
    if (o->fd < 0 && resume && errno == ENOENT)
        return cm_fail(e, CM_ENOENT, "%s is not there: nothing to resume", name);
    if (o->fd < 0)
        return fail_create(o, name, e);
    if (flock(o->fd, LOCK_EX | LOCK_NB) != 0)
        return cm_fail(e, CM_EBUSY, "%s: another process is writing it", name);
    if (!resume && ftruncate(o->fd, 0) != 0)
        return cm_fail_errno(e, errno, "%s: emptying", name);
    return CM_OK;
}

enum cm_err pr_output_reserve(struct pr_output *o, uint64_t bytes, struct cm_error *e)
{
    int failed;
    do
        failed = fallocate(o->fd, 0, 0, (off_t)bytes);
    while (failed && errno == EINTR);
    if (!failed || errno == EOPNOTSUPP || errno == ENOSYS)
        return CM_OK; /* a file system that cannot reserve shows a full disk later */
    return cm_fail_errno(e, errno, "%s: reserving %llu bytes", o->temporary,
                         (unsigned long long)bytes);
}

enum cm_err pr_output_write(struct pr_output *o, const void *data, size_t size, struct cm_error *e)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(o->fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cm_fail_errno(e, errno, "%s: writing", o->temporary);
        p += n;
        size -= (size_t)n;
    }
    return CM_OK;
}

enum cm_err pr_output_write_at(struct pr_output *o, uint64_t offset, const void *data, size_t size,
                               struct cm_error *e)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = pwrite(o->fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cm_fail_errno(e, errno, "%s: writing", o->temporary);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return CM_OK;
}

/* A rename lasts through a power failure only once its directory is on disk. */
static enum cm_err sync_directory(const struct pr_output *o, struct cm_error *e)
{
    char *copy;
    enum cm_err rc = cm_copy_text(&copy, o->path, e);
    if (rc)
        return rc;
    const char *directory = dirname(copy);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        rc = cm_fail_errno(e, errno, "%s: syncing its directory", o->path);
    if (fd >= 0)
        close(fd);
    free(copy);
    return rc;
}

enum cm_err pr_output_commit(struct pr_output *o, struct cm_error *e)
{
    CM_ASSERT(o->temporary);
    if (fsync(o->fd) < 0)
        return cm_fail_errno(e, errno, "%s: syncing", o->temporary);
    if (rename(o->temporary, o->path) < 0) /* while a lock still keeps others from it */
        return cm_fail_errno(e, errno, "%s: taking its place", o->path);
    int failed = close(o->fd);
    o->fd = -1;
    if (failed)
        return cm_fail_errno(e, errno, "%s: closing", o->path);
    free(o->temporary);
    o->temporary = NULL;
    return sync_directory(o, e);
}

void pr_output_close(struct pr_output *o)
{
    if (o->fd >= 0)
        close(o->fd);
    if (o->temporary && !o->partial)
        unlink(o->temporary);
    free(o->temporary);
    free(o->path);
    *o = (struct pr_output){.fd = -1};
}
