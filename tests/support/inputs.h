/* inputs.h: small input files for the commands, good ones and damaged ones. Failures stop the test.
 *
 * The images are those of the golden case tm_5x3_d20: a TransMatcher of 5 x 3 tokens and 80
 * channels, 7 gallery images and 4 queries, float32. */
#ifndef TEST_INPUTS_H
#define TEST_INPUTS_H

#include "tests/support/files.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    TEST_IMAGES = 7,        /* in the golden gallery */
    TEST_QUERIES = 4,       /* in the golden queries */
    TEST_MAP_FLOATS = 1200, /* 5 x 3 x 80 */
    TEST_NPY_HEADER = 128,  /* bytes before the numbers, as NumPy and test_npy write it */
};

/* One set of inputs in a folder of its own, all good. */
struct test_inputs {
    struct test_folder folder;
    char model[TEST_PATH_BYTES], gallery[TEST_PATH_BYTES], query[TEST_PATH_BYTES];
    char meta[TEST_PATH_BYTES], query_meta[TEST_PATH_BYTES]; /* labels */
    char out[TEST_PATH_BYTES], partial[TEST_PATH_BYTES];     /* "out", "out.partial": not there */
};

/* Copies the golden files and makes labels "image-0" ... and "query-0" ... for them. */
void test_inputs_init(struct test_inputs *t);
void test_inputs_fini(struct test_inputs *t);

/* Imports them into t->out with the real program. `shards` may be NULL: its choice. */
void test_inputs_import(const struct test_inputs *t, const char *shards);

/* Writes a .npy file with this dtype, order and shape ("7, 5, 3, 80") and `bytes` of data. */
void test_npy(const char *path, const char *descr, bool fortran, const char *shape,
              const void *data, size_t bytes);

/* Writes `images` float32 maps: the golden gallery's, over and over. */
void test_write_maps(const char *path, size_t images);

/* Writes labels for `images` images: "<prefix>-0" ..., pid = i / 2, camid = i % 2. */
void test_labels(const char *path, const char *prefix, size_t images);

/* A copy of a file. */
void test_copy(const char *from, const char *to);

/* Overwrites bytes within a file. */
void test_patch(const char *path, size_t offset, const void *data, size_t size);

/* Overwrites the first place where `from` stands in a file; both have the same length. */
void test_replace(const char *path, const char *from, const char *to);

/* Cuts a file, or lengthens it by a hole. */
void test_resize(const char *path, size_t size);

/* How many bytes it has. */
size_t test_size(const char *path);

/* Does anything have this name, a dangling link included? */
bool test_exists(const char *path);

#endif
