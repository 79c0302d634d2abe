/* operate.c: `vitrine drain` and `vitrine replicas`: who holds the shards, and how often. */
#include "common/limits.h"
#include "common/text.h"
#include "ops/cli/cli.h"
#include "ops/cli/client.h"
#include "ops/cli/json.h"
#include "ops/cli/local.h"
#include "ops/cli/progress.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { LOOK_MS = 250 };

/* What both are given. */
struct args {
    const char *connect, *word;
    bool insecure, no_wait, json, force;
};

/* Shard replicas that are to be made. */
static uint32_t moves_left(const struct pr_status *s)
{
    uint32_t moves = 0;
    for (size_t i = 0; i < s->members_count; i++)
        moves += s->members[i].moving;
    return moves;
}

/* Does the node have something to hand over still? */
static bool is_here(const struct pr_status *s, const char *node)
{
    for (size_t i = 0; i < s->members_count; i++)
        if (strcmp(s->members[i].node, node) == 0)
            return true;
    return false;
}

/* Waits until all moves are made and, unless NULL, `node` is gone. Errors: CM_EBUSY (Ctrl-C: the
 * cluster goes on), those of cli_client_status. */
static enum cm_err wait_done(struct cli_client *client, const char *node, uint32_t moves,
                             struct cm_error *e)
{
    const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
    struct cli_progress progress;
    enum cm_err rc = CM_OK;
    cli_progress_start(&progress, "shards", moves);
    for (bool done = false; !rc && !done;) {
        struct pr_status status = {0};
        rc = cli_client_status(client, &status, e);
        if (rc)
            break;
        uint32_t left = moves_left(&status);
        done = left == 0 && !(node && is_here(&status, node));
        cli_progress_at(&progress, left < moves ? moves - left : 0, 0);
        pr_status_fini(&status);
        if (!done && cli_interrupted())
            rc = cm_fail(e, CM_EBUSY, "interrupted; the cluster goes on: see 'vitrine status'");
        if (!done && !rc)
            nanosleep(&pause, NULL);
    }
    cli_progress_end(&progress);
    return rc;
}

static enum cm_err print_placed(const struct args *a, const struct pr_placed *p, bool waited,
                                const char *what, struct cm_error *e)
{
    if (a->json)
        return cli_print_json(json_pack("{s:I, s:i, s:i, s:i, s:b}", "epoch", (json_int_t)p->epoch,
                                        "replicas", (int)p->replicas, "nodes", (int)p->nodes,
                                        "moves", (int)p->moves, "done", (int)waited),
                              e);
    printf("%s: %u shard replicas %s, over %u nodes\n", what, p->moves,
           waited ? "were made" : "to make", p->nodes);
    if (p->nodes < p->replicas)
        printf("%u replicas are wanted; with %u nodes there are %u until more workers join\n",
               p->replicas, p->nodes, p->nodes);
    return CM_OK;
}

static enum cm_err run(const struct args *a, struct pr_drain *drain, struct pr_replicas *replicas,
                       struct cm_error *e)
{
    struct cli_client *client;
    struct pr_status status = {0};
    struct pr_placed placed;
    cli_block_signals();
    enum cm_err rc = cli_client_open(&client, a->connect, a->insecure, &status, e);
    pr_status_fini(&status);
    if (!rc)
        rc = drain ? cli_client_drain(client, drain, &placed, e)
                   : cli_client_replicas(client, replicas, &placed, e);
    /* With fewer nodes than replicas the moves that can be made are all there are. */
    if (!rc && !a->no_wait)
        rc = wait_done(client, drain ? drain->node : NULL, placed.moves, e);
    cli_client_close(client);
    if (rc)
        return rc;
    char what[CM_NODE_BYTES_MAX + 16];
    if (drain)
        snprintf(what, sizeof what, "%s %s", drain->node, a->no_wait ? "drains" : "is drained");
    else
        snprintf(what, sizeof what, "%u replicas", placed.replicas);
    return print_placed(a, &placed, !a->no_wait, what, e);
}

/* The flags of both; the last is drain's alone. */
struct flags {
    struct cm_option list[5];
};

static struct flags flags_of(struct args *a)
{
    return (struct flags){{
        {"connect", 'c', CM_OPTION_TEXT, true, "ENDPOINT", "the coordinator", 0, 0, &a->connect},
        {"no-wait", 0, CM_OPTION_FLAG, false, NULL, "return at once; the cluster goes on by itself",
         0, 0, &a->no_wait},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "a coordinator on another machine is fine, although nobody is authenticated", 0, 0,
         &a->insecure},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &a->json},
        {"force", 0, CM_OPTION_FLAG, false, NULL,
         "also if shards are then held less often than wanted", 0, 0, &a->force},
    }};
}

int cli_drain(int argc, char **argv)
{
    struct args a = {0};
    const struct flags flags = flags_of(&a);
    const struct cm_command command = {
        .name = "vitrine drain",
        .usage = "NODE --connect ENDPOINT [--force] [--no-wait] [--json]",
        .about =
            "Has a worker hand its shards over to the others and leave. It serves until they have\n"
            "them; then its process ends with exit code 0. A node that is away is given up at\n"
            "once: others get its shards from whoever has copies.",
        .options = flags.list,
        .options_count = 5,
        .positional = "NODE",
        .positional_out = &a.word,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct pr_drain drain = {.force = a.force};
    struct cm_error e;
    enum cm_err rc = CM_OK;
    if (!cm_is_node_name(a.word))
        rc = cm_fail(&e, CM_EUSAGE, "'%s' is no node's name: see 'vitrine status'", a.word);
    else
        snprintf(drain.node, sizeof drain.node, "%s", a.word);
    if (!rc)
        rc = run(&a, &drain, NULL, &e);
    return rc ? cm_command_fail(&command, &e) : CM_EXIT_OK;
}

int cli_replicas(int argc, char **argv)
{
    struct args a = {0};
    const struct flags flags = flags_of(&a);
    const struct cm_command command = {
        .name = "vitrine replicas",
        .usage = "N --connect ENDPOINT [--no-wait] [--json]",
        .about =
            "Has the cluster hold each shard on N workers, 1 to 16. With two, any one worker can\n"
            "be lost without a query noticing. More copies are made, or the surplus is let go of.",
        .options = flags.list,
        .options_count = 4,
        .positional = "N",
        .positional_out = &a.word,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cm_error e;
    int64_t n;
    enum cm_err rc = CM_OK;
    if (!cm_int_of_text(a.word, 1, CM_REPLICAS_MAX, &n))
        rc = cm_fail(&e, CM_EUSAGE, "'%s' is not a whole number from 1 to %u", a.word,
                     CM_REPLICAS_MAX);
    if (!rc) {
        struct pr_replicas replicas = {.replicas = (uint32_t)n};
        rc = run(&a, NULL, &replicas, &e);
    }
    return rc ? cm_command_fail(&command, &e) : CM_EXIT_OK;
}
