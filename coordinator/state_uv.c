/* state_uv.c: see state_uv.h. */
#include "coordinator/state_uv.h"

#include "common/io/file.h"
#include "proto/file/output.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum cm_err lock(struct co_state *s, struct cm_error *e)
{
    char path[PATH_MAX];
    if ((size_t)snprintf(path, sizeof path, "%s.lock", s->path) >= sizeof path)
        return cm_fail(e, CM_EUSAGE, "--state: the path is too long");
    enum cm_err rc = io_lock_file(path, &s->lock, e);
    if (rc == CM_EBUSY)
        return cm_fail(e, CM_EBUSY, "%s: another coordinator has it", s->path);
    return rc;
}

enum cm_err co_state_open(struct co_state *s, const char *path, struct cm_error *e)
{
    void *text = NULL;
    size_t size = 0;
    *s = (struct co_state){.path = path, .lock = -1};
    enum cm_err rc = lock(s, e);
    if (rc)
        return rc;
    rc = io_read_file(path, PR_MAP_BYTES_MAX, &text, &size, e);
    if (rc == CM_ENOENT)
        return CM_OK;
    if (rc)
        return rc;
    rc = pr_map_read(&s->map, text, size, e);
    free(text);
    s->found = rc == CM_OK;
    return rc ? cm_wrap(e, rc,
                        "%s: not a map that can be trusted (put a copy of it back, or remove it to "
                        "begin a new one)",
                        path)
              : CM_OK;
}

enum cm_err co_state_save(const struct co_state *s, const char *text, struct cm_error *e)
{
    struct pr_output out;
    enum cm_err rc = pr_output_open(&out, s->path, e);
    if (!rc)
        rc = pr_output_write(&out, text, strlen(text), e);
    if (!rc)
        rc = pr_output_commit(&out, e);
    pr_output_close(&out);
    return rc;
}

void co_state_close(struct co_state *s)
{
    pr_map_fini(&s->map);
    if (s->lock >= 0)
        close(s->lock);
    s->lock = -1;
}
