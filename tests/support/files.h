/* files.h: a temporary folder for a test, and files in it. Failures stop the test. */
#ifndef TEST_FILES_H
#define TEST_FILES_H

#include <stddef.h>

enum { TEST_PATH_BYTES = 256 };

/* A new folder for this test. Its path is `path`. */
struct test_folder {
    char path[TEST_PATH_BYTES];
};

/* Makes the folder. */
void test_folder_init(struct test_folder *f);
/* Removes it and all that is in it. */
void test_folder_fini(struct test_folder *f);
/* How many entries it has. */
size_t test_folder_count(const struct test_folder *f);

/* The path of `name` in the folder, in `out`. Returns `out`. */
char *test_path(const struct test_folder *f, const char *name, char out[TEST_PATH_BYTES]);

/* Writes a file of just these bytes. */
void test_write(const char *path, const void *data, size_t size);

/* The whole file in memory, which the caller frees; its bytes in *size; a NUL follows them. */
char *test_read(const char *path, size_t *size);

#endif
