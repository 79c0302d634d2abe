/* file.c: see file.h. */
#include "common/io/file.h"

#include "common/assert.h"
#include "common/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum cm_err io_file_write_all(int fd, const char *path, uint64_t offset, const void *data,
                              size_t size, struct cm_error *e)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cm_fail_errno(e, errno, "cannot write %s", path);
        p += n;
        size -= (size_t)n;
        offset += (uint64_t)n;
    }
    return CM_OK;
}

/* --- io_read_file ---------------------------------------------------------------------------- */

struct text {
    char *data;
    size_t size;
    size_t room; /* bytes allocated; one is kept for the NUL */
};

/* Room for at least one byte more and the NUL. */
static enum cm_err make_room(struct text *t, size_t max_bytes, struct cm_error *e)
{
    enum { STEP = 4096 };
    if (t->size + 1 < t->room)
        return CM_OK;
    size_t room = t->room / 2 + t->room + STEP;
    if (room > max_bytes + 2)
        room = max_bytes + 2; /* the byte too many, and the NUL */
    char *data = realloc(t->data, room);
    if (!data)
        return cm_fail(e, CM_ENOMEM, "cannot allocate %zu bytes", room);
    t->data = data;
    t->room = room;
    return CM_OK;
}

static enum cm_err read_to_end(int fd, size_t max_bytes, struct text *t, struct cm_error *e)
{
    for (;;) {
        enum cm_err rc = make_room(t, max_bytes, e);
        if (rc)
            return rc;
        ssize_t n = read(fd, t->data + t->size, t->room - t->size - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cm_fail_errno(e, errno, "cannot read");
        if (n == 0)
            break;
        t->size += (size_t)n;
        if (t->size > max_bytes)
            return cm_fail(e, CM_ELIMIT, "longer than %zu bytes", max_bytes);
    }
    t->data[t->size] = '\0';
    return CM_OK;
}

static enum cm_err read_regular(int fd, size_t max_bytes, struct text *t, struct cm_error *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return cm_fail_errno(e, errno, "cannot stat");
    if (!S_ISREG(st.st_mode))
        return cm_fail(e, CM_EFORMAT, "not a regular file");
    if ((uint64_t)st.st_size > max_bytes)
        return cm_fail(e, CM_ELIMIT, "%lld bytes long; at most %zu are read", (long long)st.st_size,
                       max_bytes);
    return read_to_end(fd, max_bytes, t, e);
}

enum cm_err io_read_file(const char *path, size_t max_bytes, void **data, size_t *size,
                         struct cm_error *e)
{
    CM_ASSERT(max_bytes < SIZE_MAX - 2);
    *data = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0)
        return cm_fail_errno(e, errno, "cannot open %s", path);
    struct text t = {0};
    enum cm_err rc = read_regular(fd, max_bytes, &t, e);
    close(fd);
    if (rc) {
        free(t.data);
        return cm_wrap(e, rc, "%s", path);
    }
    *data = t.data;
    *size = t.size;
    return CM_OK;
}

/* --- names ----------------------------------------------------------------------------------- */

enum cm_err io_fsync_path(const char *path, struct cm_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return cm_fail_errno(e, errno, "cannot open %s", path);
    int rc = fsync(fd);
    int errnum = errno;
    close(fd);
    return rc == 0 ? CM_OK : cm_fail_errno(e, errnum, "cannot sync %s to disk", path);
}

static int rename_after_look(const char *from, const char *to)
{
    struct stat st;
    if (lstat(to, &st) == 0) {
        errno = EEXIST;
        return -1;
    }
    return errno == ENOENT ? rename(from, to) : -1;
}

enum cm_err io_rename_new(const char *from, const char *to, struct cm_error *e)
{
    int rc = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    if (rc != 0 && (errno == EINVAL || errno == ENOSYS))
        rc = rename_after_look(from, to);
    return rc == 0 ? CM_OK : cm_fail_errno(e, errno, "cannot rename %s to %s", from, to);
}

/* --- io_remove_tree -------------------------------------------------------------------------- */

static enum cm_err remove_entries(int fd, const char *path, struct cm_error *e);

/* Removes one entry of the directory `parent`; `path` is the directory's, for the error. */
static enum cm_err remove_entry(int parent, const char *name, const char *path, struct cm_error *e)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return CM_OK;
    if (errno != EISDIR)
        return cm_fail_errno(e, errno, "cannot remove %s/%s", path, name);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return cm_fail_errno(e, errno, "cannot open %s/%s", path, name);
    enum cm_err rc = remove_entries(fd, name, e);
    if (rc)
        return cm_wrap(e, rc, "%s", path);
    if (unlinkat(parent, name, AT_REMOVEDIR) != 0)
        return cm_fail_errno(e, errno, "cannot remove %s/%s", path, name);
    return CM_OK;
}

/* Empties the directory behind `fd`, and closes it. */
static enum cm_err remove_entries(int fd, const char *path, struct cm_error *e)
{
    DIR *dir = fdopendir(fd);
    if (!dir) {
        int errnum = errno;
        close(fd);
        return cm_fail_errno(e, errnum, "cannot list %s", path);
    }
    enum cm_err rc = CM_OK;
    struct dirent *entry;
    while (!rc && (entry = readdir(dir)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = remove_entry(dirfd(dir), entry->d_name, path, e);
    closedir(dir);
    return rc;
}

enum cm_err io_remove_tree(const char *path, struct cm_error *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return CM_OK;
    if (fd < 0)
        return cm_fail_errno(e, errno, "cannot open the directory %s", path);
    enum cm_err rc = remove_entries(fd, path, e);
    if (!rc && rmdir(path) != 0)
        rc = cm_fail_errno(e, errno, "cannot remove %s", path);
    return rc;
}

enum cm_err io_lock_file(const char *path, int *fd, struct cm_error *e)
{
    *fd = -1;
    int lock = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0)
        return cm_fail_errno(e, errno, "cannot open the lock file %s", path);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        int errnum = errno;
        close(lock);
        if (errnum == EWOULDBLOCK)
            return cm_fail(e, CM_EBUSY, "the lock file %s is held by another process", path);
        return cm_fail_errno(e, errnum, "cannot lock %s", path);
    }
    *fd = lock;
    return CM_OK;
}

void io_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit); /* who runs into the old one is told then */
}
