/* gallery.h: a small gallery on disk for the tests of worker/store, made by st_import itself. */
#ifndef TEST_STORE_GALLERY_H
#define TEST_STORE_GALLERY_H

#include "tests/support/inputs.h"
#include "worker/store/import.h"

#include <criterion/criterion.h>
#include <stdio.h>

/* The options of an import of the golden inputs into t->out. The arrays are the caller's. */
static inline struct st_import_options store_options(const struct test_inputs *t,
                                                     const char **features, const char **meta)
{
    *features = t->gallery;
    *meta = t->meta;
    return (struct st_import_options){
        .model = t->model,
        .features = features,
        .meta = meta,
        .files = 1,
        .out = t->out,
        .threads = 2,
        .precision = CM_F32,
    };
}

/* Makes t->out of `images` images in `shards` shards. */
static inline void store_gallery(struct test_inputs *t, size_t images, uint64_t shards)
{
    const char *features, *meta;
    struct pr_manifest made;
    struct cm_error e;
    test_inputs_init(t);
    test_write_maps(t->gallery, images);
    test_labels(t->meta, "image", images);
    struct st_import_options o = store_options(t, &features, &meta);
    o.shards = shards;
    cr_assert_eq(st_import(&o, &made, &e), CM_OK, "%s", e.text);
    cr_assert_eq(made.images, images);
    cr_assert_eq(made.shards_count, shards);
    pr_manifest_fini(&made);
}

/* The path of a file of the gallery. */
static inline char *store_file(const struct test_inputs *t, const char *name,
                               char out[TEST_PATH_BYTES])
{
    char inside[64];
    snprintf(inside, sizeof inside, "out/%s", name);
    return test_path(&t->folder, inside, out);
}

#endif
