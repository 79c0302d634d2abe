/* A flipped bit anywhere in a gallery is found: hundreds of places, all regions. */
#include "tests/unit/store/gallery.h"
#include "worker/store/verify.h"

#include <stdlib.h>
#include <string.h>

/* The last fault told. */
struct told {
    size_t count;
    char text[CM_ERROR_TEXT_BYTES];
};

static void on_fault(void *ctx, const char *text)
{
    struct told *t = ctx;
    t->count++;
    snprintf(t->text, sizeof t->text, "%s", text);
}

/* Verifies, and takes a manifest that cannot be read for a fault too. */
static void verify(const struct test_inputs *t, struct told *told)
{
    struct st_verify_options o = {.fault = on_fault, .ctx = told};
    struct st_verified out;
    struct cm_error e;
    *told = (struct told){0};
    if (st_verify(t->out, &o, &out, &e) != CM_OK)
        on_fault(told, e.text);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

/* Flips a bit at `places` places of the file in turn; every one is found and named. */
static void flip_everywhere(const struct test_inputs *t, const char *file, size_t places,
                            uint32_t seed)
{
    char path[TEST_PATH_BYTES];
    size_t size;
    struct told told;
    char *data = test_read(store_file(t, file, path), &size);
    for (size_t i = 0; i < places; i++) {
        size_t at = next_random(&seed) % size;
        char flipped = (char)(data[at] ^ (1 << (next_random(&seed) & 7)));
        test_patch(path, at, &flipped, 1);
        verify(t, &told);
        cr_assert(told.count >= 1, "%s: byte %zu: not found", file, at);
        cr_assert(strstr(told.text, file), "%s: byte %zu: %s", file, at, told.text);
        test_patch(path, at, data + at, 1);
    }
    free(data);
}

Test(store_verify, a_flipped_bit_anywhere)
{
    struct test_inputs t;
    struct told told;
    store_gallery(&t, 7, 2);
    verify(&t, &told);
    cr_assert_eq(told.count, 0, "%s", told.text);
    flip_everywhere(&t, "manifest.json", 150, 1);
    flip_everywhere(&t, "weights.vtw", 100, 2);
    flip_everywhere(&t, "shard-00000.vts", 150, 3);
    flip_everywhere(&t, "shard-00001.vts", 100, 4);
    verify(&t, &told);
    cr_assert_eq(told.count, 0, "%s", told.text);
    test_inputs_fini(&t);
}

/* Every single byte of the manifest, each with one of its bits. */
Test(store_verify, every_byte_of_the_manifest)
{
    struct test_inputs t;
    struct told told;
    char path[TEST_PATH_BYTES];
    size_t size;
    store_gallery(&t, 3, 1);
    char *data = test_read(store_file(&t, "manifest.json", path), &size);
    for (size_t at = 0; at < size; at++) {
        char flipped = (char)(data[at] ^ (1 << (at % 8)));
        test_patch(path, at, &flipped, 1);
        verify(&t, &told);
        cr_assert(told.count == 1 && strstr(told.text, "manifest.json"), "byte %zu: %s", at,
                  told.text);
        test_patch(path, at, data + at, 1);
    }
    free(data);
    test_inputs_fini(&t);
}

Test(store_verify, counts_what_it_saw)
{
    struct test_inputs t;
    struct told told = {0};
    struct st_verify_options o = {.fault = on_fault, .ctx = &told};
    struct st_verified out;
    struct cm_error e;
    store_gallery(&t, 600, 2); /* 300 images each: blocks of 256 and 44 */
    cr_assert_eq(st_verify(t.out, &o, &out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(out.files, 4);
    cr_assert_eq(out.blocks, 5, "four of the shards and the weights: %llu",
                 (unsigned long long)out.blocks);
    cr_assert_eq(out.faults, 0);
    test_inputs_fini(&t);
}
