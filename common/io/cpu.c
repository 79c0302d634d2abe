/* cpu.c: see cpu.h. */
#include "common/io/cpu.h"

#include "common/io/file.h"

#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PROC_BYTES_MAX = 64 << 10, CGROUP_PATH_BYTES = 4096 };

static unsigned affinity_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return (unsigned)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than a cpu_set_t holds */
    return online > 0 ? (unsigned)online : 1;
}

unsigned io_cpu_quota_of_text(const char *text)
{
    unsigned long long quota, period;
    if (text[0] < '0' || text[0] > '9' || sscanf(text, "%llu %llu", &quota, &period) != 2)
        return 0;
    if (quota == 0 || period == 0)
        return 0;
    unsigned long long cpus = (quota - 1) / period + 1;
    return cpus < UINT32_MAX ? (unsigned)cpus : 0;
}

static unsigned quota_of_folder(const char *folder)
{
    char path[CGROUP_PATH_BYTES + 32];
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    void *text;
    size_t size;
    if (io_read_file(path, PROC_BYTES_MAX, &text, &size, NULL))
        return 0;
    unsigned quota = io_cpu_quota_of_text(text);
    free(text);
    return quota;
}

/* The folder of this process's cgroup; false where there is no version 2 hierarchy. */
static int cgroup_folder(char folder[CGROUP_PATH_BYTES])
{
    void *text;
    size_t size;
    if (io_read_file("/proc/self/cgroup", PROC_BYTES_MAX, &text, &size, NULL))
        return 0;
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    int found = line != NULL;
    if (found) {
        const char *path = strchr(line, '/');
        int n = path ? (int)strcspn(path, "\n") : 0;
        snprintf(folder, CGROUP_PATH_BYTES, "/sys/fs/cgroup%.*s", n, path ? path : "");
    }
    free(text);
    return found;
}

/* The least quota from this process's cgroup up to the root; 0 for none. */
static unsigned quota_count(void)
{
    char folder[CGROUP_PATH_BYTES];
    unsigned least = 0;
    if (!cgroup_folder(folder))
        return 0;
    while (strlen(folder) >= strlen("/sys/fs/cgroup")) {
        unsigned quota = quota_of_folder(folder);
        if (quota > 0 && (least == 0 || quota < least))
            least = quota;
        *strrchr(folder, '/') = '\0';
    }
    return least;
}

unsigned io_cpu_count(void)
{
    unsigned count = affinity_count();
    unsigned quota = quota_count();
    if (quota > 0 && quota < count)
        count = quota;
    return count > 0 ? count : 1;
}

uint64_t io_memory_peak_bytes(void)
{
    enum { UNIT = 1024 }; /* getrusage(2): kilobytes */
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * UNIT : 0;
}
