/* inputs.c: see inputs.h. */
#include "tests/support/inputs.h"

#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void test_copy(const char *from, const char *to)
{
    size_t size;
    char *data = test_read(from, &size);
    test_write(to, data, size);
    free(data);
}

void test_patch(const char *path, size_t offset, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0, "%s cannot be opened", path);
    cr_assert_eq(pwrite(fd, data, size, (off_t)offset), (ssize_t)size);
    close(fd);
}

void test_replace(const char *path, const char *from, const char *to)
{
    size_t size;
    char *data = test_read(path, &size);
    cr_assert_eq(strlen(from), strlen(to));
    const char *at = memmem(data, size, from, strlen(from));
    cr_assert(at != NULL, "%s does not hold '%s'", path, from);
    test_patch(path, (size_t)(at - data), to, strlen(to));
    free(data);
}

void test_resize(const char *path, size_t size)
{
    cr_assert_eq(truncate(path, (off_t)size), 0, "%s cannot be resized", path);
}

size_t test_size(const char *path)
{
    struct stat s;
    cr_assert_eq(stat(path, &s), 0, "%s is not there", path);
    return (size_t)s.st_size;
}

bool test_exists(const char *path)
{
    struct stat s;
    return lstat(path, &s) == 0;
}

/* What stands before the numbers, padded as NumPy pads it. */
static void npy_header(const char *descr, bool fortran, const char *shape,
                       char header[TEST_NPY_HEADER])
{
    static const char begin[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, TEST_NPY_HEADER - 10, 0};
    char text[TEST_NPY_HEADER];
    int n = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': %s, 'shape': (%s), }",
                     descr, fortran ? "True" : "False", shape);
    cr_assert(n > 0 && (size_t)n < TEST_NPY_HEADER - sizeof begin);
    memset(header, ' ', TEST_NPY_HEADER);
    memcpy(header, begin, sizeof begin);
    memcpy(header + sizeof begin, text, (size_t)n);
    header[TEST_NPY_HEADER - 1] = '\n';
}

void test_npy(const char *path, const char *descr, bool fortran, const char *shape,
              const void *data, size_t bytes)
{
    char header[TEST_NPY_HEADER];
    npy_header(descr, fortran, shape, header);
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL, "%s cannot be made", path);
    cr_assert_eq(fwrite(header, 1, sizeof header, file), sizeof header);
    cr_assert_eq(fwrite(data, 1, bytes, file), bytes);
    cr_assert_eq(fclose(file), 0);
}

static char *golden(const char *name, char out[TEST_PATH_BYTES])
{
    char relative[128];
    snprintf(relative, sizeof relative, "tests/golden/data/tm_5x3_d20/%s", name);
    return test_source(relative, out, TEST_PATH_BYTES);
}

/* Image by image: the memory of a test counts as its children's until they exec. */
void test_write_maps(const char *path, size_t images)
{
    const size_t map_bytes = TEST_MAP_FLOATS * sizeof(float);
    char from[TEST_PATH_BYTES], shape[64], header[TEST_NPY_HEADER];
    size_t size;
    char *golden_maps = test_read(golden("gallery.npy", from), &size);
    cr_assert_eq(size, TEST_NPY_HEADER + TEST_IMAGES * map_bytes);
    snprintf(shape, sizeof shape, "%zu, 5, 3, 80", images);
    npy_header("<f4", false, shape, header);
    FILE *file = fopen(path, "wb");
    cr_assert(file != NULL, "%s cannot be made", path);
    cr_assert_eq(fwrite(header, 1, sizeof header, file), sizeof header);
    for (size_t i = 0; i < images; i++) {
        const char *map = golden_maps + TEST_NPY_HEADER + i % TEST_IMAGES * map_bytes;
        cr_assert_eq(fwrite(map, 1, map_bytes, file), map_bytes);
    }
    cr_assert_eq(fclose(file), 0);
    free(golden_maps);
}

void test_labels(const char *path, const char *prefix, size_t images)
{
    FILE *file = fopen(path, "w");
    cr_assert(file != NULL, "%s cannot be made", path);
    fprintf(file, "name,pid,camid,timestamp\n");
    for (size_t i = 0; i < images; i++)
        fprintf(file, "%s-%zu,%zu,%zu,%zu\n", prefix, i, i / 2, i % 2, i);
    cr_assert_eq(fclose(file), 0);
}

void test_inputs_init(struct test_inputs *t)
{
    char from[TEST_PATH_BYTES];
    test_folder_init(&t->folder);
    test_copy(golden("model.safetensors", from), test_path(&t->folder, "m.safetensors", t->model));
    test_copy(golden("gallery.npy", from), test_path(&t->folder, "g.npy", t->gallery));
    test_copy(golden("query.npy", from), test_path(&t->folder, "q.npy", t->query));
    test_labels(test_path(&t->folder, "g.csv", t->meta), "image", TEST_IMAGES);
    test_labels(test_path(&t->folder, "q.csv", t->query_meta), "query", TEST_QUERIES);
    test_path(&t->folder, "out", t->out);
    test_path(&t->folder, "out.partial", t->partial);
}

void test_inputs_fini(struct test_inputs *t)
{
    test_folder_fini(&t->folder);
}

void test_inputs_import(const struct test_inputs *t, const char *shards)
{
    struct test_run r;
    int code = TEST_RUN(&r, "vitrine", "import", "--model", t->model, "--features", t->gallery,
                        "--meta", t->meta, "--out", t->out, shards ? "--shards" : NULL, shards);
    cr_assert_eq(code, 0, "%s", r.err);
    test_run_fini(&r);
}
