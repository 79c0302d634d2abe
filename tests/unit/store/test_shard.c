/* Shards as they are written, opened and served. */
#include "common/geometry.h"
#include "tests/unit/store/gallery.h"
#include "worker/store/shard.h"
#include "worker/store/writer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An open gallery and one of its shards. */
struct opened {
    struct st_gallery gallery;
    struct st_shard *shard;
};

static void open_shard(struct opened *o, const struct test_inputs *t, uint32_t index)
{
    struct cm_error e;
    cr_assert_eq(st_gallery_open(&o->gallery, t->out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(st_shard_open(&o->shard, &o->gallery, index, &e), CM_OK, "%s", e.text);
}

static void close_shard(struct opened *o)
{
    st_shard_close(o->shard);
    st_gallery_close(&o->gallery);
}

Test(store_shard, holds_what_was_imported)
{
    struct test_inputs t;
    struct opened o;
    struct cm_error e;
    struct st_block block;
    store_gallery(&t, 600, 2);
    open_shard(&o, &t, 1);
    const struct pr_shard_header *h = st_shard_header(o.shard);
    cr_assert_eq(h->first_image, 300);
    cr_assert_eq(h->images, 300);
    cr_assert_eq(h->blocks, 2);
    for (uint64_t i = 0; i < 300; i++) {
        char name[32];
        struct cm_image_meta m = st_shard_meta(o.shard, i);
        snprintf(name, sizeof name, "image-%d", (int)i + 300);
        cr_assert_str_eq(m.name, name);
        cr_assert(m.pid == (int64_t)(i + 300) / 2 && m.camid == (int32_t)(i % 2));
        cr_assert_eq(m.timestamp, (int64_t)i + 300);
    }
    cr_assert_eq(st_shard_block(o.shard, 1, &block, &e), CM_OK, "%s", e.text);
    cr_assert_eq(block.first_image, 556);
    cr_assert_eq(block.count, 44);
    cr_assert_eq((uintptr_t)block.images % 64, 0);
    cr_assert_eq(block.stride, TEST_MAP_FLOATS * sizeof(float));
    cr_assert(st_shard_block_held(o.shard, 1));
    close_shard(&o);
    test_inputs_fini(&t);
}

/* Images 0 and 7 of the repeated golden maps are the same, and lie in two blocks of two shards. */
Test(store_shard, the_same_image_gives_the_same_bytes)
{
    struct test_inputs t;
    struct opened a, b;
    struct cm_error e;
    struct st_block first, second;
    store_gallery(&t, 14, 2);
    open_shard(&a, &t, 0);
    open_shard(&b, &t, 1);
    cr_assert_eq(st_shard_block(a.shard, 0, &first, &e), CM_OK, "%s", e.text);
    cr_assert_eq(st_shard_block(b.shard, 0, &second, &e), CM_OK, "%s", e.text);
    cr_assert_eq(memcmp(first.images, second.images, 7 * first.stride), 0);
    struct cm_fingerprint x = st_shard_block_fingerprint(a.shard, 0),
                          y = st_shard_block_fingerprint(b.shard, 0);
    cr_assert(cm_fingerprint_equal(&x, &y));
    x = st_shard_meta_fingerprint(a.shard);
    y = st_shard_meta_fingerprint(b.shard);
    cr_assert(!cm_fingerprint_equal(&x, &y), "other names");
    close_shard(&a);
    close_shard(&b);
    test_inputs_fini(&t);
}

Test(store_shard, a_bad_block_stays_bad_and_its_neighbour_good)
{
    struct test_inputs t;
    struct opened o;
    struct cm_error e;
    struct st_block block;
    char path[TEST_PATH_BYTES], kept[TEST_PATH_BYTES];
    store_gallery(&t, 300, 1);
    store_file(&t, "shard-00000.vts", path);
    test_copy(path, test_path(&t.folder, "kept", kept));
    test_patch(path, PR_PAGE_BYTES + 100, "damaged", 7);
    open_shard(&o, &t, 0);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(st_shard_block(o.shard, 0, &block, &e), CM_ECORRUPT);
        cr_assert_str_eq(e.text, "shard-00000.vts: block 0 (images 0 to 255) does not match its "
                                 "checksum, or cannot be read");
        cr_assert_eq(st_shard_block(o.shard, 1, &block, &e), CM_OK, "%s", e.text);
        test_copy(kept, path); /* mended under our hands: too late */
    }
    close_shard(&o);
    test_inputs_fini(&t);
}

Test(store_shard, a_block_is_verified_once)
{
    struct test_inputs t;
    struct opened o;
    struct cm_error e;
    struct st_block block;
    char path[TEST_PATH_BYTES];
    store_gallery(&t, 7, 1);
    open_shard(&o, &t, 0);
    cr_assert_eq(st_shard_block(o.shard, 0, &block, &e), CM_OK, "%s", e.text);
    test_patch(store_file(&t, "shard-00000.vts", path), PR_PAGE_BYTES, "x", 1);
    cr_assert_eq(st_shard_block(o.shard, 0, &block, &e), CM_OK, "checksums are not free");
    close_shard(&o);
    test_inputs_fini(&t);
}

Test(store_shard, survives_a_file_that_is_cut_while_it_is_served)
{
    struct test_inputs t;
    struct opened o;
    struct cm_error e;
    struct st_block block;
    char path[TEST_PATH_BYTES];
    store_gallery(&t, 300, 1);
    open_shard(&o, &t, 0);
    cr_assert_eq(st_shard_block(o.shard, 0, &block, &e), CM_OK, "%s", e.text);
    test_resize(store_file(&t, "shard-00000.vts", path), PR_PAGE_BYTES);
    volatile const char *bytes = block.images;
    (void)bytes[block.stride];
    cr_assert(!st_shard_block_held(o.shard, 0), "the loss was not seen");
    cr_assert_eq(st_shard_block(o.shard, 0, &block, &e), CM_ECORRUPT);
    cr_assert_eq(st_shard_block(o.shard, 1, &block, &e), CM_ECORRUPT);
    cr_assert_str_eq(st_shard_meta(o.shard, 299).name, "image-299", "names outlive it");
    close_shard(&o);
    test_inputs_fini(&t);
}

/* Opening refuses what is no shard of this gallery; the codes tell the ways apart. */
Test(store_shard, open_refuses)
{
    struct test_inputs t;
    struct st_gallery gallery;
    struct st_shard *s;
    struct cm_error e;
    char path[TEST_PATH_BYTES], other[TEST_PATH_BYTES];
    struct pr_shard_header h;
    store_gallery(&t, 14, 2);
    cr_assert_eq(st_gallery_open(&gallery, t.out, &e), CM_OK, "%s", e.text);
    store_file(&t, "shard-00000.vts", path);
    size_t size;
    char *good = test_read(path, &size);
    memcpy(&h, good, sizeof h);

    h.format_version = 2;
    pr_shard_header_seal(&h);
    test_patch(path, 0, &h, sizeof h);
    cr_assert_eq(st_shard_open(&s, &gallery, 0, &e), CM_EVERSION, "%s", e.text);
    cr_assert(s == NULL && strstr(e.text, "shard-00000.vts"), "%s", e.text);
    test_patch(path, 0, "NOTASHRD", 8);
    cr_assert_eq(st_shard_open(&s, &gallery, 0, &e), CM_EFORMAT, "%s", e.text);
    test_copy(store_file(&t, "shard-00001.vts", other), path);
    cr_assert_eq(st_shard_open(&s, &gallery, 0, &e), CM_EMISMATCH, "%s", e.text);
    test_write(path, good, size - 64);
    cr_assert_eq(st_shard_open(&s, &gallery, 0, &e), CM_ECORRUPT, "%s", e.text);
    test_write(path, good, 100);
    cr_assert_eq(st_shard_open(&s, &gallery, 0, &e), CM_ECORRUPT, "%s", e.text);
    unlink(path);
    cr_assert_eq(st_shard_open(&s, &gallery, 0, &e), CM_ENOENT, "%s", e.text);
    free(good);
    st_gallery_close(&gallery);
    test_inputs_fini(&t);
}

/* What the writer says for the manifest is what stands in the file. */
Test(store_writer, round_trip)
{
    enum { IMAGES = 40, PER_BLOCK = 32 };
    struct test_folder f;
    struct st_writer *w;
    struct cm_error e;
    char path[TEST_PATH_BYTES];
    struct pr_manifest_shard listed;
    const struct cm_fingerprint model = {{1, 2, 3}};
    struct pr_shard_shape shape = {
        .geometry = {CM_TRANSMATCHER, 2, 1, 8, 1, 4},
        .precision = CM_F32,
        .shards = 1,
        .images_per_block = PER_BLOCK,
        .images = IMAGES,
    };
    test_folder_init(&f);
    cr_assert_eq(st_writer_open(&w, test_path(&f, "s.vts", path), &shape, &e), CM_OK, "%s", e.text);
    struct pr_shard_header planned = *st_writer_header(w);
    cr_assert(test_size(path) >= planned.meta_offset, "no room was reserved");
    char *block = calloc(1, planned.block_bytes);
    memset(block, 7, 100);
    cr_assert_eq(st_writer_block(w, 1, block, &e), CM_OK); /* in any order */
    cr_assert_eq(st_writer_block(w, 0, block, &e), CM_OK);
    for (int i = 0; i < IMAGES; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        struct cm_image_meta m = {.pid = i, .camid = -i, .timestamp = 3 * i, .name = name};
        cr_assert_eq(st_writer_meta(w, &m, &e), CM_OK);
    }
    cr_assert_eq(st_writer_commit(w, &model, &listed, &e), CM_OK, "%s", e.text);
    st_writer_close(w);

    struct pr_shard_header h;
    size_t size;
    char *file = test_read(path, &size);
    memcpy(&h, file, sizeof h);
    cr_assert_eq(pr_shard_header_check(&h, &e), CM_OK, "%s", e.text);
    cr_assert(listed.images == IMAGES && listed.bytes == size && h.file_bytes == size);
    cr_assert_eq(memcmp(listed.content.bytes, h.content_fingerprint, 16), 0);
    cr_assert_eq(memcmp(model.bytes, h.model_fingerprint, 16), 0);
    cr_assert_eq(file[h.blocks_offset + h.block_bytes + 99], 7);
    cr_assert_eq(st_writer_open(&w, path, &shape, &e), CM_EEXIST, "never over a file: %s", e.text);
    free(file);
    free(block);
    test_folder_fini(&f);
}
