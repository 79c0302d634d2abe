/* Allocation with checked sizes. */
#include "common/mem.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

Test(mem, new_gives_zeroes)
{
    void *p;
    cr_assert_eq(cm_new(&p, 1000, 3, NULL), CM_OK);
    for (size_t i = 0; i < 3000; i++)
        cr_assert_eq(((unsigned char *)p)[i], 0);
    free(p);
    cr_assert_eq(cm_new(&p, 0, 8, NULL), CM_OK);
    cr_assert_not_null(p);
    free(p);
}

Test(mem, aligned_is_aligned)
{
    for (size_t n = 0; n < 200; n += 7) {
        void *p;
        cr_assert_eq(cm_new_aligned(&p, n, 1, NULL), CM_OK);
        cr_assert(p != NULL && (uintptr_t)p % CM_ALIGN == 0, "%zu bytes", n);
        memset(p, 1, n);
        free(p);
    }
}

Test(mem, a_product_that_overflows_is_out_of_memory)
{
    static const size_t sizes[][2] = {
        {SIZE_MAX, 2},
        {SIZE_MAX / 2 + 1, 2},
        {(size_t)1 << 33, (size_t)1 << 33},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *p = &p;
        struct cm_error e = {CM_OK, ""};
        cr_assert_eq(cm_new(&p, sizes[i][0], sizes[i][1], &e), CM_ENOMEM, "%zu", i);
        cr_assert_null(p);
        cr_assert(strstr(e.text, "cannot allocate") != NULL, "%s", e.text);
        p = &p;
        cr_assert_eq(cm_new_aligned(&p, sizes[i][0], sizes[i][1], &e), CM_ENOMEM, "%zu", i);
        cr_assert_null(p);
    }
    /* Rounding up to CM_ALIGN would overflow. */
    void *p = &p;
    cr_assert_eq(cm_new_aligned(&p, SIZE_MAX - CM_ALIGN + 1, 1, NULL), CM_ENOMEM);
    cr_assert_null(p);
}

Test(mem, copies_text)
{
    char text[] = "abc", *copy;
    cr_assert_eq(cm_copy_text(&copy, text, NULL), CM_OK);
    text[0] = 'x';
    cr_assert_str_eq(copy, "abc");
    free(copy);
}

Test(mem, rounds_up_to_a_power_of_two)
{
    cr_assert_eq(cm_round_up(0, 64), 0);
    cr_assert_eq(cm_round_up(1, 64), 64);
    cr_assert_eq(cm_round_up(64, 64), 64);
    cr_assert_eq(cm_round_up(65, 64), 128);
    cr_assert_eq(cm_round_up(4097, 4096), 8192);
}
