/* Lists of numbers as people type them. */
#include "common/ranges.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void assert_list(const char *text, uint32_t end, const uint32_t *want, uint32_t want_count)
{
    uint32_t *list, count;
    struct cm_error e;
    cr_assert_eq(cm_ranges_parse(text, end, &list, &count, &e), CM_OK, "%s", e.text);
    cr_assert_eq(count, want_count, "'%s' gives %u numbers", text, count);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(list[i], want[i], "number %u of '%s' is %u", i, text, list[i]);
    free(list);
}

Test(ranges, reads_numbers_and_ranges)
{
    assert_list("0", 1, (uint32_t[]){0}, 1);
    assert_list("0,2,5-7", 8, (uint32_t[]){0, 2, 5, 6, 7}, 5);
    assert_list("3-3", 4, (uint32_t[]){3}, 1);
    assert_list("65535", 65536, (uint32_t[]){65535}, 1);
    assert_list("007", 8, (uint32_t[]){7}, 1);
}

Test(ranges, gives_each_number_once_and_in_order)
{
    assert_list("7,1-3,2,0-1,7", 8, (uint32_t[]){0, 1, 2, 3, 7}, 5);
}

Test(ranges, refuses_what_is_no_list_of_numbers_below_the_end)
{
    static const char *const bad[] = {
        "",
        ",",
        "1,",
        ",1",
        "1,,2",
        "-",
        "1-",
        "-1",
        "3-1",
        "8",
        "0-8",
        "1-2-3",
        " 1",
        "1 ",
        "1, 2",
        "a",
        "1a",
        "0x1",
        "+1",
        "1.5",
        "1;2",
        "4294967296",
        "4294967295",
        "18446744073709551616",
        "0-18446744073709551616",
        "99999999999999999999999",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint32_t *list, count;
        struct cm_error e;
        cr_assert_eq(cm_ranges_parse(bad[i], 8, &list, &count, &e), CM_EUSAGE, "'%s'", bad[i]);
        cr_assert_null(list);
        cr_assert_eq(count, 0);
        char want[160];
        snprintf(want, sizeof want, "'%s' is no list of numbers from 0 to 7, such as \"0,2,5-7\"",
                 bad[i]);
        cr_assert_str_eq(e.text, want);
    }
}
