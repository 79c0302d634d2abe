/* `vitrine import`: all of a gallery or nothing of it, the same gallery whatever the way. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FINGERPRINT_BYTES = 33 };

/* What an import is to be given. */
struct request {
    const char *model, *features[4], *meta[4]; /* up to a NULL */
    const char *out, *shards, *threads;        /* the last two may be NULL */
};

/* Starts it, with --json. */
static void start(struct test_run *r, const struct request *q)
{
    const char *argv[32] = {"vitrine", "import", "--json", "--model", q->model, "--out", q->out};
    size_t n = 7;
    for (size_t i = 0; i < 4 && q->features[i]; i++) {
        argv[n++] = "--features";
        argv[n++] = q->features[i];
        argv[n++] = "--meta";
        argv[n++] = q->meta[i];
    }
    if (q->shards) {
        argv[n++] = "--shards";
        argv[n++] = q->shards;
    }
    if (q->threads) {
        argv[n++] = "--threads";
        argv[n++] = q->threads;
    }
    test_start(r, argv);
}

/* Imports and reads what was printed; returns the number of shards. */
static size_t import(const struct request *q, char fingerprint[FINGERPRINT_BYTES])
{
    struct test_run r;
    start(&r, q);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 0, "%s", r.err);
    cr_assert_str_eq(r.err, "", "without a terminal nothing is said: %s", r.err);
    json_t *made = json_loads(r.out, 0, NULL);
    const char *text = json_string_value(json_object_get(made, "fingerprint"));
    cr_assert(text && strlen(text) == FINGERPRINT_BYTES - 1, "%s", r.out);
    memcpy(fingerprint, text, FINGERPRINT_BYTES);
    size_t shards = (size_t)json_integer_value(json_object_get(made, "shards"));
    json_decref(made);
    test_run_fini(&r);
    return shards;
}

static struct request request_of(const struct test_inputs *t)
{
    return (struct request){
        .model = t->model, .features = {t->gallery}, .meta = {t->meta}, .out = t->out};
}

static void assert_sound(const char *gallery)
{
    struct test_run r;
    cr_assert_eq(TEST_RUN(&r, "vitrine", "verify", gallery), 0, "%s", r.err);
    test_run_fini(&r);
}

/* Removes a gallery. */
static void remove_gallery(const char *path)
{
    struct test_folder f;
    snprintf(f.path, sizeof f.path, "%s", path);
    test_folder_fini(&f);
}

/* --- the same gallery --------------------------------------------------------------------------
 */

Test(import, same_whatever_threads_files_and_time)
{
    struct test_inputs t;
    char first[FINGERPRINT_BYTES], other[FINGERPRINT_BYTES];
    test_inputs_init(&t);
    test_write_maps(t.gallery, 100);
    test_labels(t.meta, "image", 100);
    struct request q = request_of(&t);
    q.shards = "3";
    q.threads = "1";
    cr_assert_eq(import(&q, first), 3);
    assert_sound(t.out);
    static const char *const threads[] = {"1", "2", "5", NULL};
    for (size_t i = 0; i < 4; i++) {
        remove_gallery(t.out);
        q.threads = threads[i];
        import(&q, other);
        cr_assert_str_eq(first, other, "%s threads make another gallery", threads[i]);
    }
    remove_gallery(t.out);
    q.shards = "4"; /* another gallery, and told apart */
    import(&q, other);
    cr_assert(strcmp(first, other) != 0, "the fingerprint does not see the shards");
    test_inputs_fini(&t);
}

/* The images [first, first + count) of the golden gallery with their labels, as files of their own.
 */
static void write_part(const struct test_inputs *t, const char *features, const char *meta,
                       size_t first, size_t count)
{
    size_t size;
    char shape[32];
    char *all = test_read(t->gallery, &size);
    snprintf(shape, sizeof shape, "%zu, 5, 3, 80", count);
    test_npy(features, "<f4", false, shape, all + TEST_NPY_HEADER + first * TEST_MAP_FLOATS * 4,
             count * TEST_MAP_FLOATS * 4);
    free(all);
    FILE *file = fopen(meta, "w");
    cr_assert(file != NULL);
    fprintf(file, "name,pid,camid,timestamp\n");
    for (size_t i = first; i < first + count; i++)
        fprintf(file, "image-%zu,%zu,%zu,%zu\n", i, i / 2, i % 2, i);
    fclose(file);
}

Test(import, several_files_are_their_concatenation)
{
    static const size_t parts[] = {3, 1, 3};
    struct test_inputs t;
    char names[3][2][TEST_PATH_BYTES], whole[FINGERPRINT_BYTES], joined[FINGERPRINT_BYTES];
    test_inputs_init(&t);
    struct request q = request_of(&t);
    q.shards = "2";
    import(&q, whole);
    remove_gallery(t.out);
    for (size_t i = 0, first = 0; i < 3; first += parts[i++]) {
        char name[16];
        snprintf(name, sizeof name, "%zu.npy", i);
        q.features[i] = test_path(&t.folder, name, names[i][0]);
        snprintf(name, sizeof name, "%zu.csv", i);
        q.meta[i] = test_path(&t.folder, name, names[i][1]);
        write_part(&t, q.features[i], q.meta[i], first, parts[i]);
    }
    import(&q, joined);
    cr_assert_str_eq(whole, joined);

    /* ids run over all files: image-4 is the first row of the last one */
    struct test_run r;
    TEST_RUN(&r, "vitrine", "search", "--gallery", t.out, "--features", t.query, "--json");
    cr_assert_eq(r.code, 0, "%s", r.err);
    for (size_t i = 0; i < TEST_IMAGES; i++) {
        char hit[64];
        snprintf(hit, sizeof hit, "\"id\":%zu,\"name\":\"image-%zu\",\"pid\":%zu,\"camid\":%zu,", i,
                 i, i / 2, i % 2);
        cr_assert(strstr(r.out, hit) != NULL, "no %s in %s", hit, r.out);
    }
    test_run_fini(&r);

    q.meta[1] = q.meta[0]; /* each file's labels are counted by themselves */
    q.out = "unused";
    start(&r, &q);
    cr_assert_eq(test_finish(&r, TEST_RUN_MS), 65);
    cr_assert(strstr(r.err, "0.csv has 3 rows, but ") && strstr(r.err, "1.npy has 1 images"), "%s",
              r.err);
    test_run_fini(&r);
    test_inputs_fini(&t);
}

Test(import, chooses_the_shards)
{
    static const struct {
        size_t images, shards;
    } cases[] = {{1, 1}, {31, 1}, {63, 1}, {64, 2}, {112, 3}, {511, 15}, {626, 16}};
    struct test_inputs t;
    char fingerprint[FINGERPRINT_BYTES];
    test_inputs_init(&t);
    struct request q = request_of(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_write_maps(t.gallery, cases[i].images);
        test_labels(t.meta, "image", cases[i].images);
        size_t shards = import(&q, fingerprint);
        cr_assert_eq(shards, cases[i].shards, "%zu images: %zu shards", cases[i].images, shards);
        remove_gallery(t.out);
    }
    test_write_maps(t.gallery, 5);
    test_labels(t.meta, "image", 5);
    q.shards = "5"; /* an image each */
    cr_assert_eq(import(&q, fingerprint), 5);
    assert_sound(t.out);
    test_inputs_fini(&t);
}

/* --- all or nothing ----------------------------------------------------------------------------
 */

/* The sample gallery: large enough that an import can be hit in the middle. */
struct sample {
    struct test_inputs t;
    char model[TEST_PATH_BYTES], features[TEST_PATH_BYTES], meta[TEST_PATH_BYTES];
    struct request q;
    char fingerprint[FINGERPRINT_BYTES];
    unsigned long long import_ms; /* what one import takes */
};

static void sample_init(struct sample *s)
{
    test_inputs_init(&s->t);
    s->q = (struct request){
        .model = test_source("ops/sample/model.safetensors", s->model, sizeof s->model),
        .features = {test_source("ops/sample/gallery.npy", s->features, sizeof s->features)},
        .meta = {test_source("ops/sample/gallery.csv", s->meta, sizeof s->meta)},
        .out = s->t.out,
        .shards = "7",
    };
    unsigned long long begin = test_now_ms();
    import(&s->q, s->fingerprint);
    s->import_ms = test_now_ms() - begin;
    remove_gallery(s->t.out);
}

/* After a kill: no gallery, or a whole one, which is removed. */
static bool assert_whole_or_nothing(const struct sample *s)
{
    bool whole = test_exists(s->t.out);
    if (whole) {
        assert_sound(s->t.out);
        remove_gallery(s->t.out);
    }
    return whole;
}

/* Run again without any hand work, it makes the gallery that it should have made. */
static void assert_import_again(const struct sample *s)
{
    char fingerprint[FINGERPRINT_BYTES];
    import(&s->q, fingerprint);
    cr_assert_str_eq(fingerprint, s->fingerprint);
    cr_assert(!test_exists(s->t.partial), "something was left beside the gallery");
    assert_sound(s->t.out);
    remove_gallery(s->t.out);
}

static void kill_it(struct test_run *r)
{
    kill(r->child.pid, SIGKILL);
    test_finish(r, TEST_RUN_MS);
    test_run_fini(r);
}

Test(import, killed_at_any_time)
{
    enum { KILLS = 25 };
    struct sample s;
    struct test_run r;
    size_t unfinished = 0;
    sample_init(&s);
    for (unsigned long long i = 0; i < KILLS; i++) {
        start(&r, &s.q);
        test_sleep_ms((unsigned)(s.import_ms * i / KILLS));
        kill_it(&r);
        unfinished += test_exists(s.t.partial);
        assert_whole_or_nothing(&s);
        if (i % 6 == 5)
            assert_import_again(&s);
    }
    cr_assert(unfinished > 0, "no import was hit in the middle");
    assert_import_again(&s);
    test_inputs_fini(&s.t);
}

/* Killed as soon as a file appears: in the middle of each of its steps. */
Test(import, killed_at_each_step)
{
    static const char *const files[] = {"out.partial",
                                        "out.partial/weights.vtw",
                                        "out.partial/shard-00000.vts",
                                        "out.partial/shard-00003.vts",
                                        "out.partial/shard-00006.vts",
                                        "out.partial/manifest.json",
                                        "out"};
    struct sample s;
    struct test_run r;
    sample_init(&s);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[TEST_PATH_BYTES];
        test_path(&s.t.folder, files[i], path);
        start(&r, &s.q);
        while (!test_exists(path) && !test_exists(s.t.out) && !io_child_poll(&r.child)) {
        }
        kill_it(&r);
        bool whole = assert_whole_or_nothing(&s);
        cr_assert(whole || i + 1 < sizeof files / sizeof *files, "it was there, and went");
        if (i % 2 == 0)
            assert_import_again(&s);
    }
    test_inputs_fini(&s.t);
}

/* Several at once into one place: one wins, the others say so, the gallery is whole. */
Test(import, at_once_into_one_place)
{
    enum { ROUNDS = 12, IMPORTS = 3 };
    struct test_inputs t;
    test_inputs_init(&t);
    struct request q = request_of(&t);
    q.shards = "7";
    for (int round = 0; round < ROUNDS; round++) {
        struct test_run runs[IMPORTS];
        int won = 0;
        if (round % 3 == 1) { /* what a killed one left is fought for too */
            char left[TEST_PATH_BYTES];
            cr_assert_eq(mkdir(t.partial, 0755), 0);
            test_write(test_path(&t.folder, "out.partial/shard-00000.vts", left), "left", 4);
        }
        for (int i = 0; i < IMPORTS; i++)
            start(&runs[i], &q);
        for (int i = 0; i < IMPORTS; i++) {
            int code = test_finish(&runs[i], TEST_RUN_MS);
            won += code == 0;
            cr_assert(code == 0 || (code == 75 && strstr(runs[i].err, "another import into ")) ||
                          (code == 73 && strstr(runs[i].err, " is in the way: ")),
                      "exit %d: %s", code, runs[i].err);
            test_run_fini(&runs[i]);
        }
        cr_assert_eq(won, 1, "round %d: %d imports won", round, won);
        cr_assert(!test_exists(t.partial));
        assert_sound(t.out);
        remove_gallery(t.out);
    }
    test_inputs_fini(&t);
}

/* --- what it costs and shows -------------------------------------------------------------------
 */

/* The kilobytes that imports of `images` images took at the most, and all before them. */
static long peak_kb(const struct test_inputs *t, size_t images)
{
    struct rusage usage;
    char fingerprint[FINGERPRINT_BYTES];
    test_write_maps(t->gallery, images);
    test_labels(t->meta, "image", images);
    struct request q = request_of(t);
    q.shards = "4"; /* blocks enough in each that every buffer is in use */
    q.threads = "2";
    import(&q, fingerprint);
    remove_gallery(t->out);
    cr_assert_eq(getrusage(RUSAGE_CHILDREN, &usage), 0);
    return usage.ru_maxrss;
}

/* The gallery grows by 38 MB, the memory by less than 3: records and names of a shard. */
Test(import, memory_does_not_grow_with_the_gallery)
{
    enum { IMAGES = 4000, LEEWAY_KB = 3000 };
    struct test_inputs t;
    test_inputs_init(&t);
    long small = peak_kb(&t, IMAGES), large = peak_kb(&t, 3 * IMAGES);
    cr_assert(large - small < LEEWAY_KB, "%d images take %ld kB, %d take %ld kB", IMAGES, small,
              3 * IMAGES, large);
    test_inputs_fini(&t);
}

/* All that a terminal was shown until its other end closed. */
static char *read_terminal(int fd)
{
    size_t size = 0, room = 1 << 16;
    char *text = calloc(room, 1);
    cr_assert(text != NULL);
    for (ssize_t n; size + 1 < room && (n = read(fd, text + size, room - 1 - size)) > 0;)
        size += (size_t)n; /* ends with EIO */
    return text;
}

Test(import, shows_progress_on_a_terminal)
{
    struct sample s;
    struct io_child child;
    struct cm_error e;
    char program[TEST_PATH_BYTES];
    sample_init(&s);
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    int stderr_fd = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    cr_assert(stderr_fd >= 0);
    const char *argv[] = {test_program("vitrine", program, sizeof program),
                          "import",
                          "--json",
                          "--model",
                          s.model,
                          "--features",
                          s.features,
                          "--meta",
                          s.meta,
                          "--out",
                          s.t.out,
                          NULL};
    struct io_spawn_options o = {.stdout_fd = open("/dev/null", O_WRONLY), .stderr_fd = stderr_fd};
    cr_assert_eq(io_spawn(&child, (char *const *)(uintptr_t)argv, &o, &e), CM_OK, "%s", e.text);
    close(stderr_fd);
    close(o.stdout_fd);
    char *shown = read_terminal(terminal);
    cr_assert(strstr(shown, "/112 images  "), "%s", shown);
    cr_assert(strstr(shown, "/s  ") && strstr(shown, " MB/s  ") && strstr(shown, " s left"), "%s",
              shown);
    size_t size = strlen(shown);
    cr_assert(size > 4 && strcmp(shown + size - 4, "\r\x1b[K") == 0, "the line is not cleared");
    free(shown);
    while (!io_child_poll(&child))
        test_sleep_ms(5);
    cr_assert_eq(child.status, 0);
    close(terminal);
    test_inputs_fini(&s.t);
}
