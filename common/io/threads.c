/* threads.c: see threads.h. */
#include "common/io/threads.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 96 };

static bool read_line(const char *folder, pid_t tid, const char *file, char *line, int room)
{
    char path[PATH_BYTES];
    snprintf(path, sizeof path, "%s/%d/%s", folder, (int)tid, file);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    bool got = fgets(line, room, f) != NULL;
    fclose(f);
    line[got ? strcspn(line, "\n") : 0] = '\0';
    return got;
}

/* False if the thread has ended, or nobody counts. */
static bool read_thread(const char *folder, pid_t tid, struct io_thread_times *out)
{
    char line[PATH_BYTES];
    *out = (struct io_thread_times){.tid = tid};
    return read_line(folder, tid, "comm", out->name, sizeof out->name) &&
           read_line(folder, tid, "schedstat", line, sizeof line) &&
           sscanf(line, "%" SCNu64 " %" SCNu64, &out->ran_ns, &out->waited_ns) == 2;
}

enum cm_err io_threads_read(pid_t pid, struct io_thread_times out[IO_THREADS_MAX], size_t *count,
                            struct cm_error *e)
{
    char folder[PATH_BYTES / 2];
    *count = 0;
    snprintf(folder, sizeof folder, "/proc/%d/task", (int)(pid ? pid : getpid()));
    DIR *d = opendir(folder);
    if (!d)
        return cm_fail_errno(e, errno, "%s", folder);
    for (struct dirent *entry; *count < IO_THREADS_MAX && (entry = readdir(d)) != NULL;) {
        pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (tid > 0 && read_thread(folder, tid, &out[*count]))
            ++*count;
    }
    closedir(d);
    if (*count == 0)
        return cm_fail(e, CM_EUNAVAIL,
                       "%s: this kernel does not say how long threads ran (schedstat)", folder);
    return CM_OK;
}
