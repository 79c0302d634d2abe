/* input.c: see input.h. */
#include "proto/file/input.h"

#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static enum cm_err check_kind(struct pr_input *in, struct cm_error *e)
{
    struct stat st;
    if (fstat(in->fd, &st) < 0)
        return cm_fail_errno(e, errno, "cannot be examined");
    if (!S_ISREG(st.st_mode))
        return cm_fail(e, CM_EFORMAT,
                       "is not a regular file; it is read at many places, so a directory, pipe or "
                       "device will not do");
    if (st.st_size == 0)
        return cm_fail(e, CM_EFORMAT, "is empty");
    in->size = (uint64_t)st.st_size;
    return CM_OK;
}

enum cm_err pr_input_open(struct pr_input *in, const char *path, struct cm_error *e)
{
    *in = (struct pr_input){.fd = -1};
    enum cm_err rc = cm_copy_text(&in->path, path, e);
    if (rc)
        return rc;
    in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* no waiting for a pipe's writer */
    rc = in->fd < 0 ? cm_fail_errno(e, errno, "cannot be opened") : check_kind(in, e);
    if (rc)
        pr_input_close(in);
    return rc;
}

enum cm_err pr_input_read(const struct pr_input *in, uint64_t offset, void *out, size_t size,
                          struct cm_error *e)
{
    char *p = out;
    while (size > 0) {
        ssize_t n = pread(in->fd, p, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cm_fail_errno(e, errno, "reading at byte %llu", (unsigned long long)offset);
        if (n == 0)
            return cm_fail(e, CM_EFORMAT, "became shorter while it was read: ends at byte %llu",
                           (unsigned long long)offset);
        p += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return CM_OK;
}

void pr_input_close(struct pr_input *in)
{
    if (in->path && in->fd >= 0)
        close(in->fd);
    free(in->path);
    *in = (struct pr_input){.fd = -1};
}
