/* test_wire_validate.c: what may reach msgpack-c at all, and which text may travel. */
#include "common/limits.h"
#include "common/text.h"
#include "proto/wire/text.h"
#include "proto/wire/validate.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

#define BYTES(...)                                             \
    ((struct cm_bytes){.data = (const uint8_t[]){__VA_ARGS__}, \
                       .size = sizeof((const uint8_t[]){__VA_ARGS__})})

static void expect(struct cm_bytes b, enum cm_err want, const char *text)
{
    e.text[0] = '\0';
    enum cm_err got = pr_validate(b, &e);
    cr_assert_eq(got, want, "got %d (%s), wanted %d", (int)got, e.text, (int)want);
    cr_assert(strstr(e.text, text) != NULL, "\"%s\" does not say \"%s\"", e.text, text);
}

Test(wire_validate, each_format_is_one_value)
{
    expect(BYTES(0x00), CM_OK, "");
    expect(BYTES(0x7f), CM_OK, "");
    expect(BYTES(0xe0), CM_OK, "");
    expect(BYTES(0xff), CM_OK, "");
    expect(BYTES(0xc0), CM_OK, "");
    expect(BYTES(0xc2), CM_OK, "");
    expect(BYTES(0xc3), CM_OK, "");
    expect(BYTES(0xc4, 2, 1, 2), CM_OK, "");
    expect(BYTES(0xc5, 0, 1, 9), CM_OK, "");
    expect(BYTES(0xc6, 0, 0, 0, 1, 9), CM_OK, "");
    expect(BYTES(0xca, 1, 2, 3, 4), CM_OK, "");
    expect(BYTES(0xcb, 1, 2, 3, 4, 5, 6, 7, 8), CM_OK, "");
    expect(BYTES(0xcc, 1), CM_OK, "");
    expect(BYTES(0xcd, 1, 2), CM_OK, "");
    expect(BYTES(0xce, 1, 2, 3, 4), CM_OK, "");
    expect(BYTES(0xcf, 1, 2, 3, 4, 5, 6, 7, 8), CM_OK, "");
    expect(BYTES(0xd0, 1), CM_OK, "");
    expect(BYTES(0xd1, 1, 2), CM_OK, "");
    expect(BYTES(0xd2, 1, 2, 3, 4), CM_OK, "");
    expect(BYTES(0xd3, 1, 2, 3, 4, 5, 6, 7, 8), CM_OK, "");
    expect(BYTES(0xa0), CM_OK, "");
    expect(BYTES(0xa2, 'a', 'b'), CM_OK, "");
    expect(BYTES(0xd9, 1, 'a'), CM_OK, "");
    expect(BYTES(0xda, 0, 1, 'a'), CM_OK, "");
    expect(BYTES(0xdb, 0, 0, 0, 1, 'a'), CM_OK, "");
    expect(BYTES(0x90), CM_OK, "");
    expect(BYTES(0x92, 0x90, 0x80), CM_OK, "");
    expect(BYTES(0xdc, 0, 1, 5), CM_OK, "");
    expect(BYTES(0xdd, 0, 0, 0, 1, 5), CM_OK, "");
    expect(BYTES(0x81, 1, 2), CM_OK, "");
    expect(BYTES(0xde, 0, 1, 1, 2), CM_OK, "");
    expect(BYTES(0xdf, 0, 0, 0, 1, 1, 2), CM_OK, "");
}

Test(wire_validate, extension_types_and_c1_are_refused)
{
    static const uint8_t tags[] = {0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8};
    for (size_t i = 0; i < sizeof tags; i++) {
        uint8_t bytes[32] = {tags[i]};
        expect((struct cm_bytes){bytes, sizeof bytes}, CM_EFORMAT, "a type not in use");
    }
}

Test(wire_validate, missing_and_spare_bytes_are_refused)
{
    expect((struct cm_bytes){NULL, 0}, CM_EFORMAT, "ends too early, in value 0");
    expect(BYTES(0xcd, 1), CM_EFORMAT, "ends too early, in value 1");
    expect(BYTES(0xa3, 'a', 'b'), CM_EFORMAT, "ends too early");
    expect(BYTES(0xdb, 0, 0), CM_EFORMAT, "ends too early");
    expect(BYTES(0xdb, 0xff, 0xff, 0xff, 0xff, 'a'), CM_EFORMAT, "ends too early");
    expect(BYTES(0x92, 1), CM_EFORMAT, "claims 2 more values, but only 1 bytes are left");
    expect(BYTES(0x00, 0x00), CM_EFORMAT, "1 bytes follow the end");
    expect(BYTES(0x91, 0x90, 0x80), CM_EFORMAT, "1 bytes follow the end");
}

Test(wire_validate, hostile_counts_cost_nothing)
{
    expect(BYTES(0xdd, 0xff, 0xff, 0xff, 0xff), CM_EFORMAT, "claims 4294967295 more values");
    expect(BYTES(0xdf, 0xff, 0xff, 0xff, 0xff), CM_EFORMAT, "claims 8589934590 more values");
    /* Each count alone is covered by the bytes that follow; together they are not. */
    expect(BYTES(0x94, 0x94, 0x94, 0, 0, 0, 0), CM_EFORMAT, "claims 7 more values");
}

Test(wire_validate, nesting_is_bounded)
{
    uint8_t bytes[10];
    memset(bytes, 0x91, sizeof bytes);
    bytes[PR_DEPTH_MAX] = 0x00;
    expect((struct cm_bytes){bytes, PR_DEPTH_MAX + 1}, CM_OK, "");
    bytes[PR_DEPTH_MAX] = 0x91;
    bytes[PR_DEPTH_MAX + 1] = 0x00;
    expect((struct cm_bytes){bytes, PR_DEPTH_MAX + 2}, CM_EFORMAT, "nested deeper than 8");
    /* Closed containers do not count: three deep, ten times. */
    uint8_t wide[31] = {0x9a};
    for (size_t i = 1; i < sizeof wide; i++)
        wide[i] = i % 3 == 0 ? 0x90 : 0x91;
    expect((struct cm_bytes){wide, sizeof wide}, CM_OK, "");
}

Test(wire_validate, size_and_number_of_values_are_bounded)
{
    size_t size = CM_HEADER_BYTES_MAX + 1;
    uint8_t *bytes = calloc(size, 1);
    cr_assert(bytes != NULL);
    expect((struct cm_bytes){bytes, size}, CM_ELIMIT, "message header of 4194305 bytes");
    const uint32_t values = PR_VALUES_MAX; /* the array itself is one more */
    const uint8_t head[] = {0xdd, values >> 24, values >> 16 & 255, values >> 8 & 255,
                            values & 255};
    memcpy(bytes, head, sizeof head);
    expect((struct cm_bytes){bytes, values + 5}, CM_ELIMIT, "more than 524288 values");
    bytes[2]--;
    expect((struct cm_bytes){bytes, values - 65536 + 5}, CM_OK, "");
    free(bytes);
}

Test(wire_text, only_printable_utf8_is_text)
{
    static const char *good[] = {"",
                                 "a b~",
                                 "\xc2\xa0",
                                 "\xc3\xa9",
                                 "\xe0\xa0\x80",
                                 "\xed\x9f\xbf",
                                 "\xee\x80\x80",
                                 "\xf0\x90\x80\x80",
                                 "\xf4\x8f\xbf\xbf"};
    static const char *bad[] = {"\x01",
                                "\n",
                                "\x7f",
                                "\xc2\x9b",
                                "\xc0\xaf",
                                "\xc1\xbf",
                                "\xe0\x9f\xbf",
                                "\xed\xa0\x80",
                                "\xf0\x8f\xbf\xbf",
                                "\xf4\x90\x80\x80",
                                "\xf5\x80\x80\x80",
                                "\x80",
                                "\xc3",
                                "\xc3(",
                                "\xe2\x82",
                                "\xf0\x9f\x98",
                                "\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert(pr_text_ok(good[i], strlen(good[i])), "good %zu", i);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert(!pr_text_ok(bad[i], strlen(bad[i])), "bad %zu", i);
    cr_assert(!pr_text_ok("a\0b", 3), "a NUL inside");
}

/* Eight bytes are looked at together where all are ASCII; no place hides one that is not right. */
Test(wire_text, a_bad_byte_is_found_anywhere)
{
    enum { SIZE = 21 };
    char text[SIZE];
    for (int fill = ' '; fill <= '~'; fill += '~' - ' ')
        for (int byte = 0; byte < 256; byte++)
            for (size_t at = 0; at < SIZE; at++) {
                memset(text, fill, SIZE);
                text[at] = (char)byte;
                cr_assert_eq(pr_text_ok(text, SIZE), byte >= ' ' && byte <= '~', "byte %d at %zu",
                             byte, at);
            }
}

Test(wire_text, cleaning_keeps_the_length_and_what_is_good)
{
    char out[16] = {0};
    pr_text_clean(out, "a\n\xc3\xa9\xc3", 5);
    cr_assert_str_eq(out, "a?\xc3\xa9?");
}

Test(wire_text, names_of_nodes_and_classes)
{
    char text[CM_CLASS_BYTES_MAX + 2];
    memset(text, 'x', sizeof text);
    text[CM_NODE_BYTES_MAX] = '\0';
    cr_assert(cm_is_node_name(text));
    text[CM_NODE_BYTES_MAX] = 'x';
    text[CM_NODE_BYTES_MAX + 1] = '\0';
    cr_assert(!cm_is_node_name(text));
    text[CM_NODE_BYTES_MAX + 1] = 'x';
    text[CM_CLASS_BYTES_MAX] = '\0';
    cr_assert(pr_class_ok(text));
    text[CM_CLASS_BYTES_MAX] = 'x';
    text[CM_CLASS_BYTES_MAX + 1] = '\0';
    cr_assert(!pr_class_ok(text));
    cr_assert(cm_is_node_name("Worker-0.rack_1") && !cm_is_node_name("") &&
              !cm_is_node_name("a b"));
    cr_assert(!cm_is_node_name("caf\xc3\xa9") && !cm_is_node_name("a/b"));
    cr_assert(pr_class_ok("f32/zen+x=1") && !pr_class_ok("") && !pr_class_ok("a b"));
    cr_assert(!pr_class_ok("a\"b") && !pr_class_ok("a'b") && !pr_class_ok("\xc3\xa9"));
}
