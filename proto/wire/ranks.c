/* ranks.c: see ranks.h. */
#include "proto/wire/ranks.h"

#include "common/limits.h"
#include "proto/wire/check.h"
#include "proto/wire/reader.h"
#include "proto/wire/writer.h"

#include <stdlib.h>

/* A positive is a tuple of these. */
enum { IMAGE, SCORE, POSITIVE_VALUES };

/* What counts for one positive is a tuple of these. */
enum { HIGHER, EQUAL_LOWER, EQUAL, COUNTS_VALUES };

void pr_positives_fini(struct pr_positives *p)
{
    free(p->items);
    *p = (struct pr_positives){0};
}

void pr_counts_list_fini(struct pr_counts_list *l)
{
    free(l->items);
    *l = (struct pr_counts_list){0};
}

enum cm_err pr_positives_check(const struct pr_positives *p, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of positives", p->count, 0, CM_POSITIVES_MAX, e);
    for (size_t i = 0; i < p->count && !rc; i++) {
        rc = pr_check_hit(&p->items[i], i > 0 ? &p->items[i - 1] : NULL, e);
        if (rc)
            return cm_wrap(e, rc, "positive %zu", i);
    }
    return rc;
}

static enum cm_err check_counts(const struct pr_counts *c, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("higher", c->higher, 0, CM_IMAGES_MAX, e);
    if (!rc)
        rc = pr_check_range("equal", c->equal, 0, CM_IMAGES_MAX, e);
    return rc ? rc : pr_check_range("equal_lower", c->equal_lower, 0, c->equal, e);
}

enum cm_err pr_counts_list_check(const struct pr_counts_list *l, struct cm_error *e)
{
    enum cm_err rc = pr_check_range("the number of counts", l->count, 0, CM_POSITIVES_MAX, e);
    for (size_t i = 0; i < l->count && !rc; i++) {
        rc = check_counts(&l->items[i], e);
        if (rc)
            return cm_wrap(e, rc, "counts %zu", i);
    }
    return rc;
}

void pr_positives_write(struct pr_writer *w, const struct pr_positives *p)
{
    pr_write_list(w, p->count);
    for (size_t i = 0; i < p->count && !w->rc; i++) {
        pr_write_list(w, POSITIVE_VALUES);
        pr_write_u64(w, p->items[i].image);
        pr_write_f32(w, p->items[i].score);
    }
}

void pr_counts_list_write(struct pr_writer *w, const struct pr_counts_list *l)
{
    pr_write_list(w, l->count);
    for (size_t i = 0; i < l->count && !w->rc; i++) {
        pr_write_list(w, COUNTS_VALUES);
        pr_write_u64(w, l->items[i].higher);
        pr_write_u64(w, l->items[i].equal_lower);
        pr_write_u64(w, l->items[i].equal);
    }
}

void pr_positives_read(struct pr_fields *f, unsigned key, struct pr_positives *p)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, key, "positives", CM_POSITIVES_MAX);
    p->items = pr_reader_new(r, list.count, sizeof *p->items);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields positive;
        pr_item_tuple(r, &list, i, POSITIVE_VALUES, &positive);
        p->items[i].image = pr_get_u64(&positive, IMAGE, "image");
        p->items[i].score = pr_get_f32(&positive, SCORE, "score");
        pr_reader_where(r, "positive", i);
    }
    p->count = r->rc ? 0 : list.count;
}

void pr_counts_list_read(struct pr_fields *f, unsigned key, struct pr_counts_list *l)
{
    struct pr_reader *r = f->reader;
    struct pr_list list = pr_get_list(f, key, "counts", CM_POSITIVES_MAX);
    l->items = pr_reader_new(r, list.count, sizeof *l->items);
    for (size_t i = 0; i < list.count && !r->rc; i++) {
        struct pr_fields counts;
        pr_item_tuple(r, &list, i, COUNTS_VALUES, &counts);
        l->items[i].higher = pr_get_u64(&counts, HIGHER, "higher");
        l->items[i].equal_lower = pr_get_u64(&counts, EQUAL_LOWER, "equal_lower");
        l->items[i].equal = pr_get_u64(&counts, EQUAL, "equal");
        pr_reader_where(r, "counts", i);
    }
    l->count = r->rc ? 0 : list.count;
}
