/* local.c: see local.h. */
#include "ops/cli/local.h"

#include "common/io/cpu.h"
#include "common/io/endpoint.h"
#include "common/io/file.h"
#include "common/mem.h"
#include "ops/cli/client.h"
#include "worker/store/gallery.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    GRACE_MS = 10000,
    POLL_MS = 20,
    NUMBER_BYTES = 24,
    LOG_BYTES_MAX = 1 << 20,
};

void cli_end_signals(sigset_t *set)
{
    struct sigaction hangup;
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* no nohup */
        sigaddset(set, SIGHUP);
}

void cli_block_signals(void)
{
    sigset_t set;
    cli_end_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

bool cli_interrupted(void)
{
    sigset_t set, pending;
    cli_end_signals(&set);
    return sigpending(&pending) == 0 && sigandset(&set, &set, &pending) == 0 &&
           !sigisemptyset(&set);
}

/* A private folder in the first of the usual places that can be written. Short: a socket's path has
 * at most 107 bytes. */
static enum cm_err make_dir(struct cli_local *l, struct cm_error *e)
{
    const char *places[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp", "/dev/shm"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[80];
        int n = places[i] ? snprintf(path, sizeof path, "%s/vitrine-XXXXXX", places[i]) : -1;
        if (n > 0 && (size_t)n < sizeof path && mkdtemp(path))
            return cm_copy_text(&l->dir, path, e);
    }
    return cm_fail_errno(e, errno,
                         "cannot make a folder in XDG_RUNTIME_DIR, TMPDIR, /tmp or /dev/shm");
}

static enum cm_err choose_endpoint(struct cli_local *l, const struct cli_local_options *o,
                                   struct cm_error *e)
{
    char text[128];
    if (o->listen) {
        unsigned allow = o->insecure ? (unsigned)IO_ALLOW_INSECURE : 0;
        enum cm_err rc = io_endpoint_check(o->listen, allow, e);
        return rc ? rc : cm_copy_text(&l->endpoint, o->listen, e);
    }
    snprintf(text, sizeof text, "ipc://%s/coordinator", l->dir);
    return cm_copy_text(&l->endpoint, text, e);
}

/* "<dir>/<n>.log": where child `n` speaks when stderr is not the place. */
static void log_path(const struct cli_local *l, uint32_t n, char *out, size_t room)
{
    snprintf(out, room, "%s/%u.log", l->dir, n);
}

/* Runs one of our programs, found beside this one. */
static enum cm_err spawn(struct cli_local *l, const struct cli_local_options *o, char **argv,
                         struct cm_error *e)
{
    char self[PATH_MAX], program[PATH_MAX + 64], log[128];
    enum cm_err rc = io_self_dir(self, sizeof self, e);
    if (rc)
        return rc;
    snprintf(program, sizeof program, "%s/%s", self, argv[0]);
    argv[0] = program;
    log_path(l, l->children_count, log, sizeof log);
    int fd = o->logs_to_stderr ? -1 : open(log, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && !o->logs_to_stderr)
        return cm_fail_errno(e, errno, "cannot create %s", log);
    struct io_spawn_options options = {.stdout_fd = fd, .stderr_fd = fd};
    rc = io_spawn(&l->children[l->children_count], argv, &options, e);
    if (!rc)
        l->children_count++;
    if (fd >= 0)
        close(fd);
    return rc;
}

/* Listens at l->endpoint. */
static enum cm_err spawn_coordinator(struct cli_local *l, const struct cli_local_options *o,
                                     struct cm_error *e)
{
    char *argv[] = {(char *)(uintptr_t) "vitrine-coordinator", (char *)(uintptr_t) "--listen",
                    l->endpoint, o->insecure ? (char *)(uintptr_t) "--insecure" : NULL, NULL};
    return spawn(l, o, argv, e);
}

/* Worker `n` gets an even share of the shards, in one run. */
static enum cm_err spawn_worker(struct cli_local *l, const struct cli_local_options *o, uint32_t n,
                                uint32_t shards, unsigned threads, struct cm_error *e)
{
    char list[2 * NUMBER_BYTES], node[NUMBER_BYTES + 8], threads_text[NUMBER_BYTES];
    uint32_t first = (uint32_t)((uint64_t)shards * n / l->workers);
    uint32_t end = (uint32_t)((uint64_t)shards * (n + 1) / l->workers);
    snprintf(list, sizeof list, "%u-%u", first, end - 1);
    snprintf(node, sizeof node, "worker-%u", n);
    snprintf(threads_text, sizeof threads_text, "%u", threads);
    char *argv[] = {(char *)(uintptr_t) "vitrine-worker",
                    (char *)(uintptr_t) "--connect",
                    l->endpoint,
                    (char *)(uintptr_t) "--gallery",
                    (char *)(uintptr_t)o->gallery,
                    (char *)(uintptr_t) "--shards",
                    list,
                    (char *)(uintptr_t) "--node",
                    node,
                    (char *)(uintptr_t) "--threads",
                    threads_text,
                    o->insecure ? (char *)(uintptr_t) "--insecure" : NULL,
                    NULL};
    return spawn(l, o, argv, e);
}

/* The last line that a child wrote, "" if none. */
static void last_words(const struct cli_local *l, uint32_t n, char *out, size_t room)
{
    char path[128];
    void *data;
    size_t size;
    *out = '\0';
    log_path(l, n, path, sizeof path);
    if (io_read_file(path, LOG_BYTES_MAX, &data, &size, NULL))
        return;
    char *text = data;
    while (size > 0 && text[size - 1] == '\n')
        text[--size] = '\0';
    const char *line = strrchr(text, '\n');
    snprintf(out, room, "%s", line ? line + 1 : text);
    free(text);
}

enum cm_err cli_local_check(struct cli_local *l, struct cm_error *e)
{
    for (uint32_t i = 0; i < l->children_count; i++) {
        if (!io_child_poll(&l->children[i]))
            continue;
        char words[512], how[64], who[32];
        snprintf(who, sizeof who, i ? "worker %u" : "the coordinator", i - 1);
        last_words(l, i, words, sizeof words);
        return cm_fail(e, CM_EUNAVAIL, "%s %s%s%s", who,
                       io_child_text(&l->children[i], how, sizeof how), *words ? ": " : "", words);
    }
    return CM_OK;
}

static void pause_ms(unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* Asks until every shard is served. */
static enum cm_err wait_covered(struct cli_local *l, struct cli_client *c, struct pr_status *status,
                                struct cm_error *e)
{
    while (!status->has_gallery || status->shards_covered < status->gallery.shards) {
        enum cm_err rc = cli_local_check(l, e);
        if (!rc && cli_interrupted())
            rc = cm_fail(e, CM_EBUSY, "interrupted while the workers were starting");
        if (rc)
            return rc;
        pause_ms(POLL_MS);
        pr_status_fini(status);
        rc = cli_client_status(c, status, e);
        if (rc)
            return rc;
    }
    return CM_OK;
}

static enum cm_err wait_ready(struct cli_local *l, const struct cli_local_options *o,
                              struct cm_error *e)
{
    struct cli_client *c;
    struct pr_status status = {0};
    struct cm_error why;
    enum cm_err rc = cli_client_open(&c, l->endpoint, o->insecure, &status, e);
    if (!rc)
        rc = wait_covered(l, c, &status, e);
    else if (cli_local_check(l, &why)) { /* says more than that nobody answers */
        *e = why;
        rc = why.code;
    }
    pr_status_fini(&status);
    cli_client_close(c);
    return rc;
}

static enum cm_err plan(struct cli_local *l, const struct cli_local_options *o, uint32_t *shards,
                        unsigned *threads, struct cm_error *e)
{
    struct st_gallery gallery;
    enum cm_err rc = st_gallery_open(&gallery, o->gallery, e);
    *shards = gallery.manifest.shards_count;
    st_gallery_close(&gallery);
    if (rc)
        return rc;
    unsigned cpus = io_cpu_count();
    if (o->workers > *shards)
        return cm_fail(e, CM_EUSAGE,
                       "--workers is %llu, but the gallery has %u shards, one for a "
                       "worker at least",
                       (unsigned long long)o->workers, *shards);
    l->workers = o->workers ? (uint32_t)o->workers : cpus < *shards ? cpus : *shards;
    *threads = o->threads ? (unsigned)o->threads : cpus / l->workers;
    if (*threads == 0)
        *threads = 1;
    return CM_OK;
}

static enum cm_err start(struct cli_local *l, const struct cli_local_options *o, struct cm_error *e)
{
    uint32_t shards = 0;
    unsigned threads = 0;
    void *p = NULL;
    enum cm_err rc = plan(l, o, &shards, &threads, e);
    if (!rc)
        rc = make_dir(l, e);
    if (!rc)
        rc = choose_endpoint(l, o, e);
    if (!rc)
        rc = cm_new(&p, l->workers + 1, sizeof *l->children, e);
    l->children = p;
    if (!rc)
        rc = spawn_coordinator(l, o, e);
    for (uint32_t n = 0; !rc && n < l->workers; n++)
        rc = spawn_worker(l, o, n, shards, threads, e);
    return rc ? rc : wait_ready(l, o, e);
}

enum cm_err cli_local_start(struct cli_local *l, const struct cli_local_options *o,
                            struct cm_error *e)
{
    *l = (struct cli_local){0};
    enum cm_err rc = start(l, o, e);
    if (rc)
        cli_local_stop(l);
    return rc;
}

/* The endpoint in the coordinator's log line of it, in place of what it was asked to listen at;
 * false where there is none yet. */
static bool read_endpoint(struct cli_local *l)
{
    static const char mark[] = "event=listening endpoint=";
    char path[128], endpoint[IO_ENDPOINT_BYTES];
    void *text;
    size_t size;
    log_path(l, 0, path, sizeof path);
    if (io_read_file(path, LOG_BYTES_MAX, &text, &size, NULL))
        return false;
    char *line = strstr(text, mark), *copy = NULL;
    if (line && strchr(line, '\n')) {
        line += sizeof mark - 1;
        snprintf(endpoint, sizeof endpoint, "%.*s", (int)strcspn(line, " \n"), line);
        if (!cm_copy_text(&copy, endpoint, NULL)) {
            free(l->endpoint);
            l->endpoint = copy;
        }
    }
    free(text);
    return copy != NULL;
}

static enum cm_err wait_listening(struct cli_local *l, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (unsigned waited = 0; !rc && !read_endpoint(l); waited += POLL_MS) {
        rc = cli_local_check(l, e);
        if (!rc && cli_interrupted())
            rc = cm_fail(e, CM_EBUSY, "interrupted while the coordinator was starting");
        if (!rc && waited >= CLI_CONNECT_MS)
            rc = cm_fail(e, CM_ETIMEOUT, "the coordinator does not say where it listens");
        pause_ms(POLL_MS);
    }
    return rc;
}

enum cm_err cli_local_start_coordinator(struct cli_local *l, const char *listen, struct cm_error *e)
{
    const struct cli_local_options o = {0};
    void *p = NULL;
    *l = (struct cli_local){0};
    enum cm_err rc = make_dir(l, e);
    if (!rc)
        rc = cm_copy_text(&l->endpoint, listen, e);
    if (!rc)
        rc = cm_new(&p, 1, sizeof *l->children, e);
    l->children = p;
    if (!rc)
        rc = spawn_coordinator(l, &o, e);
    if (!rc)
        rc = wait_listening(l, e);
    if (rc)
        cli_local_stop(l);
    return rc;
}

void cli_local_stop(struct cli_local *l)
{
    /* Workers are all asked first, so that they end side by side; the coordinator goes last, since
     * they take their leave of it. */
    for (uint32_t i = 1; i < l->children_count; i++)
        io_child_ask(&l->children[i]);
    for (uint32_t i = l->children_count; i-- > 0;)
        io_child_stop(&l->children[i], GRACE_MS);
    if (l->dir)
        io_remove_tree(l->dir, NULL);
    free(l->children);
    free(l->dir);
    free(l->endpoint);
    *l = (struct cli_local){0};
}
