/* main.c: vitrine-coordinator: flags in, edge run, exit code out. */
#include "common/io/file.h"
#include "common/limits.h"
#include "common/options.h"
#include "coordinator/coordinator_uv.h"

#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#define NOT_GIVEN UINT64_MAX

struct args {
    const char *listen, *state, *log_level;
    bool insecure, allow_mixed;
    uint64_t heartbeat_ms, dead_after_ms, settle_ms, replicas, replace_after_s, hedge_percent;
};

/* Request ids start anywhere, so that an answer to an earlier life of ours cannot be taken for one
 * to this life. */
static uint64_t random_id(void)
{
    uint64_t id = 0;
    if (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
        id = (uint64_t)getpid() << 32;
    return id >> 1; /* room to count up */
}

static int run(const struct args *a, const struct cm_command *command)
{
    struct cm_error e;
    struct cm_log log;
    enum cm_log_level level;
    uint64_t settle_ms = a->settle_ms == NOT_GIVEN ? a->dead_after_ms : a->settle_ms;
    struct co_edge_options o = {
        .listen = a->listen,
        .insecure = a->insecure,
        .state = a->state,
        .config =
            {
                .heartbeat_ns = a->heartbeat_ms * UINT64_C(1000000),
                .dead_after_ns = a->dead_after_ms * UINT64_C(1000000),
                .settle_ns = settle_ms * UINT64_C(1000000),
                .allow_mixed = a->allow_mixed,
                .replicas = (uint32_t)a->replicas,
                .replace_after_ns = a->replace_after_s * UINT64_C(1000000000),
                .hedge_percent = (uint32_t)a->hedge_percent,
                .demotes_late = true,
                .first_id = random_id(),
            },
    };
    if (cm_log_level_parse(a->log_level, &level, &e))
        return cm_command_fail(command, &e);
    cm_log_init(&log, STDERR_FILENO, level, "coordinator");
    io_raise_file_limit();
    return co_edge_run(&o, &log, &e) ? cm_command_fail(command, &e) : CM_EXIT_OK;
}

int main(int argc, char **argv)
{
    struct args a = {
        .log_level = "info",
        .heartbeat_ms = 1000,
        .dead_after_ms = 3500,
        .settle_ms = NOT_GIVEN,
        .replicas = 1,
        .replace_after_s = 300,
        .hedge_percent = 5,
    };
    const struct cm_option options[] = {
        {"listen", 'l', CM_OPTION_TEXT, true, "ENDPOINT",
         "tcp://127.0.0.1:7700 or ipc:///run/vitrine.sock; tcp port 0: any free one,\n"
         "named in the log line event=listening",
         0, 0, &a.listen},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "listen where other machines reach it, although nobody is authenticated", 0, 0,
         &a.insecure},
        {"allow-mixed", 0, CM_OPTION_FLAG, false, NULL,
         "admit workers of different numeric classes; answers say so", 0, 0, &a.allow_mixed},
        {"heartbeat-ms", 0, CM_OPTION_COUNT, false, "MS",
         "how often workers show that they live (default 1000)", 10, 60000, &a.heartbeat_ms},
        {"dead-after-ms", 0, CM_OPTION_COUNT, false, "MS",
         "a worker silent for so long is lost (default 3500)", 30, 600000, &a.dead_after_ms},
        {"settle-ms", 0, CM_OPTION_COUNT, false, "MS",
         "after its start, queries wait at most so long until every shard is served, so\n"
         "that a restart makes no answer partial (default: as --dead-after-ms)",
         0, 600000, &a.settle_ms},
        {"state", 0, CM_OPTION_TEXT, false, "FILE",
         "place shards on the workers, evenly, and keep the map of that in FILE, which is\n"
         "made if need be; workers with empty folders can then join, and 'vitrine drain'\n"
         "and 'vitrine replicas' work (default: each worker serves what it was given)",
         0, 0, &a.state},
        {"replicas", 'R', CM_OPTION_COUNT, false, "N",
         "with --state: hold each shard on N workers (default 1); for a new FILE, after\n"
         "that 'vitrine replicas' changes it",
         1, CM_REPLICAS_MAX, &a.replicas},
        {"replace-after-s", 0, CM_OPTION_COUNT, false, "S",
         "with --state: give the shards of a worker that is away for so long to others, if\n"
         "they have copies (default 300)",
         0, 30 * 24 * 3600, &a.replace_after_s},
        {"hedge-percent", 0, CM_OPTION_COUNT, false, "N",
         "of a hundred shards asked for, so many at the most are asked of a second worker\n"
         "too, when the first is late (default 5; 0: none). What a worker owes that is\n"
         "slow or silent as a whole is asked of others all the same",
         0, 100, &a.hedge_percent},
        {"log-level", 0, CM_OPTION_TEXT, false, "LEVEL",
         "debug, info (default), warn, error or off; lines go to stderr", 0, 0, &a.log_level},
    };
    const struct cm_command command = {
        .name = "vitrine-coordinator",
        .usage = "--listen ENDPOINT [options]",
        .about =
            "Admits queries from 'vitrine search', scatters them over the workers that have\n"
            "dialled in, and merges one exact ranking. Holds no features. SIGTERM: finishes what\n"
            "it has, then ends.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    if (a.dead_after_ms < 2 * a.heartbeat_ms) {
        fprintf(stderr, "%s: --dead-after-ms must be at least twice --heartbeat-ms\n",
                command.name);
        return CM_EXIT_USAGE;
    }
    return run(&a, &command);
}
