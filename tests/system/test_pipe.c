/* `vitrine import` from pipes: the same gallery as from files, and all of it or nothing. */
#include "tests/support/inputs.h"
#include "tests/support/run.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { USAGE = 64, DATA = 65, IMAGES = 600, SCRIPT_BYTES = 2048 };

/* Shell words for the scripts: the paths of `t`, and an import into $out with its options. */
static const char preamble[] =
    "set -u; vitrine=$0 model=$1 maps=$2 meta=$3 other=$4 other_meta=$5 out=$6\n"
    "import() {\n"
    "  \"$vitrine\" import --json --model \"$model\" --out \"$out\" --shards 5 \"$@\"\n"
    "}\n";

static void start(struct test_run *r, const struct test_inputs *t, const char *script)
{
    char all[SCRIPT_BYTES], program[TEST_PATH_BYTES];
    int n = snprintf(all, sizeof all, "%s%s", preamble, script);
    cr_assert(n > 0 && n < SCRIPT_BYTES);
    test_program("vitrine", program, sizeof program);
    test_start(r, (const char *const[]){"/bin/bash", "-c", all, program, t->model, t->gallery,
                                        t->meta, t->query, t->query_meta, t->out, NULL});
}

static void assert_imported(const struct test_inputs *t, const char *script)
{
    struct test_run r;
    start(&r, t, script);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s: %s", script, r.err);
    cr_assert_str_eq(r.err, "", "%s: %s", script, r.err);
    cr_assert(!test_exists(t->partial), "%s: something was left", script);
    test_run_fini(&r);
}

static void assert_nothing_left(const struct test_inputs *t, const char *script)
{
    cr_assert(!test_exists(t->out), "%s: a gallery was left", script);
    cr_assert(!test_exists(t->partial), "%s: an unfinished gallery was left", script);
}

static void assert_refused(const struct test_inputs *t, const char *script, int code,
                           const char *part)
{
    struct test_run r;
    start(&r, t, script);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), code, "%s: exit %d: %s", script, r.code, r.err);
    cr_assert(strstr(r.err, part) != NULL, "'%s' is not said: %s", part, r.err);
    const char *end = strchr(r.err, '\n');
    cr_assert(end != NULL && end[1] == '\0', "not one line: %s", r.err);
    cr_assert_str_eq(r.out, "");
    test_run_fini(&r);
    assert_nothing_left(t, script);
}

/* The gallery of the golden maps over and over, several blocks and shards of it, in t->out. */
static void begin(struct test_inputs *t)
{
    test_inputs_init(t);
    test_write_maps(t->gallery, IMAGES);
    test_labels(t->meta, "image", IMAGES);
}

/* Puts the gallery t->out aside, as the one that others must be equal to. */
static char *set_aside(const struct test_inputs *t, char kept[TEST_PATH_BYTES])
{
    cr_assert_eq(rename(t->out, test_path(&t->folder, "kept", kept)), 0);
    return kept;
}

/* t->out is byte for byte the gallery `kept`; it is removed. */
static void assert_same(const struct test_inputs *t, const char *kept, const char *script)
{
    struct test_run r;
    struct test_folder gallery;
    cr_assert_eq(TEST_RUN(&r, "/usr/bin/diff", "-r", kept, t->out), 0, "%s: %s", script, r.out);
    test_run_fini(&r);
    snprintf(gallery.path, sizeof gallery.path, "%s", t->out);
    test_folder_fini(&gallery);
}

/* --- the same gallery --------------------------------------------------------------------------
 */

Test(import_pipe, makes_the_gallery_of_the_file)
{
    static const char *const scripts[] = {
        "cat \"$maps\" | import --features - --meta \"$meta\"",
        "cat \"$maps\" | import --features - --meta \"$meta\" --threads 1",
        "import --features - --meta \"$meta\" <\"$maps\"",
        "cat \"$maps\" | import --features /dev/fd/0 --meta \"$meta\"",
        "import --features <(cat \"$maps\") --meta \"$meta\"",
        "mkfifo \"$out.pipe\"; cat \"$maps\" >\"$out.pipe\" & import --features \"$out.pipe\" "
        "--meta \"$meta\"",
        /* in drops, the header cut in the middle */
        "(head -c 9 \"$maps\"; sleep 0.1; tail -c +10 \"$maps\" | head -c 100001; sleep 0.1; "
        "tail -c +100011 \"$maps\") | import --features - --meta \"$meta\"",
    };
    struct test_inputs t;
    char kept[TEST_PATH_BYTES];
    begin(&t);
    assert_imported(&t, "import --features \"$maps\" --meta \"$meta\"");
    set_aside(&t, kept);
    for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
        assert_imported(&t, scripts[i]);
        assert_same(&t, kept, scripts[i]);
    }
    test_inputs_fini(&t);
}

/* Files and streams in turn, of 4 and 2 bytes a number. */
Test(import_pipe, several_with_files_between_them)
{
    static const char *const script =
        "cat \"$maps\" | import --features <(cat \"$other\") --meta \"$other_meta\" "
        "--features - --meta \"$meta\" --features \"$other\" --meta \"$other_meta\" "
        "--features <(cat \"$maps\") --meta \"$meta\"";
    struct test_inputs t;
    char kept[TEST_PATH_BYTES];
    begin(&t);
    char *halves = malloc(TEST_QUERIES * TEST_MAP_FLOATS * 2);
    cr_assert(halves != NULL);
    for (size_t i = 0; i < TEST_QUERIES * TEST_MAP_FLOATS * 2; i++)
        halves[i] = (char)(i % 59);
    test_npy(t.query, "<f2", false, "4, 5, 3, 80", halves, TEST_QUERIES * TEST_MAP_FLOATS * 2);
    free(halves);
    assert_imported(&t, "import --features \"$other\" --meta \"$other_meta\" --features \"$maps\" "
                        "--meta \"$meta\" --features \"$other\" --meta \"$other_meta\" "
                        "--features \"$maps\" --meta \"$meta\"");
    set_aside(&t, kept);
    assert_imported(&t, script);
    assert_same(&t, kept, script);
    test_inputs_fini(&t);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

Test(import_pipe, refuses_what_is_wrong)
{
    static const struct {
        const char *script;
        int code;
        const char *part;
    } cases[] = {
        {"head -c -1 \"$maps\" | import --features - --meta \"$meta\"", DATA,
         ": -: is cut short: shape (600, 5, 3, 80) of float32 takes 2880128 bytes, 2880127 came; "
         "see why its writer stopped"},
        {"head -c 128 \"$maps\" | import --features - --meta \"$meta\"", DATA, "128 came"},
        {"(cat \"$maps\"; echo) | import --features - --meta \"$meta\"", DATA,
         ": -: has surplus bytes at its end: shape (600, 5, 3, 80) of float32 takes 2880128 bytes, "
         "and more came"},
        {"head -c 60 \"$maps\" | import --features - --meta \"$meta\"", DATA,
         "is cut short within its header"},
        {": | import --features - --meta \"$meta\"", DATA, ": -: is empty"},
        {"echo no | import --features - --meta \"$meta\"", DATA, "is not a .npy file"},
        {"import --features - --meta \"$meta\" </dev/null", DATA,
         "is not a regular file or a pipe"},
        {"import --features - --meta \"$meta\" <&-", 74, "cannot be opened: Bad file descriptor"},
        {"cat \"$maps\" | import --features - --meta \"$other_meta\"", DATA,
         "has 4 rows, but - has 600 images"},
        {"cat \"$maps\" | import --features - --meta \"$meta\" --features - --meta \"$meta\"",
         USAGE, "--features - stands there twice; standard input can be read once"},
        {"head -c 99999 \"$maps\" | import --features \"$other\" --meta \"$other_meta\" "
         "--features - --meta \"$meta\"",
         DATA, ": -: is cut short"},
    };
    struct test_inputs t;
    begin(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_refused(&t, cases[i].script, cases[i].code, cases[i].part);
    static const unsigned nan = 0x7fc00000u;
    test_patch(t.gallery, TEST_NPY_HEADER + (590 * TEST_MAP_FLOATS + 81) * 4, &nan, sizeof nan);
    assert_refused(&t, "cat \"$maps\" | import --features - --meta \"$meta\"", DATA,
                   ": -: image 590 has a NaN at [0,1,1]");
    test_inputs_fini(&t);
}

Test(import_pipe, refuses_a_terminal)
{
    struct test_inputs t;
    test_inputs_init(&t);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    snprintf(t.gallery, sizeof t.gallery, "%s", ptsname(terminal));
    assert_refused(&t, "import --features - --meta \"$meta\" <\"$maps\"", DATA, "-: is a terminal");
    assert_refused(&t, "import --features \"$maps\" --meta \"$meta\"", DATA, ": is a terminal");
    close(terminal);
    test_inputs_fini(&t);
}

/* --- killed ------------------------------------------------------------------------------------
 */

/* Starts a writer of a named pipe that stops after half of the images, and an import from it, and
 * returns once the import has begun to write. */
static void start_half(struct test_run *writer, struct test_run *r, const struct test_inputs *t)
{
    char pipe_path[TEST_PATH_BYTES], shard[TEST_PATH_BYTES];
    cr_assert_eq(mkfifo(test_path(&t->folder, "pipe", pipe_path), 0600), 0);
    test_start(writer, (const char *const[]){"/bin/bash", "-c",
                                             "exec >\"$1\"; head -c 1500000 \"$0\"; exec sleep 600",
                                             t->gallery, pipe_path, NULL});
    test_start(r, (const char *const[]){"vitrine", "import", "--shards", "5", "--model", t->model,
                                        "--features", pipe_path, "--meta", t->meta, "--out", t->out,
                                        NULL});
    test_path(&t->folder, "out.partial/shard-00002.vts", shard);
    while (!test_exists(shard) && !io_child_poll(&r->child))
        test_sleep_ms(5);
    cr_assert(test_exists(shard), "it ended early");
}

static void kill_it(struct test_run *r)
{
    kill(r->child.pid, SIGKILL);
    test_finish(r, TEST_RUN_MS);
    test_run_fini(r);
}

Test(import_pipe, whose_writer_is_killed)
{
    struct test_inputs t;
    struct test_run writer, r;
    begin(&t);
    start_half(&writer, &r, &t);
    kill_it(&writer);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), DATA, "exit %d: %s", r.code, r.err);
    cr_assert(strstr(r.err, "/pipe: is cut short: ") &&
                  strstr(r.err, " 1500000 came; see why its writer stopped"),
              "%s", r.err);
    test_run_fini(&r);
    assert_nothing_left(&t, "killed writer");
    test_inputs_fini(&t);
}

Test(import_pipe, killed_and_run_again)
{
    static const char *const again = "cat \"$maps\" | import --features - --meta \"$meta\"";
    struct test_inputs t;
    struct test_run writer, r;
    char kept[TEST_PATH_BYTES];
    begin(&t);
    assert_imported(&t, "import --features \"$maps\" --meta \"$meta\"");
    set_aside(&t, kept);
    start_half(&writer, &r, &t);
    kill_it(&r);
    kill_it(&writer);
    cr_assert(!test_exists(t.out) && test_exists(t.partial));
    assert_imported(&t, again);
    assert_same(&t, kept, again);
    test_inputs_fini(&t);
}

/* --- what it costs -----------------------------------------------------------------------------
 */

/* The kilobytes that imports of `images` images took at the most, and all before them. */
static long peak_kb(const struct test_inputs *t, size_t images)
{
    static const char *const script = "cat \"$maps\" | import --features - --meta \"$meta\"";
    struct rusage usage;
    struct test_folder gallery;
    test_write_maps(t->gallery, images);
    test_labels(t->meta, "image", images);
    assert_imported(t, script);
    snprintf(gallery.path, sizeof gallery.path, "%s", t->out);
    test_folder_fini(&gallery);
    cr_assert_eq(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_maxrss;
}

Test(import_pipe, memory_does_not_grow_with_the_gallery)
{
    enum { SMALL = 4000, LEEWAY_KB = 3000 };
    struct test_inputs t;
    test_inputs_init(&t);
    long small = peak_kb(&t, SMALL), large = peak_kb(&t, 3 * SMALL);
    cr_assert(large - small < LEEWAY_KB, "%d images take %ld kB, %d take %ld kB", SMALL, small,
              3 * SMALL, large);
    test_inputs_fini(&t);
}
