/* input.c: see input.h. */
#include "proto/file/input.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum cm_err check_kind(struct pr_input *in, bool any, struct cm_error *e)
{
    struct stat st;
    if (fstat(in->fd, &st) < 0)
        return cm_fail_errno(e, errno, "cannot be examined");
    bool regular = S_ISREG(st.st_mode);
    if (!regular && !any)
        return cm_fail(e, CM_EFORMAT,
                       "is not a regular file; it is read at many places, so a directory, pipe or "
                       "device will not do");
    if (isatty(in->fd))
        return cm_fail(e, CM_EFORMAT, "is a terminal; send it a file or a program's output");
    if (!regular && !S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode))
        return cm_fail(e, CM_EFORMAT,
                       "is not a regular file or a pipe; a directory or device will not do");
    in->stream = in->stream || !regular;
    if (in->stream)
        return CM_OK;
    if (st.st_size == 0)
        return cm_fail(e, CM_EFORMAT, "is empty");
    in->size = (uint64_t)st.st_size;
    return CM_OK;
}

static enum cm_err open_path(struct pr_input *in, const char *path, bool any, struct cm_error *e)
{
    *in = (struct pr_input){.fd = -1, .stream = any && strcmp(path, "-") == 0};
    enum cm_err rc = cm_copy_text(&in->path, path, e);
    if (rc)
        return rc;
    int wait = any ? 0 : O_NONBLOCK; /* for a named pipe's writer */
    in->fd = in->stream ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)
                        : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | wait);
    rc = in->fd < 0 ? cm_fail_errno(e, errno, "cannot be opened") : check_kind(in, any, e);
    if (rc)
        pr_input_close(in);
    return rc;
}

enum cm_err pr_input_open(struct pr_input *in, const char *path, struct cm_error *e)
{
    return open_path(in, path, false, e);
}

enum cm_err pr_input_open_any(struct pr_input *in, const char *path, struct cm_error *e)
{
    return open_path(in, path, true, e);
}

/* Until there is something to read: somebody else may have made standard input non-blocking. */
static void wait_readable(const struct pr_input *in)
{
    struct pollfd p = {.fd = in->fd, .events = POLLIN};
    (void)poll(&p, 1, -1);
}

/* As many of `size` bytes as there are before the end. */
static enum cm_err read_up_to(const struct pr_input *in, uint64_t offset, void *out, size_t size,
                              size_t *got, struct cm_error *e)
{
    char *p = out;
    for (*got = 0; *got < size;) {
        size_t left = size - *got;
        ssize_t n = in->stream ? read(in->fd, p + *got, left)
                               : pread(in->fd, p + *got, left, (off_t)(offset + *got));
        if (n == 0)
            break;
        if (n > 0)
            *got += (size_t)n;
        else if (errno == EAGAIN)
            wait_readable(in);
        else if (errno != EINTR)
            return cm_fail_errno(e, errno, "reading at byte %llu",
                                 (unsigned long long)(offset + *got));
    }
    return CM_OK;
}

enum cm_err pr_input_read(const struct pr_input *in, uint64_t offset, void *out, size_t size,
                          struct cm_error *e)
{
    size_t got;
    enum cm_err rc = read_up_to(in, offset, out, size, &got, e);
    if (!rc && got < size)
        return cm_fail(e, CM_EFORMAT, "became shorter while it was read: ends at byte %llu",
                       (unsigned long long)(offset + got));
    return rc;
}

enum cm_err pr_input_next(struct pr_input *in, void *out, size_t size, size_t *got,
                          struct cm_error *e)
{
    enum cm_err rc = read_up_to(in, in->at, out, size, got, e);
    in->at += *got;
    return rc;
}

void pr_input_close(struct pr_input *in)
{
    if (in->path && in->fd >= 0)
        close(in->fd);
    free(in->path);
    *in = (struct pr_input){.fd = -1};
}
