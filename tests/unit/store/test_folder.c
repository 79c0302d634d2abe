/* test_folder.c: the folder that a worker serves from: whose it is, and what may be done in it. */
#include "proto/file/manifest.h"
#include "tests/unit/store/gallery.h"
#include "worker/store/folder.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct cm_error e;

static bool is_there(const struct test_folder *t, const char *name)
{
    char path[TEST_PATH_BYTES];
    return access(test_path(t, name, path), F_OK) == 0;
}

static void put(const struct test_folder *t, const char *name, const char *text)
{
    char path[TEST_PATH_BYTES];
    test_write(test_path(t, name, path), text, strlen(text));
}

static void expect_text(const struct test_folder *t, const char *name, const char *text)
{
    char path[TEST_PATH_BYTES];
    size_t size;
    char *found = test_read(test_path(t, name, path), &size);
    cr_assert_str_eq(found, text);
    free(found);
}

/* Opens `dir`, which must become or be a store. */
static void open_store(struct st_folder *f, const char *dir, bool joined)
{
    cr_assert_eq(st_folder_open(f, dir, &e), CM_OK, "%s", e.text);
    cr_assert(f->own);
    cr_assert_eq(f->joined, joined);
    cr_assert_str_eq(f->dir, dir);
}

/* --- the claim -------------------------------------------------------------------------------- */

Test(st_folder, makes_a_store_where_nothing_is)
{
    struct test_folder t;
    struct st_folder f;
    char path[TEST_PATH_BYTES];
    test_folder_init(&t);
    open_store(&f, test_path(&t, "new", path), false);
    cr_assert_eq(test_folder_count(&t), 1);
    expect_text(&t, "new/store.json", "{\"format\": \"vitrine-store\", \"version\": 1}\n");
    cr_assert(!is_there(&t, "new/store.json.part"));
    st_folder_close(&f);
    open_store(&f, path, false); /* and finds it again */
    st_folder_close(&f);
    put(&t, "new/manifest.json", "{}");
    open_store(&f, path, true);
    st_folder_close(&f);
    st_folder_close(&f); /* twice is fine */
    test_folder_fini(&t);
}

/* An empty folder, with or without what a file system or a claim that was cut short leaves. */
Test(st_folder, makes_a_store_of_an_empty_folder)
{
    static const char *const left[] = {NULL, "lost+found", "store.json.part"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        struct test_folder t;
        struct st_folder f;
        test_folder_init(&t);
        if (left[i])
            put(&t, left[i], "half a li");
        open_store(&f, t.path, false);
        expect_text(&t, "store.json", "{\"format\": \"vitrine-store\", \"version\": 1}\n");
        st_folder_close(&f);
        test_folder_fini(&t);
    }
}

Test(st_folder, a_folder_with_other_things_in_it)
{
    static const char *const names[] = {"letter.txt", ".hidden", "shard-00000.vts",
                                        "manifest.json.part", "store.json.bak"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct test_folder t;
        struct st_folder f;
        test_folder_init(&t);
        put(&t, names[i], "mine");
        cr_assert_eq(st_folder_open(&f, t.path, &e), CM_ENOENT, "%s", names[i]);
        cr_assert(strstr(e.text, names[i]) && strstr(e.text, t.path), "%s", e.text);
        cr_assert(!f.own);
        st_folder_close(&f);
        cr_assert_eq(test_folder_count(&t), 1, "something was left in it");
        expect_text(&t, names[i], "mine");
        test_folder_fini(&t);
    }
}

Test(st_folder, no_folder)
{
    struct test_folder t;
    struct st_folder f;
    char path[TEST_PATH_BYTES];
    test_folder_init(&t);
    put(&t, "file", "");
    cr_assert_eq(st_folder_open(&f, test_path(&t, "file", path), &e), CM_EEXIST);
    cr_assert(strstr(e.text, "is not a folder") != NULL, "%s", e.text);
    st_folder_close(&f);
    cr_assert_eq(st_folder_open(&f, test_path(&t, "none/new", path), &e), CM_ENOENT);
    cr_assert(strstr(e.text, "the folder that it is to stand in is missing"), "%s", e.text);
    st_folder_close(&f);
    test_folder_fini(&t);
}

/* What an import made is nobody's store: any number serve it, and nothing in it changes. */
Test(st_folder, a_gallery)
{
    struct test_inputs t;
    struct st_folder f, g;
    char path[TEST_PATH_BYTES];
    store_gallery(&t, 9, 2);
    cr_assert_eq(st_folder_open(&f, t.out, &e), CM_OK, "%s", e.text);
    cr_assert_eq(st_folder_open(&g, t.out, &e), CM_OK, "%s", e.text);
    cr_assert(!f.own && f.joined && !g.own && g.joined);
    cr_assert(access(store_file(&t, ST_STORE_FILE, path), F_OK) != 0);
    st_folder_close(&f);
    st_folder_close(&g);
    test_inputs_fini(&t);
}

/* --- the lock --------------------------------------------------------------------------------- */

Test(st_folder, one_at_a_time)
{
    struct test_folder t;
    struct st_folder f, g;
    char path[TEST_PATH_BYTES];
    test_folder_init(&t);
    test_path(&t, "new", path);
    open_store(&f, path, false);
    cr_assert_eq(st_folder_open(&g, path, &e), CM_EBUSY);
    cr_assert(strstr(e.text, "another worker serves from"), "%s", e.text);
    cr_assert(!g.own);
    st_folder_close(&g);
    st_folder_close(&f);
    open_store(&g, path, false);
    st_folder_close(&g);
    test_folder_fini(&t);
}

/* The lock ends with the process, however that ends. */
Test(st_folder, a_killed_owner)
{
    struct test_folder t;
    struct st_folder f;
    char path[TEST_PATH_BYTES], byte;
    int ends[2];
    test_folder_init(&t);
    test_path(&t, "new", path);
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        byte = st_folder_open(&f, path, &e) == CM_OK;
        if (write(ends[1], &byte, 1) == 1)
            pause();
        _exit(1);
    }
    cr_assert_eq(read(ends[0], &byte, 1), 1);
    cr_assert_eq(byte, 1);
    cr_assert_eq(st_folder_open(&f, path, &e), CM_EBUSY);
    st_folder_close(&f);
    kill(child, SIGKILL);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    open_store(&f, path, false);
    st_folder_close(&f);
    close(ends[0]);
    close(ends[1]);
    test_folder_fini(&t);
}

/* --- single files ----------------------------------------------------------------------------- */

Test(st_folder, publishes_a_file)
{
    struct test_folder t;
    test_folder_init(&t);
    put(&t, "shard-00003.vts.part", "new");
    cr_assert_eq(st_publish(t.path, "shard-00003.vts", &e), CM_OK, "%s", e.text);
    expect_text(&t, "shard-00003.vts", "new");
    cr_assert_eq(test_folder_count(&t), 1);
    put(&t, "shard-00003.vts.part", "newer");
    cr_assert_eq(st_publish(t.path, "shard-00003.vts", &e), CM_OK, "%s", e.text);
    expect_text(&t, "shard-00003.vts", "newer");
    cr_assert_eq(test_folder_count(&t), 1);
    cr_assert_eq(st_publish(t.path, "shard-00003.vts", &e), CM_ENOENT);
    expect_text(&t, "shard-00003.vts", "newer");
    test_folder_fini(&t);
}

Test(st_folder, removes_a_file)
{
    struct test_folder t;
    char path[TEST_PATH_BYTES];
    test_folder_init(&t);
    put(&t, "shard-00003.vts", "old");
    cr_assert_eq(st_remove(t.path, "shard-00003.vts", &e), CM_OK);
    cr_assert_eq(test_folder_count(&t), 0);
    cr_assert_eq(st_remove(t.path, "shard-00003.vts", &e), CM_OK, "it is not there: fine");
    cr_assert_eq(mkdir(test_path(&t, "shard-00003.vts", path), 0755), 0);
    cr_assert_neq(st_remove(t.path, "shard-00003.vts", &e), CM_OK);
    cr_assert(strstr(e.text, "cannot remove") != NULL, "%s", e.text);
    test_folder_fini(&t);
}

/* Only shards on their way, and not the one that is wanted. */
Test(st_folder, removes_the_parts_of_shards)
{
    static const char *const kept[] = {
        "shard-00001.vts", "shard-00002.vts.part", "manifest.json.part", "weights.vtw.part",
        "store.json",      "shard-notes.part",     "my-shard-1.vts.part"};
    struct test_folder t;
    test_folder_init(&t);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        put(&t, kept[i], "x");
    put(&t, "shard-00001.vts.part", "x");
    put(&t, "shard-12345.vts.part", "x");
    st_remove_parts(t.path, "shard-00002.vts");
    cr_assert_eq(test_folder_count(&t), sizeof kept / sizeof *kept);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        cr_assert(is_there(&t, kept[i]), "%s is gone", kept[i]);
    st_remove_parts(t.path, NULL);
    cr_assert(!is_there(&t, "shard-00002.vts.part"));
    cr_assert_eq(test_folder_count(&t), sizeof kept / sizeof *kept - 1);
    st_remove_parts("/no/such/folder", NULL); /* as far as it can */
    test_folder_fini(&t);
}
