/* test_process.c: children, how they start, stop, and fail to. */
#include "common/io/process.h"
#include "tests/unit/io/scratch.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>

static const struct io_spawn_options inherit = {.stdout_fd = -1, .stderr_fd = -1};

/* Runs a shell line with its output in `path`. */
static struct io_child run_shell(char *line, const char *path, const char *directory)
{
    char *argv[] = {"/bin/sh", "-c", line, NULL};
    struct io_child c;
    struct cm_error e;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    struct io_spawn_options o = {.stdout_fd = fd, .stderr_fd = fd, .directory = directory};
    cr_assert_eq(io_spawn(&c, argv, &o, &e), CM_OK, "%s", e.text);
    close(fd);
    return c;
}

static void await_end(struct io_child *c)
{
    for (int i = 0; i < 2000 && !io_child_poll(c); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    cr_assert(c->exited);
}

static void assert_file(const char *path, const char *expected)
{
    void *text;
    size_t size;
    cr_assert_eq(io_read_file(path, 4096, &text, &size, NULL), CM_OK);
    cr_assert_str_eq(text, expected);
    free(text);
}

/* Waits until the child has written to `path`: it is past its set-up. */
static void await_output(const char *path)
{
    void *text = NULL;
    size_t size = 0;
    for (int i = 0; i < 2000 && size == 0; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        free(text);
        if (io_read_file(path, 4096, &text, &size, NULL))
            size = 0;
    }
    free(text);
    cr_assert(size > 0);
}

Test(io_process, output_status_and_folder)
{
    struct scratch s = scratch_new();
    char path[128], expected[128], text[64];
    scratch_path(&s, "", "out", path);
    struct io_child c = run_shell("pwd; echo oops >&2; cat; exit 3", path, s.dir);
    await_end(&c);
    snprintf(expected, sizeof expected, "%s\noops\n", s.dir);
    assert_file(path, expected); /* cat ended: input is /dev/null */
    cr_assert_str_eq(io_child_text(&c, text, sizeof text), "exited with code 3");
    cr_assert_eq(waitpid(c.pid, NULL, WNOHANG), -1, "reaped");
    scratch_end(&s);
}

Test(io_process, swapped_outputs)
{
    struct scratch s = scratch_new();
    char out_path[128], err_path[128];
    char *argv[] = {"/bin/sh", "-c", "echo out; echo err >&2", NULL};
    struct io_child c;
    write_file(scratch_path(&s, "", "1", out_path), "", 0);
    write_file(scratch_path(&s, "", "2", err_path), "", 0);
    int keep[2] = {dup(1), dup(2)};
    cr_assert_eq(dup2(open(out_path, O_WRONLY | O_CLOEXEC), 1), 1);
    cr_assert_eq(dup2(open(err_path, O_WRONLY | O_CLOEXEC), 2), 2);
    struct io_spawn_options swap = {.stdout_fd = 2, .stderr_fd = 1};
    enum cm_err rc = io_spawn(&c, argv, &swap, NULL);
    dup2(keep[0], 1);
    dup2(keep[1], 2);
    cr_assert_eq(rc, CM_OK);
    await_end(&c);
    assert_file(out_path, "err\n");
    assert_file(err_path, "out\n");
    scratch_end(&s);
}

Test(io_process, what_cannot_run_is_named)
{
    char *argv[] = {"/none/vitrine-worker", NULL};
    char *echo[] = {"/bin/true", NULL};
    struct io_child c;
    struct cm_error e;
    cr_assert_eq(io_spawn(&c, argv, &inherit, &e), CM_ENOENT);
    cr_assert_str_eq(e.text, "cannot run /none/vitrine-worker: No such file or directory");
    cr_assert(io_child_poll(&c), "a child that never was has ended");
    struct io_spawn_options o = {.stdout_fd = -1, .stderr_fd = -1, .directory = "/none"};
    cr_assert_eq(io_spawn(&c, echo, &o, &e), CM_ENOENT);
    cr_assert_str_eq(e.text, "cannot run /bin/true in /none: No such file or directory");
    cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
}

Test(io_process, stops_when_asked)
{
    struct scratch s = scratch_new();
    char path[128], text[64];
    scratch_path(&s, "", "out", path);
    struct io_child c = run_shell("echo up; exec sleep 30", path, NULL);
    cr_assert_not(io_child_poll(&c));
    cr_assert_str_eq(io_child_text(&c, text, sizeof text), "running");
    await_output(path);
    io_child_stop(&c, 5000);
    cr_assert_str_eq(io_child_text(&c, text, sizeof text), "killed by signal 15 (Terminated)");
    io_child_stop(&c, 5000);
    scratch_end(&s);
}

Test(io_process, is_killed_when_it_will_not_stop)
{
    struct scratch s = scratch_new();
    char path[128], text[64];
    scratch_path(&s, "", "out", path);
    struct io_child c =
        run_shell("trap 'echo no' TERM; echo up; while :; do sleep 0.01; done", path, NULL);
    await_output(path);
    io_child_stop(&c, 50);
    cr_assert_str_eq(io_child_text(&c, text, sizeof text), "killed by signal 9 (Killed)");
    scratch_end(&s);
}

/* The mask that /proc gives for `field`, such as "SigIgn:", in the text at `path`. */
static uint64_t signals_in(const char *path, const char *field)
{
    void *text;
    size_t size;
    cr_assert_eq(io_read_file(path, 4096, &text, &size, NULL), CM_OK);
    const char *at = strstr(text, field);
    cr_assert_not_null(at, "no %s in: %s", field, (char *)text);
    uint64_t mask = strtoull(at + strlen(field), NULL, 16);
    free(text);
    return mask;
}

/* Not of 32 and 33, which are glibc's own: it lets nobody reset them, and under make, which starts
 * its children with posix_spawn, they are ignored from the start. */
Test(io_process, signals_start_at_their_defaults)
{
    const uint64_t own = ~((uint64_t)3 << 31);
    struct scratch s = scratch_new();
    char path[128];
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    scratch_path(&s, "", "out", path);
    struct io_child c = run_shell("grep -E 'Sig(Blk|Ign)' /proc/self/status", path, NULL);
    await_end(&c);
    cr_assert_eq(signals_in(path, "SigBlk:") & own, 0);
    cr_assert_eq(signals_in(path, "SigIgn:") & own, 0);
    scratch_end(&s);
}

/* In a process that ends at once and leaves a child: its pid. */
static pid_t orphan_pid(const char *path)
{
    pid_t parent = fork();
    if (parent == 0) {
        char *argv[] = {"/bin/sleep", "30", NULL};
        struct io_child c;
        if (io_spawn(&c, argv, &inherit, NULL))
            _exit(1);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        dprintf(fd, "%d", (int)c.pid);
        _exit(0);
    }
    int status;
    waitpid(parent, &status, 0);
    cr_assert_eq(status, 0);
    void *text;
    size_t size;
    cr_assert_eq(io_read_file(path, 32, &text, &size, NULL), CM_OK);
    pid_t pid = (pid_t)strtol(text, NULL, 10);
    free(text);
    return pid;
}

/* True once the process is gone, or dead and waiting for init to notice. */
static bool is_dead(pid_t pid)
{
    char path[64];
    void *text;
    size_t size;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    if (io_read_file(path, 4096, &text, &size, NULL))
        return true;
    bool dead = strstr(text, ") Z ") != NULL;
    free(text);
    return dead;
}

Test(io_process, a_child_dies_with_its_parent)
{
    struct scratch s = scratch_new();
    char path[128];
    pid_t pid = orphan_pid(scratch_path(&s, "", "pid", path));
    cr_assert(pid > 1);
    for (int i = 0; i < 1000 && !is_dead(pid); i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    cr_assert(is_dead(pid));
    scratch_end(&s);
}

Test(io_process, knows_its_own_folder)
{
    char dir[4096], small[4];
    struct cm_error e;
    cr_assert_eq(io_self_dir(dir, sizeof dir, &e), CM_OK, "%s", e.text);
    cr_assert_eq(dir[0], '/');
    size_t length = strlen(dir);
    snprintf(dir + length, sizeof dir - length, "/unit");
    cr_assert_eq(access(dir, X_OK), 0, "%s", dir);
    cr_assert_eq(io_self_dir(small, sizeof small, &e), CM_ELIMIT);
    cr_assert_str_eq(e.text, "the path of this program is longer than 3 bytes");
}
