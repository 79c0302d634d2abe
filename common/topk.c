/* topk.c: a bounded binary heap, see topk.h. */
#include "common/topk.h"

#include "common/mem.h"

#include <math.h>
#include <stdlib.h>

enum cm_err cm_topk_init(struct cm_topk *t, size_t k, struct cm_error *e)
{
    *t = (struct cm_topk){.k = k};
    void *hits;
    enum cm_err rc = cm_new(&hits, k, sizeof *t->hits, e);
    t->hits = hits;
    return rc;
}

void cm_topk_fini(struct cm_topk *t)
{
    free(t->hits);
    *t = (struct cm_topk){0};
}

static void swap(struct cm_hit *a, struct cm_hit *b)
{
    struct cm_hit keep = *a;
    *a = *b;
    *b = keep;
}

/* Moves the hit at `i` towards the top while it is worse than its parent. */
static void sift_up(struct cm_hit *hits, size_t i)
{
    while (i > 0) {
        size_t parent = (i - 1) / 2;
        if (!cm_hit_before(&hits[parent], &hits[i]))
            return;
        swap(&hits[parent], &hits[i]);
        i = parent;
    }
}

/* Moves the hit at the top down to its place among the first `n`. */
static void sift_down(struct cm_hit *hits, size_t n)
{
    for (size_t i = 0;;) {
        size_t worst = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < n; child++)
            if (cm_hit_before(&hits[worst], &hits[child]))
                worst = child;
        if (worst == i)
            return;
        swap(&hits[i], &hits[worst]);
        i = worst;
    }
}

void cm_topk_push(struct cm_topk *t, struct cm_hit hit)
{
    if (!isfinite(hit.score))
        hit.score = -INFINITY;
    if (t->count < t->k) {
        t->hits[t->count] = hit;
        sift_up(t->hits, t->count++);
    } else if (cm_hit_before(&hit, &t->hits[0])) {
        t->hits[0] = hit;
        sift_down(t->hits, t->count);
    }
}

void cm_topk_sort(struct cm_topk *t)
{
    /* The worst goes to the end, again and again: heap sort, in place. */
    for (size_t n = t->count; n > 1; n--) {
        swap(&t->hits[0], &t->hits[n - 1]);
        sift_down(t->hits, n - 1);
    }
}

static int by_rank(const void *a, const void *b)
{
    const struct cm_hit *x = a, *y = b;
    return cm_hit_before(x, y) ? -1 : cm_hit_before(y, x);
}

void cm_hits_sort(struct cm_hit *hits, size_t count)
{
    if (count > 0)
        qsort(hits, count, sizeof *hits, by_rank);
}
