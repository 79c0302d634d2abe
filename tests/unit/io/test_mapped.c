/* test_mapped.c: mapped files that lose their pages. */
#include "common/io/mapped.h"
#include "tests/unit/io/scratch.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PAGES = 10, LEFT = 3 };

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* A file whose every byte is the number of its page, from 1. */
static struct io_map *map_pages(const char *path, size_t pages)
{
    char *bytes = malloc(pages * page_bytes());
    for (size_t i = 0; i < pages; i++)
        memset(bytes + i * page_bytes(), (int)i + 1, page_bytes());
    write_file(path, bytes, pages * page_bytes());
    free(bytes);
    struct io_map *m;
    struct cm_error e;
    cr_assert_eq(io_map_open(&m, path, &e), CM_OK, "%s", e.text);
    return m;
}

static uint64_t sum_of(const struct io_map *m)
{
    const unsigned char *p = io_map_data(m);
    uint64_t sum = 0;
    for (size_t i = 0; i < io_map_size(m); i++)
        sum += p[i];
    return sum;
}

static bool page_faulted(const struct io_map *m, size_t page)
{
    return io_map_faulted(m, page * page_bytes(), page_bytes());
}

Test(io_mapped, shows_the_file)
{
    struct scratch s = scratch_new();
    char path[128];
    struct io_map *m = map_pages(scratch_path(&s, "", "f", path), PAGES);
    cr_assert_eq(io_map_size(m), PAGES * page_bytes());
    cr_assert_eq(sum_of(m), 55 * page_bytes());
    cr_assert_not(io_map_faulted(m, 0, io_map_size(m)));
    cr_assert_not(io_map_faulted(m, io_map_size(m), 0));
    io_map_close(m);
    scratch_end(&s);
}

Test(io_mapped, truncation_gives_zeros_and_marks)
{
    struct scratch s = scratch_new();
    char path[128];
    struct io_map *m = map_pages(scratch_path(&s, "", "f", path), PAGES);
    cr_assert_eq(truncate(path, (off_t)(LEFT * page_bytes())), 0);
    cr_assert_eq(sum_of(m), 6 * page_bytes());
    for (size_t page = 0; page < PAGES; page++)
        cr_assert_eq(page_faulted(m, page), page >= LEFT, "page %zu", page);
    cr_assert(io_map_faulted(m, LEFT * page_bytes() - 1, 2));
    cr_assert_not(io_map_faulted(m, 0, LEFT * page_bytes()));
    io_map_close(m);
    scratch_end(&s);
}

Test(io_mapped, marks_last_after_the_file_grows_back)
{
    struct scratch s = scratch_new();
    char path[128];
    struct io_map *m = map_pages(scratch_path(&s, "", "f", path), PAGES);
    const volatile unsigned char *bytes = io_map_data(m);
    cr_assert_eq(truncate(path, (off_t)(LEFT * page_bytes())), 0);
    cr_assert_eq(bytes[5 * page_bytes()], 0);
    cr_assert_eq(truncate(path, (off_t)(PAGES * page_bytes())), 0);
    for (size_t page = 0; page < PAGES; page++)
        cr_assert_eq(page_faulted(m, page), page == 5, "page %zu", page);
    io_map_close(m);
    scratch_end(&s);
}

Test(io_mapped, a_cut_within_a_page_counts)
{
    struct scratch s = scratch_new();
    char path[128];
    struct io_map *m = map_pages(scratch_path(&s, "", "f", path), PAGES);
    size_t cut = LEFT * page_bytes() + 100;
    cr_assert_eq(truncate(path, (off_t)cut), 0); /* the rest of the page: zeros without a fault */
    cr_assert_not(io_map_faulted(m, 0, cut));
    cr_assert(io_map_faulted(m, 0, cut + 1));
    io_map_close(m);
    scratch_end(&s);
}

static void *sum_thread(void *arg)
{
    return (void *)(uintptr_t)sum_of(arg);
}

Test(io_mapped, four_threads_read_across_a_truncation)
{
    struct scratch s = scratch_new();
    char path[128], other_path[128];
    enum { MANY = 200, THREADS = 4 };
    struct io_map *other = map_pages(scratch_path(&s, "", "g", other_path), PAGES);
    struct io_map *m = map_pages(scratch_path(&s, "", "f", path), MANY);
    uint64_t whole = sum_of(m);
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, sum_thread, m), 0);
    cr_assert_eq(truncate(path, (off_t)(LEFT * page_bytes())), 0);
    for (size_t i = 0; i < THREADS; i++) {
        void *sum;
        pthread_join(threads[i], &sum);
        cr_assert((uintptr_t)sum <= whole && (uintptr_t)sum >= 6 * page_bytes());
    }
    cr_assert_eq(sum_of(m), 6 * page_bytes());
    cr_assert(page_faulted(m, MANY - 1) && !page_faulted(m, LEFT - 1));
    cr_assert_not(io_map_faulted(other, 0, io_map_size(other)));
    io_map_close(m);
    io_map_close(other);
    scratch_end(&s);
}

Test(io_mapped, slots_are_used_again)
{
    struct scratch s = scratch_new();
    char path[128];
    struct io_map *a = map_pages(scratch_path(&s, "", "a", path), 2);
    struct io_map *b = map_pages(scratch_path(&s, "", "b", path), 2);
    io_map_close(a);
    struct io_map *c = map_pages(scratch_path(&s, "", "c", path), 3);
    cr_assert_eq(truncate(path, (off_t)page_bytes()), 0);
    cr_assert_eq(sum_of(c), page_bytes());
    cr_assert(page_faulted(c, 1) && page_faulted(c, 2));
    cr_assert_eq(sum_of(b), 3 * page_bytes());
    io_map_close(b);
    io_map_close(c);
    scratch_end(&s);
}

static int signal_that_killed(pid_t pid)
{
    int status = 0;
    waitpid(pid, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* What kills a child that touches the page past the end of a one-page file mapped at `address`. */
static int signal_of_foreign_fault(const char *path, void *address)
{
    pid_t pid = fork();
    if (pid == 0) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        int flags = MAP_SHARED | (address ? MAP_FIXED : 0);
        const volatile char *p = mmap(address, 2 * page_bytes(), PROT_READ, flags, fd, 0);
        _exit(p[page_bytes()] == 0 ? 0 : 1);
    }
    return signal_that_killed(pid);
}

/* What kills a child that is sent a SIGBUS which tells of `address`. */
static int signal_of_kill(const void *address)
{
    pid_t pid = fork();
    if (pid == 0) {
        siginfo_t info = {.si_code = SI_QUEUE};
        info.si_addr = (void *)(uintptr_t)address;
        syscall(SYS_rt_sigqueueinfo, getpid(), SIGBUS, &info);
        _exit(0);
    }
    return signal_that_killed(pid);
}

Test(io_mapped, any_other_sigbus_still_kills)
{
    struct scratch s = scratch_new();
    char path[128], gone_path[128];
    struct io_map *m = map_pages(scratch_path(&s, "", "f", path), 1);
    struct io_map *gone = map_pages(scratch_path(&s, "", "g", gone_path), 2);
    void *gone_address = (void *)(uintptr_t)io_map_data(gone);
    io_map_close(gone);
    cr_assert_eq(signal_of_foreign_fault(path, NULL), SIGBUS);
    cr_assert_eq(signal_of_foreign_fault(path, gone_address), SIGBUS);
    cr_assert_eq(signal_of_kill(io_map_data(m)), SIGBUS);
    io_map_close(m);
    scratch_end(&s);
}

Test(io_mapped, refuses_what_is_no_file)
{
    struct scratch s = scratch_new();
    char path[128], expected[256];
    struct io_map *m;
    struct cm_error e;
    write_file(scratch_path(&s, "", "empty", path), "", 0);
    cr_assert_eq(io_map_open(&m, path, &e), CM_EFORMAT);
    snprintf(expected, sizeof expected, "%s is empty", path);
    cr_assert_str_eq(e.text, expected);
    cr_assert(m == NULL);
    cr_assert_eq(io_map_open(&m, s.dir, &e), CM_EFORMAT);
    snprintf(expected, sizeof expected, "%s is not a regular file", s.dir);
    cr_assert_str_eq(e.text, expected);
    cr_assert_eq(io_map_open(&m, scratch_path(&s, "", "none", path), &e), CM_ENOENT);
    scratch_end(&s);
}
