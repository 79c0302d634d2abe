/* cpu.h: how much of this machine the process may use, and how much it held. Any thread. */
#ifndef IO_CPU_H
#define IO_CPU_H

#include <stdint.h>

/* CPUs that this process may keep busy, at least 1: those of its affinity mask, and no more than
 * the quota of its cgroup (version 2) or of any cgroup above it. */
unsigned io_cpu_count(void);

/* The quota in the text of a cgroup's cpu.max ("150000 100000"), in CPUs rounded up: 2. 0 for "max"
 * and for anything that is not such a text. */
unsigned io_cpu_quota_of_text(const char *text);

/* The most bytes of memory that this process ever held. */
uint64_t io_memory_peak_bytes(void);

#endif
