/* Places that cannot be written: in the way, missing, forbidden, full. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <criterion/logging.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USAGE = 64, CANTCREATE = 73, IO = 74 };

/* import with this --out is refused. */
static void out_refused(const struct test_inputs *t, const char *out, int code, const char *what,
                        const char *part)
{
    test_refused((const char *const[]){"vitrine", "import", "--model", t->model, "--features",
                                       t->gallery, "--meta", t->meta, "--out", out, NULL},
                 &(struct test_refusal){code, what, part});
}

static void assert_holds(const char *path, const char *text)
{
    size_t size;
    char *found = test_read(path, &size);
    cr_assert_str_eq(found, text);
    free(found);
}

Test(bad_output, what_is_in_the_way_stays_as_it_is)
{
    static const char part[] = "is in the way: remove it, or choose another --out";
    struct test_inputs t;
    char inside[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_write(t.out, "precious", 8);
    out_refused(&t, t.out, CANTCREATE, t.out, part);
    assert_holds(t.out, "precious");
    unlink(t.out);
    cr_assert_eq(mkdir(t.out, 0755), 0);
    test_write(test_path(&t.folder, "out/precious", inside), "precious", 8);
    out_refused(&t, t.out, CANTCREATE, t.out, part);
    assert_holds(inside, "precious");
    unlink(inside);
    out_refused(&t, t.out, CANTCREATE, t.out, part);
    cr_assert(rmdir(t.out) == 0, "an empty folder was written into");
    cr_assert_eq(symlink("/nowhere", t.out), 0);
    out_refused(&t, t.out, CANTCREATE, t.out, part);
    cr_assert(test_exists(t.out) && !test_exists(t.partial));
    out_refused(&t, "/", CANTCREATE, "/", part);
    out_refused(&t, ".", CANTCREATE, ".", part);
    test_inputs_fini(&t);
}

Test(bad_output, a_gallery_is_never_written_over)
{
    struct test_inputs t;
    struct test_run r;
    test_inputs_init(&t);
    test_inputs_import(&t, NULL);
    out_refused(&t, t.out, CANTCREATE, t.out, "is in the way");
    cr_assert(!test_exists(t.partial));
    cr_assert_eq(TEST_RUN(&r, "vitrine", "verify", t.out), 0, "%s", r.err);
    test_run_fini(&r);
    test_inputs_fini(&t);
}

/* The unfinished folder's name may be taken too; only what an import left there is cleared away. */
Test(bad_output, only_the_leftovers_of_an_import_are_removed)
{
    struct test_inputs t;
    char inside[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_write(t.partial, "precious", 8);
    out_refused(&t, t.out, CANTCREATE, t.partial, "is in the way: move it away");
    assert_holds(t.partial, "precious");
    unlink(t.partial);
    cr_assert_eq(mkdir(t.partial, 0755), 0);
    test_write(test_path(&t.folder, "out.partial/notes.txt", inside), "precious", 8);
    out_refused(&t, t.out, CANTCREATE, t.partial,
                "holds 'notes.txt', which no import left there: move it away");
    assert_holds(inside, "precious");
    cr_assert(!test_exists(t.out));
    unlink(inside);
    test_write(test_path(&t.folder, "out.partial/shard-00099.vts", inside), "left", 4);
    test_inputs_import(&t, NULL);
    cr_assert(!test_exists(t.partial));
    test_path(&t.folder, "out/shard-00099.vts", inside);
    cr_assert(!test_exists(inside), "a leftover came into the gallery");
    out_refused(&t, t.partial, USAGE, t.partial, "names that end in .partial are for unfinished");
    test_inputs_fini(&t);
}

Test(bad_output, a_folder_that_is_missing_or_forbidden)
{
    struct test_inputs t;
    char out[TEST_PATH_BYTES];
    test_inputs_init(&t);
    test_path(&t.folder, "missing/out", out);
    out_refused(&t, out, IO, out, "the folder that it is to stand in is missing");
    test_refused((const char *const[]){"vitrine", "score", "--model", t.model, "--query", t.query,
                                       "--gallery", t.gallery, "--out", out, NULL},
                 &(struct test_refusal){IO, out, "the folder that it is to stand in is missing"});
    /* Nobody makes folders in /sys, root included. */
    out_refused(&t, "/sys/vitrine-out", IO, "/sys/vitrine-out", "cannot create");
    test_refused((const char *const[]){"vitrine", "score", "--model", t.model, "--query", t.query,
                                       "--gallery", t.gallery, "--out", "/sys/vitrine.npy", NULL},
                 &(struct test_refusal){IO, "/sys/vitrine.npy", "denied"});
    if (geteuid() != 0) {
        cr_assert_eq(mkdir(test_path(&t.folder, "closed", out), 0555), 0);
        test_path(&t.folder, "closed/out", out);
        out_refused(&t, out, IO, out, "Permission denied");
    }
    test_refused((const char *const[]){"vitrine", "score", "--model", t.model, "--query", t.query,
                                       "--gallery", t.gallery, "--out", t.folder.path, NULL},
                 &(struct test_refusal){USAGE, t.folder.path, "is a directory; name a file in it"});
    test_inputs_fini(&t);
}

/* From here on no file may grow over `bytes`, in us and in the programs that we run. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Every file of a gallery in its turn is the one that does not fit. */
Test(bad_output, disk_full_at_every_file_of_a_gallery)
{
    static const char *const files[] = {"manifest.json", "weights.vtw", "shard-00000.vts",
                                        "shard-00001.vts"};
    struct test_inputs t;
    size_t sizes[sizeof files / sizeof *files];
    test_inputs_init(&t);
    test_inputs_import(&t, "2");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char name[64], path[TEST_PATH_BYTES];
        snprintf(name, sizeof name, "out/%s", files[i]);
        sizes[i] = test_size(test_path(&t.folder, name, path));
    }
    test_path(&t.folder, "new", t.out);
    test_path(&t.folder, "new.partial", t.partial);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        for (size_t less = 1; less <= 257; less += 256) {
            limit_files((rlim_t)(sizes[i] > less + 512 ? sizes[i] - less : 512));
            test_import_refused(&t, &(struct test_refusal){IO, t.partial, "File too large"});
        }
    limit_files(RLIM_INFINITY);
    test_inputs_import(&t, "2");
    test_inputs_fini(&t);
}

Test(bad_output, disk_full_for_a_matrix_of_scores)
{
    struct test_inputs t;
    test_inputs_init(&t);
    test_write_maps(t.query, 40);
    test_write_maps(t.gallery, 40);
    limit_files(4096);
    test_score_refused(&t, &(struct test_refusal){IO, "s.npy", "File too large"});
    test_inputs_fini(&t);
}

/* A full filesystem, where this user may mount one of his own. */
Test(bad_output, disk_full_on_a_small_filesystem)
{
    static const char script[] =
        "mount -t tmpfs -o size=$size vitrine-test \"$disk\" 2>/dev/null || exit 99\n"
        "\"$@\"; code=$?\n"
        "ls -A \"$disk\"; exit $code";
    static const char *const sizes[] = {"4k", "16k", "40k", "60k"}; /* the gallery takes 80 kB */
    struct test_inputs t;
    struct test_run r;
    char disk[TEST_PATH_BYTES], out[TEST_PATH_BYTES], program[TEST_PATH_BYTES];
    test_inputs_init(&t);
    cr_assert_eq(mkdir(test_path(&t.folder, "disk", disk), 0755), 0);
    setenv("disk", disk, 1);
    test_path(&t.folder, "disk/out", out);
    test_program("vitrine", program, sizeof program);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        setenv("size", sizes[i], 1);
        TEST_RUN(&r, "/usr/bin/unshare", geteuid() ? "-rm" : "-m", "/bin/sh", "-c", script, "sh",
                 program, "import", "--model", t.model, "--features", t.gallery, "--meta", t.meta,
                 "--out", out);
        if (r.code == 99 || strstr(r.err, "unshare")) {
            fprintf(stderr, "no filesystem can be mounted here: %s\n", r.err);
            break;
        }
        cr_assert_eq(r.code, IO, "size %s: exit %d: %s", sizes[i], r.code, r.err);
        cr_assert(strstr(r.err, out) && strstr(r.err, "No space left on device"), "%s", r.err);
        cr_assert_str_eq(r.out, "", "left on the disk: %s", r.out);
        test_run_fini(&r);
    }
    test_run_fini(&r);
    test_inputs_fini(&t);
}

/* Output that nobody gets is no success. */
Test(bad_output, full_stdout)
{
    static const char *const commands[] = {
        "\"$bin\" inspect \"$gallery\"",
        "\"$bin\" inspect --json \"$gallery\"",
        "\"$bin\" verify \"$gallery\"",
        "\"$bin\" verify --json \"$gallery\"",
        "\"$bin\" --help",
        "\"$bin\" import --help",
        "\"$bin\" search --gallery \"$gallery\" --workers 1 --features \"$query\"",
        "\"$bin\" search --gallery \"$gallery\" --workers 1 --features \"$query\" --json",
    };
    struct test_inputs t;
    struct test_run r;
    char program[TEST_PATH_BYTES], line[256];
    test_inputs_init(&t);
    test_inputs_import(&t, NULL);
    setenv("bin", test_program("vitrine", program, sizeof program), 1);
    setenv("gallery", t.out, 1);
    setenv("query", t.query, 1);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        snprintf(line, sizeof line, "%s >/dev/full", commands[i]);
        cr_assert_eq(TEST_RUN(&r, "/bin/sh", "-c", line), IO, "%s: exit %d", line, r.code);
        const char *newline = strchr(r.err, '\n');
        cr_assert(strstr(r.err, "cannot write to stdout: No space left on device") && newline &&
                      newline[1] == '\0',
                  "%s: %s", line, r.err);
        test_run_fini(&r);
    }
    test_inputs_fini(&t);
}
