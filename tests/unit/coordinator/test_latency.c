/* test_latency.c: what is usual, from the answers of late. */
#include "coordinator/latency.h"

#include <criterion/criterion.h>

#define US UINT64_C(1000)

Test(co_latency, says_nothing_before_it_knows_enough)
{
    struct co_latency l = {.total = 0};
    for (int i = 0; i < CO_LATENCY_LEAST; i++) {
        cr_assert_eq(co_latency_p95_ns(&l), UINT64_MAX);
        co_latency_add(&l, 100 * US);
    }
    cr_assert(co_latency_p95_ns(&l) > 100 * US && co_latency_p95_ns(&l) <= 113 * US);
}

/* Of any scale: never below the true p95, and an eighth above it at most. */
Test(co_latency, the_p95_is_right_within_an_eighth)
{
    for (uint64_t scale = 1; scale < 40000000; scale *= 3) {
        struct co_latency l = {.total = 0};
        for (uint64_t i = 0; i < 300; i++) /* 7 has no common divisor with 300: all of 1..300 */
            co_latency_add(&l, (i * 7 % 300 + 1) * scale * US);
        uint64_t p95 = co_latency_p95_ns(&l), exact = 285 * scale * US;
        if (300 * scale <= UINT32_MAX)
            cr_assert(p95 > exact && p95 <= exact + exact / 8 + US, "%lu for %lu", p95, exact);
    }
}

Test(co_latency, the_longest_times_fit)
{
    struct co_latency l = {.total = 0};
    for (int i = 0; i < 100; i++)
        co_latency_add(&l, UINT64_MAX);
    cr_assert(co_latency_p95_ns(&l) >= UINT32_MAX * US);
    cr_assert(co_latency_p95_ns(&l) < UINT64_MAX);
}

/* A thousand slow answers are forgotten after a few thousand fast ones. */
Test(co_latency, the_past_fades)
{
    struct co_latency l = {.total = 0};
    for (int i = 0; i < 1000; i++)
        co_latency_add(&l, 100000 * US);
    for (int i = 0; i < 3000; i++)
        co_latency_add(&l, 100 * US);
    cr_assert_leq(co_latency_p95_ns(&l), 113 * US);
}

Test(co_pace, one_outlier_is_an_eighth)
{
    struct co_pace p = {.shares = 0};
    for (int i = 0; i < CO_PACE_LEAST; i++) {
        cr_assert(!co_pace_known(&p));
        co_pace_add(&p, 8e6, 100, 0.125, false);
    }
    cr_assert(co_pace_known(&p));
    co_pace_add(&p, 16e6, 900, 0.125, false);
    cr_assert_float_eq(p.share_ns, 9e6, 1);
    cr_assert_float_eq(p.image_ns, 200, 1e-6);
}

/* What was cut short says that it would have taken longer, never that it was quick. */
Test(co_pace, a_lower_bound_only_raises)
{
    struct co_pace p = {.shares = 0};
    for (int i = 0; i < CO_PACE_LEAST; i++)
        co_pace_add(&p, 8e6, 100, 0.125, false);
    co_pace_add(&p, 1e6, 10, 0.125, true);
    cr_assert(p.share_ns == 8e6 && p.image_ns == 100);
    co_pace_add(&p, 16e6, 100, 0.125, true);
    cr_assert_float_eq(p.share_ns, 9e6, 1);
}

Test(co_pace, what_was_cut_short_makes_nobody_known)
{
    struct co_pace p = {.shares = 0};
    for (int i = 0; i < 2 * CO_PACE_LEAST; i++)
        co_pace_add(&p, 1e6, 10, 0.125, true);
    cr_assert_eq(p.shares, 0);
    co_pace_add(&p, 8e6, 100, 0.125, false);
    cr_assert(p.shares == 1 && p.share_ns == 8e6 && p.image_ns == 100);
}
