/* scratch.h: a folder of its own for a test of common/io. */
#ifndef TEST_IO_SCRATCH_H
#define TEST_IO_SCRATCH_H

#include "common/io/file.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The folder. */
struct scratch {
    char dir[64];
};

/* A new folder under /tmp. */
static inline struct scratch scratch_new(void)
{
    struct scratch s = {.dir = "/tmp/vitrine-io-XXXXXX"};
    cr_assert(mkdtemp(s.dir) != NULL, "mkdtemp");
    return s;
}

/* Removes it with all that is in it. */
static inline void scratch_end(const struct scratch *s)
{
    struct cm_error e;
    cr_assert_eq(io_remove_tree(s->dir, &e), CM_OK, "%s", e.text);
}

/* "<prefix><dir>/<name>" in `out`. Returns `out`. */
static inline char *scratch_path(const struct scratch *s, const char *prefix, const char *name,
                                 char out[128])
{
    snprintf(out, 128, "%s%s/%s", prefix, s->dir, name);
    return out;
}

/* A file of just these bytes. */
static inline void write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0, "open %s", path);
    cr_assert_eq(io_file_write_all(fd, path, 0, data, size, NULL), CM_OK);
    close(fd);
}

#endif
