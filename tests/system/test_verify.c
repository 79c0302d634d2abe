/* `vitrine verify`: whatever is wrong with a gallery is found, and its file and block named. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DATA = 65, NOINPUT = 66 };

/* The path of a file of the gallery. */
static char *file_of(const struct test_inputs *t, const char *name, char out[TEST_PATH_BYTES])
{
    char inside[64];
    snprintf(inside, sizeof inside, "out/%s", name);
    return test_path(&t->folder, inside, out);
}

/* verify ends with `code`, and names file and what is wrong. */
static void assert_found(const struct test_inputs *t, int code, const char *file, const char *part)
{
    struct test_run r;
    TEST_RUN(&r, "vitrine", "verify", t->out);
    cr_assert_eq(r.code, code, "%s, '%s': exit %d: %s", file, part, r.code, r.err);
    const char *line = strstr(r.err, file);
    cr_assert(line && strstr(line, part), "'%s' with '%s' is not said: %s", file, part, r.err);
    test_run_fini(&r);
}

static void flip(const char *path, size_t offset, unsigned bit)
{
    size_t size;
    char *data = test_read(path, &size);
    cr_assert(offset < size);
    data[offset] = (char)(data[offset] ^ (1 << bit));
    test_patch(path, offset, data + offset, 1);
    free(data);
}

/* The shard of 7 images of the golden gallery, as FORMAT.md lays it out: one block of 7 x 4800
 * bytes in whole pages, 7 records, 7 names "image-0" with their NULs, padding, a table of one sum.
 */
enum {
    PAGE = 4096,
    BLOCK_AT = PAGE,
    MAPS_END = BLOCK_AT + TEST_IMAGES * TEST_MAP_FLOATS * 4,
    META_AT = BLOCK_AT + 9 * PAGE,
    NAMES_AT = META_AT + TEST_IMAGES * 32,
    META_END = META_AT + 320,
    TABLE_AT = META_END,
    FILE_END = TABLE_AT + 64,
};

Test(verify, finds_a_flipped_bit_in_each_region)
{
    static const struct {
        const char *file, *part;
        size_t begin, end;
    } regions[] = {
        {"shard-00000.vts", "", 0, 8},      /* magic */
        {"shard-00000.vts", "", 8, 16},     /* version */
        {"shard-00000.vts", "", 16, 176},   /* fields */
        {"shard-00000.vts", "", 176, PAGE}, /* reserved, checksum */
        {"shard-00000.vts", "block 0 (images 0 to 6)", BLOCK_AT, MAPS_END},
        {"shard-00000.vts", "block 0 (images 0 to 6)", MAPS_END, META_AT}, /* padding */
        {"shard-00000.vts", "metadata: checksum is ", META_AT, NAMES_AT},
        {"shard-00000.vts", "metadata: checksum is ", NAMES_AT, META_END},
        {"shard-00000.vts", "checksum table: checksum is ", TABLE_AT, FILE_END},
        {"weights.vtw", "", 0, PAGE},
        {"weights.vtw", "block 0: the weights do not match their checksum", PAGE, 0},
        {"manifest.json", "", 0, 0},
    };
    struct test_inputs t;
    char path[TEST_PATH_BYTES];
    unsigned seed = 1;
    test_inputs_init(&t);
    test_inputs_import(&t, NULL);
    assert_found(&t, 0, "", "");
    cr_assert_eq(test_size(file_of(&t, "shard-00000.vts", path)), (size_t)FILE_END);
    for (size_t i = 0; i < sizeof regions / sizeof *regions; i++) {
        file_of(&t, regions[i].file, path);
        size_t begin = regions[i].begin, end = regions[i].end ? regions[i].end : test_size(path);
        const size_t at[] = {begin, end - 1, begin + (end - begin) / 2, begin + (end - begin) / 3};
        for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
            unsigned bit = (seed = seed * 1103515245u + 12345u) >> 16 & 7;
            flip(path, at[k], bit);
            assert_found(&t, DATA, regions[i].file, regions[i].part);
            flip(path, at[k], bit);
        }
    }
    assert_found(&t, 0, "", "");
    test_inputs_fini(&t);
}

Test(verify, finds_files_cut_lengthened_and_missing)
{
    static const struct {
        const char *file;
        int missing; /* exit code when it is not there */
    } files[] = {{"shard-00000.vts", DATA},
                 {"shard-00001.vts", DATA},
                 {"weights.vtw", DATA},
                 {"manifest.json", NOINPUT}};
    struct test_inputs t;
    char path[TEST_PATH_BYTES], kept[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_inputs_import(&t, "2");
    test_path(&t.folder, "kept", kept);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_copy(file_of(&t, files[i].file, path), kept);
        size_t size = test_size(path);
        const size_t sizes[] = {0, 1, size / 2, size - 1, size + 1, size + PAGE};
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            test_resize(path, sizes[k]);
            assert_found(&t, DATA, files[i].file, "");
            test_copy(kept, path);
        }
        unlink(path);
        assert_found(&t, files[i].missing, files[i].file, "No such file or directory");
        test_copy(kept, path);
    }
    assert_found(&t, 0, "", "");
    test_inputs_fini(&t);
}

Test(verify, finds_what_belongs_to_another_gallery)
{
    static const char mismatch[] = "a sound shard, but not the one that the manifest lists";
    struct test_inputs t, other;
    char path[TEST_PATH_BYTES], foreign[TEST_PATH_BYTES], kept[TEST_PATH_BYTES];
    const uint32_t one = 0x3f800000u;
    test_inputs_init(&t);
    test_inputs_init(&other);
    test_patch(other.gallery, TEST_NPY_HEADER, &one, sizeof one); /* one number of one image */
    test_inputs_import(&t, "2");
    test_inputs_import(&other, "2");
    test_path(&t.folder, "kept", kept);

    file_of(&t, "shard-00000.vts", path);
    test_copy(path, kept);
    test_copy(file_of(&other, "shard-00000.vts", foreign), path);
    assert_found(&t, DATA, "shard-00000.vts", mismatch);
    test_copy(file_of(&t, "shard-00001.vts", foreign), path); /* its own other shard */
    assert_found(&t, DATA, "shard-00000.vts", mismatch);
    test_copy(kept, path);

    file_of(&t, "manifest.json", path);
    test_copy(path, kept);
    test_copy(file_of(&other, "manifest.json", foreign), path);
    assert_found(&t, DATA, "shard-00000.vts", mismatch);
    test_copy(kept, path);
    assert_found(&t, 0, "", "");

    test_inputs_fini(&t);
    test_inputs_fini(&other);
}

/* Each fault is told, not the first alone, and --json lists the same. */
Test(verify, tells_every_fault)
{
    struct test_inputs t;
    struct test_run r;
    char path[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_inputs_import(&t, "3");
    flip(file_of(&t, "shard-00000.vts", path), BLOCK_AT + 5, 3);
    unlink(file_of(&t, "shard-00001.vts", path));
    flip(file_of(&t, "weights.vtw", path), PAGE + 5, 3);
    TEST_RUN(&r, "vitrine", "verify", t.out, "--json");
    cr_assert_eq(r.code, DATA, "%s", r.err);
    json_t *root = json_loads(r.out, 0, NULL);
    cr_assert(root != NULL, "%s", r.out);
    const json_t *faults = json_object_get(root, "faults");
    cr_assert(json_is_false(json_object_get(root, "sound")));
    cr_assert_eq(json_integer_value(json_object_get(root, "files")), 5);
    cr_assert_eq(json_array_size(faults), 3, "%s", r.out);
    static const char *const files[] = {"weights.vtw", "shard-00000.vts: block 0",
                                        "shard-00001.vts"};
    for (size_t i = 0; i < 3; i++) {
        const char *fault = json_string_value(json_array_get(faults, i));
        cr_assert(strstr(fault, files[i]) != NULL, "%s", fault);
        cr_assert(strstr(r.err, fault) != NULL, "stderr lacks: %s", fault);
    }
    json_decref(root);
    test_run_fini(&r);
    test_inputs_fini(&t);
}
