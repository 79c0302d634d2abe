/* test_file.c: whole-file operations, and how their errors read. */
#include "common/io/file.h"
#include "tests/unit/io/scratch.h"

#include <sys/stat.h>

Test(io_file, reads_what_was_written)
{
    struct scratch s = scratch_new();
    char path[128];
    enum { BYTES = 100003 };
    char *bytes = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (char)(i * 31);
    write_file(scratch_path(&s, "", "a", path), bytes, BYTES);
    void *data;
    size_t size;
    cr_assert_eq(io_read_file(path, BYTES, &data, &size, NULL), CM_OK);
    cr_assert_eq(size, (size_t)BYTES);
    cr_assert_eq(memcmp(data, bytes, BYTES), 0);
    cr_assert_eq(((char *)data)[BYTES], '\0');
    free(data);
    free(bytes);
    scratch_end(&s);
}

Test(io_file, writes_at_an_offset)
{
    struct scratch s = scratch_new();
    char path[128];
    write_file(scratch_path(&s, "", "a", path), "0123456789", 10);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    cr_assert_eq(io_file_write_all(fd, path, 4, "xyz", 3, NULL), CM_OK);
    close(fd);
    void *data;
    size_t size;
    void *dirt = malloc(4096);
    explicit_bzero(memset(dirt, 'x', 4096), 1);
    free(dirt); /* so that memory is not zero by chance: the NUL must be written */
    cr_assert_eq(io_read_file(path, 10000, &data, &size, NULL), CM_OK);
    cr_assert_str_eq(data, "0123xyz789");
    free(data);
    scratch_end(&s);
}

Test(io_file, write_error_names_the_path)
{
    struct cm_error e;
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    cr_assert(fd >= 0);
    cr_assert_eq(io_file_write_all(fd, "/dev/full", 0, "x", 1, &e), CM_ENOSPC);
    cr_assert_str_eq(e.text, "cannot write /dev/full: No space left on device");
    close(fd);
}

Test(io_file, reads_no_more_than_allowed)
{
    struct scratch s = scratch_new();
    char path[128], expected[256];
    struct cm_error e;
    void *data;
    size_t size;
    write_file(scratch_path(&s, "", "a", path), "0123456789", 10);
    cr_assert_eq(io_read_file(path, 10, &data, &size, &e), CM_OK);
    free(data);
    cr_assert_eq(io_read_file(path, 9, &data, &size, &e), CM_ELIMIT);
    snprintf(expected, sizeof expected, "%s: 10 bytes long; at most 9 are read", path);
    cr_assert_str_eq(e.text, expected);
    cr_assert(data == NULL);
    /* A file of /proc claims a size of 0. */
    cr_assert_eq(io_read_file("/proc/self/status", 16, &data, &size, &e), CM_ELIMIT);
    cr_assert_str_eq(e.text, "/proc/self/status: longer than 16 bytes");
    scratch_end(&s);
}

Test(io_file, reads_only_regular_files)
{
    struct scratch s = scratch_new();
    char path[128], expected[256];
    struct cm_error e;
    void *data;
    size_t size;
    cr_assert_eq(mkfifo(scratch_path(&s, "", "fifo", path), 0600), 0);
    cr_assert_eq(io_read_file(path, 9, &data, &size, &e), CM_EFORMAT);
    snprintf(expected, sizeof expected, "%s: not a regular file", path);
    cr_assert_str_eq(e.text, expected);
    cr_assert_eq(io_read_file(scratch_path(&s, "", "none", path), 9, &data, &size, &e), CM_ENOENT);
    snprintf(expected, sizeof expected, "cannot open %s: No such file or directory", path);
    cr_assert_str_eq(e.text, expected);
    scratch_end(&s);
}

Test(io_file, renames_and_never_over)
{
    struct scratch s = scratch_new();
    char a[128], b[128], expected[320];
    struct cm_error e;
    scratch_path(&s, "", "a", a);
    scratch_path(&s, "", "b", b);
    cr_assert_eq(mkdir(a, 0700), 0);
    cr_assert_eq(io_rename_new(a, b, &e), CM_OK, "%s", e.text);
    cr_assert_eq(mkdir(a, 0700), 0);
    cr_assert_eq(io_rename_new(a, b, &e), CM_EEXIST); /* rename(2) replaces an empty folder */
    snprintf(expected, sizeof expected, "cannot rename %s to %s: File exists", a, b);
    cr_assert_str_eq(e.text, expected);
    cr_assert_eq(access(a, F_OK), 0);
    cr_assert_eq(io_fsync_path(s.dir, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_fsync_path("/none", &e), CM_ENOENT);
    scratch_end(&s);
}

Test(io_file, removes_a_tree_and_follows_no_link)
{
    struct scratch s = scratch_new();
    char path[128], kept[128];
    struct cm_error e;
    write_file(scratch_path(&s, "", "kept", kept), "x", 1);
    cr_assert_eq(mkdir(scratch_path(&s, "", "tree", path), 0700), 0);
    cr_assert_eq(mkdir(scratch_path(&s, "", "tree/deep", path), 0700), 0);
    write_file(scratch_path(&s, "", "tree/deep/file", path), "x", 1);
    cr_assert_eq(symlink(s.dir, scratch_path(&s, "", "tree/deep/link", path)), 0);
    cr_assert_eq(io_remove_tree(scratch_path(&s, "", "tree", path), &e), CM_OK, "%s", e.text);
    cr_assert_eq(access(path, F_OK), -1);
    cr_assert_eq(access(kept, F_OK), 0);
    cr_assert_eq(io_remove_tree(path, &e), CM_OK); /* gone already */
    cr_assert_eq(symlink(s.dir, path), 0);
    cr_assert_eq(io_remove_tree(path, &e), CM_EIO);
    cr_assert_eq(access(kept, F_OK), 0);
    scratch_end(&s);
}

Test(io_file, a_lock_has_one_holder)
{
    struct scratch s = scratch_new();
    char path[128], expected[256];
    struct cm_error e;
    int first, second;
    scratch_path(&s, "", "lock", path);
    cr_assert_eq(io_lock_file(path, &first, &e), CM_OK, "%s", e.text);
    cr_assert_eq(io_lock_file(path, &second, &e), CM_EBUSY);
    cr_assert_eq(second, -1);
    snprintf(expected, sizeof expected, "the lock file %s is held by another process", path);
    cr_assert_str_eq(e.text, expected);
    close(first);
    cr_assert_eq(io_lock_file(path, &second, &e), CM_OK, "%s", e.text);
    close(second);
    scratch_end(&s);
}
