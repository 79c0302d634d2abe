/* files.c: see files.h. */
#include "tests/support/files.h"

#include "common/io/file.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void test_folder_init(struct test_folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/vitrine-test-XXXXXX");
    cr_assert(mkdtemp(f->path) != NULL, "no temporary folder");
}

void test_folder_fini(struct test_folder *f)
{
    struct cm_error e;
    cr_assert_eq(io_remove_tree(f->path, &e), CM_OK, "%s", e.text);
}

size_t test_folder_count(const struct test_folder *f)
{
    DIR *d = opendir(f->path);
    cr_assert(d != NULL, "%s cannot be listed", f->path);
    size_t count = 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        count++;
    }
    closedir(d);
    return count;
}

char *test_path(const struct test_folder *f, const char *name, char out[TEST_PATH_BYTES])
{
    int n = snprintf(out, TEST_PATH_BYTES, "%s/%s", f->path, name);
    cr_assert(n > 0 && n < TEST_PATH_BYTES, "path too long");
    return out;
}

void test_write(const char *path, const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL, "%s cannot be made", path);
    cr_assert_eq(fwrite(data, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

char *test_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    cr_assert(file != NULL, "%s cannot be opened", path);
    cr_assert_eq(fseek(file, 0, SEEK_END), 0);
    long end = ftell(file);
    rewind(file);
    char *data = calloc((size_t)end + 1, 1);
    cr_assert(data != NULL);
    *size = fread(data, 1, (size_t)end, file);
    cr_assert_eq(*size, (size_t)end);
    fclose(file);
    return data;
}
