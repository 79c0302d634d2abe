/* main.c: the simulator's command: seeds, one process each, and a report of each that fails.
 *
 * usage: sim [--seeds N | --seeds A-B | --seed N] [--bug NAME] [--bugs] [--trace] [--jobs N]
 *
 * With --bugs every planted bug has to be found as well, within the first 200 of the seeds. Prints
 * "N passed, N failed", of seeds and bugs together; if a seed failed, the last line is the command
 * that runs it again. Exit: 0 all passed, 1 not, 2 bad usage. See world.h and ARCHITECTURE.md. */
#include "tests/sim/bugs.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    JOBS_MAX = 64,
    SEEDS = 200,        /* without --seeds; and within these each planted bug is found */
    SEED_SECONDS = 300, /* one that takes longer hangs */
};

struct options {
    uint64_t first, last;
    const struct sim_bug *bug;
    bool trace, bugs;
    unsigned jobs;
};

/* What a seed's process leaves behind, in memory that it shares with ours. */
struct outcome {
    bool done, passed;
    struct sim_sums sums;
    uint64_t ns;       /* of processor time */
    uint64_t whole_ns; /* from the end of all faults until everything was whole */
};

/* A seed that runs. */
struct runner {
    pid_t pid; /* 0: none */
    uint64_t seed;
    FILE *report;
    struct outcome *outcome;
};

/* All seeds of one call. */
struct campaign {
    const struct options *o;
    struct runner runners[JOBS_MAX];
    struct outcome *outcomes; /* [jobs] shared */
    uint64_t next, passed, failed, first_failed;
    uint64_t ns, ns_max, seed_max, whole_ns_max;
    struct sim_sums sums;
    bool quiet; /* a planted bug is hunted: checks find it, not a process that falls over it */
};

/* Of the processor that this process had: what a seed costs, however busy the machine is. */
static uint64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* --- one seed --------------------------------------------------------------------------------- */

static uint64_t run_once(const struct options *o, uint64_t seed, FILE *report,
                         struct outcome *outcome)
{
    struct sim *sim = sim_new(seed, o->bug, o->trace);
    outcome->passed = sim_run(sim);
    outcome->sums = sim->sums;
    if (sim->whole_ns)
        outcome->whole_ns = sim->whole_ns - sim->heal_ns;
    if (!outcome->passed) {
        sim_trace_dump(&sim->trace, report);
        fprintf(report, "sim: seed %" PRIu64 ", %.6f s, step %" PRIu64 ": %s\n", seed,
                (double)sim->now_ns / 1e9, sim->sums.steps, sim->failure);
    }
    uint64_t digest = sim->trace.digest;
    sim_free(sim);
    return digest;
}

/* The first seed is run twice: a run that depends on more than its seed would prove nothing. */
static void run_seed(const struct options *o, uint64_t seed, FILE *report, struct outcome *outcome)
{
    uint64_t start_ns = cpu_ns();
    uint64_t digest = run_once(o, seed, report, outcome);
    outcome->ns = cpu_ns() - start_ns;
    if (seed == o->first && !o->trace && outcome->passed &&
        run_once(o, seed, report, outcome) != digest) {
        fprintf(report, "sim: seed %" PRIu64 " does not run the same way twice\n", seed);
        outcome->passed = false;
    }
    fflush(report);
    outcome->done = true;
}

static bool start_seed(struct campaign *c, struct runner *r)
{
    fflush(NULL);
    r->seed = c->next++;
    *r->outcome = (struct outcome){.done = false};
    rewind(r->report);
    if (ftruncate(fileno(r->report), 0) != 0)
        return false;
    r->pid = fork();
    if (r->pid == 0) {
        alarm(SEED_SECONDS);
        run_seed(c->o, r->seed, r->report, r->outcome);
        fflush(NULL);
        exit(r->outcome->passed ? 0 : 1);
    }
    return r->pid > 0;
}

static void print_command(const struct options *o, uint64_t seed)
{
    printf("make sim SEED=%" PRIu64, seed);
    if (o->bug)
        printf(" BUG=%s", sim_bug_name(o->bug));
    putchar('\n');
}

static void print_report(struct campaign *c, const struct runner *r, int status)
{
    char line[512];
    rewind(r->report);
    while (fgets(line, sizeof line, r->report))
        fputs(line, stdout);
    if (!r->outcome->done)
        printf("sim: seed %" PRIu64 ": the process ended by itself, with status %d%s\n", r->seed,
               status, WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hung" : "");
    else if (r->outcome->passed)
        printf("sim: seed %" PRIu64 ": passed, but its process ended with status %d\n", r->seed,
               status);
    print_command(c->o, r->seed);
}

static void add_sums(struct sim_sums *to, const struct sim_sums *more)
{
    uint64_t *a = (uint64_t *)to;
    const uint64_t *b = (const uint64_t *)more;
    for (size_t i = 0; i < sizeof *to / sizeof *a; i++)
        a[i] += b[i];
}

static void finish_seed(struct campaign *c, struct runner *r, int status)
{
    const struct outcome *outcome = r->outcome;
    bool passed = outcome->done && outcome->passed && status == 0;
    r->pid = 0;
    c->passed += passed;
    add_sums(&c->sums, &outcome->sums);
    c->ns += outcome->ns;
    if (outcome->whole_ns > c->whole_ns_max)
        c->whole_ns_max = outcome->whole_ns;
    if (outcome->ns > c->ns_max) {
        c->ns_max = outcome->ns;
        c->seed_max = r->seed;
    }
    if (passed || (c->quiet && !outcome->done))
        return;
    if (!c->quiet)
        print_report(c, r, status);
    if (c->failed++ == 0 || r->seed < c->first_failed)
        c->first_failed = r->seed;
}

/* --- many seeds ------------------------------------------------------------------------------- */

static struct runner *runner_of(struct campaign *c, pid_t pid)
{
    for (unsigned i = 0; i < c->o->jobs; i++)
        if (c->runners[i].pid == pid)
            return &c->runners[i];
    return NULL;
}

static bool open_campaign(struct campaign *c, const struct options *o, bool quiet)
{
    *c = (struct campaign){.o = o, .next = o->first, .quiet = quiet};
    void *shared = mmap(NULL, o->jobs * sizeof *c->outcomes, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return false;
    c->outcomes = shared;
    for (unsigned i = 0; i < o->jobs; i++) {
        c->runners[i].outcome = &c->outcomes[i];
        c->runners[i].report = tmpfile();
        if (!c->runners[i].report)
            return false;
    }
    return true;
}

static void close_campaign(struct campaign *c)
{
    for (unsigned i = 0; i < c->o->jobs; i++)
        if (c->runners[i].report)
            fclose(c->runners[i].report);
    if (c->outcomes)
        munmap(c->outcomes, c->o->jobs * sizeof *c->outcomes);
}

/* Runs the seeds, some at a time; with `quiet`, until one fails. False if it cannot. */
static bool run_campaign(struct campaign *c)
{
    unsigned running = 0;
    for (;;) {
        while (running < c->o->jobs && c->next <= c->o->last && !(c->quiet && c->failed)) {
            if (!start_seed(c, runner_of(c, 0)))
                return false;
            running++;
        }
        if (running == 0)
            return true;
        int status;
        pid_t pid = waitpid(-1, &status, 0);
        struct runner *r = pid > 0 ? runner_of(c, pid) : NULL;
        if (!r)
            return false;
        finish_seed(c, r, status);
        running--;
    }
}

static void print_sums(const struct campaign *c)
{
    const struct sim_sums *s = &c->sums;
    uint64_t seeds = c->passed + c->failed;
    printf("sim: %" PRIu64 " steps, %" PRIu64 " messages, %" PRIu64 " jobs, %" PRIu64 " faults\n",
           s->steps, s->messages, s->jobs, s->faults);
    printf("sim: %" PRIu64 " whole answers, %" PRIu64 " partial; %" PRIu64
           " evaluations measured, %" PRIu64 " not; %" PRIu64 " errors, %" PRIu64
           " of them busy; %" PRIu64 " welcomes, %" PRIu64 " workers refused, %" PRIu64
           " clients gave up\n",
           s->whole, s->partial, s->measured, s->unmeasured, s->errors, s->busy, s->joined,
           s->refused, s->lost_clients);
    printf("sim: %" PRIu64 " shards came from other workers, %" PRIu64 " workers drained; %" PRIu64
           " hedges, %" PRIu64 " probes\n",
           s->fetched, s->drained, s->hedged, s->probes);
    if (seeds)
        printf(
            "sim: whole at most %.1f s after the last fault; %.3f s of processor time a seed, at "
            "most %.3f (seed %" PRIu64 ")\n",
            (double)c->whole_ns_max / 1e9, (double)c->ns / 1e9 / (double)seeds,
            (double)c->ns_max / 1e9, c->seed_max);
}

static bool run_seeds(const struct options *o, struct campaign *c)
{
    bool ran = open_campaign(c, o, false) && run_campaign(c);
    close_campaign(c);
    if (!ran)
        perror("sim: cannot run the seeds");
    else if (c->failed == 0)
        print_sums(c);
    fflush(stdout);
    return ran;
}

/* --- planted bugs ----------------------------------------------------------------------------- */

static bool hunt(const struct options *o, const struct sim_bug *bug)
{
    struct options with = *o;
    struct campaign c;
    with.bug = bug;
    if (with.last - with.first >= SEEDS)
        with.last = with.first + SEEDS - 1;
    bool ran = open_campaign(&c, &with, true) && run_campaign(&c);
    bool found = ran && c.failed > 0;
    if (found)
        printf("%-22s found by seed %-5" PRIu64 " %s\n", sim_bug_name(bug), c.first_failed,
               sim_bug_what(bug));
    else
        printf("%-22s NOT FOUND          %s\n", sim_bug_name(bug), sim_bug_what(bug));
    close_campaign(&c);
    return found;
}

static int run_all(const struct options *o)
{
    struct campaign c;
    uint64_t found = 0, missed = 0;
    if (!run_seeds(o, &c))
        return 2;
    for (unsigned i = 0; o->bugs && sim_bug_at(i); i++) {
        bool here = hunt(o, sim_bug_at(i));
        found += here;
        missed += !here;
        fflush(stdout);
    }
    printf("%" PRIu64 " passed, %" PRIu64 " failed\n", c.passed + found, c.failed + missed);
    if (c.failed)
        print_command(o, c.first_failed);
    return c.failed + missed ? 1 : 0;
}

/* --- the command line ------------------------------------------------------------------------- */

static int usage(void)
{
    fprintf(stderr,
            "usage: sim [--seeds N | --seeds A-B | --seed N] [--bug NAME] [--bugs] [--trace] "
            "[--jobs N]\n");
    for (unsigned i = 0; sim_bug_at(i); i++)
        fprintf(stderr, "  %-22s %s\n", sim_bug_name(sim_bug_at(i)), sim_bug_what(sim_bug_at(i)));
    return 2;
}

/* "A-B", or "N": one seed, or as many. */
static bool read_seeds(const char *text, bool one, struct options *o)
{
    char *end;
    o->last = strtoull(text, &end, 10);
    o->first = one ? o->last : 1;
    if (!one && end != text && *end == '-') {
        o->first = o->last;
        o->last = strtoull(text = end + 1, &end, 10);
    }
    return end != text && *end == '\0' && o->first <= o->last;
}

static bool read_option(struct options *o, const char *name, const char *value, int *at)
{
    if (strcmp(name, "--trace") == 0)
        return o->trace = true;
    if (strcmp(name, "--bugs") == 0)
        return o->bugs = true;
    ++*at;
    if (!value)
        return false;
    if (strcmp(name, "--seed") == 0 || strcmp(name, "--seeds") == 0)
        return read_seeds(value, name[6] == '\0', o);
    if (strcmp(name, "--bug") == 0)
        return (o->bug = sim_bug_named(value)) != NULL;
    if (strcmp(name, "--jobs") == 0) {
        o->jobs = (unsigned)strtoul(value, NULL, 10);
        return o->jobs >= 1 && o->jobs <= JOBS_MAX;
    }
    return false;
}

int main(int argc, char **argv)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    struct options o = {
        .first = 1, .last = SEEDS, .jobs = cpus > 0 && cpus <= JOBS_MAX ? (unsigned)cpus : 1};
    for (int i = 1; i < argc; i++)
        if (!read_option(&o, argv[i], i + 1 < argc ? argv[i + 1] : NULL, &i))
            return usage();
    if (o.trace)
        o.jobs = 1;
    return run_all(&o);
}
