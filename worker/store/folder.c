/* folder.c: see folder.h. */
#include "worker/store/folder.h"

#include "common/io/file.h"
#include "common/mem.h"
#include "proto/file/manifest.h"
#include "worker/store/gallery.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char marker[] = "{\"format\": \"vitrine-store\", \"version\": 1}\n";

enum { FILE_BYTES = 64 }; /* the longest of our files' names, with its suffix */

/* --- single files ----------------------------------------------------------------------------- */

enum cm_err st_publish(const char *dir, const char *file, struct cm_error *e)
{
    char part[FILE_BYTES], *from = NULL, *to = NULL;
    snprintf(part, sizeof part, "%s" ST_PART, file);
    enum cm_err rc = st_path(&from, dir, part, e);
    if (!rc)
        rc = st_path(&to, dir, file, e);
    if (!rc)
        rc = io_fsync_path(from, e);
    if (!rc && rename(from, to) != 0)
        rc = cm_fail_errno(e, errno, "cannot rename %s to %s", from, to);
    if (!rc)
        rc = io_fsync_path(dir, e);
    free(from);
    free(to);
    return rc;
}

enum cm_err st_remove(const char *dir, const char *file, struct cm_error *e)
{
    char *path;
    enum cm_err rc = st_path(&path, dir, file, e);
    if (!rc && unlink(path) != 0 && errno != ENOENT)
        rc = cm_fail_errno(e, errno, "cannot remove %s", path);
    free(path);
    return rc;
}

static bool is_shard_part(const char *name)
{
    size_t bytes = strlen(name), end = sizeof ".vts" ST_PART - 1;
    return strncmp(name, "shard-", 6) == 0 && bytes > end &&
           strcmp(name + bytes - end, ".vts" ST_PART) == 0;
}

void st_remove_parts(const char *dir, const char *keep)
{
    char part[FILE_BYTES] = "";
    DIR *entries = opendir(dir);
    struct dirent *entry;
    if (keep)
        snprintf(part, sizeof part, "%s" ST_PART, keep);
    while (entries && (entry = readdir(entries)) != NULL)
        if (is_shard_part(entry->d_name) && strcmp(entry->d_name, part) != 0)
            unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries)
        closedir(entries);
}

/* --- the claim -------------------------------------------------------------------------------- */

static bool has(const struct st_folder *f, const char *file)
{
    struct stat st;
    char *path;
    bool there = st_path(&path, f->dir, file, NULL) == CM_OK && stat(path, &st) == 0;
    free(path);
    return there;
}

static enum cm_err sync_parent(const char *dir, struct cm_error *e)
{
    char *parent;
    enum cm_err rc = st_path(&parent, dir, "..", e);
    if (!rc)
        rc = io_fsync_path(parent, e);
    free(parent);
    return rc;
}

static enum cm_err make_folder(const struct st_folder *f, struct cm_error *e)
{
    if (mkdir(f->dir, 0755) == 0)
        return sync_parent(f->dir, e);
    if (errno == EEXIST)
        return CM_OK;
    if (errno == ENOENT)
        return cm_fail(e, CM_ENOENT,
                       "cannot create %s: the folder that it is to stand in is missing", f->dir);
    return cm_fail_errno(e, errno, "cannot create %s", f->dir);
}

static enum cm_err lock_folder(struct st_folder *f, struct cm_error *e)
{
    f->fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->fd < 0)
        return errno == ENOTDIR ? cm_fail(e, CM_EEXIST, "%s is not a folder", f->dir)
                                : cm_fail_errno(e, errno, "cannot open %s", f->dir);
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0)
        return CM_OK;
    if (errno == EWOULDBLOCK)
        return cm_fail(e, CM_EBUSY, "another worker serves from %s: each needs a folder of its own",
                       f->dir);
    return cm_fail_errno(e, errno, "cannot lock %s", f->dir);
}

/* What a claim that was cut short, or a file system, may have left. */
static bool is_nothing(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, "lost+found") == 0 ||
           strcmp(name, ST_STORE_FILE ST_PART) == 0;
}

static enum cm_err check_empty(const struct st_folder *f, struct cm_error *e)
{
    DIR *entries = opendir(f->dir);
    struct dirent *entry;
    enum cm_err rc = entries ? CM_OK : cm_fail_errno(e, errno, "cannot list %s", f->dir);
    while (!rc && (entry = readdir(entries)) != NULL)
        if (!is_nothing(entry->d_name))
            rc = cm_fail(e, CM_ENOENT,
                         "'%s' is not a gallery (make one with 'vitrine import'), and it is not "
                         "empty, as a new worker's folder is: it holds '%s'",
                         f->dir, entry->d_name);
    if (entries)
        closedir(entries);
    return rc;
}

static enum cm_err mark(const struct st_folder *f, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    int fd = openat(f->fd, ST_STORE_FILE ST_PART, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return cm_fail_errno(e, errno, "cannot create a file in %s", f->dir);
    rc = io_file_write_all(fd, f->dir, 0, marker, sizeof marker - 1, e);
    close(fd);
    return rc ? rc : st_publish(f->dir, ST_STORE_FILE, e);
}

enum cm_err st_folder_open(struct st_folder *f, const char *dir, struct cm_error *e)
{
    *f = (struct st_folder){.fd = -1};
    enum cm_err rc = cm_copy_text(&f->dir, dir, e);
    if (rc)
        return rc;
    f->joined = has(f, PR_MANIFEST_FILE);
    if (f->joined && !has(f, ST_STORE_FILE))
        return CM_OK;
    rc = make_folder(f, e);
    if (!rc)
        rc = lock_folder(f, e);
    if (!rc && !has(f, ST_STORE_FILE)) {
        rc = check_empty(f, e);
        if (!rc)
            rc = mark(f, e);
    }
    f->own = !rc;
    f->joined = has(f, PR_MANIFEST_FILE); /* who held the lock before may have got it */
    return rc;
}

void st_folder_close(struct st_folder *f)
{
    free(f->dir);
    if (f->fd >= 0)
        close(f->fd);
    *f = (struct st_folder){.fd = -1};
}
