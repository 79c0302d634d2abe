/* A model's sizes: limits, names, fingerprints as text. */
#include "common/geometry.h"
#include "common/limits.h"

#include <criterion/criterion.h>
#include <string.h>

static const struct cm_geometry paper = {CM_TRANSMATCHER, 24, 8, 512, 3, 2048};

Test(geometry, takes_what_lies_within_the_limits)
{
    static const struct cm_geometry good[] = {
        {CM_TRANSMATCHER, 24, 8, 512, 3, 2048},
        {CM_TRANSMATCHER, 1, 1, 1, 1, 1},
        {CM_TRANSMATCHER, CM_SIDE_MAX, 8, 1, 1, 1},
        {CM_TRANSMATCHER, 8, CM_SIDE_MAX, 1, 1, 1},
        {CM_TRANSMATCHER, 1, 1, CM_CHANNELS_MAX, CM_LAYERS_MAX, CM_FF_MAX},
        {CM_TRANSMATCHER, 64, 64, 1024, 1, 1}, /* just CM_MAP_BYTES_MAX */
        {CM_QACONV, 24, 8, 128, 1, 0},
    };
    struct cm_error e;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_eq(cm_geometry_check(&good[i], &e), CM_OK, "%zu: %s", i, e.text);
}

Test(geometry, says_which_size_is_wrong)
{
    static const struct {
        struct cm_geometry g;
        enum cm_err code;
        const char *text;
    } bad[] = {
        {{(enum cm_matcher)0, 1, 1, 1, 1, 1}, CM_EFORMAT, "unknown matcher 0"},
        {{(enum cm_matcher)3, 1, 1, 1, 1, 1}, CM_EFORMAT, "unknown matcher 3"},
        {{CM_TRANSMATCHER, 0, 1, 1, 1, 1}, CM_EFORMAT, "height is 0; it must be at least 1"},
        {{CM_TRANSMATCHER, 1, 0, 1, 1, 1}, CM_EFORMAT, "width is 0; it must be at least 1"},
        {{CM_TRANSMATCHER, 1, 1, 0, 1, 1}, CM_EFORMAT, "channels is 0; it must be at least 1"},
        {{CM_TRANSMATCHER, 1, 1, 1, 0, 1}, CM_EFORMAT, "layers is 0; it must be at least 1"},
        {{CM_TRANSMATCHER, 1, 1, 1, 1, 0}, CM_EFORMAT, "ff (dim_feedforward) is 0"},
        {{CM_TRANSMATCHER, 513, 1, 1, 1, 1}, CM_ELIMIT, "height is 513; at most 512"},
        {{CM_TRANSMATCHER, 1, 513, 1, 1, 1}, CM_ELIMIT, "width is 513; at most 512"},
        {{CM_TRANSMATCHER, 1, 1, 8193, 1, 1}, CM_ELIMIT, "channels is 8193; at most 8192"},
        {{CM_TRANSMATCHER, 1, 1, 1, 65, 1}, CM_ELIMIT, "layers is 65; at most 64"},
        {{CM_TRANSMATCHER, 1, 1, 1, 1, 65537}, CM_ELIMIT, "is 65537; at most 65536"},
        {{CM_TRANSMATCHER, 65, 64, 1, 1, 1}, CM_ELIMIT, "4160 tokens; at most 4096"},
        {{CM_TRANSMATCHER, 512, 512, 1, 1, 1}, CM_ELIMIT, "262144 tokens"},
        {{CM_TRANSMATCHER, 64, 64, 1025, 1, 1}, CM_ELIMIT, "16793600 bytes in float32"},
        {{CM_TRANSMATCHER, 64, 64, 8192, 64, 1}, CM_ELIMIT, "8589934592 bytes in float32"},
        {{CM_TRANSMATCHER, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX},
         CM_ELIMIT,
         "height is 4294967295"},
        {{CM_QACONV, 1, 1, 1, 2, 0}, CM_EFORMAT, "qaconv has one layer and no ff, not 2 layers"},
        {{CM_QACONV, 1, 1, 1, 1, 5}, CM_EFORMAT, "and ff 5"},
    };
    struct cm_error e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(cm_geometry_check(&bad[i].g, &e), bad[i].code, "%s", bad[i].text);
        cr_assert(strstr(e.text, bad[i].text) != NULL, "expected \"%s\" in: %s", bad[i].text,
                  e.text);
    }
}

Test(geometry, equal_means_every_field)
{
    struct cm_geometry g = paper;
    cr_assert(cm_geometry_equal(&g, &paper));
    g.matcher = CM_QACONV;
    cr_assert(!cm_geometry_equal(&g, &paper));
    uint32_t *sizes[] = {&g.height, &g.width, &g.channels, &g.layers, &g.ff};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        g = paper;
        ++*sizes[i];
        cr_assert(!cm_geometry_equal(&g, &paper), "field %zu", i);
    }
    cr_assert_eq(cm_tokens(&paper), 192);
    cr_assert_eq(cm_map_floats(&paper), 192 * 1536);
}

Test(geometry, names_go_there_and_back)
{
    cr_assert_str_eq(cm_matcher_name(CM_TRANSMATCHER), "transmatcher");
    cr_assert_str_eq(cm_matcher_name(CM_QACONV), "qaconv");
    cr_assert_null(cm_matcher_name((enum cm_matcher)3));
    cr_assert_eq(cm_matcher_of_name("transmatcher"), CM_TRANSMATCHER);
    cr_assert_eq(cm_matcher_of_name("qaconv"), CM_QACONV);
    cr_assert_eq(cm_matcher_of_name("QAConv"), 0);
    cr_assert_str_eq(cm_precision_name(CM_F32), "f32");
    cr_assert_str_eq(cm_precision_name(CM_BF16), "bf16");
    cr_assert_str_eq(cm_precision_name(CM_INT8), "int8");
    cr_assert_null(cm_precision_name((enum cm_precision)4));
    cr_assert_eq(cm_precision_of_name("f32"), CM_F32);
    cr_assert_eq(cm_precision_of_name("bf16"), CM_BF16);
    cr_assert_eq(cm_precision_of_name("int8"), CM_INT8);
    cr_assert_eq(cm_precision_of_name("f16"), 0);
    cr_assert_str_eq(cm_dtype_name(CM_DTYPE_F16), "float16");
    cr_assert_str_eq(cm_dtype_name(CM_DTYPE_F32), "float32");
    cr_assert_null(cm_dtype_name((enum cm_dtype)0));
    cr_assert_eq(cm_dtype_bytes(CM_DTYPE_F16), 2);
    cr_assert_eq(cm_dtype_bytes(CM_DTYPE_F32), 4);
    cr_assert_eq(cm_dtype_bytes((enum cm_dtype)3), 0);
}

Test(geometry, fingerprints_go_through_hex_and_back)
{
    static const char hex[] = "00017f80ff0a9bc1d2e3f4a5b6c7d8e9";
    struct cm_fingerprint f, other;
    char text[CM_FINGERPRINT_TEXT_BYTES];
    cr_assert(cm_fingerprint_of_text(hex, &f));
    cr_assert(f.bytes[0] == 0x00 && f.bytes[2] == 0x7f && f.bytes[15] == 0xe9);
    cr_assert_str_eq(cm_fingerprint_text(&f, text), hex);
    other = f;
    cr_assert(cm_fingerprint_equal(&f, &other));
    other.bytes[15] ^= 1;
    cr_assert(!cm_fingerprint_equal(&f, &other));
    static const char *const bad[] = {
        "",
        "00017f80ff0a9bc1d2e3f4a5b6c7d8e",
        "00017f80ff0a9bc1d2e3f4a5b6c7d8e90",
        "00017F80ff0a9bc1d2e3f4a5b6c7d8e9",
        "00017f80ff0a9bc1d2e3f4a5b6c7d8g9",
        " 0017f80ff0a9bc1d2e3f4a5b6c7d8e9",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(!cm_fingerprint_of_text(bad[i], &other), "'%s'", bad[i]);
}
