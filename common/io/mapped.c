/* mapped.c: see mapped.h.
 *
 * A signal handler has no argument, so what it must find is process-wide: `registry` below is the
 * one exception to "no globals". Its slots are read by the handler without a lock. */
#include "common/io/mapped.h"

#include "common/assert.h"
#include "common/limits.h"
#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct io_map {
    int fd;
    void *data;
    size_t size;
    size_t page_bytes;
    atomic_uchar *faults; /* one a page: 1 once it faulted */
    size_t slot;
};

/* One live mapping, as the handler sees it. `version` is odd while the others change; a slot that
 * changes under the handler is not the one it looks for, since nobody opens or closes a mapping
 * that another thread reads. */
struct slot {
    atomic_uint version;
    atomic_uintptr_t begin; /* 0: free */
    atomic_size_t size;
    _Atomic(atomic_uchar *) faults;
};

static struct {
    pthread_mutex_t lock; /* for writers */
    bool installed;
    size_t page_bytes;
    atomic_size_t used; /* slots [0, used) may be taken */
    struct slot slots[CM_SHARDS_MAX];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static_assert(ATOMIC_CHAR_LOCK_FREE == 2 && ATOMIC_POINTER_LOCK_FREE == 2 &&
                  ATOMIC_INT_LOCK_FREE == 2,
              "the handler needs atomics without a lock");

/* --- the handler: async-signal-safe from here ------------------------------------------------- */

/* The fault flag of the page that holds `address`, or NULL if no slot has it. */
static atomic_uchar *flag_in_slot(struct slot *s, uintptr_t address)
{
    unsigned version = atomic_load(&s->version);
    uintptr_t begin = atomic_load(&s->begin);
    size_t size = atomic_load(&s->size);
    atomic_uchar *faults = atomic_load(&s->faults);
    if (version % 2 != 0 || atomic_load(&s->version) != version)
        return NULL;
    if (begin == 0 || address < begin || address - begin >= size)
        return NULL;
    return &faults[(address - begin) / registry.page_bytes];
}

static atomic_uchar *flag_of_address(uintptr_t address)
{
    size_t used = atomic_load(&registry.used);
    for (size_t i = 0; i < used; i++) {
        atomic_uchar *flag = flag_in_slot(&registry.slots[i], address);
        if (flag)
            return flag;
    }
    return NULL;
}

/* The mark comes before the zeros: who reads them finds it. The system call is made by itself,
 * since a library's mmap need not be async-signal-safe (ThreadSanitizer's is not). */
static bool replace_page(uintptr_t address)
{
    atomic_uchar *flag = flag_of_address(address);
    if (!flag)
        return false;
    atomic_store(flag, 1);
    uintptr_t page = address & ~(uintptr_t)(registry.page_bytes - 1);
    return syscall(SYS_mmap, page, registry.page_bytes, PROT_READ,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == (long)page;
}

static void on_sigbus(int signum, siginfo_t *info, void *context)
{
    (void)context;
    int errnum = errno;
    bool by_memory = info->si_code > 0; /* not by kill() */
    if (!by_memory || !replace_page((uintptr_t)info->si_addr)) {
        signal(signum, SIG_DFL);
        raise(signum); /* blocked now; taken when this returns */
    }
    errno = errnum;
}

/* --- the registry's writers ------------------------------------------------------------------- */

/* Under the lock. */
static enum cm_err install_handler(struct cm_error *e)
{
    if (registry.installed)
        return CM_OK;
    registry.page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, &action, NULL) != 0)
        return cm_fail_errno(e, errno, "cannot handle SIGBUS");
    registry.installed = true;
    return CM_OK;
}

static void set_slot(struct slot *s, uintptr_t begin, size_t size, atomic_uchar *faults)
{
    atomic_fetch_add(&s->version, 1);
    atomic_store(&s->begin, begin);
    atomic_store(&s->size, size);
    atomic_store(&s->faults, faults);
    atomic_fetch_add(&s->version, 1);
}

/* Under the lock. Whole pages are guarded, so that the file's last one is too. */
static enum cm_err take_slot(struct io_map *m, struct cm_error *e)
{
    size_t i = 0;
    while (i < CM_SHARDS_MAX && atomic_load(&registry.slots[i].begin) != 0)
        i++;
    if (i == CM_SHARDS_MAX)
        return cm_fail(e, CM_ELIMIT, "%u files are mapped already; more are not supported",
                       CM_SHARDS_MAX);
    m->slot = i;
    set_slot(&registry.slots[i], (uintptr_t)m->data, cm_round_up(m->size, m->page_bytes),
             m->faults);
    if (i >= atomic_load(&registry.used))
        atomic_store(&registry.used, i + 1);
    return CM_OK;
}

static enum cm_err guard(struct io_map *m, struct cm_error *e)
{
    pthread_mutex_lock(&registry.lock);
    enum cm_err rc = install_handler(e);
    if (!rc)
        rc = take_slot(m, e);
    pthread_mutex_unlock(&registry.lock);
    return rc;
}

static void unguard(struct io_map *m)
{
    pthread_mutex_lock(&registry.lock);
    set_slot(&registry.slots[m->slot], 0, 0, NULL);
    pthread_mutex_unlock(&registry.lock);
}

/* --- maps ------------------------------------------------------------------------------------- */

static enum cm_err open_regular(struct io_map *m, const char *path, struct cm_error *e)
{
    struct stat st;
    m->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (m->fd < 0)
        return cm_fail_errno(e, errno, "cannot open %s", path);
    if (fstat(m->fd, &st) != 0)
        return cm_fail_errno(e, errno, "cannot stat %s", path);
    if (!S_ISREG(st.st_mode))
        return cm_fail(e, CM_EFORMAT, "%s is not a regular file", path);
    if (st.st_size == 0)
        return cm_fail(e, CM_EFORMAT, "%s is empty", path);
    m->size = (size_t)st.st_size;
    return CM_OK;
}

/* Hints; a kernel that does not know them is only slower. Whoever touches a page has the kernel
 * read 4 MiB from there on, in pages of 2 MiB, and go on so ahead of the reader: a byte costs a
 * tenth of the processor time that pages of 4 KiB take. And what was used is not kept for it: where
 * memory is short, the next pass wants what was used longest ago, and what was read ahead must
 * stay. */
static void advise(const struct io_map *m)
{
    madvise(m->data, m->size, MADV_HUGEPAGE);
    madvise(m->data, m->size, MADV_SEQUENTIAL);
}

static enum cm_err map_and_guard(struct io_map *m, const char *path, struct cm_error *e)
{
    m->page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    void *faults;
    enum cm_err rc = cm_new(&faults, (m->size - 1) / m->page_bytes + 1, sizeof *m->faults, e);
    m->faults = faults;
    if (rc)
        return rc;
    void *data = mmap(NULL, m->size, PROT_READ, MAP_SHARED, m->fd, 0);
    if (data == MAP_FAILED)
        return cm_fail_errno(e, errno, "cannot map %s", path);
    m->data = data;
    advise(m);
    rc = guard(m, e);
    if (rc) {
        munmap(m->data, m->size);
        m->data = NULL;
    }
    return rc;
}

enum cm_err io_map_open(struct io_map **out, const char *path, struct cm_error *e)
{
    void *p;
    enum cm_err rc = cm_new(&p, 1, sizeof **out, e);
    *out = NULL;
    if (rc)
        return rc;
    struct io_map *m = p;
    m->fd = -1;
    rc = open_regular(m, path, e);
    if (!rc)
        rc = map_and_guard(m, path, e);
    if (rc)
        io_map_close(m);
    else
        *out = m;
    return rc;
}

void io_map_close(struct io_map *m)
{
    if (!m)
        return;
    if (m->data) {
        unguard(m);
        munmap(m->data, m->size);
    }
    if (m->fd >= 0)
        close(m->fd);
    free(m->faults);
    free(m);
}

const void *io_map_data(const struct io_map *m)
{
    return m->data;
}

size_t io_map_size(const struct io_map *m)
{
    return m->size;
}

static bool is_inside(const struct io_map *m, size_t offset, size_t size)
{
    return offset <= m->size && size <= m->size - offset;
}

/* A file cut in the middle of a page reads as zeros from there to the page's end, without a fault.
 */
static bool is_cut(const struct io_map *m, size_t end)
{
    struct stat st;
    return fstat(m->fd, &st) != 0 || (uint64_t)st.st_size < end;
}

bool io_map_faulted(const struct io_map *m, size_t offset, size_t size)
{
    CM_ASSERT(is_inside(m, offset, size));
    if (size == 0)
        return false;
    size_t last = (offset + size - 1) / m->page_bytes;
    for (size_t i = offset / m->page_bytes; i <= last; i++)
        if (atomic_load(&m->faults[i]))
            return true;
    return is_cut(m, offset + size);
}
