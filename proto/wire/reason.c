/* reason.c: see reason.h. */
#include "proto/wire/reason.h"

#include "common/limits.h"
#include "proto/wire/check.h"

#include <stdbool.h>
#include <stddef.h>

const char *pr_reason_name(enum pr_reason reason)
{
    switch (reason) {
#define PR_REASON_CASE(name, number, text) \
    case PR_REASON_##name:                 \
        return text;
        PR_REASON_MAP(PR_REASON_CASE)
#undef PR_REASON_CASE
    }
    return NULL;
}

enum cm_err pr_check_coverage(enum pr_reason reason, uint64_t images_scored, uint64_t images,
                              struct cm_error *e)
{
    if (!pr_reason_name(reason))
        return cm_fail(e, CM_EFORMAT, "unknown reason %u", (unsigned)reason);
    enum cm_err rc = pr_check_range("images", images, 0, CM_IMAGES_MAX, e);
    if (rc)
        return rc;
    if (images_scored > images)
        return cm_fail(e, CM_EFORMAT, "%llu images scored of only %llu",
                       (unsigned long long)images_scored, (unsigned long long)images);
    bool complete = images > 0 && images_scored == images;
    if (complete != (reason == PR_REASON_NONE))
        return cm_fail(e, CM_EFORMAT, "%llu of %llu images scored does not go with reason \"%s\"",
                       (unsigned long long)images_scored, (unsigned long long)images,
                       pr_reason_name(reason));
    return CM_OK;
}
