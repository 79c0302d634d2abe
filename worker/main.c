/* main.c: vitrine-worker: flags in, edge run, exit code out. */
#include "common/io/cpu.h"
#include "common/io/file.h"
#include "common/limits.h"
#include "common/options.h"
#include "common/text.h"
#include "worker/worker_uv.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct args {
    const char *connect, *gallery, *shards, *listen, *node, *log_level;
    bool insecure;
    uint64_t threads, credits, transfer_mb_s;
};

static enum cm_err check_node(const char *node, struct cm_error *e)
{
    if (!cm_is_node_name(node))
        return cm_fail(e, CM_EUSAGE, "--node is '%s'; a name has at most %u of [A-Za-z0-9._-]",
                       node, CM_NODE_BYTES_MAX);
    return CM_OK;
}

static int run(const struct args *a, const struct cm_command *command)
{
    struct cm_error e;
    struct cm_log log;
    char node[CM_NODE_BYTES_MAX + 1];
    wk_default_node(node, sizeof node, a->gallery);
    enum cm_log_level level;
    struct wk_edge_options o = {
        .connect = a->connect,
        .insecure = a->insecure,
        .gallery = a->gallery,
        .shards = a->shards,
        .listen = a->listen,
        .transfer_bytes_per_s = a->transfer_mb_s * 1000000,
        .node = a->node ? a->node : node,
        .threads = (unsigned)a->threads,
        .credits = (uint32_t)a->credits,
    };
    if (cm_log_level_parse(a->log_level, &level, &e) || check_node(o.node, &e))
        return cm_command_fail(command, &e);
    cm_log_init(&log, STDERR_FILENO, level, o.node);
    io_raise_file_limit();
    return wk_edge_run(&o, &log, &e) ? cm_command_fail(command, &e) : CM_EXIT_OK;
}

int main(int argc, char **argv)
{
    struct args a = {.log_level = "info",
                     .threads = io_cpu_count(),
                     .credits = CM_WORKER_CREDITS,
                     .transfer_mb_s = 100};
    const struct cm_option options[] = {
        {"connect", 'c', CM_OPTION_TEXT, true, "ENDPOINT", "the coordinator's --listen endpoint", 0,
         0, &a.connect},
        {"gallery", 'g', CM_OPTION_TEXT, true, "DIR",
         "a folder made by 'vitrine import'; or an empty one, or none yet, for a worker\n"
         "that joins a cluster whose coordinator has --state: its shards come from the\n"
         "others",
         0, 0, &a.gallery},
        {"shards", 's', CM_OPTION_TEXT, false, "LIST",
         "serve these shards always, such as 0,2,5-7 (default: those that the\n"
         "coordinator places here; where it places none, all)",
         0, 0, &a.shards},
        {"listen", 'l', CM_OPTION_TEXT, false, "ENDPOINT",
         "where other workers get files from this one (default: for ipc the coordinator's\n"
         "path with .NODE behind it; for tcp this machine's address towards the\n"
         "coordinator, on a free port; with --shards nowhere)",
         0, 0, &a.listen},
        {"transfer-mb-s", 0, CM_OPTION_COUNT, false, "N",
         "get shards from others at N MB/s at the most, so that queries keep going\n"
         "(default 100)",
         1, 100000, &a.transfer_mb_s},
        {"threads", 't', CM_OPTION_COUNT, false, "N",
         "compute threads (default: the CPUs that this process may use)", 1, 1024, &a.threads},
        {"credits", 0, CM_OPTION_COUNT, false, "N", "searches taken at a time (default 16)", 1,
         CM_WORKER_CREDITS, &a.credits},
        {"node", 'n', CM_OPTION_TEXT, false, "NAME",
         "name in the cluster; a worker started again under its name takes its\n"
         "place at once (default: HOST-PID; where shards come from others, HOST and a\n"
         "hash of the folder's path)",
         0, 0, &a.node},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "dial a coordinator on another machine, although nobody is authenticated", 0, 0,
         &a.insecure},
        {"log-level", 0, CM_OPTION_TEXT, false, "LEVEL",
         "debug, info (default), warn, error or off; lines go to stderr", 0, 0, &a.log_level},
    };
    const struct cm_command command = {
        .name = "vitrine-worker",
        .usage = "--connect ENDPOINT --gallery DIR [--shards LIST] [options]",
        .about =
            "Maps shards of a gallery, dials the coordinator, and scores every query against\n"
            "every image it holds. Waits for the coordinator if it is not there yet, and finds it\n"
            "again when it comes back. SIGTERM: finishes what it has, then ends. So it does when\n"
            "'vitrine drain' has taken its shards to others.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    return run(&a, &command);
}
