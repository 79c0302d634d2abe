/* process.h: child processes that never outlive their parent.
 *
 * A child gets SIGKILL when the thread that spawned it ends: spawn from a thread that lives as long
 * as the process. It stays in the process group of its parent, so Ctrl-C in a terminal reaches
 * both, each with its own SIGINT. */
#ifndef IO_PROCESS_H
#define IO_PROCESS_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* One child. Caller's storage; filled by io_spawn. */
struct io_child {
    pid_t pid;
    bool exited;
    bool asked; /* it was told to end */
    int status; /* as waitpid gives it; once exited */
};

/* Where a child's output goes: a descriptor, which stays the caller's, or -1 for the parent's. */
struct io_spawn_options {
    int stdout_fd;
    int stderr_fd;
    const char *directory; /* to run in; NULL for the parent's */
};

/* Runs the program at the path argv[0] (PATH is not searched) with argv, which ends in NULL. Its
 * input is /dev/null, its signals are unblocked and at their defaults, and it inherits no other
 * descriptor. Returns once the program runs. Any thread (see above). Errors: those of
 * cm_fail_errno, with the program's or directory's name. */
enum cm_err io_spawn(struct io_child *out, char *const argv[], const struct io_spawn_options *o,
                     struct cm_error *e) __attribute__((warn_unused_result));

/* True once the child has ended; it is then reaped and its `status` set. Never blocks. */
bool io_child_poll(struct io_child *c);

/* Asks the child to end (SIGTERM), waits up to grace_ms, then kills it; reaped in any case. Blocks.
 * Fine if it has ended already. */
void io_child_stop(struct io_child *c, unsigned grace_ms);

/* Asks the child to end (SIGTERM), once: our programs take a second signal as "at once". Returns
 * without waiting; io_child_stop waits. */
void io_child_ask(struct io_child *c);

/* "running", "exited with code 3", "killed by signal 9 (Killed)". Returns `out`. */
char *io_child_text(const struct io_child *c, char *out, size_t size);

/* The folder of this program's own file, without a trailing slash, to find its sister programs.
 * Errors: CM_ELIMIT (does not fit), CM_EIO. */
enum cm_err io_self_dir(char *out, size_t size, struct cm_error *e);

#endif
