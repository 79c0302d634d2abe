/* Weights from safetensors files, good and hostile. */
#include "common/limits.h"
#include "proto/file/safetensors.h"
#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct test_folder folder;
static char path[TEST_PATH_BYTES];
static struct cm_error e;

static void setup(void)
{
    test_folder_init(&folder);
    test_path(&folder, "m.safetensors", path);
}

static void teardown(void)
{
    test_folder_fini(&folder);
}

TestSuite(safetensors, .init = setup, .fini = teardown);

#define QACONV \
    "\"__metadata__\":{\"matcher\":\"qaconv\",\"height\":\"2\",\"width\":\"3\",\"d_model\":\"8\"}"
#define TENSOR(name, dtype, shape, begin, end)                                                     \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

/* Writes a file with this header and `size` bytes of data. */
static void write_file(const char *header, const void *data, size_t size)
{
    size_t length = strlen(header);
    char *bytes = calloc(8 + length + size, 1);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)((uint64_t)length >> 8 * i);
    memcpy(bytes + 8, header, length);
    if (size > 0)
        memcpy(bytes + 8 + length, data, size);
    test_write(path, bytes, 8 + length + size);
    free(bytes);
}

static void assert_refused(enum cm_err code, const char *part)
{
    struct pr_safetensors *s;
    cr_assert_eq(pr_safetensors_read(&s, path, &e), code, "expected \"%s\", got: %s", part, e.text);
    cr_assert_null(s);
    cr_assert(strncmp(e.text, path, strlen(path)) == 0, "%s", e.text);
    cr_assert(strstr(e.text, part) != NULL, "expected \"%s\" in: %s", part, e.text);
}

/* A file of this header and `size` zeroes is refused. */
static void assert_header_refused(const char *header, size_t size, enum cm_err code,
                                  const char *part)
{
    static const char zeroes[64];
    write_file(header, zeroes, size);
    assert_refused(code, part);
}

static struct pr_safetensors *read_file(void)
{
    struct pr_safetensors *s;
    cr_assert_eq(pr_safetensors_read(&s, path, &e), CM_OK, "%s", e.text);
    return s;
}

Test(safetensors, reads_every_dtype_in_the_order_of_the_data)
{
    static const unsigned char data[] = {
        0,    0,    0x80, 0x3f, 0, 0, 0,    0xc0, /* F32 1, -2 */
        0,    0x3c, 1,    0,                      /* F16 1, 2^-24 */
        0x40, 0xc0,                               /* BF16 -3 */
        0,    0,    0,    0,    0, 0, 0xe0, 0x3f, /* F64 0.5 */
    };
    write_file(
        "{" TENSOR("d", "F64", "[1,1]", 14, 22) "," TENSOR("b", "F16", "[1,2]", 8, 12) "," TENSOR(
            "c", "BF16", "[]", 12, 14) "," QACONV "," TENSOR("a", "F32", "[2]", 0, 8) "}   ",
        data, sizeof data);
    struct pr_safetensors *s = read_file();
    const struct cm_weights *w = pr_safetensors_weights(s);
    cr_assert_eq(w->tensors_count, 4);
    for (size_t i = 0; i < 4; i++)
        cr_assert(w->tensors[i].name[0] == (char)('a' + i), "%s", w->tensors[i].name);
    const struct cm_tensor *a = cm_tensor_find(w, "a"), *b = cm_tensor_find(w, "b");
    const struct cm_tensor *c = cm_tensor_find(w, "c"), *d = cm_tensor_find(w, "d");
    cr_assert(a->rank == 1 && a->dims[0] == 2 && a->data[0] == 1 && a->data[1] == -2);
    cr_assert(b->rank == 2 && b->dims[1] == 2 && b->data[0] == 1 && b->data[1] == 0x1p-24f);
    cr_assert(c->rank == 0 && c->count == 1 && c->data[0] == -3);
    cr_assert(d->rank == 2 && d->count == 1 && d->data[0] == 0.5f);
    cr_assert_null(cm_tensor_find(w, "e"));
    pr_safetensors_free(s);
}

Test(safetensors, takes_the_sizes_of_a_transmatcher)
{
    write_file("{\"__metadata__\":{\"matcher\":\"transmatcher\",\"height\":\"24\",\"width\":\"8\","
               "\"d_model\":\"512\",\"num_layers\":\"3\",\"dim_feedforward\":\"2048\",\"bn_eps\":"
               "\"1e-03\",\"note\":\"any\"}," TENSOR("a", "F32", "[0]", 0, 0) "}",
               NULL, 0);
    struct pr_safetensors *s = read_file();
    const struct cm_geometry *g = &pr_safetensors_weights(s)->geometry;
    cr_assert(g->matcher == CM_TRANSMATCHER && g->height == 24 && g->width == 8);
    cr_assert(g->channels == 512 && g->layers == 3 && g->ff == 2048);
    cr_assert(pr_safetensors_weights(s)->bn_eps == 1e-3);
    pr_safetensors_free(s);
}

Test(safetensors, fills_in_what_qaconv_leaves_out)
{
    write_file("{\"__metadata__\":{\"matcher\":\"qaconv\",\"height\":\"2\",\"width\":\"3\","
               "\"num_features\":\"64\"}," TENSOR("a", "F32", "[0]", 0, 0) "}",
               NULL, 0);
    struct pr_safetensors *s = read_file();
    const struct cm_geometry *g = &pr_safetensors_weights(s)->geometry;
    cr_assert(g->matcher == CM_QACONV && g->channels == 64 && g->layers == 1 && g->ff == 0);
    cr_assert(pr_safetensors_weights(s)->bn_eps == 1e-5);
    pr_safetensors_free(s);
}

Test(safetensors, leaves_out_the_counters_of_batch_norms)
{
    write_file("{" QACONV "," TENSOR("bn.num_batches_tracked", "I64", "[]", 0,
                                     8) "," TENSOR("a", "F32", "[1]", 8, 12) "}",
               "\1\0\0\0\0\0\0\0\0\0\x80\x3f", 12);
    struct pr_safetensors *s = read_file();
    cr_assert_eq(pr_safetensors_weights(s)->tensors_count, 1);
    cr_assert(pr_safetensors_weights(s)->tensors[0].data[0] == 1);
    pr_safetensors_free(s);
    assert_header_refused("{" QACONV "," TENSOR("n", "I64", "[]", 0, 8) "}", 8, CM_EFORMAT,
                          "tensor n: its dtype is I64; save it as F32, F16, BF16 or F64");
}

#define META(text) "{\"__metadata__\":{" text "}," TENSOR("a", "F32", "[1]", 0, 4) "}"
#define TM         "\"matcher\":\"transmatcher\",\"height\":\"2\",\"width\":\"2\""

Test(safetensors, says_what_is_wrong_in_the_metadata)
{
    static const struct {
        const char *header, *part;
        enum cm_err code;
    } cases[] = {
        {"{" TENSOR("a", "F32", "[1]", 0, 4) "}", "has no __metadata__; it must state matcher", 0},
        {META("\"height\":\"2\""), "matcher is missing; expected \"transmatcher\" or", 0},
        {META("\"matcher\":\"cosine\""), "matcher is \"cosine\"; expected \"transmatcher\" or", 0},
        {META("\"matcher\":1"), "matcher must be a JSON string", 0},
        {META(TM ",\"d_model\":\"4\",\"num_layers\":\"1\""),
         "dim_feedforward is missing; expected a whole number in quotes", 0},
        {META(TM ",\"num_features\":\"4\""), "d_model is missing", 0},
        {META(TM ",\"d_model\":\"4\""), "num_layers is missing", 0},
        {META(TM ",\"d_model\":4"), "d_model must be a JSON string", 0},
        {META(TM ",\"d_model\":\"4.0\""), "d_model is \"4.0\"; expected a whole number", 0},
        {META(TM ",\"d_model\":\"-4\""), "d_model is \"-4\"; expected", 0},
        {META(TM ",\"d_model\":\"4294967295\""), "d_model is \"4294967295\"; expected", 0},
        {META(TM ",\"d_model\":\"8193\",\"num_layers\":\"1\",\"dim_feedforward\":\"1\""),
         "__metadata__: channels is 8193; at most 8192", CM_ELIMIT},
        {META(TM ",\"d_model\":\"0\",\"num_layers\":\"1\",\"dim_feedforward\":\"1\""),
         "__metadata__: channels is 0", 0},
        {"{\"__metadata__\":{\"matcher\":\"qaconv\",\"height\":\"1\",\"width\":\"1\"}}",
         "num_features is missing", 0},
        {"{\"__metadata__\":{\"matcher\":\"qaconv\",\"height\":\"1\",\"width\":\"1\",\"d_model\":"
         "\"1\",\"num_layers\":\"2\"}}",
         "qaconv has one layer", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_header_refused(cases[i].header, 4, cases[i].code ? cases[i].code : CM_EFORMAT,
                              cases[i].part);
}

Test(safetensors, wants_a_sane_bn_eps)
{
    static const char *const bad[] = {"0", "-1e-5", "nan", "inf",   "1e999",
                                      "",  " 1",    "1x",  "0x1p-9"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char header[400], part[80];
        snprintf(header, sizeof header,
                 META(TM ",\"d_model\":\"4\",\"num_layers\":\"1\",\"dim_feedforward\":\"1\","
                         "\"bn_eps\":\"%s\""),
                 bad[i]);
        snprintf(part, sizeof part, "bn_eps is \"%s\"; expected a number above 0", bad[i]);
        assert_header_refused(header, 4, CM_EFORMAT, part);
    }
}

Test(safetensors, says_what_is_wrong_with_a_tensor)
{
    static const struct {
        const char *tensors, *part;
        enum cm_err code;
    } cases[] = {
        {"\"a\":3", "tensor a: its dtype must be a text", 0},
        {"\"a\":{}", "tensor a: its dtype must be a text", 0},
        {TENSOR("a", "I32", "[1]", 0, 4), "tensor a: its dtype is I32; save it as F32", 0},
        {TENSOR("a", "F8_E4M3", "[4]", 0, 4), "its dtype is F8_E4M3", 0},
        {TENSOR("a", "F32", "1", 0, 4), "its shape must be an array", 0},
        {TENSOR("a", "F32", "[-1]", 0, 4), "size 0 of its shape is no whole number", 0},
        {TENSOR("a", "F32", "[1,1.0]", 0, 4), "size 1 of its shape is no whole number", 0},
        {TENSOR("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4), "its rank is 9; at most 8", CM_ELIMIT},
        {TENSOR("a", "F32", "[4294967296,4294967296]", 0, 4), "more numbers than 64", CM_ELIMIT},
        {TENSOR("a", "F32", "[4611686018427387905]", 0, 4), "its shape has 4611686018427387905", 0},
        {TENSOR("a", "F32", "[2]", 0, 4), "has 2 numbers of 4 bytes, its data 4 bytes", 0},
        {TENSOR("a", "F32", "[1]", 0, 8), "data_offsets [0,8] leave the file's 4 bytes", 0},
        {TENSOR("a", "F32", "[1]", 4, 0), "data_offsets [4,0] leave", 0},
        {TENSOR("a", "F32", "[1]", -4, 0), "data_offsets must be two whole numbers", 0},
        {"\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}", "must be two whole", 0},
        {"\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":\"0,4\"}", "must be two whole",
         0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char header[400];
        snprintf(header, sizeof header, "{" QACONV ",%s}", cases[i].tensors);
        assert_header_refused(header, 4, cases[i].code ? cases[i].code : CM_EFORMAT, cases[i].part);
    }
}

Test(safetensors, wants_tensors_to_cover_the_data_once)
{
    assert_header_refused(
        "{" QACONV "," TENSOR("a", "F32", "[2]", 0, 8) "," TENSOR("b", "F32", "[2]", 4, 12) "}", 12,
        CM_EFORMAT, "tensor b begins at byte 4 of the data, before byte 8");
    assert_header_refused(
        "{" QACONV "," TENSOR("a", "F32", "[1]", 0, 4) "," TENSOR("b", "F32", "[1]", 8, 12) "}", 12,
        CM_EFORMAT, "tensor b begins at byte 8 of the data, after byte 4");
    assert_header_refused("{" QACONV "," TENSOR("a", "F32", "[1]", 0, 4) "}", 5, CM_EFORMAT,
                          "the tensors take 4 bytes of data, the file has 5");
    assert_header_refused("{" QACONV "}", 0, CM_EFORMAT, "holds no tensors");
}

Test(safetensors, refuses_what_is_not_finite)
{
    static const unsigned char nan_f32[] = {0, 0, 0, 0, 0, 0, 0xc0, 0x7f};
    static const unsigned char infinite_f16[] = {0, 0, 0, 0x7c};
    static const unsigned char nan_bf16[] = {0, 0, 0xc0, 0x7f};
    static const double huge[] = {1e300};
    write_file("{" QACONV "," TENSOR("fc.bias", "F32", "[2]", 0, 8) "}", nan_f32, 8);
    assert_refused(CM_EFORMAT, "tensor fc.bias: number 1 is a NaN");
    write_file("{" QACONV "," TENSOR("a", "F16", "[2]", 0, 4) "}", infinite_f16, 4);
    assert_refused(CM_EFORMAT, "tensor a: number 1 is infinite");
    write_file("{" QACONV "," TENSOR("a", "BF16", "[2]", 0, 4) "}", nan_bf16, 4);
    assert_refused(CM_EFORMAT, "tensor a: number 1 is a NaN");
    write_file("{" QACONV "," TENSOR("a", "F64", "[1]", 0, 8) "}", huge, 8);
    assert_refused(CM_EFORMAT, "tensor a: number 0 is infinite in float32");
}

Test(safetensors, reads_a_tensor_of_many_pieces)
{
    enum { COUNT = 20001 };
    double *data = malloc(COUNT * sizeof *data);
    for (int i = 0; i < COUNT; i++)
        data[i] = i;
    write_file("{" QACONV "," TENSOR("a", "F64", "[20001]", 0, 160008) "}", data,
               COUNT * sizeof *data);
    struct pr_safetensors *s = read_file();
    for (int i = 0; i < COUNT; i++)
        cr_assert(pr_safetensors_weights(s)->tensors[0].data[i] == (float)i, "number %d", i);
    pr_safetensors_free(s);
    free(data);
}

Test(safetensors, refuses_bad_json)
{
    static const char *const bad[] = {
        "", "[]", "{", "{\"a\":1,\"a\":2}", "{\"a\\u0000\":1}", "{\"\xff\":1}", "{} x", "3",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_header_refused(bad[i], 4, CM_EFORMAT, "its header is no JSON object");
    char *deep = malloc(100001);
    memset(deep, '[', 100000);
    deep[100000] = '\0';
    assert_header_refused(deep, 0, CM_EFORMAT,
                          "its header is no JSON object: maximum parsing depth");
    free(deep);
}

Test(safetensors, bounds_header_and_file_before_it_allocates)
{
    char length[8] = {0};
    test_write(path, "short", 5);
    assert_refused(CM_EFORMAT, "is no safetensors file: has only 5 bytes");
    test_write(path, "\xff\xff\xff\xff\xff\xff\xff\xff{}", 10);
    assert_refused(CM_EFORMAT, "states a header of 18446744073709551615 bytes in a file of 10");
    length[2] = 0x20; /* 2 MiB */
    test_write(path, length, sizeof length);
    cr_assert_eq(truncate(path, 8 + (2 << 20)), 0);
    assert_refused(CM_ELIMIT, "its header has 2097152 bytes; at most 1048576");
    cr_assert_eq(truncate(path, (off_t)CM_SAFETENSORS_BYTES_MAX + 1), 0);
    assert_refused(CM_ELIMIT, "has 4294967297 bytes; at most 4294967296 are supported");
    unlink(path);
    assert_refused(CM_ENOENT, "cannot be opened: No such file");
}
