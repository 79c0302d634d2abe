/* threads.h: how long each thread of a process was on a processor, and how long it waited for one.
 * Any thread. */
#ifndef IO_THREADS_H
#define IO_THREADS_H

#include "common/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Bounds of what is read. */
enum { IO_THREAD_NAME_BYTES = 16, IO_THREADS_MAX = 64 };

struct io_thread_times {
    pid_t tid;                       /* the process's own number for the main thread */
    char name[IO_THREAD_NAME_BYTES]; /* ZeroMQ's are "ZMQbg/..." */
    uint64_t ran_ns;    /* since it began; late by up to a tick of the kernel's clock */
    uint64_t waited_ns; /* ready to run, while others ran */
};

/* The threads of process `pid` (0: this one), the first IO_THREADS_MAX of them, in no promised
 * order. One that ends meanwhile is left out. Errors: CM_ENOENT (no such process), CM_EUNAVAIL (a
 * kernel that keeps no such account), those of cm_fail_errno. */
enum cm_err io_threads_read(pid_t pid, struct io_thread_times out[IO_THREADS_MAX], size_t *count,
                            struct cm_error *e) __attribute__((warn_unused_result));

#endif
