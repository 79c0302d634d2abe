/* shards.c: see shards.h. */
#include "proto/wire/shards.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

enum cm_err pr_shards_check(const struct cm_shard_id *shards, size_t count, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of shards", count, 1, CM_SHARDS_MAX, e);
    for (size_t i = 0; i < count && !rc; i++) {
        rc = pr_check_range("shard", shards[i].v, 0, CM_SHARDS_MAX - 1, e);
        if (!rc && i > 0 && shards[i].v <= shards[i - 1].v)
            rc = cm_fail(e, CM_EFORMAT, "shard %u comes after shard %u; they must ascend",
                         shards[i].v, shards[i - 1].v);
    }
    return rc;
}

void pr_shards_write(struct pr_writer *w, const struct cm_shard_id *shards, size_t count)
{
    pr_write_list(w, count);
    for (size_t i = 0; i < count && !w->rc; i++)
        pr_write_u64(w, shards[i].v);
}

void pr_shards_read(struct pr_fields *f, unsigned key, struct cm_shard_id **shards, size_t *count)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, key, "shards", CM_SHARDS_MAX);
    struct cm_shard_id *out = pr_reader_new(r, list.count, sizeof *out);
    for (size_t i = 0; i < list.count && !r->rc; i++)
        out[i].v = pr_item_u32(r, &list, i, "shard");
    *shards = out;
    *count = r->rc ? 0 : list.count;
}
