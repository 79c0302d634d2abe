/* up.c: `vitrine up`: a coordinator and workers on this machine until Ctrl-C. */
#include "common/limits.h"
#include "ops/cli/cli.h"
#include "ops/cli/local.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>

/* Waits for Ctrl-C. Tells of a worker that ended; the coordinator's end is the cluster's. */
static enum cm_err serve(struct cli_local *l, struct cm_error *e)
{
    sigset_t set;
    cli_end_signals(&set);
    struct timespec period = {.tv_sec = 0, .tv_nsec = 200000000};
    while (sigtimedwait(&set, NULL, &period) < 0) {
        for (uint32_t i = l->children_count; i-- > 0;) { /* the coordinator's end is told last */
            char how[64];
            bool known = l->children[i].exited;
            if (known || !io_child_poll(&l->children[i]))
                continue;
            io_child_text(&l->children[i], how, sizeof how);
            if (i == 0)
                return cm_fail(e, CM_EUNAVAIL, "the coordinator %s", how);
            fprintf(stderr,
                    "vitrine up: worker %u %s; its shards are not served until one that "
                    "holds them joins\n",
                    i - 1, how);
        }
    }
    return CM_OK;
}

int cli_up(int argc, char **argv)
{
    struct cli_local_options o = {.logs_to_stderr = true};
    const struct cm_option options[] = {
        {"gallery", 'g', CM_OPTION_TEXT, true, "DIR", "a folder made by 'vitrine import'", 0, 0,
         &o.gallery},
        {"workers", 'w', CM_OPTION_COUNT, false, "N",
         "worker processes (default: one for each CPU, at most one for each shard)", 1,
         CM_MEMBERS_MAX, &o.workers},
        {"threads", 't', CM_OPTION_COUNT, false, "N",
         "compute threads of each worker (default: the CPUs divided among them)", 1, 1024,
         &o.threads},
        {"listen", 'l', CM_OPTION_TEXT, false, "ENDPOINT",
         "where to listen (default: an ipc:// path of its own)", 0, 0, &o.listen},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "listen where other machines reach it, although nobody is authenticated", 0, 0,
         &o.insecure},
    };
    const struct cm_command command = {
        .name = "vitrine up",
        .usage = "--gallery DIR [--workers N] [--listen ENDPOINT]",
        .about =
            "Runs a coordinator and workers for one gallery on this machine, prints where they\n"
            "listen once every shard is served, and ends them all on Ctrl-C. Logs go to stderr.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    struct cli_local local;
    struct cm_error e;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    cli_block_signals();
    if (cli_local_start(&local, &o, &e))
        return cm_command_fail(&command, &e);
    printf("ready: %u workers; vitrine search --connect %s --features Q.npy\n", local.workers,
           local.endpoint);
    fflush(stdout);
    exit_code = serve(&local, &e) ? cm_command_fail(&command, &e) : CM_EXIT_OK;
    cli_local_stop(&local);
    return exit_code;
}
