/* store.c: see store.h. */
#include "tests/support/store.h"

#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WAIT_MS = 60000 };

/* --- what lies in a folder -------------------------------------------------------------------- */

bool test_store_has(struct test_cluster *c, const char *store, const char *file)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s/%s", c->dir, store, file);
    return access(path, F_OK) == 0;
}

void test_store_same(struct test_cluster *c, const char *store, const char *file)
{
    char path[512];
    size_t sizes[2];
    snprintf(path, sizeof path, "%s/g/%s", c->dir, file);
    char *original = test_read(path, &sizes[0]);
    snprintf(path, sizeof path, "%s/%s/%s", c->dir, store, file);
    char *copy = test_read(path, &sizes[1]);
    cr_assert_eq(sizes[0], sizes[1], "%s has %zu bytes, not %zu", path, sizes[1], sizes[0]);
    cr_assert_eq(memcmp(original, copy, sizes[0]), 0, "%s is not the same", path);
    free(original);
    free(copy);
}

/* Whatever has its own name in the store is whole: the same as in "g". Returns how many files that
 * are. */
unsigned test_store_check(struct test_cluster *c, const char *store)
{
    char path[512];
    unsigned count = 0;
    snprintf(path, sizeof path, "%s/%s", c->dir, store);
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        const char *name = entry->d_name;
        size_t n = strlen(name);
        if (name[0] == '.' || strcmp(name, "store.json") == 0 ||
            (n > 5 && strcmp(name + n - 5, ".part") == 0))
            continue;
        test_store_same(c, store, name);
        count++;
    }
    if (d)
        closedir(d);
    return count;
}

/* Is the whole gallery there, and sound to `vitrine verify`? */
void test_store_whole(struct test_cluster *c, const char *store, unsigned files)
{
    struct test_run r;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", c->dir, store);
    cr_assert_eq(test_store_check(c, store), files, "%s is not all there", store);
    cr_assert_eq(TEST_RUN(&r, "vitrine", "verify", path), 0, "%s", r.err);
    test_run_fini(&r);
}

/* Bytes that are in the store, under whatever names. */
uint64_t test_store_bytes(struct test_cluster *c, const char *store)
{
    char path[512];
    struct stat s;
    uint64_t sum = 0;
    snprintf(path, sizeof path, "%s/%s", c->dir, store);
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;)
        if (entry->d_name[0] != '.' && fstatat(dirfd(d), entry->d_name, &s, 0) == 0)
            sum += (uint64_t)s.st_size;
    if (d)
        closedir(d);
    return sum;
}

/* --- what a worker says ----------------------------------------------------------------------- */

bool test_says(const struct test_run *r, const char *text)
{
    char *log = test_run_err(r);
    bool found = strstr(log, text) != NULL;
    free(log);
    return found;
}

/* Waits until a line with this text is in its log. */
void test_wait_says(const struct test_run *r, const char *text)
{
    for (unsigned long long end = test_now_ms() + WAIT_MS; !test_says(r, text);) {
        char *log = test_now_ms() < end ? NULL : test_run_err(r);
        cr_assert(log == NULL, "'%s' was not said: %s", text, log);
        test_sleep_ms(5);
    }
}
