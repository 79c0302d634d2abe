/* textfile.c: see textfile.h. */
#include "ops/cli/textfile.h"

#include "proto/file/output.h"

#include <stdlib.h>

enum cm_err cli_textfile_open(struct cli_textfile *t, struct cm_error *e)
{
    *t = (struct cli_textfile){0};
    t->file = open_memstream(&t->data, &t->size);
    return t->file ? CM_OK : cm_fail(e, CM_ENOMEM, "no memory for a text");
}

enum cm_err cli_textfile_end(struct cli_textfile *t, struct cm_error *e)
{
    int failed = ferror(t->file);
    failed |= fclose(t->file);
    t->file = NULL;
    return failed ? cm_fail(e, CM_ENOMEM, "no memory for a text of more than %zu bytes", t->size)
                  : CM_OK;
}

enum cm_err cli_textfile_save(struct cli_textfile *t, const char *path, struct cm_error *e)
{
    struct pr_output out;
    enum cm_err rc = cli_textfile_end(t, e);
    if (rc)
        return cm_wrap(e, rc, "%s", path);
    rc = pr_output_open(&out, path, e);
    if (!rc)
        rc = pr_output_write(&out, t->data, t->size, e);
    if (!rc)
        rc = pr_output_commit(&out, e);
    pr_output_close(&out);
    return rc;
}

void cli_textfile_close(struct cli_textfile *t)
{
    if (t->file)
        fclose(t->file);
    free(t->data);
    *t = (struct cli_textfile){0};
}
