/* Label files, good and bad, through import and search. */
#include "tests/support/refusal.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DATA = 65, NOINPUT = 66 };

/* Good inputs, and a gallery of them that is searched. */
static void begin(struct test_inputs *t)
{
    test_inputs_init(t);
    test_inputs_import(t, NULL);
}

/* import refuses t->meta, and search t->query_meta. */
static void refused_twice(const struct test_inputs *t, int code, const char *part)
{
    struct test_inputs copy = *t;
    struct test_refusal want = {code, t->meta, part};
    test_path(&t->folder, "new", copy.out);
    test_path(&t->folder, "new.partial", copy.partial);
    test_import_refused(&copy, &want);
    want.what = t->query_meta;
    test_search_refused(t, true, &want);
}

/* Writes both label files with this text. */
static void write_labels(const struct test_inputs *t, const char *text, size_t size)
{
    test_write(t->meta, text, size);
    test_write(t->query_meta, text, size);
}

Test(bad_labels, missing_empty_and_no_file)
{
    struct test_inputs t;
    begin(&t);
    write_labels(&t, "", 0);
    refused_twice(&t, DATA, "is empty; its first line must be name,pid,camid,timestamp");
    unlink(t.meta);
    unlink(t.query_meta);
    refused_twice(&t, NOINPUT, "No such file or directory");
    cr_assert(mkdir(t.meta, 0755) == 0 && mkdir(t.query_meta, 0755) == 0);
    refused_twice(&t, DATA, "is not a regular file; save the labels to one");
    cr_assert(rmdir(t.meta) == 0 && rmdir(t.query_meta) == 0);
    cr_assert(mkfifo(t.meta, 0644) == 0 && mkfifo(t.query_meta, 0644) == 0);
    refused_twice(&t, DATA, "is not a regular file; save the labels to one");
    test_inputs_fini(&t);
}

Test(bad_labels, wrong_count)
{
    struct test_inputs t;
    begin(&t);
    struct test_inputs copy = t;
    test_path(&t.folder, "new", copy.out);
    for (size_t rows = 0; rows < 10; rows += 3) {
        char part[64];
        snprintf(part, sizeof part, "has %zu rows, but ", rows);
        test_labels(t.meta, "image", rows);
        test_labels(t.query_meta, "query", rows);
        test_import_refused(&copy, &(struct test_refusal){DATA, t.meta, part});
        test_search_refused(&t, true, &(struct test_refusal){DATA, t.query_meta, part});
    }
    test_inputs_fini(&t);
}

Test(bad_labels, each_mistake_is_named_with_its_line)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"name,camid,timestamp\na,1,0\n", "the column pid is missing"},
        {"pid,camid\n1,1\n", "the column name is missing"},
        {"name,pid\na,1\n", "the column camid is missing"},
        {"name,pid,camid,pid\na,1,1,1\n", "its header names the column pid twice"},
        {"a.jpg,1,1,0\n", "the first line must name name, pid and camid, and is \"a.jpg,1,1,0\""},
        {"name,pid,camid\na,one,1\n", "line 2: pid must be a whole number from"},
        {"name,pid,camid\na,1,1\nb,1.5,1\n", "line 3: pid must be a whole number from"},
        {"name,pid,camid\na,,1\n", "line 2: pid must be a whole number from"},
        {"name,pid,camid\na,9223372036854775808,1\n", "line 2: pid must be a whole number from"},
        {"name,pid,camid\na,1,2147483648\n", "line 2: camid must be a whole number from"},
        {"name,pid,camid,timestamp\na,1,1,1e9\n", "line 2: timestamp must be a whole number from"},
        {"name,pid,camid\na,1\n", "line 2: has 2 fields, the header has 3"},
        {"name,pid,camid\na,1,1,1\n", "line 2: has 4 fields, the header has 3"},
        {"name,pid,camid\na\"b,1,1\n", "line 2: a quote stands where none may"},
        {"name,pid,camid\n\"a\"b,1,1\n", "line 2: a quote stands where none may"},
        {"name,pid,camid\n\"a,1,1\nb,1,1\n",
         "line 2: the row that begins here opens a quote and never closes it"},
        {"name,pid,camid\n,1,1\n", "line 2: name is empty"},
        {"name,pid,camid\na\tb,1,1\n", "line 2: name holds a control character"},
        {"name,pid,camid\n\xff.jpg,1,1\n",
         "line 2: name is not UTF-8; save the file as UTF-8 text"},
        {"name,pid,camid\n\xc3,1,1\n", "line 2: name is not UTF-8"},
        {"name,pid,camid\n\xed\xa0\x80,1,1\n", "line 2: name is not UTF-8"},
    };
    struct test_inputs t;
    begin(&t);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_labels(&t, cases[i].text, strlen(cases[i].text));
        refused_twice(&t, DATA, cases[i].part);
    }
    write_labels(&t, "name,pid,camid\na\0b,1,1\n", 23);
    refused_twice(&t, DATA, "line 2: holds a NUL byte; save it as UTF-8 text");
    test_inputs_fini(&t);
}

Test(bad_labels, huge_names_and_files)
{
    static const char head[] = "name,pid,camid\n";
    enum { NAME = 5000, ROW = 70000 };
    static char text[sizeof head + ROW];
    struct test_inputs t;
    begin(&t);
    memset(text, 'a', sizeof text);
    memcpy(text, head, sizeof head - 1);
    write_labels(&t, text, sizeof text);
    refused_twice(&t, DATA, "line 2: the row that begins here is longer than 65536 bytes");
    memcpy(text + sizeof head - 1 + NAME, ",1,1\n", 5);
    write_labels(&t, text, sizeof head - 1 + NAME + 5);
    refused_twice(&t, DATA, "line 2: name has 5000 bytes; at most 4096 are supported");
    write_labels(&t, head, sizeof head - 1);
    test_resize(t.meta, (size_t)1 << 40);
    test_resize(t.query_meta, (size_t)1 << 40);
    refused_twice(&t, DATA, "line 2: holds a NUL byte");
    test_inputs_fini(&t);
}

/* The hit of image `id` in the answer to a query. */
static const json_t *hit_of(const json_t *answer, size_t id)
{
    size_t i;
    const json_t *hit;
    json_array_foreach(json_object_get(answer, "hits"), i, hit)
    {
        if ((size_t)json_integer_value(json_object_get(hit, "id")) == id)
            return hit;
    }
    cr_assert_fail("image %zu is not among the hits", id);
    return NULL;
}

/* A byte order mark, CRLF, quotes, columns in another order, blank lines, UTF-8: all of it comes
 * back in the hits as it was meant. */
Test(labels, come_back_in_the_hits)
{
    static const char text[] = "\xef\xbb\xbfpid,note,camid,name\r\n"
                               "-5,x,0,\"with, comma\"\r\n"
                               "9223372036854775807,,-1,\"with \"\"quotes\"\"\"\r\n"
                               "\r\n"
                               "1,\"two\r\nlines\",2,gr\xc3\xbc\xc3\x9f"
                               "e/\xe5\x9b\xbe.jpg\r\n"
                               "2,,2147483647,\xf0\x9f\x90\x88\r\n"
                               "3,,3,back\\slash\r\n"
                               "4,,4, spaces around \r\n"
                               "5,,5,last";
    static const struct {
        const char *name;
        json_int_t pid, camid;
    } expected[TEST_IMAGES] = {
        {"with, comma", -5, 0},
        {"with \"quotes\"", INT64_MAX, -1},
        {"gr\xc3\xbc\xc3\x9f"
         "e/\xe5\x9b\xbe.jpg",
         1, 2},
        {"\xf0\x9f\x90\x88", 2, INT32_MAX},
        {"back\\slash", 3, 3},
        {"spaces around", 4, 4},
        {"last", 5, 5},
    };
    struct test_inputs t;
    struct test_run r;
    test_inputs_init(&t);
    test_write(t.meta, text, sizeof text - 1);
    test_inputs_import(&t, "3");
    TEST_RUN(&r, "vitrine", "search", "--gallery", t.out, "--workers", "2", "--features", t.query,
             "-k", "7", "--json");
    cr_assert_eq(r.code, 0, "%s", r.err);
    json_t *answer = json_loads(r.out, JSON_DISABLE_EOF_CHECK, NULL);
    cr_assert(answer != NULL, "%s", r.out);
    for (size_t i = 0; i < TEST_IMAGES; i++) {
        const json_t *hit = hit_of(answer, i);
        cr_assert_str_eq(json_string_value(json_object_get(hit, "name")), expected[i].name);
        cr_assert_eq(json_integer_value(json_object_get(hit, "pid")), expected[i].pid);
        cr_assert_eq(json_integer_value(json_object_get(hit, "camid")), expected[i].camid);
    }
    json_decref(answer);
    test_run_fini(&r);
    test_inputs_fini(&t);
}
