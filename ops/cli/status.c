/* status.c: `vitrine status`: who is in the cluster, and how it does. */
#include "common/geometry.h"
#include "ops/cli/cli.h"
#include "ops/cli/client.h"
#include "ops/cli/json.h"

#include <inttypes.h>
#include <string.h>

static void print_text(const char *endpoint, const struct pr_status *s)
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
    printf("queries      %" PRIu64 " admitted, %" PRIu64 " answered (%" PRIu64 " partial), %" PRIu64
           " errors; %u waiting, %u in flight\n",
           s->counters.queries, s->counters.answers, s->counters.partial, s->counters.errors,
           s->queries_waiting, s->queries_inflight);
    printf("refused      %" PRIu64 " workers; garbage %" PRIu64 "; %" PRIu64 " connections ended\n",
           s->counters.refused, s->counters.garbage, s->counters.disconnects);
    printf("\n%-24s %-8s %7s %7s %10s %9s %10s %14s  %s\n", "worker", "state", "threads", "shards",
           "images", "in flight", "searches", "pairs scored", "class");
    for (size_t i = 0; i < s->members_count; i++) {
        const struct pr_member *m = &s->members[i];
        printf("%-24s %-8s %7u %7u %10" PRIu64 " %9u %10" PRIu64 " %14" PRIu64 "  %s\n", m->node,
               pr_member_state_name(m->state), m->threads, m->shards, m->images, m->inflight,
               m->searches_done, m->pairs_scored, m->numeric_class);
    }
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
            json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:I, s:I, s:I, s:I}", "node", m->node,
                      "state", pr_member_state_name(m->state), "class", m->numeric_class, "threads",
                      (int)m->threads, "credits", (int)m->credits, "inflight", (int)m->inflight,
                      "shards", (int)m->shards, "images", (json_int_t)m->images, "searches_done",
                      (json_int_t)m->searches_done, "pairs_scored", (json_int_t)m->pairs_scored,
                      "silent_ms", (json_int_t)m->silent_ms));
    }
    return list;
}

static enum cm_err print_json(const struct pr_status *s, struct cm_error *e)
{
    const struct pr_counters *c = &s->counters;
    json_t *root = json_pack(
        "{s:I, s:I, s:o, s:i, s:i, s:i, s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I}, s:o}", "uptime_ms",
        (json_int_t)s->uptime_ms, "memory_bytes", (json_int_t)s->memory_bytes, "gallery",
        gallery_json(s), "shards_covered", (int)s->shards_covered, "queries_waiting",
        (int)s->queries_waiting, "queries_inflight", (int)s->queries_inflight, "counters",
        "queries", (json_int_t)c->queries, "answers", (json_int_t)c->answers, "partial",
        (json_int_t)c->partial, "errors", (json_int_t)c->errors, "garbage", (json_int_t)c->garbage,
        "refused", (json_int_t)c->refused, "disconnects", (json_int_t)c->disconnects, "workers",
        workers_json(s));
    return cli_print_json(root, e);
}

/* Is every shard served, and `worker` (unless NULL) among those who serve? */
static bool is_ready(const struct pr_status *s, const char *worker)
{
    for (size_t i = 0; worker && i < s->members_count; i++)
        if (strcmp(s->members[i].node, worker) == 0)
            return s->members[i].state == PR_MEMBER_READY;
    return !worker && s->has_gallery && s->shards_covered == s->gallery.shards;
}

int cli_status(int argc, char **argv)
{
    const char *connect = NULL, *worker = NULL;
    bool json = false, insecure = false, ready = false;
    const struct cm_option options[] = {
        {"connect", 'c', CM_OPTION_TEXT, true, "ENDPOINT", "the coordinator", 0, 0, &connect},
        {"ready", 0, CM_OPTION_FLAG, false, NULL, "exit 1 unless every shard is served", 0, 0,
         &ready},
        {"worker", 'w', CM_OPTION_TEXT, false, "NAME", "exit 1 unless this worker serves", 0, 0,
         &worker},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "a coordinator on another machine is fine, although nobody is authenticated", 0, 0,
         &insecure},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &json},
    };
    const struct cm_command command = {
        .name = "vitrine status",
        .usage = "--connect ENDPOINT [--ready] [--worker NAME] [--json]",
        .about =
            "Prints the cluster's gallery, workers, queues and counters. With --ready or --worker\n"
            "it is a health check.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
        .exits = "  1   --ready or --worker: not so\n",
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cli_client *client;
    struct pr_status status = {0};
    struct cm_error e;
    enum cm_err rc = cli_client_open(&client, connect, insecure, &status, &e);
    cli_client_close(client);
    if (!rc && json)
        rc = print_json(&status, &e);
    else if (!rc)
        print_text(connect, &status);
    exit_code = rc ? cm_command_fail(&command, &e) : CM_EXIT_OK;
    if (!rc && (ready || worker) && !is_ready(&status, worker)) {
        if (worker)
            fprintf(stderr, "vitrine status: no worker '%s' serves\n", worker);
        else
            fprintf(stderr, "vitrine status: not every shard is served: %u of %u\n",
                    status.shards_covered, status.gallery.shards);
        exit_code = CM_EXIT_FAILED;
    }
    pr_status_fini(&status);
    return exit_code;
}
