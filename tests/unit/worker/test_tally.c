/* test_tally.c: what an evaluation counts at a worker, against counting one by one. */
#include "common/limits.h"
#include "tests/support/random.h"
#include "worker/tally.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES_MAX = 60, SHARDS_MAX = 3, PID = 5, CAMID = 2 };

/* A gallery of a few labels and few scores, so that nearly all tie. */
struct scene {
    size_t images, shards;
    float scores[IMAGES_MAX]; /* as the scorer gave them */
    struct cm_image_meta meta[IMAGES_MAX];
    size_t first[SHARDS_MAX + 1]; /* images of shard s: first[s] .. first[s + 1] */
    struct wk_tally tallies[SHARDS_MAX];
};

static struct cm_image_meta label_at(void *ctx, uint32_t held, uint64_t i)
{
    const struct scene *s = ctx;
    return s->meta[s->first[held] + i];
}

static void make(struct scene *s, struct test_random *random)
{
    static const int64_t pids[] = {PID, PID, PID, 7, 8, 0, -1};
    memset(s, 0, sizeof *s);
    s->images = 1 + test_random_below(random, IMAGES_MAX);
    s->shards = 1 + test_random_below(random, s->images < SHARDS_MAX ? s->images : SHARDS_MAX);
    for (size_t i = 0; i < s->images; i++) {
        uint64_t value = test_random_below(random, 8);
        s->scores[i] = value == 7 ? NAN : value == 6 ? INFINITY : (float)value - 3;
        s->meta[i].pid = pids[test_random_below(random, 7)];
        s->meta[i].camid = (int32_t)test_random_below(random, 4);
    }
    for (size_t i = 0; i <= s->shards; i++)
        s->first[i] = s->images * i / s->shards;
}

static float score_of(const struct scene *s, size_t i)
{
    return isfinite(s->scores[i]) ? s->scores[i] : -INFINITY;
}

static bool is_valid(const struct scene *s, size_t i)
{
    return s->meta[i].pid != -1 && !(s->meta[i].pid == PID && s->meta[i].camid == CAMID);
}

/* Fills and seals every shard, its blocks in any order, as they come from threads. */
static void tally(struct scene *s, struct test_random *random)
{
    struct cm_error e;
    for (uint32_t h = 0; h < s->shards; h++) {
        size_t first = s->first[h], images = s->first[h + 1] - first;
        size_t cut = test_random_below(random, images + 1);
        struct wk_labels labels = {label_at, s, h};
        cr_assert_eq(wk_tally_init(&s->tallies[h], first, images, &e), CM_OK);
        wk_tally_add(&s->tallies[h], s->scores + first + cut, images - cut, cut);
        wk_tally_add(&s->tallies[h], s->scores + first, cut, 0);
        cr_assert_eq(wk_tally_seal(&s->tallies[h], PID, CAMID, &labels, &e), CM_OK);
    }
}

static void check_census(const struct scene *s)
{
    struct pr_census sum = {0}, expected = {0};
    for (size_t h = 0; h < s->shards; h++) {
        sum.valid += s->tallies[h].census.valid;
        sum.junk += s->tallies[h].census.junk;
        sum.same_camera += s->tallies[h].census.same_camera;
        sum.distractors += s->tallies[h].census.distractors;
    }
    for (size_t i = 0; i < s->images; i++) {
        expected.valid += is_valid(s, i);
        expected.junk += s->meta[i].pid == -1;
        expected.same_camera += s->meta[i].pid == PID && s->meta[i].camid == CAMID;
        expected.distractors += s->meta[i].pid == 0;
    }
    cr_assert_eq(memcmp(&sum, &expected, sizeof sum), 0);
}

static int by_rank(const void *a, const void *b)
{
    const struct cm_hit *x = a, *y = b;
    return cm_hit_before(x, y) ? -1 : 1;
}

/* All positives, as a coordinator merges them; checks those of each shard on the way. */
static size_t merge(const struct scene *s, struct cm_hit *all)
{
    size_t count = 0, right = 0;
    for (size_t h = 0; h < s->shards; h++)
        for (size_t i = 0; i < s->tallies[h].found.count; i++) {
            struct cm_hit hit = s->tallies[h].found.items[i];
            cr_assert(hit.image >= s->first[h] && hit.image < s->first[h + 1]);
            cr_assert(hit.score == score_of(s, hit.image));
            cr_assert(i == 0 || cm_hit_before(&s->tallies[h].found.items[i - 1], &hit));
            all[count++] = hit;
        }
    for (size_t i = 0; i < s->images; i++)
        right += s->meta[i].pid == PID && s->meta[i].camid != CAMID;
    cr_assert_eq(count, right);
    qsort(all, count, sizeof *all, by_rank);
    return count;
}

static void check_counts(const struct scene *s, const struct cm_hit *all, size_t count)
{
    struct pr_counts counts[IMAGES_MAX + 1] = {{0}};
    struct pr_positives positives = {.items = (struct cm_hit *)(uintptr_t)all, .count = count};
    for (size_t h = 0; h < s->shards; h++)
        wk_tally_count(&s->tallies[h], &positives, counts);
    wk_tally_sum(counts, count);
    for (size_t p = 0; p < count; p++) {
        struct pr_counts expected = {0};
        for (size_t i = 0; i < s->images; i++) {
            bool equal = score_of(s, i) == all[p].score;
            if (!is_valid(s, i))
                continue;
            expected.higher += score_of(s, i) > all[p].score;
            expected.equal += equal;
            expected.equal_lower += equal && i < all[p].image;
        }
        cr_assert_eq(counts[p].higher, expected.higher, "positive %zu of %zu", p, count);
        cr_assert_eq(counts[p].equal, expected.equal, "positive %zu of %zu", p, count);
        cr_assert_eq(counts[p].equal_lower, expected.equal_lower, "positive %zu of %zu", p, count);
    }
}

Test(wk_tally, counts_as_one_counts_by_hand)
{
    struct test_random random = {20261126};
    size_t with_positives = 0;
    for (int round = 0; round < 5000; round++) {
        struct scene s;
        struct cm_hit all[IMAGES_MAX];
        make(&s, &random);
        tally(&s, &random);
        check_census(&s);
        size_t count = merge(&s, all);
        if (count)
            check_counts(&s, all, count);
        with_positives += count > 0;
        for (size_t h = 0; h < s.shards; h++)
            wk_tally_fini(&s.tallies[h]);
    }
    cr_assert_gt(with_positives, 4000);
}

static struct cm_image_meta always_right(void *ctx, uint32_t held, uint64_t i)
{
    (void)ctx, (void)held, (void)i;
    return (struct cm_image_meta){.pid = PID};
}

/* As many as fit a message, and one more. */
Test(wk_tally, bounds_the_positives)
{
    for (uint64_t images = CM_POSITIVES_MAX; images <= CM_POSITIVES_MAX + 1; images++) {
        struct wk_tally t;
        struct cm_error e;
        const struct wk_labels labels = {always_right, NULL, 0};
        cr_assert_eq(wk_tally_init(&t, 0, images, &e), CM_OK);
        enum cm_err rc = wk_tally_seal(&t, PID, CAMID, &labels, &e);
        cr_assert_eq(rc, images == CM_POSITIVES_MAX ? CM_OK : CM_ELIMIT);
        cr_assert_eq(t.found.count, CM_POSITIVES_MAX);
        wk_tally_fini(&t);
    }
}
