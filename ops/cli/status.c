/* status.c: `vitrine status`: who is in the cluster, and how it does. */
#include "common/geometry.h"
#include "ops/cli/cli.h"
#include "ops/cli/client.h"
#include "ops/cli/json.h"
#include "ops/cli/local.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What was seen before, and how long ago; zeroed for nothing. */
struct look {
    struct pr_status status;
    double seconds;
};

/* A member's pairs a second between two looks; 0 without an earlier one. */
static double pairs_per_s(const struct pr_member *m, const struct look *before)
{
    for (size_t i = 0; i < before->status.members_count; i++) {
        const struct pr_member *was = &before->status.members[i];
        if (was->incarnation == m->incarnation && m->pairs_scored >= was->pairs_scored)
            return (double)(m->pairs_scored - was->pairs_scored) / before->seconds;
    }
    return 0;
}

/* "12", or "9 of 12" while shards are on their way to it. */
static void print_member(const struct pr_member *m, const struct look *before)
{
    char shards[32], rate[32] = "-";
    snprintf(shards, sizeof shards, "%u", m->shards);
    if (m->moving > 0)
        snprintf(shards, sizeof shards, "%u of %u", m->assigned - m->moving, m->assigned);
    if (before->seconds > 0)
        snprintf(rate, sizeof rate, "%.0f", pairs_per_s(m, before));
    printf("%-24s %-8s %7u %9s %10" PRIu64 " %9u %6u %10" PRIu64 " %11s %5.0f MB  %s\n", m->node,
           m->slow ? "slow" : pr_member_state_name(m->state), m->threads, shards, m->images,
           m->inflight, m->queued, m->searches_done, rate, (double)m->memory_bytes / 1e6,
           m->numeric_class);
}

static void print_placement(const struct pr_status *s)
{
    uint32_t moves = 0;
    if (s->replicas == 0)
        return;
    for (size_t i = 0; i < s->members_count; i++)
        moves += s->members[i].moving;
    printf("replicas     %u wanted; %u of %u shards have them; %u to be made; epoch %" PRIu64 "\n",
           s->replicas, s->shards_whole, s->gallery.shards, moves, s->epoch);
}

/* Whether the cluster is asked more than it can do; nothing while it never was. */
static void print_overload(const struct pr_status *s)
{
    if (s->counters.busy + s->counters.expired + s->queries_waiting == 0)
        return;
    printf("overload     %" PRIu64 " refused as busy, %" PRIu64 " expired", s->counters.busy,
           s->counters.expired);
    if (s->clients_waiting > 0)
        printf("; %u clients wait, one with %u", s->clients_waiting, s->most_waiting);
    if (s->pace_us > 0)
        printf("; an answer each %.1f ms", (double)s->pace_us / 1000);
    printf("\n");
}

static void print_text(const char *endpoint, const struct pr_status *s, const struct look *before)
{
    char text[CM_FINGERPRINT_TEXT_BYTES];
    printf("coordinator  %s, up %.1f s, %.1f MB of memory at the most\n", endpoint,
           (double)s->uptime_ms / 1000, (double)s->memory_bytes / 1e6);
    if (s->has_gallery)
        printf("gallery      %s, %" PRIu64 " images (%s)\nshards       %u of %u served\n",
               cm_fingerprint_text(&s->gallery.gallery, text), s->gallery.images,
               cm_matcher_name(s->gallery.geometry.matcher), s->shards_covered, s->gallery.shards);
    else
        printf("gallery      none yet: no worker has joined\n");
    print_placement(s);
    printf("queries      %" PRIu64 " admitted, %" PRIu64 " answered (%" PRIu64 " partial), %" PRIu64
           " errors; %u waiting, %u in flight\n",
           s->counters.queries, s->counters.answers, s->counters.partial, s->counters.errors,
           s->queries_waiting, s->queries_inflight);
    printf("hedges       %" PRIu64 " shards asked of a second worker, which answered %" PRIu64
           " first\n",
           s->counters.hedges, s->counters.hedges_won);
    print_overload(s);
    printf("refused      %" PRIu64 " workers; garbage %" PRIu64 "; %" PRIu64 " connections ended\n",
           s->counters.refused, s->counters.garbage, s->counters.disconnects);
    printf("\n%-24s %-8s %7s %9s %10s %9s %6s %10s %11s %8s  %s\n", "worker", "state", "threads",
           "shards", "images", "in flight", "queued", "searches", "pairs/s", "memory", "class");
    for (size_t i = 0; i < s->members_count; i++)
        print_member(&s->members[i], before);
}

static json_t *gallery_json(const struct pr_status *s)
{
    char gallery[CM_FINGERPRINT_TEXT_BYTES], model[CM_FINGERPRINT_TEXT_BYTES];
    if (!s->has_gallery)
        return json_null();
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:i}", "fingerprint",
                     cm_fingerprint_text(&s->gallery.gallery, gallery), "model",
                     cm_fingerprint_text(&s->gallery.model, model), "matcher",
                     cm_matcher_name(s->gallery.geometry.matcher), "precision",
                     cm_precision_name(s->gallery.precision), "images",
                     (json_int_t)s->gallery.images, "shards", (int)s->gallery.shards);
}

static json_t *workers_json(const struct pr_status *s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->members_count; i++) {
        const struct pr_member *m = &s->members[i];
        json_array_append_new(
            list,
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I, s:b, s:i, s:i, "
                      "s:i, s:I, s:b, s:I, s:I, s:I, s:I}",
                      "node", m->node, "state", pr_member_state_name(m->state), "class",
                      m->numeric_class, "threads", (int)m->threads, "credits", (int)m->credits,
                      "inflight", (int)m->inflight, "shards", (int)m->shards, "images",
                      (json_int_t)m->images, "searches_done", (json_int_t)m->searches_done,
                      "pairs_scored", (json_int_t)m->pairs_scored, "silent_ms",
                      (json_int_t)m->silent_ms, "placed", (int)m->placed, "assigned",
                      (int)m->assigned, "moving", (int)m->moving, "queued", (int)m->queued,
                      "memory_bytes", (json_int_t)m->memory_bytes, "slow", (int)m->slow,
                      "blocks_scored", (json_int_t)m->work.blocks_scored, "blocks_late",
                      (json_int_t)m->work.blocks_late, "cancelled", (json_int_t)m->work.cancelled,
                      "expired", (json_int_t)m->work.expired));
    }
    return list;
}

static json_t *counters_json(const struct pr_counters *c)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "queries",
                     (json_int_t)c->queries, "answers", (json_int_t)c->answers, "partial",
                     (json_int_t)c->partial, "errors", (json_int_t)c->errors, "garbage",
                     (json_int_t)c->garbage, "refused", (json_int_t)c->refused, "disconnects",
                     (json_int_t)c->disconnects, "hedges", (json_int_t)c->hedges, "hedges_won",
                     (json_int_t)c->hedges_won, "busy", (json_int_t)c->busy, "expired",
                     (json_int_t)c->expired);
}

static enum cm_err print_json(const struct pr_status *s, struct cm_error *e)
{
    json_t *root = json_pack(
        "{s:I, s:I, s:I, s:i, s:i, s:o, s:i, s:i, s:i, s:i, s:i, s:f, s:o, s:o}", "uptime_ms",
        (json_int_t)s->uptime_ms, "epoch", (json_int_t)s->epoch, "replicas", (int)s->replicas,
        "shards_whole", (int)s->shards_whole, "memory_bytes", (json_int_t)s->memory_bytes,
        "gallery", gallery_json(s), "shards_covered", (int)s->shards_covered, "queries_waiting",
        (int)s->queries_waiting, "queries_inflight", (int)s->queries_inflight, "clients_waiting",
        (int)s->clients_waiting, "most_waiting", (int)s->most_waiting, "pace_ms",
        (double)s->pace_us / 1000, "counters", counters_json(&s->counters), "workers",
        workers_json(s));
    return cli_print_json(root, e);
}

/* Is every shard served, and as often as wanted, and `worker` (unless NULL) among those who serve?
 */
static bool is_ready(const struct pr_status *s, const char *worker)
{
    for (size_t i = 0; worker && i < s->members_count; i++)
        if (strcmp(s->members[i].node, worker) == 0)
            return s->members[i].state == PR_MEMBER_READY;
    uint32_t served = s->replicas > 1 ? s->shards_whole : s->shards_covered;
    return !worker && s->has_gallery && served == s->gallery.shards;
}

/* Says why `--ready` or `--worker` fails. */
static int not_ready(const struct pr_status *s, const char *worker)
{
    if (worker)
        fprintf(stderr, "vitrine status: no worker '%s' serves\n", worker);
    else if (s->shards_covered < s->gallery.shards || !s->has_gallery)
        fprintf(stderr, "vitrine status: not every shard is served: %u of %u\n", s->shards_covered,
                s->gallery.shards);
    else
        fprintf(stderr, "vitrine status: not every shard is held %u times: %u of %u\n", s->replicas,
                s->shards_whole, s->gallery.shards);
    return CM_EXIT_FAILED;
}

static enum cm_err print(const char *connect, const struct pr_status *s, const struct look *before,
                         bool json, struct cm_error *e)
{
    if (json)
        return print_json(s, e);
    print_text(connect, s, before);
    return CM_OK;
}

/* Prints again and again, in place on a terminal, until Ctrl-C. Errors: those of the client. */
static enum cm_err watch(struct cli_client *client, const char *connect, struct pr_status *first,
                         uint64_t seconds, bool json, struct cm_error *e)
{
    const struct timespec step = {.tv_nsec = 100000000};
    struct look before = {.status = *first};
    enum cm_err rc = print(connect, first, &before, json, e);
    before.seconds = (double)seconds;
    *first = (struct pr_status){0};
    while (!rc) {
        struct pr_status now = {0};
        fflush(stdout);
        for (uint64_t i = 0; i < 10 * seconds && !cli_interrupted(); i++)
            nanosleep(&step, NULL);
        if (cli_interrupted())
            break;
        rc = cli_client_status(client, &now, e);
        if (!rc && !json)
            fputs(isatty(STDOUT_FILENO) ? "\033[H\033[J" : "\n", stdout);
        if (!rc)
            rc = print(connect, &now, &before, json, e);
        pr_status_fini(&before.status);
        before.status = now;
    }
    pr_status_fini(&before.status);
    return rc;
}

int cli_status(int argc, char **argv)
{
    const char *connect = NULL, *worker = NULL;
    bool json = false, insecure = false, ready = false;
    uint64_t every_s = 0;
    const struct cm_option options[] = {
        {"connect", 'c', CM_OPTION_TEXT, true, "ENDPOINT", "the coordinator", 0, 0, &connect},
        {"ready", 0, CM_OPTION_FLAG, false, NULL,
         "exit 1 unless every shard is served, as often as wanted", 0, 0, &ready},
        {"worker", 'w', CM_OPTION_TEXT, false, "NAME", "exit 1 unless this worker serves", 0, 0,
         &worker},
        {"watch", 0, CM_OPTION_COUNT, false, "S",
         "print again every S seconds until Ctrl-C, with each worker's pairs/s", 1, 3600, &every_s},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "a coordinator on another machine is fine, although nobody is authenticated", 0, 0,
         &insecure},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &json},
    };
    const struct cm_command command = {
        .name = "vitrine status",
        .usage = "--connect ENDPOINT [--ready] [--worker NAME] [--watch S] [--json]",
        .about =
            "Prints the cluster's gallery, replicas, workers, queues and counters. With --ready\n"
            "or --worker it is a health check.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
        .exits = "  1   --ready or --worker: not so\n",
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cli_client *client;
    struct pr_status status = {0};
    const struct look none = {0};
    struct cm_error e;
    if (every_s > 0)
        cli_block_signals();
    enum cm_err rc = cli_client_open(&client, connect, insecure, &status, &e);
    if (!rc && every_s > 0)
        rc = watch(client, connect, &status, every_s, json, &e);
    else if (!rc)
        rc = print(connect, &status, &none, json, &e);
    cli_client_close(client);
    exit_code = rc ? cm_command_fail(&command, &e) : CM_EXIT_OK;
    if (!rc && every_s == 0 && (ready || worker) && !is_ready(&status, worker))
        exit_code = not_ready(&status, worker);
    pr_status_fini(&status);
    return exit_code;
}
