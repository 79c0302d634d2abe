/* test_ranking.c: which hits count for Rank-1. */
#include "ops/cli/ranking.h"

#include <criterion/criterion.h>

static const struct cli_query_label label = {
    .index = 0, .known = true, .meta = {.pid = 7, .camid = 1, .name = "q"}};

static struct pr_hit hit(int64_t pid, int32_t camid)
{
    return (struct pr_hit){.meta = {.pid = pid, .camid = camid, .name = "g"}};
}

static struct cli_rank1 rank1_of(struct pr_hit *hits, size_t count)
{
    struct cli_rank1 r = {0};
    struct pr_answer a = {.hits = {.items = hits, .count = count}};
    cli_rank1_add(&r, &label, &a);
    return r;
}

Test(ranking, the_first_hit_that_counts_decides)
{
    struct pr_hit right[] = {hit(7, 1), hit(-1, 2), hit(7, 2), hit(8, 2)};
    struct cli_rank1 r = rank1_of(right, 4);
    cr_assert_eq(r.queries, 1);
    cr_assert_eq(r.right, 1, "own camera and junk are passed over");
    struct pr_hit wrong[] = {hit(-1, 3), hit(0, 2), hit(7, 2)};
    r = rank1_of(wrong, 3);
    cr_assert_eq(r.queries, 1);
    cr_assert_eq(r.right, 0, "a distractor (pid 0) counts, and is wrong");
    r = rank1_of(right, 2);
    cr_assert_eq(r.queries, 0, "no hit that counts: no query that counts");
}
