/* census.c: see census.h. */
#include "proto/wire/census.h"

#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

/* Key by key, from the first. */
enum { VALID, SAME_CAMERA, JUNK, DISTRACTORS };

enum cm_err pr_census_check(const struct pr_census *c, uint64_t images, uint64_t positives,
                            struct cm_error *e)
{
    enum cm_err rc = pr_check_range("valid", c->valid, 0, images, e);
    if (!rc)
        rc = pr_check_range("same_camera", c->same_camera, 0, images, e);
    if (!rc)
        rc = pr_check_range("junk", c->junk, 0, images, e);
    if (!rc && c->valid + c->same_camera + c->junk != images)
        rc = cm_fail(e, CM_EFORMAT,
                     "%llu valid images, %llu of the same camera and %llu of junk do not make %llu",
                     (unsigned long long)c->valid, (unsigned long long)c->same_camera,
                     (unsigned long long)c->junk, (unsigned long long)images);
    if (!rc)
        rc = pr_check_range("distractors", c->distractors, 0, c->valid, e);
    if (!rc)
        rc = pr_check_range("the number of positives", positives, 0, c->valid - c->distractors, e);
    return rc;
}

void pr_census_write(struct pr_writer *w, uint32_t key, const struct pr_census *c)
{
    pr_put_u64(w, key + VALID, c->valid);
    pr_put_u64(w, key + SAME_CAMERA, c->same_camera);
    pr_put_u64(w, key + JUNK, c->junk);
    pr_put_u64(w, key + DISTRACTORS, c->distractors);
}

void pr_census_read(struct pr_fields *f, unsigned key, struct pr_census *c)
{
    c->valid = pr_get_u64(f, key + VALID, "valid");
    c->same_camera = pr_get_u64(f, key + SAME_CAMERA, "same_camera");
    c->junk = pr_get_u64(f, key + JUNK, "junk");
    c->distractors = pr_get_u64(f, key + DISTRACTORS, "distractors");
}
