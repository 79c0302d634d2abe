/* test_settle.c: a coordinator that has just started waits for workers of its earlier life. */
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>

enum { HALF = FAKE_SHARDS / 2 };

#define SETTLE_NS (3000 * FAKE_MS)

static size_t searches_of(struct fake_co *f, const char *node)
{
    return test_mailbox_count(&f->sent, node, PR_SEARCH);
}

/* The first worker holds half of the shards: a query waits for the second, and then goes to both.
 */
Test(co_settle, a_query_waits_until_every_shard_is_served)
{
    struct fake_co f;
    fake_co_init_settling(&f, SETTLE_NS);
    fake_co_join(&f, "w0", 0, HALF);
    fake_co_query(&f, "client", 1, 5, 60000);
    fake_co_evaluate(&f, "client", 2, 1, 1, false);
    fake_co_sleep(&f, SETTLE_NS - FAKE_MS);
    cr_assert_eq(f.sent.count, 0);
    fake_co_join(&f, "w1", HALF, FAKE_SHARDS - HALF);
    cr_assert_eq(searches_of(&f, "w0"), 1);
    cr_assert_eq(searches_of(&f, "w1"), 1);
    cr_assert_eq(test_mailbox_count(&f.sent, "w1", PR_MEASURE), 1);
    fake_co_fini(&f);
}

/* The second does not come: the time is over, and the half is the answer. */
Test(co_settle, not_for_ever)
{
    struct fake_co f;
    fake_co_init_settling(&f, SETTLE_NS);
    fake_co_join(&f, "w0", 0, HALF);
    fake_co_query(&f, "client", 1, 5, 60000);
    fake_co_sleep(&f, SETTLE_NS);
    struct pr_search search = fake_co_take_search(&f, "w0");
    for (uint32_t s = 0; s < HALF; s++)
        fake_co_score(&f, "w0", search.id.v, s, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, FAKE_SHARDS - HALF);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_NO_WORKER);
    pr_answer_fini(&answer);
    pr_search_fini(&search);
    fake_co_query(&f, "client", 2, 5, 60000);
    cr_assert_eq(searches_of(&f, "w0"), 1, "what comes later does not wait");
    fake_co_fini(&f);
}

/* Every shard was served: a worker that is lost later is no reason to wait. */
Test(co_settle, once)
{
    struct fake_co f;
    fake_co_init_settling(&f, SETTLE_NS);
    fake_co_join(&f, "w0", 0, HALF);
    fake_co_join(&f, "w1", HALF, FAKE_SHARDS - HALF);
    fake_co_disconnect(&f, "w1");
    fake_co_query(&f, "client", 1, 5, 60000);
    cr_assert_eq(searches_of(&f, "w0"), 1);
    fake_co_fini(&f);
}
