/* test_wire_reader.c: the rules that hold for every message: envelope, keys, types of fields. */
#include "common/limits.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/reader.h"
#include "proto/wire/welcome.h"
#include "proto/wire/writer.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

/* A WELCOME with two sound fields, begun by hand; `more` fields may follow. */
static void open_welcome(struct pr_writer *w, uint32_t more)
{
    pr_writer_open(w, PR_WELCOME, (struct cm_query_id){0}, 9, 2 + more, NULL);
    pr_put_u64(w, 16, 500);
    pr_put_u64(w, 17, 2500);
}

/* Closes a hand-made message and unpacks it as WELCOME. */
static enum cm_err unpack_welcome(struct pr_writer *w, struct pr_welcome *out)
{
    struct pr_buffer b;
    cr_assert_eq(pr_writer_close(w, &b), CM_OK);
    e.text[0] = '\0';
    enum cm_err rc = pr_welcome_unpack(pr_buffer_bytes(&b), out, &e);
    pr_buffer_fini(&b);
    return rc;
}

static void expect_refused(struct pr_writer *w, const char *text)
{
    struct pr_welcome m;
    enum cm_err rc = unpack_welcome(w, &m);
    cr_assert_eq(rc, CM_EFORMAT, "got %d, not refused for \"%s\"", (int)rc, text);
    cr_assert(strstr(e.text, text) != NULL, "\"%s\" does not say \"%s\"", e.text, text);
}

/* A header with the four common keys as given, by hand. */
static struct pr_buffer envelope(uint64_t version, uint64_t type, uint64_t id)
{
    struct pr_writer w;
    struct pr_buffer b;
    pr_writer_open(&w, PR_HELLO, (struct cm_query_id){0}, 0, 0, NULL);
    w.buffer.size = 0; /* forget what open wrote */
    pr_write_map(&w, 5);
    pr_put_u64(&w, 3, 9);
    pr_put_u64(&w, 2, id);
    pr_put_u64(&w, 1, type);
    pr_put_u64(&w, 0, version);
    pr_put_u64(&w, 200, 1); /* none of peek's business */
    cr_assert_eq(pr_writer_close(&w, &b), CM_OK);
    return b;
}

Test(wire_reader, peek_reads_the_envelope_in_any_order)
{
    struct pr_buffer b = envelope(1, PR_SEARCH, 77);
    struct pr_envelope env;
    cr_assert_eq(pr_peek(pr_buffer_bytes(&b), &env, &e), CM_OK, "%s", e.text);
    cr_assert(env.version == 1 && env.type == PR_SEARCH && env.id.v == 77 && env.epoch == 9);
    pr_buffer_fini(&b);
}

Test(wire_reader, peek_names_another_version_and_still_fills_the_envelope)
{
    struct pr_buffer b = envelope(7, 999, UINT64_MAX);
    struct pr_envelope env;
    cr_assert_eq(pr_peek(pr_buffer_bytes(&b), &env, &e), CM_EVERSION);
    cr_assert_str_eq(e.text, "the peer speaks protocol version 7; this is version 1");
    cr_assert(env.version == 7 && env.type == 999 && env.id.v == UINT64_MAX && env.epoch == 9);
    struct pr_welcome m;
    cr_assert_eq(pr_welcome_unpack(pr_buffer_bytes(&b), &m, &e), CM_EVERSION);
    pr_buffer_fini(&b);
}

Test(wire_reader, peek_refuses_an_unknown_type_and_still_fills_the_envelope)
{
    struct pr_buffer b = envelope(1, 99, 5);
    struct pr_envelope env;
    cr_assert_eq(pr_peek(pr_buffer_bytes(&b), &env, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "message type 99 is unknown");
    cr_assert(env.type == 99 && env.id.v == 5);
    pr_buffer_fini(&b);
}

Test(wire_reader, peek_refuses_what_has_no_envelope)
{
    struct pr_envelope env;
    struct cm_bytes number = {"\x07", 1};
    cr_assert_eq(pr_peek(number, &env, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "is an integer; it must be a map") != NULL, "%s", e.text);
    cr_assert(env.version == 0 && env.type == 0 && env.id.v == 0);
    struct cm_bytes no_type = {"\x81\x00\x01", 3};
    cr_assert_eq(pr_peek(no_type, &env, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "type (key 1) is missing");
    struct cm_bytes text_key = {"\x82\x00\x01\xa1x\x01", 6};
    cr_assert_eq(pr_peek(text_key, &env, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "a key is a string; it must be a positive integer");
    struct cm_bytes negative_key = {"\x82\x00\x01\xff\x01", 5};
    cr_assert_eq(pr_peek(negative_key, &env, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "a key is a negative integer; it must be a positive integer");
    cr_assert_eq(pr_peek(number, &env, NULL), CM_EFORMAT, "no error wanted");
}

Test(wire_reader, another_type_than_expected_is_refused)
{
    struct pr_buffer b;
    cr_assert_eq(pr_heartbeat_pack(&(struct pr_heartbeat){0}, &b, &e), CM_OK);
    struct pr_welcome m;
    cr_assert_eq(pr_welcome_unpack(pr_buffer_bytes(&b), &m, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "bad HEARTBEAT message: it stands where WELCOME was expected");
    pr_buffer_fini(&b);
}

Test(wire_reader, unknown_keys_below_64_are_passed_over)
{
    static const uint32_t keys[] = {4, 15, 18, 63};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct pr_writer w;
        struct pr_welcome m;
        open_welcome(&w, 1);
        pr_write_key(&w, keys[i]);
        pr_write_list(&w, 2); /* whatever it holds */
        pr_write_list(&w, 0);
        pr_write_text(&w, "x", 0, 10);
        cr_assert_eq(unpack_welcome(&w, &m), CM_OK, "key %u: %s", keys[i], e.text);
        cr_assert(m.heartbeat_ms == 500 && m.dead_after_ms == 2500 && m.epoch == 9);
    }
}

Test(wire_reader, unknown_keys_from_64_on_are_refused)
{
    static const uint32_t keys[] = {64, 65, 128, UINT32_MAX};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct pr_writer w;
        open_welcome(&w, 1);
        pr_put_u64(&w, keys[i], 1);
        expect_refused(&w, "is not known here, and keys from 64 on must be");
    }
}

Test(wire_reader, a_key_that_comes_twice_is_refused)
{
    static const uint32_t keys[] = {0, 3, 16, 17};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct pr_writer w;
        open_welcome(&w, 1);
        pr_put_u64(&w, keys[i], 1);
        expect_refused(&w, "comes twice");
    }
    struct pr_writer w;
    open_welcome(&w, 2);
    pr_put_u64(&w, 40, 1);
    pr_put_u64(&w, 40, 1);
    expect_refused(&w, "key 40 comes twice");
}

Test(wire_reader, a_missing_field_is_named)
{
    struct pr_writer w;
    pr_writer_open(&w, PR_WELCOME, (struct cm_query_id){0}, 0, 1, NULL);
    pr_put_u64(&w, 16, 500);
    expect_refused(&w, "bad WELCOME message: dead_after_ms (key 17) is missing");
}

/* A WELCOME whose key 17 is still to be written. */
static void open_before_17(struct pr_writer *w)
{
    pr_writer_open(w, PR_WELCOME, (struct cm_query_id){0}, 0, 2, NULL);
    pr_put_u64(w, 16, 500);
    pr_write_key(w, 17);
}

Test(wire_reader, a_field_of_another_type_is_refused)
{
    struct pr_writer w;
    open_before_17(&w);
    pr_write_i64(&w, -1);
    expect_refused(&w, "dead_after_ms is a negative integer; it must be a positive integer");
    open_before_17(&w);
    pr_write_text(&w, "500", 0, 10);
    expect_refused(&w, "dead_after_ms is a string; it must be a positive integer");
    open_before_17(&w);
    pr_write_f32(&w, 500);
    expect_refused(&w, "dead_after_ms is a float32; it must be a positive integer");
    open_before_17(&w);
    pr_write_bool(&w, true);
    expect_refused(&w, "dead_after_ms is a boolean; it must be a positive integer");
    open_before_17(&w);
    pr_write_map(&w, 0);
    expect_refused(&w, "dead_after_ms is a map; it must be a positive integer");
    open_before_17(&w);
    pr_write_u64(&w, UINT64_C(1) << 32);
    expect_refused(&w, "dead_after_ms is 4294967296; at most 4294967295 fits");
}

Test(wire_reader, integers_come_in_any_format)
{
    static const struct {
        const char *bytes;
        size_t size;
    } formats[] = {
        {"\xcd\x09\xc4", 3},
        {"\xce\x00\x00\x09\xc4", 5},
        {"\xcf\x00\x00\x00\x00\x00\x00\x09\xc4", 9},
        {"\xd1\x09\xc4", 3},
        {"\xd2\x00\x00\x09\xc4", 5},
        {"\xd3\x00\x00\x00\x00\x00\x00\x09\xc4", 9},
    };
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        char bytes[64] = "\x86\x00\x01\x01\x02\x02\x00\x03\x00\x10\x05\x11";
        memcpy(bytes + 12, formats[i].bytes, formats[i].size);
        struct pr_welcome m;
        struct cm_bytes header = {bytes, 12 + formats[i].size};
        cr_assert_eq(pr_welcome_unpack(header, &m, &e), CM_OK, "format %zu: %s", i, e.text);
        cr_assert(m.heartbeat_ms == 5 && m.dead_after_ms == 2500);
    }
}

Test(wire_writer, a_header_over_the_limit_is_not_made)
{
    struct pr_writer w;
    struct pr_buffer b;
    static char name[CM_NAME_BYTES_MAX + 1];
    memset(name, 'n', CM_NAME_BYTES_MAX);
    pr_writer_open(&w, PR_RESULT, (struct cm_query_id){1}, 0, 1, &e);
    for (int i = 0; i < 1100; i++)
        pr_write_text(&w, name, 1, CM_NAME_BYTES_MAX);
    cr_assert(w.capacity <= CM_HEADER_BYTES_MAX, "it grew to %zu bytes", w.capacity);
    cr_assert_eq(pr_writer_close(&w, &b), CM_ELIMIT);
    cr_assert_str_eq(e.text, "cannot pack RESULT: the header would take more than 4194304 bytes");
    cr_assert(b.data == NULL && b.size == 0);
}

Test(wire_writer, text_outside_its_bounds_is_refused)
{
    struct pr_writer w;
    struct pr_buffer b;
    pr_writer_open(&w, PR_RESULT, (struct cm_query_id){1}, 0, 1, &e);
    pr_write_text(&w, "", 1, 10);
    cr_assert_eq(pr_writer_close(&w, &b), CM_ELIMIT);
    pr_writer_open(&w, PR_RESULT, (struct cm_query_id){1}, 0, 1, &e);
    pr_write_text(&w, "12345678901", 1, 10);
    cr_assert_eq(pr_writer_close(&w, &b), CM_ELIMIT);
    cr_assert(strstr(e.text, "1 to 10 fit") != NULL, "%s", e.text);
}
