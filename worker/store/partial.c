/* partial.c: see partial.h. */
#include "worker/store/partial.h"

#include "common/io/file.h"
#include "common/mem.h"
#include "proto/file/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char suffix[] = ".partial";
enum { SUFFIX_BYTES = sizeof suffix - 1, CLAIMS_MAX = 100 };

static bool ends_in(const char *text, const char *end)
{
    size_t text_bytes = strlen(text), end_bytes = strlen(end);
    return text_bytes >= end_bytes && strcmp(text + text_bytes - end_bytes, end) == 0;
}

/* --- what is in the way ------------------------------------------------------------------------
 */

enum cm_err st_partial_check(const char *out, struct cm_error *e)
{
    struct stat st;
    if (ends_in(out, suffix)) /* or an import into the name without it would clear this gallery */
        return cm_fail(e, CM_EUSAGE, "%s: names that end in %s are for unfinished galleries", out,
                       suffix);
    if (lstat(out, &st) == 0)
        return cm_fail(e, CM_EEXIST, "%s is in the way: remove it, or choose another --out", out);
    return errno == ENOENT ? CM_OK : cm_fail_errno(e, errno, "cannot create %s", out);
}

/* A name that an import gives to a file? Whatever else lies there belongs to somebody. */
static bool is_ours(const char *name)
{
    return strcmp(name, PR_MANIFEST_FILE) == 0 || strcmp(name, PR_WEIGHTS_FILE) == 0 ||
           (strncmp(name, "shard-", strlen("shard-")) == 0 && ends_in(name, ".vts"));
}

/* Removes the files that an import left in the folder. */
static enum cm_err empty(const struct st_partial *p, struct cm_error *e)
{
    int fd = openat(p->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    enum cm_err rc = dir ? CM_OK : cm_fail_errno(e, errno, "cannot list %s", p->path);
    struct dirent *entry;
    while (!rc && (entry = readdir(dir)) != NULL) {
        const char *name = entry->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (!is_ours(name))
            rc = cm_fail(e, CM_EEXIST, "%s holds '%s', which no import left there: move it away",
                         p->path, name);
        else if (unlinkat(p->fd, name, 0) != 0)
            rc = cm_fail_errno(e, errno, "cannot remove %s/%s", p->path, name);
    }
    if (dir)
        closedir(dir);
    else if (fd >= 0)
        close(fd);
    return rc;
}

/* --- the claim ---------------------------------------------------------------------------------
 */

static enum cm_err make_folder(const struct st_partial *p, struct cm_error *e)
{
    if (mkdir(p->path, 0755) == 0 || errno == EEXIST)
        return CM_OK;
    if (errno == ENOENT)
        return cm_fail(e, CM_EIO, "cannot create %s: the folder that it is to stand in is missing",
                       p->path);
    return cm_fail_errno(e, errno, "cannot create %s", p->path);
}

/* Is the folder that we hold still the one of that name? */
static bool still_there(const struct st_partial *p)
{
    struct stat held, named;
    return fstat(p->fd, &held) == 0 && lstat(p->path, &named) == 0 && held.st_dev == named.st_dev &&
           held.st_ino == named.st_ino;
}

/* Locks the folder. *gone is true if it was removed or published under our hands. */
static enum cm_err lock_folder(struct st_partial *p, bool *gone, struct cm_error *e)
{
    int fd = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    *gone = fd < 0 && errno == ENOENT;
    if (*gone)
        return CM_OK;
    if (fd < 0)
        return errno == ENOTDIR || errno == ELOOP
                   ? cm_fail(e, CM_EEXIST, "%s is in the way: move it away", p->path)
                   : cm_fail_errno(e, errno, "cannot open %s", p->path);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int errnum = errno;
        close(fd);
        return errnum == EWOULDBLOCK
                   ? cm_fail(e, CM_EBUSY, "another import into %s is running", p->out)
                   : cm_fail_errno(e, errnum, "cannot lock %s", p->path);
    }
    p->fd = fd;
    p->claimed = still_there(p);
    *gone = !p->claimed;
    if (*gone)
        close(fd);
    return CM_OK;
}

static enum cm_err name_folder(struct st_partial *p, const char *out, struct cm_error *e)
{
    void *path = NULL;
    enum cm_err rc = cm_copy_text(&p->out, out, e);
    if (!rc)
        rc = cm_new(&path, strlen(out) + SUFFIX_BYTES + 1, 1, e);
    p->path = path;
    if (!rc)
        stpcpy(stpcpy(p->path, out), suffix);
    return rc;
}

enum cm_err st_partial_claim(struct st_partial *p, const char *out, struct cm_error *e)
{
    bool gone = true;
    *p = (struct st_partial){0};
    enum cm_err rc = name_folder(p, out, e);
    for (int i = 0; !rc && gone && i < CLAIMS_MAX; i++) {
        rc = make_folder(p, e);
        if (!rc)
            rc = lock_folder(p, &gone, e);
    }
    if (!rc && gone)
        rc = cm_fail(e, CM_EBUSY, "other imports into %s come and go", out);
    if (!rc)
        rc = st_partial_check(out, e); /* who held the folder before may have finished */
    return rc ? rc : empty(p, e);
}

/* --- the end -----------------------------------------------------------------------------------
 */

/* The folder that `path` is an entry of. */
static enum cm_err sync_parent(const char *path, struct cm_error *e)
{
    char *parent;
    enum cm_err rc = cm_copy_text(&parent, path, e);
    if (rc)
        return rc;
    char *slash = strrchr(parent, '/');
    if (slash && slash != parent)
        *slash = '\0';
    rc = io_fsync_path(!slash ? "." : slash == parent ? "/" : parent, e);
    free(parent);
    return rc;
}

enum cm_err st_partial_publish(struct st_partial *p, struct cm_error *e)
{
    enum cm_err rc = io_fsync_path(p->path, e);
    if (!rc)
        rc = io_rename_new(p->path, p->out, e);
    if (rc == CM_EEXIST)
        return cm_fail(e, rc, "%s is in the way: it was made while this import ran", p->out);
    return rc ? rc : sync_parent(p->out, e);
}

void st_partial_drop(struct st_partial *p)
{
    if (p->claimed && still_there(p) && empty(p, NULL) == CM_OK)
        rmdir(p->path);
    if (p->claimed)
        close(p->fd);
    free(p->path);
    free(p->out);
    *p = (struct st_partial){0};
}
