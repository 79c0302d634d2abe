/* Feature maps that are not what they must be, through import, score and search. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA = 65, NOINPUT = 66 };

static const char good_shape[] = "4, 5, 3, 80";
enum { MAP_BYTES = TEST_MAP_FLOATS * 4 };

/* Refused as queries by score and search. */
static void refused_as_queries(struct test_inputs *t, const char *bad, int code, const char *part)
{
    struct test_refusal want = {code, bad, part};
    struct test_inputs copy = *t;
    memcpy(copy.query, bad, strlen(bad) + 1);
    test_score_refused(&copy, &want);
    test_search_refused(&copy, false, &want);
}

/* Refused as a gallery by import, as a gallery and as queries by score, and by search. */
static void refused_everywhere(struct test_inputs *t, const char *bad, int code, const char *part)
{
    struct test_refusal want = {code, bad, part};
    struct test_inputs copy = *t;
    /* t->out is a good gallery: import goes elsewhere */
    test_path(&t->folder, "new", copy.out);
    test_path(&t->folder, "new.partial", copy.partial);
    memcpy(copy.gallery, bad, strlen(bad) + 1);
    memcpy(copy.meta, t->query_meta, sizeof copy.meta); /* as many labels as queries */
    test_import_refused(&copy, &want);
    test_score_refused(&copy, &want);
    refused_as_queries(t, bad, code, part);
}

/* Good inputs, a gallery of them, and a copy of the queries for the caller to damage. */
static void begin(struct test_inputs *t, char bad[TEST_PATH_BYTES])
{
    test_inputs_init(t);
    test_inputs_import(t, NULL);
    test_copy(t->query, test_path(&t->folder, "bad.npy", bad));
}

Test(bad_maps, missing_empty_and_no_file)
{
    struct test_inputs t;
    char bad[TEST_PATH_BYTES];
    begin(&t, bad);
    test_resize(bad, 0);
    refused_everywhere(&t, bad, DATA, "is empty");
    unlink(bad);
    refused_everywhere(&t, bad, NOINPUT, "No such file or directory");
    cr_assert_eq(mkdir(bad, 0755), 0);
    refused_everywhere(&t, bad, DATA, "is not a regular file");
    cr_assert_eq(rmdir(bad), 0);
    cr_assert_eq(mkfifo(bad, 0644), 0);
    refused_as_queries(&t, bad, DATA, "is not a regular file"); /* import reads it: test_pipe.c */
    test_inputs_fini(&t);
}

Test(bad_maps, cut_short_or_too_long)
{
    struct test_inputs t;
    char bad[TEST_PATH_BYTES];
    begin(&t, bad);
    size_t size = test_size(bad);
    test_resize(bad, size - 1);
    refused_everywhere(&t, bad, DATA, "is cut short: shape (4, 5, 3, 80) of float32 takes 19328 b");
    test_resize(bad, size + 1);
    refused_everywhere(&t, bad, DATA, "has surplus bytes at its end");
    test_resize(bad, 60);
    refused_everywhere(&t, bad, DATA, "is cut short within its header");
    test_resize(bad, 3);
    refused_everywhere(&t, bad, DATA, "is not a .npy file; write it with np.save");
    test_inputs_fini(&t);
}

Test(bad_maps, wrong_dtype_order_rank_and_shape)
{
    static const struct {
        const char *descr, *shape, *part;
        bool fortran;
    } cases[] = {
        {"<f8", good_shape, "holds float64 (dtype '<f8'); save it with", false},
        {"<i4", good_shape, "holds neither float16 nor float32 (dtype '<i4')", false},
        {">f4", good_shape, "is big-endian", false},
        {"|O", good_shape, "holds Python objects", false},
        {"<f4", good_shape, "is in Fortran order; save it with", true},
        {"<f4", "4, 15, 80", "has the shape (4, 15, 80); feature maps are [images, h", false},
        {"<f4", "4800,", "has the shape (4800,)", false},
        {"<f4", "1, 4, 5, 3, 80", "use x.reshape(n, h, w, c)", false},
        {"<f4", "0, 5, 3, 80", "holds no images", false},
        {"<f4", "4, 0, 3, 80", "its height is 0", false},
        {"<f4", "4, 3, 5, 80", "maps of 3x5x80, but the ", false},
        {"<f4", "4, 5, 6, 40", "maps of 5x6x40, but the ", false},
    };
    struct test_inputs t;
    char bad[TEST_PATH_BYTES];
    size_t size;
    begin(&t, bad);
    char *good = test_read(t.query, &size);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_npy(bad, cases[i].descr, cases[i].fortran, cases[i].shape, good + TEST_NPY_HEADER,
                 size - TEST_NPY_HEADER);
        refused_everywhere(&t, bad, DATA, cases[i].part);
    }
    free(good);
    test_inputs_fini(&t);
}

/* Shapes that a file claims and does not have, up to those that overflow every product. */
Test(bad_maps, huge_shapes)
{
    static const struct {
        const char *shape, *part;
    } cases[] = {
        {"1000000000000, 5, 3, 80", "is cut short"},
        {"18446744073709551615, 5, 3, 80", "its number of images is 18446744073709551615; at most"},
        {"18446744073709551616, 5, 3, 80", "does not fit 64 bits"},
        {"4, 4294967296, 4294967296, 80", "its height is 4294967296; at most 512"},
        {"4, 512, 512, 80", "its height x width is 262144; at most 4096"},
        {"4, 64, 64, 80000", "its bytes per image in float32 is 1310720000; at most 16777216"},
        {"4, 5, 3, 9999999", "its number of channels is 9999999; at most 524288"},
    };
    struct test_inputs t;
    char bad[TEST_PATH_BYTES];
    begin(&t, bad);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_npy(bad, "<f4", false, cases[i].shape, "", 0);
        refused_everywhere(&t, bad, DATA, cases[i].part);
    }
    test_inputs_fini(&t);
}

/* A file as large as it claims, nearly all of it a hole: the labels are too few for it. */
Test(bad_maps, huge_file)
{
    struct test_inputs t;
    test_inputs_init(&t);
    test_npy(t.gallery, "<f4", false, "100000000, 5, 3, 80", "", 0);
    if (truncate(t.gallery, (off_t)TEST_NPY_HEADER + (off_t)100000000 * MAP_BYTES) == 0) {
        struct test_refusal want = {DATA, t.meta, "has 7 rows, but "};
        test_import_refused(&t, &want);
    }
    test_inputs_fini(&t);
}

Test(bad_maps, nan_and_infinity)
{
    static const uint32_t nan = 0x7fc00000u, infinity = 0x7f800000u, minus = 0xff800000u;
    static const uint16_t half_infinity = 0x7c00u;
    struct test_inputs t;
    char bad[TEST_PATH_BYTES];
    begin(&t, bad);
    const size_t last = TEST_NPY_HEADER + 4 * MAP_BYTES - 4;
    test_patch(bad, TEST_NPY_HEADER, &nan, sizeof nan);
    refused_everywhere(&t, bad, DATA, "image 0 has a NaN at [0,0,0]");
    test_copy(t.query, bad);
    test_patch(bad, last, &infinity, sizeof infinity);
    refused_everywhere(&t, bad, DATA, "image 3 has an infinity at [4,2,79]");
    test_copy(t.query, bad);
    test_patch(bad, last - 2 * MAP_BYTES - 80 * 4, &minus, sizeof minus);
    refused_everywhere(&t, bad, DATA, "image 1 has an infinity at [4,1,79]");
    char *zeros = calloc(4, MAP_BYTES / 2);
    test_npy(bad, "<f2", false, good_shape, zeros, 4 * MAP_BYTES / 2);
    test_patch(bad, TEST_NPY_HEADER + MAP_BYTES + 2 * 81, &half_infinity, sizeof half_infinity);
    refused_everywhere(&t, bad, DATA, "image 2 has an infinity at [0,1,1]");
    free(zeros);
    test_inputs_fini(&t);
}
