/* The k best of a stream, against sorting all of it. */
#include "common/topk.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { HITS_MAX = 64 };

/* The order as topk.h words it, written down a second time. */
static int compare(const void *x, const void *y)
{
    const struct cm_hit *a = x, *b = y;
    double sa = isfinite(a->score) ? (double)a->score : -INFINITY;
    double sb = isfinite(b->score) ? (double)b->score : -INFINITY;
    if (sa != sb)
        return sa > sb ? -1 : 1;
    return a->image < b->image ? -1 : a->image > b->image;
}

/* Few different scores, so that there are many ties; some are not finite. Ids are different. */
static size_t make_hits(struct test_random *r, struct cm_hit *hits)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 0.0f, -3e38f, 3e38f};
    size_t n = test_random_below(r, HITS_MAX + 1);
    uint64_t base = test_random_bits(r) >> 1;
    for (size_t i = 0; i < n; i++) {
        uint64_t pick = test_random_below(r, 12);
        hits[i].image = base + i;
        hits[i].score = pick < 7 ? odd[pick] : (float)test_random_below(r, 5) - 2.0f;
    }
    return n;
}

static void shuffle(struct test_random *r, struct cm_hit *hits, size_t n)
{
    for (size_t i = n; i > 1; i--) {
        size_t j = test_random_below(r, i);
        struct cm_hit keep = hits[i - 1];
        hits[i - 1] = hits[j];
        hits[j] = keep;
    }
}

static void assert_best(const struct cm_hit *hits, size_t n, size_t k, const struct cm_hit *sorted)
{
    struct cm_topk t;
    cr_assert_eq(cm_topk_init(&t, k, NULL), CM_OK);
    for (size_t i = 0; i < n; i++)
        cm_topk_push(&t, hits[i]);
    cm_topk_sort(&t);
    cr_assert_eq(t.count, n < k ? n : k);
    for (size_t i = 0; i < t.count; i++) {
        cr_assert_eq(t.hits[i].image, sorted[i].image, "place %zu of %zu, k %zu", i, n, k);
        float want = isfinite(sorted[i].score) ? sorted[i].score : -INFINITY;
        cr_assert(t.hits[i].score == want, "place %zu of %zu, k %zu", i, n, k);
    }
    cm_topk_fini(&t);
}

Test(topk, is_what_sorting_everything_gives_in_any_order_of_arrival)
{
    struct test_random r = {1};
    for (int round = 0; round < 4000; round++) {
        struct cm_hit hits[HITS_MAX] = {{0}}, sorted[HITS_MAX];
        size_t n = make_hits(&r, hits);
        memcpy(sorted, hits, sizeof sorted);
        qsort(sorted, n, sizeof *sorted, compare);
        size_t k = 1 + test_random_below(&r, HITS_MAX + 8);
        assert_best(hits, n, k, sorted);
        shuffle(&r, hits, n);
        assert_best(hits, n, k, sorted);
        assert_best(hits, n, 1, sorted);
    }
}

Test(topk, holds_what_there_is_when_k_is_larger)
{
    struct cm_topk t;
    cr_assert_eq(cm_topk_init(&t, 1000, NULL), CM_OK);
    cm_topk_sort(&t);
    cr_assert_eq(t.count, 0);
    cm_topk_push(&t, (struct cm_hit){1.0f, 5});
    cm_topk_push(&t, (struct cm_hit){NAN, 1});
    cm_topk_push(&t, (struct cm_hit){1.0f, 4});
    cm_topk_sort(&t);
    cr_assert_eq(t.count, 3);
    cr_assert(t.hits[0].image == 4 && t.hits[1].image == 5 && t.hits[2].image == 1);
    cr_assert(t.hits[2].score == -INFINITY, "a score that is no number ranks last");
    cm_topk_fini(&t);
    cr_assert_null(t.hits);
}

Test(topk, the_order_of_equal_scores_is_by_id)
{
    struct cm_hit a = {0.0f, 7}, b = {-0.0f, 8}, c = {1.0f, 9};
    cr_assert(cm_hit_before(&a, &b) && !cm_hit_before(&b, &a), "the two zeroes are equal");
    cr_assert(cm_hit_before(&c, &a) && !cm_hit_before(&a, &c));
    cr_assert(!cm_hit_before(&a, &a));
}
