/* hits.c: see hits.h. */
#include "proto/wire/hits.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>
#include <string.h>

/* A hit is a tuple of these. */
enum { IMAGE, SCORE, PID, CAMID, TIMESTAMP, NAME, HIT_VALUES };

void pr_hits_fini(struct pr_hits *h)
{
    free(h->items);
    free(h->names);
    *h = (struct pr_hits){0};
}

enum cm_err pr_hits_check(const struct pr_hits *h, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of hits", h->count, 0, CM_K_MAX, e);
    for (size_t i = 0; i < h->count && !rc; i++) {
        rc = pr_check_hit(&h->items[i].hit, i > 0 ? &h->items[i - 1].hit : NULL, e);
        if (rc)
            return cm_wrap(e, rc, "hit %zu", i);
    }
    return rc;
}

void pr_hits_write(struct pr_writer *w, const struct pr_hits *h)
{
    pr_write_list(w, h->count);
    for (size_t i = 0; i < h->count && !w->rc; i++) {
        const struct pr_hit *hit = &h->items[i];
        pr_write_list(w, HIT_VALUES);
        pr_write_u64(w, hit->hit.image);
        pr_write_f32(w, hit->hit.score);
        pr_write_i64(w, hit->meta.pid);
        pr_write_i64(w, hit->meta.camid);
        pr_write_i64(w, hit->meta.timestamp);
        pr_write_text(w, hit->meta.name, 1, CM_NAME_BYTES_MAX);
    }
}

/* The hit, its name at `at`. Returns where the next name goes. */
static char *read_hit(struct pr_fields *f, struct pr_hit *out, char *at)
{
    struct pr_reader *r = f->reader;
    out->hit.image = pr_get_u64(f, IMAGE, "image");
    out->hit.score = pr_get_f32(f, SCORE, "score");
    out->meta.pid = pr_get_i64(f, PID, "pid");
    out->meta.camid = pr_get_i32(f, CAMID, "camid");
    out->meta.timestamp = pr_get_i64(f, TIMESTAMP, "timestamp");
    struct cm_bytes name = pr_get_text(f, NAME, "name", CM_NAME_BYTES_MAX);
    if (!r->rc)
        r->rc = pr_check_range("the length of name", name.size, 1, CM_NAME_BYTES_MAX, r->e);
    if (r->rc)
        return at;
    out->meta.name = at;
    memcpy(at, name.data, name.size);
    at[name.size] = '\0';
    return at + name.size + 1;
}

void pr_hits_read(struct pr_fields *f, unsigned key, struct pr_hits *h)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, key, "hits", CM_K_MAX);
    h->items = pr_reader_new(r, list.count, sizeof *h->items);
    /* A name's NUL takes the room of its length byte, so all names fit into the header's size. */
    h->names = pr_reader_new(r, r->header_bytes, 1);
    char *at = h->names;
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields hit;
        pr_item_tuple(r, &list, i, HIT_VALUES, &hit);
        at = read_hit(&hit, &h->items[i], at);
        pr_reader_where(r, "hit", i);
    }
    h->count = r->rc ? 0 : list.count;
}
