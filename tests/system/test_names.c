/* `vitrine import --names`: labels off the file names make the gallery that columns of them make.
 */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { USAGE = 64, DATA = 65, FINGERPRINT_BYTES = 33 };

/* Imports t->meta's labels into a new folder and reads the gallery's fingerprint. */
static void import(const struct test_inputs *t, const char *names, const char *folder,
                   char fingerprint[FINGERPRINT_BYTES])
{
    char out[TEST_PATH_BYTES];
    struct test_run r;
    test_run(&r, (const char *const[]){"vitrine", "import", "--json", "--model", t->model,
                                       "--features", t->gallery, "--meta", t->meta, "--out",
                                       test_path(&t->folder, folder, out), names ? "--names" : NULL,
                                       names, NULL});
    cr_assert_eq(r.code, 0, "%s", r.err);
    json_t *made = json_loads(r.out, 0, NULL);
    const char *text = json_string_value(json_object_get(made, "fingerprint"));
    cr_assert(text && strlen(text) == FINGERPRINT_BYTES - 1, "%s", r.out);
    memcpy(fingerprint, text, FINGERPRINT_BYTES);
    json_decref(made);
    test_run_fini(&r);
}

/* A list of names, the same names as a column, and what they say in columns: one gallery. */
static void assert_same_gallery(const char *names, const char *list, const char *csv)
{
    struct test_inputs t;
    char listed[FINGERPRINT_BYTES], named[FINGERPRINT_BYTES], labelled[FINGERPRINT_BYTES];
    char column[2048];
    test_inputs_init(&t);
    test_write(t.meta, list, strlen(list));
    import(&t, names, "listed", listed);
    snprintf(column, sizeof column, "name\n%s", list);
    test_write(t.meta, column, strlen(column));
    import(&t, names, "named", named);
    cr_assert_str_eq(listed, named);
    test_write(t.meta, csv, strlen(csv));
    import(&t, NULL, "labelled", labelled);
    cr_assert_str_eq(listed, labelled);
    test_inputs_fini(&t);
}

Test(names, market1501)
{
    assert_same_gallery("market1501",
                        "0001_c1s1_000151_01.jpg\n0001_c2s1_000301_01.jpg\n-1_c3s1_000401_03.jpg\n"
                        "0000_c1s1_000151_01.jpg\nx/0002_c1s1_000451_03.jpg\n"
                        "0002_c6s4_019002_03.jpg\n1501_c6s4_001902_01.jpg\n",
                        "name,pid,camid,timestamp\n"
                        "0001_c1s1_000151_01.jpg,1,1,151\n0001_c2s1_000301_01.jpg,1,2,301\n"
                        "-1_c3s1_000401_03.jpg,-1,3,401\n0000_c1s1_000151_01.jpg,0,1,151\n"
                        "x/0002_c1s1_000451_03.jpg,2,1,451\n0002_c6s4_019002_03.jpg,2,6,19002\n"
                        "1501_c6s4_001902_01.jpg,1501,6,1902\n");
}

Test(names, msmt17)
{
    assert_same_gallery("msmt17",
                        "0000/0000_000_01_0303morning_0015_0.jpg 0\n"
                        "0000/0000_001_02_0303noon_0015_0.jpg 0\n"
                        "0001/0001_000_14_0303morning_0017_2.jpg 1\n"
                        "0002/0002_000_15_0114noon_0245_0_ex.jpg 7\n"
                        "0003/0003_000_01_0303morning_0015_0.jpg 3\n"
                        "0003/0003_001_01_0303morning_0016_0.jpg 3\n"
                        "0003/0003_002_03_0303morning_0017_0.jpg 3\n",
                        "name,pid,camid\n0000/0000_000_01_0303morning_0015_0.jpg,1,1\n"
                        "0000/0000_001_02_0303noon_0015_0.jpg,1,2\n"
                        "0001/0001_000_14_0303morning_0017_2.jpg,2,14\n"
                        "0002/0002_000_15_0114noon_0245_0_ex.jpg,8,15\n"
                        "0003/0003_000_01_0303morning_0015_0.jpg,4,1\n"
                        "0003/0003_001_01_0303morning_0016_0.jpg,4,1\n"
                        "0003/0003_002_03_0303morning_0017_0.jpg,4,3\n");
}

/* What `vitrine eval` prints as JSON, with labels off the names or in columns; the caller frees it.
 */
static char *evaluate(const struct test_inputs *t, const char *gallery, const char *names)
{
    char dir[TEST_PATH_BYTES], journal[TEST_PATH_BYTES];
    struct test_run r;
    test_run(&r, (const char *const[]){"vitrine", "eval", "--gallery",
                                       test_path(&t->folder, gallery, dir), "--features", t->query,
                                       "--meta", t->query_meta, "--json", "-", "--journal",
                                       test_path(&t->folder, "journal", journal),
                                       names ? "--names" : NULL, names, NULL});
    cr_assert_eq(r.code, 0, "%s", r.err);
    char *figures = strdup(r.out);
    test_run_fini(&r);
    return figures;
}

/* Queries named as Market-1501 has them are those that columns say. */
Test(names, eval_reads_them_too)
{
    static const char gallery[] = "0001_c1s1_000151_01.jpg\n0001_c2s1_000301_01.jpg\n"
                                  "-1_c3s1_000401_03.jpg\n0000_c1s1_000151_01.jpg\n"
                                  "0002_c1s1_000451_03.jpg\n0002_c6s4_019002_03.jpg\n"
                                  "1501_c6s4_001902_01.jpg\n",
                      list[] = "0001_c1s2_000151_01.jpg\n0002_c6s1_000301_01.jpg\n"
                               "0002_c3s1_000401_03.jpg\n0007_c1s1_000151_01.jpg\n",
                      columns[] = "name,pid,camid\na,1,1\nb,2,6\nc,2,3\nd,7,1\n";
    struct test_inputs t;
    char fingerprint[FINGERPRINT_BYTES];
    test_inputs_init(&t);
    test_write(t.meta, gallery, strlen(gallery));
    import(&t, "market1501", "g", fingerprint);
    test_write(t.query_meta, list, strlen(list));
    char *named = evaluate(&t, "g", "market1501");
    test_write(t.query_meta, columns, strlen(columns));
    char *labelled = evaluate(&t, "g", NULL);
    cr_assert_str_eq(named, labelled);
    cr_assert(strstr(named, "\"queries\":4,\"valid_queries\":3,\"gallery\":6,\"junk_pairs\":2,"),
              "%s", named);
    cr_assert(strstr(named, "\"pid_minus1_dropped\":1,\"distractors_pid0\":1,"), "%s", named);
    free(named);
    free(labelled);
    test_inputs_fini(&t);
}

static void refused(const struct test_inputs *t, const char *names, int code, const char *what,
                    const char *part)
{
    test_refused((const char *const[]){"vitrine", "import", "--model", t->model, "--features",
                                       t->gallery, "--meta", t->meta, "--out", t->out, "--names",
                                       names, NULL},
                 &(struct test_refusal){code, what, part});
    cr_assert(!test_exists(t->out) && !test_exists(t->partial));
}

Test(names, refusals)
{
    struct test_inputs t;
    test_inputs_init(&t);
    refused(&t, "market", USAGE, "--names is 'market'",
            "there are market1501, msmt17, veri and cuhk03-np");
    refused(&t, "veri", DATA, t.meta, "line 2: name \"image-0\" is not as veri has them");
    test_write(t.meta, "0001_c1_1.png\n0001_c2_1.png\n", 28);
    refused(&t, "cuhk03-np", DATA, t.meta, "has 2 rows, but ");
    refused(&t, "market1501", DATA, t.meta, "has 2 rows, but ");
    test_inputs_fini(&t);
}
