/* process.c: see process.h. */
#include "common/io/process.h"

#include "common/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POLL_STEP_MS = 5 };

/* What a child that could not start tells its parent, through a pipe that exec closes. */
struct report {
    enum step { STEP_DIRECTORY = 1, STEP_FILES, STEP_EXEC } step;
    int errnum;
};

/* --- in the child, between fork and exec: only async-signal-safe calls ------------------------ */

static _Noreturn void give_up(int report_fd, enum step step)
{
    struct report r = {.step = step, .errnum = errno};
    ssize_t ignored = write(report_fd, &r, sizeof r);
    (void)ignored; /* the parent sees the exit code */
    _exit(127);
}

/* A signal handled by our own code must not be: it would act on the parent's loop. What nohup set
 * stays, or its command would live on without us. */
static void reset_signals(void)
{
    sigset_t none;
    for (int signum = 1; signum < NSIG; signum++) /* fails for SIGKILL and a few more */
        if (signal(signum, SIG_DFL) == SIG_IGN && signum == SIGHUP)
            signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* `fd`, or a copy of it that the standard ones cannot overwrite. */
static int above_standard(int fd)
{
    return fd > STDERR_FILENO ? fd : fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

static bool place_files(const struct io_spawn_options *o)
{
    int in = above_standard(open("/dev/null", O_RDONLY | O_CLOEXEC));
    int out = above_standard(o->stdout_fd >= 0 ? o->stdout_fd : STDOUT_FILENO);
    int err = above_standard(o->stderr_fd >= 0 ? o->stderr_fd : STDERR_FILENO);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
        return false;
    /* All of ours say so themselves; a library's may not. An old kernel without the call is fine.
     */
    close_range(STDERR_FILENO + 1, ~0u, CLOSE_RANGE_CLOEXEC);
    return true;
}

static _Noreturn void run_child(pid_t parent, char *const argv[], const struct io_spawn_options *o,
                                int report_fd)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127); /* the parent died before the line above */
    report_fd = above_standard(report_fd);
    reset_signals();
    if (o->directory && chdir(o->directory) != 0)
        give_up(report_fd, STEP_DIRECTORY);
    if (!place_files(o))
        give_up(report_fd, STEP_FILES);
    execv(argv[0], argv);
    give_up(report_fd, STEP_EXEC);
}

/* --- in the parent ---------------------------------------------------------------------------- */

static int wait_for(pid_t pid, int flags, int *status)
{
    int rc;
    do
        rc = (int)waitpid(pid, status, flags);
    while (rc < 0 && errno == EINTR);
    return rc;
}

/* Signals wait until the child has put its handlers away. */
static pid_t fork_quietly(char *const argv[], const struct io_spawn_options *o, int report_fd)
{
    sigset_t all, before;
    pid_t parent = getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0)
        run_child(parent, argv, o, report_fd);
    int errnum = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = errnum;
    return pid;
}

static enum cm_err fail_start(const struct report *r, char *const argv[],
                              const struct io_spawn_options *o, struct cm_error *e)
{
    if (r->step == STEP_DIRECTORY)
        return cm_fail_errno(e, r->errnum, "cannot run %s in %s", argv[0], o->directory);
    if (r->step == STEP_FILES)
        return cm_fail_errno(e, r->errnum, "cannot redirect the output of %s", argv[0]);
    return cm_fail_errno(e, r->errnum, "cannot run %s", argv[0]);
}

/* Waits until exec closed the pipe (nothing to read) or the child reports why not. */
static enum cm_err await_start(pid_t pid, int report_fd, char *const argv[],
                               const struct io_spawn_options *o, struct cm_error *e)
{
    struct report r;
    ssize_t n;
    do
        n = read(report_fd, &r, sizeof r);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return CM_OK;
    int status;
    wait_for(pid, 0, &status);
    if (n != (ssize_t)sizeof r)
        return cm_fail(e, CM_EIO, "cannot run %s: it ended before it began", argv[0]);
    return fail_start(&r, argv, o, e);
}

enum cm_err io_spawn(struct io_child *out, char *const argv[], const struct io_spawn_options *o,
                     struct cm_error *e)
{
    int report_fds[2];
    *out = (struct io_child){.exited = true};
    if (pipe2(report_fds, O_CLOEXEC) != 0)
        return cm_fail_errno(e, errno, "cannot make a pipe to run %s", argv[0]);
    pid_t pid = fork_quietly(argv, o, report_fds[1]);
    int errnum = errno;
    close(report_fds[1]);
    enum cm_err rc = pid < 0 ? cm_fail_errno(e, errnum, "cannot fork to run %s", argv[0])
                             : await_start(pid, report_fds[0], argv, o, e);
    close(report_fds[0]);
    if (!rc)
        *out = (struct io_child){.pid = pid};
    return rc;
}

bool io_child_poll(struct io_child *c)
{
    if (!c->exited && wait_for(c->pid, WNOHANG, &c->status) != 0)
        c->exited = true;
    return c->exited;
}

static void sleep_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

void io_child_ask(struct io_child *c)
{
    if (!c->asked && !io_child_poll(c))
        kill(c->pid, SIGTERM);
    c->asked = true;
}

void io_child_stop(struct io_child *c, unsigned grace_ms)
{
    io_child_ask(c);
    for (unsigned waited = 0; !io_child_poll(c) && waited < grace_ms; waited += POLL_STEP_MS)
        sleep_ms(POLL_STEP_MS);
    if (c->exited)
        return;
    kill(c->pid, SIGKILL);
    wait_for(c->pid, 0, &c->status);
    c->exited = true;
}

char *io_child_text(const struct io_child *c, char *out, size_t size)
{
    if (!c->exited)
        snprintf(out, size, "running");
    else if (WIFSIGNALED(c->status))
        snprintf(out, size, "killed by signal %d (%s)", WTERMSIG(c->status),
                 strsignal(WTERMSIG(c->status)));
    else
        snprintf(out, size, "exited with code %d", WEXITSTATUS(c->status));
    return out;
}

enum cm_err io_self_dir(char *out, size_t size, struct cm_error *e)
{
    CM_ASSERT(size > 0);
    ssize_t n = readlink("/proc/self/exe", out, size);
    if (n < 0)
        return cm_fail_errno(e, errno, "cannot read /proc/self/exe");
    if ((size_t)n == size)
        return cm_fail(e, CM_ELIMIT, "the path of this program is longer than %zu bytes", size - 1);
    out[n] = '\0';
    *strrchr(out, '/') = '\0';
    return CM_OK;
}
