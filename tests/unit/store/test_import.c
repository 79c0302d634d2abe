/* Planning, sources and the folder of an import. */
#include "tests/unit/store/gallery.h"
#include "worker/store/partial.h"
#include "worker/store/sources.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GIGABYTE UINT64_C(1000000000)

Test(store_import, plans_shards)
{
    static const struct {
        uint64_t images, bytes;
        uint32_t shards;
    } cases[] = {
        {1, 1000, 1},
        {31, 1000, 1},
        {32, 1000, 1},
        {64, 1000, 2},
        {511, 1000, 15},
        {512, 1000, 16},
        {626, 1000, 16},
        {1000000, 1000, 16},
        {626, GIGABYTE, 16},
        {10000, 4 * GIGABYTE, 16},
        {10000, 4 * GIGABYTE + 1, 17},
        {1000000, 590 * GIGABYTE, 2360},
        {2, GIGABYTE, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t shards = st_plan_shards(cases[i].images, cases[i].bytes);
        cr_assert_eq(shards, cases[i].shards, "case %zu: %u", i, shards);
    }
}

static const struct cm_geometry golden = {CM_TRANSMATCHER, 5, 3, 20, 4, 33};

Test(store_sources, read_across_files)
{
    struct test_inputs t;
    struct st_sources s;
    struct cm_error e;
    char place[CM_ERROR_TEXT_BYTES];
    static float a[TEST_MAP_FLOATS], b[TEST_MAP_FLOATS];
    test_inputs_init(&t);
    const char *features[] = {t.gallery, t.query, t.gallery};
    const char *meta[] = {t.meta, t.query_meta, t.meta};
    cr_assert_eq(st_sources_open(&s, &golden, features, meta, 3, PR_NAMES_CSV, &e), CM_OK, "%s",
                 e.text);
    cr_assert_eq(s.images, 18);
    cr_assert_eq(s.bytes, 18 * sizeof a);
    cr_assert_eq(s.names_bytes, 18 * sizeof "image-0");
    cr_assert_eq(s.taken_bytes, 0, "files take no room");
    cr_assert_eq(st_sources_read(&s, 2, NULL, a, &e), CM_OK, "%s", e.text);
    cr_assert_eq(st_sources_read(&s, 13, NULL, b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(memcmp(a, b, sizeof a), 0, "image 13 is row 2 of the third file");
    cr_assert_eq(st_sources_read(&s, 7, NULL, b, &e), CM_OK, "%s", e.text);
    cr_assert(memcmp(a, b, sizeof a) != 0);
    cr_assert(strstr(st_sources_place(&s, 8, place, sizeof place), "q.npy: image 1"), "%s", place);
    static const char *const expected[] = {"image-0", "image-6", "query-0", "query-3", "image-0"};
    static const int at[] = {0, 6, 7, 10, 11};
    for (int i = 0, k = 0; i < 18; i++) {
        struct cm_image_meta m;
        cr_assert_eq(st_sources_next_meta(&s, &m, &e), CM_OK, "%s", e.text);
        if (k < 5 && i == at[k])
            cr_assert_str_eq(m.name, expected[k++]);
    }
    st_sources_close(&s);
    test_inputs_fini(&t);
}

/* The path of a pipe that holds a file's bytes and has no writer any more. */
static char *pipe_of(const char *file, char out[TEST_PATH_BYTES])
{
    int fds[2];
    size_t size;
    char *data = test_read(file, &size);
    cr_assert_eq(pipe(fds), 0);
    cr_assert_eq(write(fds[1], data, size), (ssize_t)size);
    close(fds[1]);
    free(data);
    snprintf(out, TEST_PATH_BYTES, "/dev/fd/%d", fds[0]);
    return out;
}

Test(store_sources, streams_and_a_file)
{
    struct test_inputs t;
    struct st_sources files, s;
    struct cm_error e;
    char first[TEST_PATH_BYTES], last[TEST_PATH_BYTES];
    static float map[TEST_MAP_FLOATS], expected[TEST_MAP_FLOATS], taken[TEST_MAP_FLOATS];
    test_inputs_init(&t);
    const char *paths[] = {t.gallery, t.query, t.query};
    const char *piped[] = {pipe_of(t.gallery, first), t.query, pipe_of(t.query, last)};
    const char *meta[] = {t.meta, t.query_meta, t.query_meta};
    cr_assert_eq(st_sources_open(&files, &golden, paths, meta, 3, PR_NAMES_CSV, &e), CM_OK, "%s",
                 e.text);
    cr_assert_eq(st_sources_open(&s, &golden, piped, meta, 3, PR_NAMES_CSV, &e), CM_OK, "%s",
                 e.text);
    cr_assert_eq(s.images, files.images);
    cr_assert_eq(s.taken_bytes, sizeof taken);
    for (uint64_t i = 0; i < s.images; i++) {
        cr_assert_eq(st_sources_take(&s, i, taken, &e), CM_OK, "%s", e.text);
        cr_assert_eq(st_sources_read(&s, i, taken, map, &e), CM_OK, "%s", e.text);
        cr_assert_eq(st_sources_read(&files, i, NULL, expected, &e), CM_OK, "%s", e.text);
        cr_assert_eq(memcmp(map, expected, sizeof map), 0, "image %d", (int)i);
    }
    st_sources_close(&s);
    st_sources_close(&files);
    test_inputs_fini(&t);
}

Test(store_sources, labels_that_change_while_they_are_read)
{
    struct test_inputs t;
    struct st_sources s;
    struct cm_error e;
    struct cm_image_meta m;
    enum cm_err rc = CM_OK;
    test_inputs_init(&t);
    const char *features[] = {t.gallery}, *meta[] = {t.meta};
    cr_assert_eq(st_sources_open(&s, &golden, features, meta, 1, PR_NAMES_CSV, &e), CM_OK, "%s",
                 e.text);
    test_labels(t.meta, "image", 5);
    for (int i = 0; i < 7 && !rc; i++)
        rc = st_sources_next_meta(&s, &m, &e);
    cr_assert_eq(rc, CM_EMISMATCH);
    cr_assert(strstr(e.text, "became shorter while they were read"), "%s", e.text);
    st_sources_close(&s);
    test_inputs_fini(&t);
}

static void count_images(void *ctx, uint64_t done, uint64_t images, uint64_t bytes)
{
    uint64_t *last = ctx;
    cr_assert(done > *last && done <= images && images == 600, "it goes up");
    cr_assert_eq(bytes, done * TEST_MAP_FLOATS * sizeof(float));
    *last = done;
}

Test(store_import, reports_progress)
{
    struct test_inputs t;
    struct pr_manifest made;
    struct cm_error e;
    const char *features, *meta;
    uint64_t last = 0;
    test_inputs_init(&t);
    test_write_maps(t.gallery, 600);
    test_labels(t.meta, "image", 600);
    struct st_import_options o = store_options(&t, &features, &meta);
    o.progress = count_images;
    o.progress_ctx = &last;
    cr_assert_eq(st_import(&o, &made, &e), CM_OK, "%s", e.text);
    cr_assert_eq(last, 600);
    cr_assert_eq(made.shards_count, 16);
    pr_manifest_fini(&made);
    test_inputs_fini(&t);
}

/* --- the unfinished folder ---------------------------------------------------------------------
 */

Test(store_partial, one_owner_at_a_time)
{
    struct test_inputs t;
    struct st_partial a, b;
    struct cm_error e;
    test_inputs_init(&t);
    cr_assert_eq(st_partial_claim(&a, t.out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(st_partial_claim(&b, t.out, &e), CM_EBUSY, "%s", e.text);
    st_partial_drop(&b);
    cr_assert(test_exists(t.partial), "the loser removed the winner's folder");
    st_partial_drop(&a);
    cr_assert(!test_exists(t.partial) && !test_exists(t.out));
    cr_assert_eq(st_partial_claim(&a, t.out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(st_partial_publish(&a, &e), CM_OK, "%s", e.text);
    st_partial_drop(&a);
    cr_assert(test_exists(t.out) && !test_exists(t.partial), "what is published stays");
    cr_assert_eq(st_partial_claim(&a, t.out, &e), CM_EEXIST, "%s", e.text);
    st_partial_drop(&a);
    cr_assert(!test_exists(t.partial));
    test_inputs_fini(&t);
}

/* A folder that was exchanged under its owner's hands is not its owner's any more. */
Test(store_partial, does_not_touch_another_ones_folder)
{
    struct test_inputs t;
    struct st_partial a;
    struct cm_error e;
    char moved[TEST_PATH_BYTES];
    test_inputs_init(&t);
    cr_assert_eq(st_partial_claim(&a, t.out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(rename(t.partial, test_path(&t.folder, "moved", moved)), 0);
    cr_assert_eq(mkdir(t.partial, 0755), 0);
    st_partial_drop(&a);
    cr_assert(test_exists(t.partial), "another import's folder was removed");
    test_inputs_fini(&t);
}

Test(store_partial, names_taken_meanwhile)
{
    struct test_inputs t;
    struct st_partial a;
    struct cm_error e;
    test_inputs_init(&t);
    cr_assert_eq(st_partial_claim(&a, t.out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(mkdir(t.out, 0755), 0);
    cr_assert_eq(st_partial_publish(&a, &e), CM_EEXIST);
    cr_assert(strstr(e.text, "is in the way: it was made while this import ran"), "%s", e.text);
    st_partial_drop(&a);
    cr_assert(!test_exists(t.partial));
    cr_assert_eq(rmdir(t.out), 0);
    test_inputs_fini(&t);
}
