/* Feature maps from .npy files, good and hostile; and the writer of matrices. */
#include "common/limits.h"
#include "proto/file/npy.h"
#include "proto/file/npy_header.h"
#include "proto/file/npy_writer.h"
#include "tests/support/files.h"
#include "tests/support/matrix.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct test_folder folder;
static char path[TEST_PATH_BYTES];
static struct cm_error e;

static void setup(void)
{
    test_folder_init(&folder);
    test_path(&folder, "G.npy", path);
}

static void teardown(void)
{
    test_folder_fini(&folder);
}

TestSuite(npy, .init = setup, .fini = teardown);

/* Writes magic, version, the dictionary and the data to `path`. */
static void write_npy(int major, const char *dictionary, const void *data, size_t size)
{
    char bytes[4096] = "\x93NUMPY";
    size_t length = strlen(dictionary);
    size_t at = 6;
    bytes[at++] = (char)major;
    bytes[at++] = 0;
    for (int i = 0; i < (major == 1 ? 2 : 4); i++)
        bytes[at++] = (char)(length >> 8 * i);
    memcpy(bytes + at, dictionary, length);
    if (size > 0)
        memcpy(bytes + at + length, data, size);
    test_write(path, bytes, at + length + size);
}

/* Opening `path` fails with `code` and a text that has `part` in it and begins with the path. */
static void assert_refused(enum cm_err code, const char *part)
{
    struct pr_npy *n;
    cr_assert_eq(pr_npy_open(&n, path, &e), code, "expected \"%s\", got: %s", part, e.text);
    cr_assert_null(n);
    cr_assert(strncmp(e.text, path, strlen(path)) == 0, "%s", e.text);
    cr_assert(strstr(e.text, part) != NULL, "expected \"%s\" in: %s", part, e.text);
}

static void assert_header_refused(const char *dictionary, enum cm_err code, const char *part)
{
    static const float data[4];
    write_npy(1, dictionary, data, sizeof data);
    assert_refused(code, part);
}

#define F4(shape) "{'descr': '<f4', 'fortran_order': False, 'shape': " shape ", }\n"
#define F2(shape) "{'descr': '<f2', 'fortran_order': False, 'shape': " shape ", }\n"

Test(npy, reads_float32)
{
    float data[12], got[6], raw[12];
    struct pr_npy *n;
    for (int i = 0; i < 12; i++)
        data[i] = (float)i - 3.5f;
    write_npy(1, F4("(2, 1, 3, 2)"), data, sizeof data);
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    cr_assert(n->images == 2 && n->height == 1 && n->width == 3 && n->channels == 2);
    cr_assert(n->dtype == CM_DTYPE_F32 && n->image_floats == 6 && n->image_bytes == 24);
    cr_assert_eq(pr_npy_read(n, 1, 1, got, &e), CM_OK, "%s", e.text);
    cr_assert(memcmp(got, data + 6, sizeof got) == 0);
    cr_assert_eq(pr_npy_read_raw(n, 0, 2, raw, &e), CM_OK, "%s", e.text);
    cr_assert(memcmp(raw, data, sizeof raw) == 0);
    cr_assert_eq(pr_npy_read(n, 2, 0, got, &e), CM_OK, "no images after the last");
    pr_npy_close(n);
}

Test(npy, reads_float16_exactly)
{
    static const uint16_t data[4] = {0x3c00, 0x0001, 0xfbff, 0x8000};
    float got[4];
    uint16_t raw[2];
    struct pr_npy *n;
    write_npy(1, F2("(2, 1, 1, 2)"), data, sizeof data);
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    cr_assert(n->dtype == CM_DTYPE_F16 && n->image_bytes == 4);
    cr_assert_eq(pr_npy_read(n, 0, 2, got, &e), CM_OK, "%s", e.text);
    cr_assert(got[0] == 1.0f && got[1] == 0x1p-24f && got[2] == -65504.0f && got[3] == 0.0f);
    cr_assert_eq(pr_npy_read_raw(n, 1, 1, raw, &e), CM_OK, "%s", e.text);
    cr_assert(raw[0] == 0xfbff && raw[1] == 0x8000);
    pr_npy_close(n);
}

Test(npy, accepts_each_version_and_every_way_to_write_a_header)
{
    static const char *const spellings[] = {
        F4("(1, 1, 1, 2)"),
        "{'shape': (1, 1, 1, 2), 'descr': '<f4', 'fortran_order': False}",
        "{\"descr\":\"<f4\",\"shape\":(1,1,1,2,),\"fortran_order\":False,}    \n",
    };
    static const float data[2] = {5, 6};
    for (int major = 1; major <= 3; major++) {
        for (size_t i = 0; i < sizeof spellings / sizeof spellings[0]; i++) {
            struct pr_npy *n;
            float got[2];
            write_npy(major, spellings[i], data, sizeof data);
            cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%zu: %s", i, e.text);
            cr_assert_eq(pr_npy_read(n, 0, 1, got, &e), CM_OK);
            cr_assert(got[0] == 5 && got[1] == 6);
            pr_npy_close(n);
        }
    }
}

Test(npy, refuses_what_is_no_npy_file)
{
    test_write(path, "", 0);
    assert_refused(CM_EFORMAT, "is empty");
    test_write(path, "PK\3\4 a zip", 10);
    assert_refused(CM_EFORMAT, "is not a .npy file");
    test_write(path, "\x93NUMP", 5);
    assert_refused(CM_EFORMAT, "is not a .npy file");
    test_write(path, "\x93NUMPY\1\0\x76", 9);
    assert_refused(CM_EFORMAT, "is cut short within its header");
    test_write(path, "\x93NUMPY\1\0\x76\0{'descr", 17);
    assert_refused(CM_EFORMAT, "is cut short within its header");
    test_write(path, "\x93NUMPY\4\0\1\0\0\0 ", 13);
    assert_refused(CM_EVERSION, "version 4.0");
    test_write(path, "\x93NUMPY\2\0\xff\xff\xff\xff ", 13);
    assert_refused(CM_ELIMIT, "header takes 4294967295 bytes");
}

Test(npy, refuses_what_is_no_regular_file, .timeout = 5)
{
    char saved[TEST_PATH_BYTES];
    memcpy(saved, path, sizeof saved);
    assert_refused(CM_ENOENT, "cannot be opened: No such file");
    memcpy(path, folder.path, sizeof path);
    assert_refused(CM_EFORMAT, "is not a regular file");
    memcpy(path, saved, sizeof path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    assert_refused(CM_EFORMAT, "is not a regular file"); /* and does not wait for a writer */
}

Test(npy, refuses_other_dtypes_and_says_what_to_do)
{
    static const struct {
        const char *descr, *part;
    } cases[] = {
        {"'>f4'", "is big-endian (dtype '>f4'); save it with np.save"},
        {"'>f2'", "is big-endian"},
        {"'<f8'", "holds float64 (dtype '<f8'); save it with np.save"},
        {"'|O'", "holds Python objects"},
        {"'<i4'", "neither float16 nor float32 (dtype '<i4')"},
        {"[('a', '<f4')]", "structured dtype"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[160];
        snprintf(text, sizeof text,
                 "{'descr': %s, 'fortran_order': False, 'shape': (1, 1, 1, 4), }\n",
                 cases[i].descr);
        assert_header_refused(text, CM_EFORMAT, cases[i].part);
    }
}

Test(npy, refuses_other_layouts)
{
    assert_header_refused("{'descr': '<f4', 'fortran_order': True, 'shape': (1, 1, 1, 4), }",
                          CM_EFORMAT, "Fortran order; save it with np.save(path, np.ascontig");
    assert_header_refused(F4("(1, 1, 4)"), CM_EFORMAT,
                          "has the shape (1, 1, 4); feature maps are [images, height");
    assert_header_refused(F4("()"), CM_EFORMAT, "has the shape ();");
    assert_header_refused(F4("(4,)"), CM_EFORMAT, "has the shape (4,);");
    assert_header_refused(F4("(0, 1, 1, 4)"), CM_EFORMAT, "holds no images");
    assert_header_refused(F4("(1, 0, 1, 4)"), CM_EFORMAT, "its height is 0");
    assert_header_refused(F4("(1, 1, 1, 0)"), CM_EFORMAT, "its number of channels is 0");
}

Test(npy, refuses_sizes_that_would_overflow)
{
    assert_header_refused(F4("(18446744073709551615, 1, 1, 4)"), CM_ELIMIT, "number of images");
    assert_header_refused(F4("(18446744073709551616, 1, 1, 4)"), CM_ELIMIT, "does not fit 64 bits");
    assert_header_refused(F4("(1, 4294967296, 4294967296, 4)"), CM_ELIMIT, "height");
    assert_header_refused(F4("(1, 512, 512, 4)"), CM_ELIMIT, "height x width is 262144");
    assert_header_refused(F4("(1, 1, 1, 524289)"), CM_ELIMIT, "number of channels");
    assert_header_refused(F4("(1, 64, 64, 1025)"), CM_ELIMIT, "bytes per image");
    assert_header_refused(F4("(1099511627776, 64, 64, 1024)"), CM_EFORMAT, "is cut short");
}

Test(npy, refuses_headers_that_numpy_does_not_write)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "expected a dictionary at byte 0"},
        {"{", "expected a quoted text"},
        {"{'descr': '<f4', 'shape': (1, 1, 1, 4)}", "lacks the key 'fortran_order'"},
        {"{'descr': '<f4', 'descr': '<f4'}", "twice the key 'descr'"},
        {"{'evil': 1}", "unknown key 'evil'"},
        {"{'descr' '<f4'}", "expected a colon"},
        {"{'descr': '<f4' 'shape': ()}", "expected a comma"},
        {"{'descr': '<f4", "expected the end of a quoted text"},
        {"{'descr': '<f\\x34'}", "expected a short, plain text"},
        {"{'descr': 'aaaaaaaaaaaaaaaa'}", "expected a short, plain text"},
        {"{'fortran_order': 0}", "expected True or False"},
        {"{'shape': [1]}", "expected a shape in parentheses"},
        {"{'shape': (4)}", "expected a comma in the shape"},
        {"{'shape': (1, -1)}", "expected a size of the shape"},
        {"{'shape': (1, 1", "expected a comma in the shape"},
        {F4("(1, 1, 1, 4)") "x", "expected nothing but padding"},
        {"{'shape': (1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1)}",
         "more than 32 sizes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_npy_header h;
        char *exact = strdup(cases[i].text); /* without a NUL that could hide an overread */
        enum cm_err rc = pr_npy_header_parse(&h, exact, strlen(exact), &e);
        cr_assert(rc == CM_EFORMAT || rc == CM_ELIMIT, "case %zu", i);
        cr_assert(strstr(e.text, cases[i].part) != NULL, "expected \"%s\" in: %s", cases[i].part,
                  e.text);
        free(exact);
    }
}

Test(npy, wants_the_file_to_the_byte)
{
    static const char data[17];
    write_npy(1, F4("(1, 1, 2, 2)"), data, 15);
    assert_refused(CM_EFORMAT, "is cut short: shape (1, 1, 2, 2) of float32 takes 92 bytes, the "
                               "file has 91");
    write_npy(1, F4("(1, 1, 2, 2)"), data, 17);
    assert_refused(CM_EFORMAT, "has surplus bytes at its end: shape (1, 1, 2, 2) of float32 takes "
                               "92 bytes, the file has 93");
}

/* Reading image 0..1 of `path` fails with `part` in the text, both ways. */
static void assert_not_finite(const char *part)
{
    struct pr_npy *n;
    float got[48];
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_read(n, 0, 2, got, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, part) != NULL, "%s", e.text);
    cr_assert(strncmp(e.text, path, strlen(path)) == 0, "%s", e.text);
    cr_assert_eq(pr_npy_read_raw(n, 0, 2, got, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, part) != NULL, "%s", e.text);
    cr_assert_eq(pr_npy_read_raw(n, 0, 1, got, &e), CM_OK, "image 0 is sound");
    cr_assert_eq(pr_npy_read(n, 1, 1, got, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, part) != NULL, "%s", e.text);
    pr_npy_close(n);
}

Test(npy, refuses_nan_and_infinity_and_says_where)
{
    uint32_t floats[48] = {0};
    uint16_t halves[48] = {0};
    floats[24 + (2 * 2 + 1) * 4 + 3] = 0x7fc00000; /* [2,1,3] of [3,2,4] */
    write_npy(1, F4("(2, 3, 2, 4)"), floats, sizeof floats);
    assert_not_finite("image 1 has a NaN at [2,1,3]");
    floats[24 + (2 * 2 + 1) * 4 + 3] = 0xff800000;
    write_npy(1, F4("(2, 3, 2, 4)"), floats, sizeof floats);
    assert_not_finite("image 1 has an infinity at [2,1,3]");
    halves[24 + 1] = 0x7c01;
    write_npy(1, F2("(2, 3, 2, 4)"), halves, sizeof halves);
    assert_not_finite("image 1 has a NaN at [0,0,1]");
    halves[24 + 1] = 0xfc00;
    write_npy(1, F2("(2, 3, 2, 4)"), halves, sizeof halves);
    assert_not_finite("image 1 has an infinity at [0,0,1]");
}

Test(npy, finds_a_nan_beyond_the_first_piece)
{
    enum { CHANNELS = 40000 };
    char *file = calloc(128 + 2 * CHANNELS, 1);
    float *got = malloc(CHANNELS * sizeof *got);
    struct pr_npy *n;
    memcpy(file, "\x93NUMPY\1\0\x76\0", 10);
    memset(file + 10, ' ', 118);
    memcpy(file + 10, F2("(1, 1, 1, 40000)"), strlen(F2("(1, 1, 1, 40000)")));
    file[128 + 2 * 39998 + 1] = 0x7c;
    test_write(path, file, 128 + 2 * CHANNELS);
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_read(n, 0, 1, got, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "image 0 has an infinity at [0,0,39998]") != NULL, "%s", e.text);
    pr_npy_close(n);
    free(got);
    free(file);
}

Test(npy, survives_a_file_that_shrinks)
{
    static const float data[4] = {1, 2, 3, 4};
    float got[4];
    struct pr_npy *n;
    write_npy(1, F4("(1, 1, 2, 2)"), data, sizeof data);
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(truncate(path, 90), 0);
    cr_assert_eq(pr_npy_read(n, 0, 1, got, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "became shorter while it was read: ends at byte 90") != NULL, "%s",
              e.text);
    pr_npy_close(n);
}

/* Reads image after image and counts those that are not what was written. */
static void *read_over_and_over(void *user)
{
    const struct pr_npy *n = user;
    intptr_t wrong = 0;
    for (int i = 0; i < 400; i++) {
        float got[2];
        struct cm_error mine;
        uint64_t image = (uint64_t)i % n->images;
        wrong += pr_npy_read(n, image, 1, got, &mine) != CM_OK || got[0] != (float)(2 * image) ||
                 got[1] != (float)(2 * image + 1);
    }
    return (void *)wrong;
}

Test(npy, is_read_by_several_threads_at_once)
{
    float data[40];
    struct pr_npy *n;
    pthread_t threads[3];
    for (int i = 0; i < 40; i++)
        data[i] = (float)i;
    write_npy(1, F4("(20, 1, 1, 2)"), data, sizeof data);
    cr_assert_eq(pr_npy_open(&n, path, &e), CM_OK, "%s", e.text);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, read_over_and_over, n), 0);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        cr_assert_null(wrong);
    }
    pr_npy_close(n);
}

/* --- streams ------------------------------------------------------------------------------------
 */

/* Makes standard input a pipe that holds what stands in `path`, and has no writer any more. */
static void pipe_file(void)
{
    int fds[2];
    size_t size;
    char *data = test_read(path, &size);
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], data, size), (ssize_t)size);
    cr_assert_eq(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
    close(fds[0]);
    close(fds[1]);
    free(data);
}

Test(npy, reads_a_stream_in_order)
{
    static const uint16_t data[6] = {0x3c00, 0x0001, 0xfbff, 0x8000, 0x4000, 0xc000};
    static const float expected[6] = {1.0f, 0x1p-24f, -65504.0f, -0.0f, 2.0f, -2.0f};
    for (int major = 1; major <= 3; major++) {
        struct pr_npy *n;
        uint16_t stored[4];
        float got[2];
        write_npy(major, F2("(3, 1, 1, 2)"), data, sizeof data);
        pipe_file();
        cr_assert_eq(pr_npy_open_any(&n, "-", &e), CM_OK, "%s", e.text);
        cr_assert(n->input.stream && n->images == 3 && n->image_bytes == 4);
        cr_assert_eq(pr_npy_next(n, 1, stored, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_npy_widen(n, 0, stored, got, &e), CM_OK, "%s", e.text);
        cr_assert(memcmp(got, expected, sizeof got) == 0);
        cr_assert_eq(pr_npy_next(n, 2, stored, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_npy_widen(n, 2, stored + 2, got, &e), CM_OK, "%s", e.text);
        cr_assert(memcmp(got, expected + 4, sizeof got) == 0);
        pr_npy_close(n);
    }
}

Test(npy, opens_a_file_as_a_file)
{
    static const float data[2] = {5, 6};
    struct pr_npy *n;
    float got[2];
    write_npy(1, F4("(1, 1, 1, 2)"), data, sizeof data);
    cr_assert_eq(pr_npy_open_any(&n, path, &e), CM_OK, "%s", e.text);
    cr_assert(!n->input.stream);
    cr_assert_eq(pr_npy_read(n, 0, 1, got, &e), CM_OK, "%s", e.text);
    cr_assert(got[0] == 5 && got[1] == 6);
    pr_npy_close(n);
    write_npy(1, F4("(1, 1, 1, 2)"), data, sizeof data - 1);
    cr_assert_eq(pr_npy_open_any(&n, path, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "the file has") != NULL, "%s", e.text);
}

/* Taking both images of a stream of what stands in `path` fails at the last, with `text`. */
static void assert_stream_refused(const char *text)
{
    struct pr_npy *n;
    float stored[4];
    pipe_file();
    cr_assert_eq(pr_npy_open_any(&n, "-", &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_next(n, 1, stored, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_next(n, 1, stored, &e), CM_EFORMAT, "%s", e.text);
    cr_assert_str_eq(e.text, text);
    pr_npy_close(n);
}

Test(npy, wants_a_stream_to_the_byte)
{
    static const char data[33];
    write_npy(1, F4("(2, 1, 1, 4)"), data, 31);
    assert_stream_refused("-: is cut short: shape (2, 1, 1, 4) of float32 takes 108 bytes, 107 "
                          "came; see why its writer stopped");
    write_npy(1, F4("(2, 1, 1, 4)"), data, 16);
    assert_stream_refused("-: is cut short: shape (2, 1, 1, 4) of float32 takes 108 bytes, 92 "
                          "came; see why its writer stopped");
    write_npy(1, F4("(2, 1, 1, 4)"), data, 33);
    assert_stream_refused("-: has surplus bytes at its end: shape (2, 1, 1, 4) of float32 takes "
                          "108 bytes, and more came");
}

Test(npy, widens_what_is_finite_only)
{
    const uint32_t data[4] = {0, 0, 0, 0x7fc00000};
    struct pr_npy *n;
    uint32_t stored[2];
    float got[2];
    write_npy(1, F4("(2, 1, 1, 2)"), data, sizeof data);
    pipe_file();
    cr_assert_eq(pr_npy_open_any(&n, "-", &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_next(n, 1, stored, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_widen(n, 0, stored, got, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_next(n, 1, stored, &e), CM_OK, "taking does not look: %s", e.text);
    cr_assert_eq(pr_npy_widen(n, 1, stored, got, &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "-: image 1 has a NaN at [0,0,1]; check how the features were made");
    pr_npy_close(n);
}

Test(npy, refuses_streams_that_are_none)
{
    struct pr_npy *n;
    write_npy(1, "", NULL, 0);
    cr_assert_eq(pr_npy_open_any(&n, folder.path, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "is not a regular file or a pipe") != NULL, "%s", e.text);
    cr_assert_eq(pr_npy_open_any(&n, "/dev/zero", &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "is not a regular file or a pipe") != NULL, "%s", e.text);
    test_write(path, "", 0);
    cr_assert_eq(pr_npy_open_any(&n, path, &e), CM_EFORMAT);
    cr_assert(strstr(e.text, "is empty") != NULL, "%s", e.text);
    pipe_file();
    cr_assert_eq(pr_npy_open_any(&n, "-", &e), CM_EFORMAT);
    cr_assert_str_eq(e.text, "-: is empty");
    close(STDIN_FILENO);
    cr_assert_eq(pr_npy_open_any(&n, "-", &e), CM_EIO);
    cr_assert_null(n);
}

/* Sends header and data in two parts, late. */
static void *write_late(void *user)
{
    static const float data[2] = {5, 6};
    const int *fd = user;
    char header[128];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\1\0\x76\0", 10);
    memcpy(header + 10, F4("(1, 1, 1, 2)"), strlen(F4("(1, 1, 1, 2)")));
    usleep(20000);
    intptr_t wrong = write(*fd, header, sizeof header) != (ssize_t)sizeof header;
    usleep(20000);
    wrong += write(*fd, data, sizeof data) != (ssize_t)sizeof data;
    close(*fd);
    return (void *)wrong;
}

Test(npy, waits_for_a_stream_that_does_not_block, .timeout = 10)
{
    int fds[2];
    pthread_t writer;
    struct pr_npy *n;
    float stored[2];
    void *wrong;
    cr_assert_eq(pipe2(fds, O_NONBLOCK), 0);
    cr_assert_eq(dup2(fds[0], STDIN_FILENO), STDIN_FILENO);
    cr_assert_eq(pthread_create(&writer, NULL, write_late, &fds[1]), 0);
    cr_assert_eq(pr_npy_open_any(&n, "-", &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_next(n, 1, stored, &e), CM_OK, "%s", e.text);
    cr_assert(stored[0] == 5 && stored[1] == 6);
    pthread_join(writer, &wrong);
    cr_assert_null(wrong);
    pr_npy_close(n);
    close(fds[0]);
}

/* --- the writer ---------------------------------------------------------------------------------
 */

Test(npy, writes_a_matrix_that_reads_back)
{
    static const float rows[6] = {1, -2, 3.5f, 4, 5, 6};
    struct pr_npy_writer *w;
    struct test_matrix m;
    cr_assert_eq(pr_npy_writer_open(&w, path, 2, 3, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_writer_add(w, rows, 1, &e), CM_OK);
    cr_assert_eq(access(path, F_OK), -1, "nothing has the name before the commit");
    cr_assert_eq(pr_npy_writer_add(w, rows + 3, 1, &e), CM_OK);
    cr_assert_eq(pr_npy_writer_commit(w, &e), CM_OK, "%s", e.text);
    pr_npy_writer_close(w);
    cr_assert_eq(test_folder_count(&folder), 1);
    cr_assert_eq(test_matrix_read(&m, path, &e), CM_OK, "%s", e.text);
    cr_assert(m.rows == 2 && m.columns == 3);
    for (size_t i = 0; i < 6; i++)
        cr_assert(m.values[i] == (double)rows[i]);
    test_matrix_free(&m);
}

Test(npy, writes_the_header_as_numpy_does)
{
    char header[PR_NPY_MATRIX_HEADER_BYTES], *data;
    size_t size;
    pr_npy_matrix_header(UINT64_MAX, UINT64_MAX, header); /* the longest still fits */
    cr_assert_eq(header[127], '\n');
    pr_npy_matrix_header(155, 626, header);
    static const char expected[] =
        "{'descr': '<f4', 'fortran_order': False, 'shape': (155, 626), }  ";
    cr_assert(memcmp(header, "\x93NUMPY\1\0\x76\0", 10) == 0);
    cr_assert(memcmp(header + 10, expected, sizeof expected - 1) == 0);
    struct pr_npy_writer *w;
    cr_assert_eq(pr_npy_writer_open(&w, path, 0, 626, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_writer_commit(w, &e), CM_OK, "%s", e.text);
    pr_npy_writer_close(w);
    data = test_read(path, &size);
    cr_assert_eq(size, 128, "no rows, no data");
    free(data);
}

Test(npy, leaves_the_old_file_if_not_committed)
{
    static const float row[2] = {1, 2};
    struct pr_npy_writer *w;
    size_t size;
    test_write(path, "old", 3);
    cr_assert_eq(pr_npy_writer_open(&w, path, 2, 2, &e), CM_OK, "%s", e.text);
    cr_assert_eq(pr_npy_writer_add(w, row, 1, &e), CM_OK);
    cr_assert_eq(test_folder_count(&folder), 2);
    pr_npy_writer_close(w);
    cr_assert_eq(test_folder_count(&folder), 1, "the temporary is gone");
    char *data = test_read(path, &size);
    cr_assert_str_eq(data, "old");
    free(data);
}

Test(npy, says_at_once_that_a_matrix_will_not_fit)
{
    struct pr_npy_writer *w;
    struct rlimit small = {4096, 4096};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cr_assert_eq(pr_npy_writer_open(&w, path, 100, 100, &e), CM_ENOSPC, "%s", e.text);
    cr_assert(strstr(e.text, "reserving 40128 bytes") != NULL, "%s", e.text);
    cr_assert_null(w);
    cr_assert_eq(test_folder_count(&folder), 0, "nothing is left");
}

Test(npy, refuses_targets_that_cannot_be)
{
    struct pr_npy_writer *w;
    char missing[TEST_PATH_BYTES];
    cr_assert_eq(pr_npy_writer_open(&w, folder.path, 1, 1, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "is a directory") != NULL, "%s", e.text);
    test_path(&folder, "no/S.npy", missing);
    cr_assert_eq(pr_npy_writer_open(&w, missing, 1, 1, &e), CM_EIO, "%s", e.text);
    cr_assert_eq(pr_npy_writer_open(&w, path, UINT64_MAX, UINT64_MAX, &e), CM_ELIMIT);
    cr_assert_eq(pr_npy_writer_open(&w, path, INT64_MAX / 4, 1, &e), CM_ELIMIT, "%s", e.text);
    cr_assert_eq(test_folder_count(&folder), 0);
}
