/* Labels from file names: real ones of each set, hostile ones, and files of them. */
#include "common/limits.h"
#include "proto/file/csv.h"
#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

static void assert_reads(enum pr_names scheme, const char *text, int64_t pid, int32_t camid,
                         int64_t timestamp)
{
    struct pr_name n;
    cr_assert_eq(pr_name_read(scheme, text, &n, &e), CM_OK, "%s", e.text);
    cr_assert(n.pid == pid && n.camid == camid && n.timestamp == timestamp, "%s: %lld %d %lld",
              text, (long long)n.pid, n.camid, (long long)n.timestamp);
    cr_assert_eq(n.bytes, strlen(text));
}

static void assert_refused(enum pr_names scheme, const char *text, const char *part)
{
    struct pr_name n, zero = {0};
    cr_assert_eq(pr_name_read(scheme, text, &n, &e), CM_EFORMAT, "%s", text);
    cr_assert_eq(memcmp(&n, &zero, sizeof n), 0);
    cr_assert(strstr(e.text, text) != NULL, "%s", e.text);
    cr_assert(strstr(e.text, part) != NULL, "%s", e.text);
}

Test(names, schemes)
{
    static const char *const words[] = {NULL, "market1501", "msmt17", "veri", "cuhk03-np"};
    enum pr_names scheme;
    for (size_t i = 0; i < 5; i++) {
        cr_assert_eq(pr_names_choose(&scheme, words[i], &e), CM_OK, "%s", e.text);
        cr_assert_eq((size_t)scheme, i);
    }
    cr_assert_eq(pr_names_choose(&scheme, "Market1501", &e), CM_EUSAGE);
    cr_assert_str_eq(e.text, "--names is 'Market1501'; there are market1501, msmt17, veri and "
                             "cuhk03-np");
    cr_assert_eq(pr_names_choose(&scheme, "", &e), CM_EUSAGE);
}

Test(names, market1501)
{
    const enum pr_names m = PR_NAMES_MARKET1501;
    const char *as = "is not as market1501 has them: PID_cCAMERAsSEQUENCE_FRAME with one digit of "
                     "CAMERA, as in 0001_c1s1_000151_01.jpg";
    assert_reads(m, "0001_c1s1_000151_01.jpg", 1, 1, 151);
    assert_reads(m, "bounding_box_test/-1_c6s4_019002_03.jpg", -1, 6, 19002);
    assert_reads(m, "/data/0002_c9s9_9/Market-1501-v15.09.15/query/0000_c3s2_112153_04.jpg", 0, 3,
                 112153);
    assert_reads(m, "1501_c6s4_001902_01.jpg", 1501, 6, 1902);
    assert_reads(m, "0012_c1.png", 12, 1, 0);
    assert_reads(m, "0012_c1s2.png", 12, 1, 0);
    assert_reads(m, "999999999999999999_c1_anything", 999999999999999999, 1, 0);
    assert_refused(m, "0001_c12s1_000151_01.jpg", as); /* camera 1, or 12? */
    assert_refused(m, "0001_cs1_000151_01.jpg", as);
    assert_refused(m, "0001_C1s1_000151_01.jpg", as);
    assert_refused(m, "0001c1s1_000151_01.jpg", as);
    assert_refused(m, "x0001_c1s1_000151_01.jpg", as);
    assert_refused(m, " 0001_c1s1_000151_01.jpg", as);
    assert_refused(m, "-2_c1s1_000151_01.jpg", as);
    assert_refused(m, "--1_c1s1_000151_01.jpg", as);
    assert_refused(m, "-10_c1s1_000151_01.jpg", as);
    assert_refused(m, "+1_c1s1_000151_01.jpg", as);
    assert_refused(m, "1000000000000000000_c1s1_000151_01.jpg", as);
    assert_refused(m, "0001_c1s1_000151_01.jpg/", as);
    assert_refused(m, "0001_c1/thumbs.jpg", as);
    assert_refused(m, "/", as);
    assert_refused(m, "", as);
    assert_refused(m, "Thumbs.db", as);
}

Test(names, cuhk03_np)
{
    const enum pr_names c = PR_NAMES_CUHK03_NP;
    assert_reads(c, "0001_c1_1.png", 1, 1, 0);
    assert_reads(c, "detected/query/1467_c2_10.png", 1467, 2, 0);
    assert_reads(c, "0200_c2s1_1931.png", 200, 2, 0); /* no frames in this set */
    assert_refused(c, "1_001_1_01.png",
                   "is not as cuhk03-np has them: PID_cCAMERA with one digit of CAMERA, as in "
                   "0001_c1_1.png");
}

Test(names, veri)
{
    const enum pr_names v = PR_NAMES_VERI;
    const char *as =
        "is not as veri has them: PID_cCAMERA_FRAME with three digits of CAMERA, as in "
        "0001_c001_00016450_0.jpg";
    assert_reads(v, "image_query/0001_c001_00016450_0.jpg", 1, 1, 16450);
    assert_reads(v, "0776_c020_00000005_0.jpg", 776, 20, 5);
    assert_reads(v, "0776_c020.jpg", 776, 20, 0);
    assert_refused(v, "0001_c1_00016450_0.jpg", as);
    assert_refused(v, "0001_c0001_00016450_0.jpg", as);
    assert_refused(v, "-1_c001_00016450_0.jpg", as);
    assert_refused(v, "_c001_00016450_0.jpg", as);
}

Test(names, msmt17)
{
    const enum pr_names m = PR_NAMES_MSMT17;
    const char *as = "is not as msmt17 has them: PID_NUMBER_CAMERA_ and more, as in "
                     "0000/0000_000_01_0303morning_0015_0.jpg";
    assert_reads(m, "0000/0000_000_01_0303morning_0015_0.jpg", 1, 1, 0);
    assert_reads(m, "0002_003_14_0303morning_0038_5_ex.jpg", 3, 14, 0);
    assert_reads(m, "mask_test_v2/3059/3059_031_15_0114noon_0245_0.jpg", 3060, 15, 0);
    assert_refused(m, "0000_000.jpg", as);
    assert_refused(m, "0000_000_01", as);
    assert_refused(m, "0000_000_x_0303morning_0015_0.jpg", as);
    assert_refused(m, "0000_000_1234567890_0303morning_0015_0.jpg", as);
    assert_refused(m, "0001_c1s1_000151_01.jpg", as);
    assert_refused(m, "17", as);
    assert_refused(m, "no/name 17", as);
}

Test(names, msmt17_lists)
{
    static const char path[] = "0005/0005_000_01_0303morning_0015_0.jpg";
    struct pr_name n;
    char text[128];
    snprintf(text, sizeof text, "%s 1041", path);
    cr_assert_eq(pr_name_read(PR_NAMES_MSMT17, text, &n, &e), CM_OK, "%s", e.text);
    cr_assert(n.pid == 1042 && n.camid == 1 && n.bytes == strlen(path));
    snprintf(text, sizeof text, "%s   0", path);
    cr_assert_eq(pr_name_read(PR_NAMES_MSMT17, text, &n, &e), CM_OK, "%s", e.text);
    cr_assert(n.pid == 1 && n.bytes == strlen(path));
    assert_reads(PR_NAMES_MSMT17, "a b/0005_000_01_0303morning_0015_0.jpg", 6, 1, 0);
    assert_reads(PR_NAMES_MSMT17, "0005_000_01_0303morning_0015_0.jpg -1", 6, 1, 0);
    assert_reads(PR_NAMES_MSMT17, "0005_000_01_a 17b.jpg", 6, 1, 0);
    assert_reads(PR_NAMES_MSMT17, "0005_000_01_0303morning_0015_0.jpg ", 6, 1, 0);
    assert_refused(PR_NAMES_MARKET1501, " 0001_c1s1_000151_01.jpg 5", "is not as market1501");
}

/* --- files of names -----------------------------------------------------------------------------
 */

static struct test_folder folder;
static char path[TEST_PATH_BYTES];

static void setup(void)
{
    test_folder_init(&folder);
    test_path(&folder, "m.csv", path);
}

static void teardown(void)
{
    test_folder_fini(&folder);
}

TestSuite(names_csv, .init = setup, .fini = teardown);

/* The file's rows: name, pid, camid, timestamp. */
static void assert_rows(enum pr_names names, const char *text, const struct cm_image_meta *rows,
                        size_t count)
{
    struct pr_csv *r;
    struct cm_image_meta m;
    bool end;
    test_write(path, text, strlen(text));
    cr_assert_eq(pr_csv_open(&r, path, names, &e), CM_OK, "%s", e.text);
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(pr_csv_next(r, &m, &end, &e), CM_OK, "%s", e.text);
        cr_assert(!end, "row %zu is missing", i);
        cr_assert_str_eq(m.name, rows[i].name);
        cr_assert(m.pid == rows[i].pid && m.camid == rows[i].camid &&
                      m.timestamp == rows[i].timestamp,
                  "%s: %lld %d %lld", m.name, (long long)m.pid, m.camid, (long long)m.timestamp);
    }
    cr_assert_eq(pr_csv_next(r, &m, &end, &e), CM_OK, "%s", e.text);
    cr_assert(end, "more than %zu rows", count);
    pr_csv_close(r);
}

static void assert_file_refused(enum pr_names names, const char *text, const char *part)
{
    struct pr_csv *r;
    struct cm_image_meta m;
    bool end = false;
    test_write(path, text, strlen(text));
    enum cm_err rc = pr_csv_open(&r, path, names, &e);
    while (!rc && !end)
        rc = pr_csv_next(r, &m, &end, &e);
    cr_assert_eq(rc, CM_EFORMAT, "expected \"%s\"", part);
    cr_assert(strncmp(e.text, path, strlen(path)) == 0, "%s", e.text);
    cr_assert(strstr(e.text, part) != NULL, "expected \"%s\" in: %s", part, e.text);
    pr_csv_close(r);
}

static const struct cm_image_meta market[] = {
    {.name = "a/0001_c2s1_000151_01.jpg", .pid = 1, .camid = 2, .timestamp = 151},
    {.name = "-1_c3s1_000401_03.jpg", .pid = -1, .camid = 3, .timestamp = 401},
};

Test(names_csv, plain_lists)
{
    const enum pr_names m = PR_NAMES_MARKET1501;
    assert_rows(m, "a/0001_c2s1_000151_01.jpg\n-1_c3s1_000401_03.jpg\n", market, 2);
    assert_rows(m, "\xef\xbb\xbf\r\n a/0001_c2s1_000151_01.jpg \r\n\r\n-1_c3s1_000401_03.jpg",
                market, 2);
    assert_rows(m, "\"a/0001_c2s1_000151_01.jpg\"\r-1_c3s1_000401_03.jpg\r", market, 2);
    assert_rows(m, "a/0001_c2s1_000151_01.jpg", market, 1);
}

Test(names_csv, columns)
{
    const enum pr_names m = PR_NAMES_MARKET1501;
    struct cm_image_meta timed[] = {market[0], market[1]};
    assert_rows(m, "name\na/0001_c2s1_000151_01.jpg\n-1_c3s1_000401_03.jpg\n", market, 2);
    assert_rows(m, "name\n", NULL, 0);
    assert_rows(m, "pid,name,camid\nx,a/0001_c2s1_000151_01.jpg,\n77,-1_c3s1_000401_03.jpg,5\n",
                market, 2);
    timed[0].timestamp = 17;
    timed[1].timestamp = -18;
    assert_rows(m, "name,timestamp\na/0001_c2s1_000151_01.jpg,17\n-1_c3s1_000401_03.jpg,-18\n",
                timed, 2);
}

Test(names_csv, msmt17_lists)
{
    static const struct cm_image_meta rows[] = {
        {.name = "0000/0000_000_01_0303morning_0015_0.jpg", .pid = 1, .camid = 1},
        {.name = "0001/0001_004_12_0114noon_0245_0.jpg", .pid = 9, .camid = 12},
    };
    assert_rows(PR_NAMES_MSMT17,
                "0000/0000_000_01_0303morning_0015_0.jpg 0\n"
                "0001/0001_004_12_0114noon_0245_0.jpg 8\n",
                rows, 2);
}

Test(names_csv, refuses)
{
    const enum pr_names m = PR_NAMES_MARKET1501;
    assert_file_refused(m, "0001_c1s1_000151_01.jpg\n\nREADME\n",
                        "line 3: name \"README\" is not as market1501 has them");
    assert_file_refused(m, "nam\n0001_c1s1_000151_01.jpg\n", "line 1: name \"nam\" is not as");
    assert_file_refused(m, "0001_c1s1_000151_01.jpg\n0001_c1s1_000152_01.jpg,1\n",
                        "line 2: has 2 fields, the header has 1");
    assert_file_refused(
        m, "0001_c1s1_000151_01.jpg,1\n",
        "the column name is missing; the first line must name it, or be a file name "
        "without a comma, and is \"0001_c1s1_000151_01.jpg,1\"");
    assert_file_refused(m, "name,name\n", "names the column name twice");
    assert_file_refused(m, "name,timestamp\n0001_c1s1_000151_01.jpg,x\n",
                        "line 2: timestamp must be");
    assert_file_refused(m, "0001_c1s1_\xff.jpg\n", "line 1: name is not UTF-8");
    assert_file_refused(m, "0001_c1s1_\t.jpg\n", "line 1: name holds a control character");
    assert_file_refused(m, "", "is empty");
    assert_file_refused(PR_NAMES_CSV, "name\n0001_c1s1_000151_01.jpg\n",
                        "the column pid is missing");
    assert_file_refused(PR_NAMES_CSV, "0001_c1s1_000151_01.jpg\n", "the column name is missing");
}

/* As a first line it is kept while the header is looked for, and only so far. */
Test(names_csv, a_first_line_of_the_longest_name_and_more)
{
    struct pr_csv *r;
    struct cm_image_meta m;
    bool end;
    char *text = malloc(CM_NAME_BYTES_MAX + 2);
    memset(text, 'n', CM_NAME_BYTES_MAX + 1);
    memcpy(text, "0001_c2", 7);
    for (size_t more = 0; more < 2; more++) {
        text[CM_NAME_BYTES_MAX + more] = '\0';
        test_write(path, text, CM_NAME_BYTES_MAX + more);
        cr_assert_eq(pr_csv_open(&r, path, PR_NAMES_CUHK03_NP, &e), CM_OK, "%s", e.text);
        cr_assert_eq(pr_csv_next(r, &m, &end, &e), more ? CM_ELIMIT : CM_OK);
        cr_assert(more || (strlen(m.name) == CM_NAME_BYTES_MAX && m.pid == 1 && m.camid == 2));
        pr_csv_close(r);
        text[CM_NAME_BYTES_MAX] = 'n';
    }
    free(text);
}
