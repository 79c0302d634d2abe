/* fuzz.h: libFuzzer's input as a file, since the readers take paths. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What libFuzzer calls. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One input, in memory, with a path that opens it. */
struct fuzz_file {
    int fd;
    char path[64];
};

/* Makes the file of these bytes; stops the fuzzer if it cannot. */
static inline void fuzz_file_open(struct fuzz_file *f, const uint8_t *data, size_t size)
{
    f->fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (f->fd < 0 || pwrite(f->fd, data, size, 0) != (ssize_t)size)
        abort();
    snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
}

/* Ends the file. */
static inline void fuzz_file_close(struct fuzz_file *f)
{
    close(f->fd);
}

#endif
