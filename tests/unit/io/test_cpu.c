/* test_cpu.c: what the process may use. */
#include "common/io/cpu.h"

#include <criterion/criterion.h>
#include <sched.h>
#include <sys/mman.h>

Test(io_cpu, quota_is_rounded_up)
{
    cr_assert_eq(io_cpu_quota_of_text("100000 100000\n"), 1);
    cr_assert_eq(io_cpu_quota_of_text("100001 100000\n"), 2);
    cr_assert_eq(io_cpu_quota_of_text("5000 100000"), 1);
    cr_assert_eq(io_cpu_quota_of_text("1600000 100000"), 16);
}

Test(io_cpu, no_quota)
{
    static const char *const texts[] = {"max 100000\n", "",     "0 100000", "100000 0",
                                        "100000",       "-1 1", "junk"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        cr_assert_eq(io_cpu_quota_of_text(texts[i]), 0, "\"%s\"", texts[i]);
}

Test(io_cpu, affinity_bounds_the_count)
{
    cpu_set_t all, one;
    cr_assert_eq(sched_getaffinity(0, sizeof all, &all), 0);
    cr_assert(io_cpu_count() >= 1 && io_cpu_count() <= (unsigned)CPU_COUNT(&all));
    size_t first = 0;
    while (!CPU_ISSET(first, &all))
        first++;
    CPU_ZERO(&one);
    CPU_SET(first, &one);
    cr_assert_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cr_assert_eq(io_cpu_count(), 1);
}

Test(io_cpu, the_most_memory_is_remembered)
{
    enum { BYTES = 32 << 20 };
    uint64_t before = io_memory_peak_bytes();
    cr_assert(before > 100000, "%llu bytes", (unsigned long long)before);
    void *block = mmap(NULL, BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    cr_assert(block != MAP_FAILED);
    munmap(block, BYTES);
    uint64_t after = io_memory_peak_bytes();
    cr_assert(after >= before + BYTES / 2 && after <= before + 2 * (uint64_t)BYTES,
              "%llu -> %llu bytes", (unsigned long long)before, (unsigned long long)after);
}
