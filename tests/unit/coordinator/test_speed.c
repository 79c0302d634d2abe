/* test_speed.c: what an image costs a worker, from the answers of late. */
#include "coordinator/speed.h"

#include <criterion/criterion.h>
#include <math.h>

#define MS UINT64_C(1000000)

enum { WORKERS = 2 };

/* Workers that answer for their images in turns of 100 ms, from `*now_ns` on. */
static void work(struct co_speed *s, const uint64_t *images, int turns, uint64_t *now_ns)
{
    for (int w = 0; w < WORKERS; w++)
        co_speed_begin(&s[w], *now_ns);
    for (int i = 0; i < turns; i++) {
        *now_ns += 100 * MS;
        for (int w = 0; w < WORKERS; w++)
            co_speed_add(&s[w], images[w], *now_ns);
    }
}

static double cost(const struct co_speed *s, int worker, uint64_t now_ns)
{
    struct co_speed all = {.images = 0};
    for (int w = 0; w < WORKERS; w++) {
        co_speed_sum(&all, &s[w], now_ns);
    }
    return co_speed_cost(&s[worker], &all, now_ns);
}

Test(co_speed, nothing_is_known_at_first)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    cr_assert_eq(cost(s, 0, 7 * MS), 1);
    co_speed_begin(&s[0], 7 * MS);
    co_speed_add(&s[0], 100, 7 * MS); /* at once: there is no speed in that */
    cr_assert_eq(cost(s, 0, 7 * MS), 1);
}

/* 110 images against 90: the mean is 100, and a fifth of a second's work at that is credited to
 * each. In 20 seconds they have 1.1 seconds of work to their names. */
Test(co_speed, who_is_faster_pays_less)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (const uint64_t[]){110, 90}, 200, &now_ns);
    cr_assert_float_eq(cost(s, 0, now_ns), (1.1 + 0.2) / (1.1 * 1.1 + 0.2), 1e-6);
    cr_assert_float_eq(cost(s, 1, now_ns), (1.1 + 0.2) / (0.9 * 1.1 + 0.2), 1e-6);
}

Test(co_speed, a_moment_says_little)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (const uint64_t[]){110, 90}, 1, &now_ns);
    cr_assert_float_eq(cost(s, 1, now_ns), 0.3 / 0.29, 1e-6);
}

Test(co_speed, it_becomes_what_it_is_now)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (const uint64_t[]){110, 90}, 200, &now_ns);
    work(s, (const uint64_t[]){100, 100}, 200, &now_ns);
    cr_assert_float_eq(cost(s, 1, now_ns), 1, 1e-6);
}

Test(co_speed, an_idle_time_makes_all_alike)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (const uint64_t[]){110, 90}, 200, &now_ns);
    cr_assert_lt(cost(s, 1, now_ns + 60000 * MS), 1.01);
    cr_assert_gt(cost(s, 1, now_ns + 60000 * MS), 1);
}

/* Time without work is nobody's slowness. */
Test(co_speed, to_be_idle_is_not_to_be_slow)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    for (int i = 0; i < 20; i++) {
        work(s, (const uint64_t[]){100, 100}, 5, &now_ns);
        now_ns += 3000 * MS;
        co_speed_begin(&s[1], now_ns);
        now_ns += 100 * MS;
        co_speed_add(&s[1], 100, now_ns);
    }
    co_speed_begin(&s[0], now_ns);
    cr_assert_float_eq(cost(s, 0, now_ns), 1, 1e-6);
    cr_assert_float_eq(cost(s, 1, now_ns), 1, 1e-6);
}

Test(co_speed, nobody_is_left_without_a_share)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (const uint64_t[]){1000, 1}, 200, &now_ns);
    cr_assert_eq(cost(s, 0, now_ns), 1 / CO_SPEED_MOST);
    cr_assert_eq(cost(s, 1, now_ns), CO_SPEED_MOST);
}

static double shown(const struct co_speed *s, int worker, bool owes, uint64_t now_ns)
{
    struct co_speed all = {.images = 0};
    for (int w = 0; w < WORKERS; w++)
        co_speed_sum(&all, &s[w], now_ns);
    return co_speed_shown(&s[worker], &all, owes, now_ns);
}

/* 100 images against 10: at the mean speed there are 55. */
Test(co_speed, who_is_ten_times_slower_shows_it)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    cr_assert(isinf(shown(s, 0, true, now_ns)));
    work(s, (uint64_t[]){100, 10}, 20, &now_ns);
    cr_assert_float_eq(shown(s, 0, true, now_ns), 0.55, 1e-6);
    cr_assert_float_eq(shown(s, 1, true, now_ns), 5.5, 1e-6);
}

/* Also if it is sent something again and again: that is no answer. 1.1 s count of those before. */
Test(co_speed, what_was_shown_fades_while_nothing_is_answered)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (uint64_t[]){100, 100}, 100, &now_ns);
    for (int i = 0; i < 22; i++) {
        cr_assert_float_eq(shown(s, 0, true, now_ns), 1 + i * 0.1 / 2 / 1.1, 0.001);
        co_speed_begin(&s[0], now_ns);
        now_ns += 100 * MS;
    }
    cr_assert_float_eq(shown(s, 0, false, now_ns), 2, 0.001);
}

Test(co_speed, who_owes_nothing_shows_what_it_did)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    work(s, (uint64_t[]){100, 50}, 100, &now_ns);
    now_ns += 5000 * MS;
    cr_assert_float_eq(shown(s, 1, false, now_ns), 1.5, 0.001);
    for (int w = 0; w < WORKERS; w++)
        co_speed_begin(&s[w], now_ns);
    cr_assert_float_eq(shown(s, 1, true, now_ns), 1.5, 0.001);
    now_ns += 220 * MS;
    cr_assert_float_eq(shown(s, 1, true, now_ns), 1.5 * 1.1, 0.001);
    co_speed_add(&s[1], 0, now_ns); /* time in which it did nothing, and does not wait again */
    cr_assert_eq(shown(s, 1, true, now_ns), shown(s, 1, false, now_ns));
}

/* Eight at once, a second and a half apart: at the worst just before they come. */
Test(co_speed, who_answers_for_much_at_once_shows_half_as_much_again_at_most)
{
    struct co_speed s[WORKERS] = {{.images = 0}};
    uint64_t now_ns = 7 * MS;
    for (int w = 0; w < WORKERS; w++)
        co_speed_begin(&s[w], now_ns);
    for (int i = 0; i < 40 * 15; i++) {
        now_ns += 100 * MS;
        co_speed_add(&s[0], 100, now_ns);
        double before = shown(s, 1, true, now_ns);
        for (int q = 0; q < 8 && i % 15 == 14; q++)
            co_speed_add(&s[1], 15 * 100 / 8, now_ns);
        double times = shown(s, 1, true, now_ns);
        cr_assert(i < 150 || (before < 1.5 && times > 0.9 && times < 1.5), "%g, %g", before, times);
    }
}
