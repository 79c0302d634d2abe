/* missing.c: see missing.h. */
#include "proto/wire/missing.h"

#include "common/limits.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

/* A missing shard is a tuple of these. */
enum { SHARD, REASON, IMAGES_SCORED, IMAGES, MISSING_VALUES };

static enum cm_err check_shard(const struct pr_missing_shard *shard, uint32_t shards,
                               struct cm_error *e)
{
    if (shard->shard.v >= shards)
        return cm_fail(e, CM_EFORMAT, "shard %u of a gallery of %u", shard->shard.v, shards);
    if (shard->reason == PR_REASON_NONE)
        return cm_fail(e, CM_EFORMAT, "shard %u is missing without a reason", shard->shard.v);
    enum cm_err rc = pr_check_coverage(shard->reason, shard->images_scored, shard->images, e);
    return rc ? cm_wrap(e, rc, "missing shard %u", shard->shard.v) : CM_OK;
}

enum cm_err pr_missing_check(const struct pr_missing_shard *missing, size_t count, uint32_t shards,
                             struct cm_error *e)
{
    for (size_t i = 0; i < count; i++) {
        enum cm_err rc = check_shard(&missing[i], shards, e);
        if (rc)
            return rc;
        if (i > 0 && missing[i].shard.v <= missing[i - 1].shard.v)
            return cm_fail(e, CM_EFORMAT, "shard %u comes after shard %u; they must ascend",
                           missing[i].shard.v, missing[i - 1].shard.v);
    }
    return CM_OK;
}

void pr_missing_write(struct pr_writer *w, const struct pr_missing_shard *missing, size_t count)
{
    pr_write_list(w, count);
    for (size_t i = 0; i < count && !w->rc; i++) {
        pr_write_list(w, MISSING_VALUES);
        pr_write_u64(w, missing[i].shard.v);
        pr_write_u64(w, missing[i].reason);
        pr_write_u64(w, missing[i].images_scored);
        pr_write_u64(w, missing[i].images);
    }
}

void pr_missing_read(struct pr_fields *f, unsigned key, struct pr_missing_shard **missing,
                     size_t *count)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, key, "missing shards", CM_SHARDS_MAX);
    struct pr_missing_shard *out = pr_reader_new(r, list.count, sizeof *out);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields shard;
        pr_item_tuple(r, &list, i, MISSING_VALUES, &shard);
        out[i].shard.v = pr_get_u32(&shard, SHARD, "shard");
        out[i].reason = pr_get_u32(&shard, REASON, "reason");
        out[i].images_scored = pr_get_u64(&shard, IMAGES_SCORED, "images_scored");
        out[i].images = pr_get_u64(&shard, IMAGES, "images");
        pr_reader_where(r, "missing shard", i);
    }
    *missing = out;
    *count = r->rc ? 0 : list.count;
}
