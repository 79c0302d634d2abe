/* Numbers and UTF-8 from outside. */
#include "common/text.h"

#include <criterion/criterion.h>
#include <string.h>

Test(text, reads_whole_numbers_within_their_range)
{
    int64_t v = 0;
    cr_assert(cm_int_of_text("-1", -1, 5, &v) && v == -1);
    cr_assert(cm_int_of_text("007", 0, 7, &v) && v == 7);
    cr_assert(cm_int_of_text("9223372036854775807", INT64_MIN, INT64_MAX, &v) && v == INT64_MAX);
    cr_assert(cm_int_of_text("-9223372036854775808", INT64_MIN, INT64_MAX, &v) && v == INT64_MIN);
    cr_assert(!cm_int_of_text("6", -1, 5, &v) && !cm_int_of_text("-2", -1, 5, &v));
    cr_assert_eq(v, INT64_MIN, "untouched by a failure");
}

Test(text, refuses_what_is_no_whole_number)
{
    static const char *const bad[] = {
        "",
        "-",
        "+1",
        " 1",
        "1 ",
        "1.0",
        "0x10",
        "1e3",
        "--1",
        "9223372036854775808",
        "-9223372036854775809",
        "99999999999999999999999",
    };
    int64_t v = 42;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!cm_int_of_text(bad[i], INT64_MIN, INT64_MAX, &v), "\"%s\"", bad[i]);
    cr_assert_eq(v, 42);
}

Test(text, knows_utf8)
{
    static const char *const good[] = {
        "",
        "a.jpg",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x90\x98",
        "\xf4\x8f\xbf\xbf",
        "\xed\x9f\xbf",
    };
    static const char *const bad[] = {
        "\x80",             /* begins nothing */
        "\xc0\xaf",         /* overlong */
        "\xe0\x9f\xbf",     /* overlong */
        "\xf0\x8f\xbf\xbf", /* overlong */
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* beyond U+10FFFF */
        "\xf5\x80\x80\x80",
        "a\xc3",
        "\xe2\x82",
        "\xe2\x82z",
        "\xff",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(cm_is_utf8(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!cm_is_utf8(bad[i], strlen(bad[i])), "bad %zu", i);
    cr_assert(!cm_is_utf8("\xc3\xa9", 1), "the size decides, not what follows");
}
