/* search.c: `vitrine search`: queries from a file, one exact ranking each.
 *
 * A few queries are in flight at a time, in a ring by their index; answers may come in any order
 * and are printed in the order of the queries. */
#include "common/geometry.h"
#include "common/io/loop.h"
#include "common/limits.h"
#include "common/mem.h"
#include "ops/cli/cli.h"
#include "ops/cli/client.h"
#include "ops/cli/local.h"
#include "ops/cli/query_map.h"
#include "ops/cli/ranking.h"
#include "proto/file/csv.h"
#include "proto/file/npy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    WINDOW = 4,   /* queries in flight: two passes' worth, so that workers never wait for us */
    POLL_MS = 50, /* how often Ctrl-C, and what is due, is looked for */
    /* Silence after which the coordinator is asked what it has of ours: a tenth of the deadline,
     * within these bounds. */
    ASK_MIN_MS = 100,
    ASK_MAX_MS = 5000,
    PATIENCE_MS = 10000, /* silence after which it is gone; the deadline, if that is longer */
    REST_MS = 100,       /* before a query is sent again that nobody took or that came partial */
    REST_MAX_MS = 2000,  /* twice as long each time, up to this */
    TELL_MS = 10000,     /* between lines that say that the cluster is busy */
    K_DEFAULT = 20,
};

struct search_args {
    const char *gallery, *connect, *features, *meta;
    uint64_t workers, threads, deadline_ms;
    uint64_t k; /* 0: K_DEFAULT, or all images where there are fewer */
    double min_coverage;
    bool json, insecure;
};

/* One query between reading and printing. */
struct flight {
    bool used, answered;
    bool kept;                    /* `answer` holds a partial one, in case that no better comes */
    uint64_t first_ns;            /* when it was sent first */
    uint64_t sent_ns;             /* and last */
    uint64_t again_ns;            /* when it is sent again; 0: it is out, or answered */
    uint64_t rest_ms;             /* how long it rests next time */
    struct cli_query_label label; /* its name is owned */
    char *name;
    struct pr_query query;
    struct cm_blob *map;
    struct pr_answer answer;
};

struct search {
    const struct search_args *a;
    struct pr_npy *features;
    struct pr_csv *meta;
    struct cli_client *client;
    uint32_t k;
    struct flight ring[WINDOW];
    uint64_t next_sent, next_printed; /* query indices */
    uint64_t heard_ns;
    uint64_t asked_ns; /* when the coordinator was last asked what it has of ours */
    uint64_t told_ns;  /* when it was last said that the cluster is busy; 0: never */
    struct cli_rank1 rank1;
    uint64_t partial;     /* answers that are not whole */
    enum cm_exit verdict; /* the first thing wrong with an answer decides */
};

static uint64_t ms(uint64_t count)
{
    return count * UINT64_C(1000000);
}

static void clear_flight(struct flight *f)
{
    cm_blob_unref(&f->map);
    free(f->name);
    if (f->answered || f->kept)
        pr_answer_fini(&f->answer);
    *f = (struct flight){0};
}

/* --- sending
 * ----------------------------------------------------------------------------------------- */

static enum cm_err read_label(struct search *s, struct flight *f, struct cm_error *e)
{
    bool end = false;
    if (!s->meta)
        return CM_OK;
    enum cm_err rc = pr_csv_next(s->meta, &f->label.meta, &end, e);
    if (!rc && end)
        rc = cm_fail(e, CM_EMISMATCH, "%s has fewer rows than %s has queries (%" PRIu64 ")",
                     s->a->meta, s->a->features, s->features->images);
    if (!rc)
        rc = cm_copy_text(&f->name, f->label.meta.name, e);
    f->label.meta.name = f->name;
    f->label.known = true;
    return rc;
}

static enum cm_err read_map(struct search *s, struct flight *f, uint64_t index, struct cm_error *e)
{
    uint32_t crc32c;
    enum cm_err rc = cli_query_map(s->features, index, &f->map, &crc32c, e);
    if (rc)
        return rc;
    f->query = (struct pr_query){
        .id = {index},
        .k = s->k,
        .dtype = s->features->dtype,
        .height = s->features->height,
        .width = s->features->width,
        .channels = s->features->channels,
        .payload_crc32c = crc32c,
    };
    return CM_OK;
}

static void rest(struct flight *f, uint64_t for_ms)
{
    f->again_ns = io_now_ns() + ms(for_ms);
}

/* Longer each time. */
static void rest_longer(struct flight *f)
{
    rest(f, f->rest_ms);
    f->rest_ms = 2 * f->rest_ms < REST_MAX_MS ? 2 * f->rest_ms : REST_MAX_MS;
}

static uint64_t deadline_ns(const struct flight *f, const struct search *s)
{
    return f->first_ns + ms(s->a->deadline_ms);
}

/* What is left of its deadline goes with it. A coordinator that is away is no failure yet: the
 * query rests. */
static enum cm_err send_flight(struct search *s, struct flight *f, struct cm_error *e)
{
    f->sent_ns = io_now_ns();
    f->again_ns = 0;
    uint64_t end_ns = deadline_ns(f, s), left_ns = f->sent_ns < end_ns ? end_ns - f->sent_ns : 0;
    f->query.deadline_ms = (uint32_t)((left_ns + ms(1) - 1) / ms(1));
    f->query.deadline_ms += f->query.deadline_ms == 0;
    enum cm_err rc = cli_client_query(s->client, &f->query, f->map, e);
    if (rc != CM_EUNAVAIL)
        return rc;
    rest(f, REST_MS);
    return CM_OK;
}

static enum cm_err send_due(struct search *s, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    for (size_t i = 0; !rc && i < WINDOW; i++) {
        struct flight *f = &s->ring[i];
        if (f->again_ns && io_now_ns() >= f->again_ns)
            rc = send_flight(s, f, e);
    }
    return rc;
}

static enum cm_err fill_window(struct search *s, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    while (!rc && s->next_sent < s->features->images && s->next_sent < s->next_printed + WINDOW) {
        struct flight *f = &s->ring[s->next_sent % WINDOW];
        *f = (struct flight){
            .used = true,
            .first_ns = io_now_ns(),
            .rest_ms = REST_MS,
            .label = {.index = s->next_sent},
        };
        rc = read_label(s, f, e);
        if (!rc)
            rc = read_map(s, f, s->next_sent, e);
        if (!rc)
            rc = send_flight(s, f, e);
        s->next_sent++;
    }
    return rc;
}

/* --- printing
 * ------------------------------------------------------------------------------------------ */

static double coverage_of(const struct pr_answer *a)
{
    return a->images ? (double)a->images_scored / (double)a->images : 0;
}

/* Says what an answer lacks, and lets it decide the exit code. */
static void judge(struct search *s, const struct flight *f)
{
    const struct pr_answer *a = &f->answer;
    char missing[512];
    if (a->missing_count == 0)
        return;
    s->partial++;
    cli_missing_text(a, missing, sizeof missing);
    fprintf(stderr,
            "vitrine search: query %" PRIu64 ": %" PRIu64 " of %" PRIu64
            " images were scored; missing shards: %s\n",
            f->label.index, a->images_scored, a->images, missing);
    if (a->images_scored == 0 && s->verdict == CM_EXIT_OK)
        s->verdict = CM_EXIT_UNAVAILABLE;
    else if (coverage_of(a) < s->a->min_coverage && s->verdict == CM_EXIT_OK)
        s->verdict = CM_EXIT_FAILED;
}

static enum cm_err print_ready(struct search *s, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    while (!rc && s->next_printed < s->next_sent) {
        struct flight *f = &s->ring[s->next_printed % WINDOW];
        if (!f->answered)
            break;
        if (f->label.known)
            cli_rank1_add(&s->rank1, &f->label, &f->answer);
        if (s->a->json)
            rc = cli_ranking_print_json(&f->label, &f->answer, e);
        else
            cli_ranking_print(&f->label, &f->answer, stdout);
        judge(s, f);
        clear_flight(f);
        s->next_printed++;
    }
    fflush(stdout);
    return rc;
}

/* --- receiving
 * ------------------------------------------------------------------------------------------ */

static struct flight *flight_of(struct search *s, uint64_t id)
{
    struct flight *f = &s->ring[id % WINDOW];
    return f->used && !f->answered && f->query.id.v == id ? f : NULL;
}

/* A query may come again until its deadline, counted from the first try. */
static bool may_retry(const struct search *s, const struct flight *f, uint64_t after_ms)
{
    return after_ms > 0 && io_now_ns() + ms(after_ms) < deadline_ns(f, s);
}

/* Does an answer lack something that may be there a moment later? */
static bool may_improve(const struct pr_answer *a)
{
    for (size_t i = 0; i < a->missing_count; i++)
        if (a->missing[i].reason == PR_REASON_NO_WORKER ||
            a->missing[i].reason == PR_REASON_WORKER_LOST ||
            a->missing[i].reason == PR_REASON_OVERLOAD)
            return true;
    return false;
}

/* Takes an answer over. One below --min-coverage is kept, and the query asked again while there is
 * time; the best is printed in the end. */
static void on_answer(struct search *s, struct flight *f, struct pr_answer *answer)
{
    if (f->kept && f->answer.images_scored > answer->images_scored) {
        pr_answer_fini(answer);
    } else {
        if (f->kept)
            pr_answer_fini(&f->answer);
        f->answer = *answer;
    }
    f->kept = coverage_of(&f->answer) < s->a->min_coverage && may_improve(&f->answer) &&
              may_retry(s, f, f->rest_ms);
    f->answered = !f->kept;
    if (f->kept)
        rest_longer(f);
}

/* So that nobody wonders why nothing comes; not for every query. */
static void tell_busy(struct search *s, const struct flight *f, const struct pr_error *error)
{
    uint64_t now = io_now_ns();
    if (error->code != PR_ERROR_BUSY || (s->told_ns && now - s->told_ns < ms(TELL_MS)))
        return;
    s->told_ns = now;
    fprintf(stderr, "vitrine search: query %" PRIu64 ": busy: %s; asks again in %.1f s\n",
            f->label.index, error->text, (double)error->retry_after_ms / 1000);
}

static enum cm_err on_error(struct search *s, const struct pr_error *error, struct cm_error *e)
{
    struct flight *f = flight_of(s, error->id.v);
    if (!f)
        return CM_OK;
    if (may_retry(s, f, error->retry_after_ms)) {
        rest(f, error->retry_after_ms);
        tell_busy(s, f, error);
        return CM_OK;
    }
    if (f->kept && error->retry_after_ms) {
        f->kept = false;
        f->answered = true;
        return CM_OK;
    }
    enum cm_err code = error->code == PR_ERROR_BAD_QUERY    ? CM_EFORMAT
                       : error->code == PR_ERROR_NO_GALLERY ? CM_EUNAVAIL
                       : error->retry_after_ms              ? CM_EBUSY
                                                            : CM_EREFUSED;
    return cm_fail(e, code, "query %" PRIu64 ": %s", f->label.index, error->text);
}

/* Is a query out, and was it when the coordinator was asked what it has? */
static bool is_out(const struct search *s, const struct flight *f)
{
    return f->used && !f->answered && !f->again_ns && f->sent_ns <= s->asked_ns;
}

/* The coordinator lives, but does it know our queries? If it has fewer of ours, it was restarted,
 * or the connection broke and we have another address now. They are sent again. */
static enum cm_err on_status(struct search *s, const struct pr_status *status, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    uint32_t out = 0;
    for (size_t i = 0; i < WINDOW; i++)
        out += is_out(s, &s->ring[i]);
    for (size_t i = 0; !rc && i < WINDOW && status->queries_yours < out; i++)
        if (is_out(s, &s->ring[i]))
            rc = send_flight(s, &s->ring[i], e);
    return rc;
}

static enum cm_err on_reply(struct search *s, struct cli_reply *reply, struct cm_error *e)
{
    struct flight *f;
    s->heard_ns = io_now_ns();
    switch (reply->type) {
    case PR_ANSWER:
        f = flight_of(s, reply->u.answer.id.v);
        if (f) {
            on_answer(s, f, &reply->u.answer);
            reply->type = 0; /* it is ours now */
        }
        return CM_OK;
    case PR_ERROR:
        return on_error(s, &reply->u.error, e);
    default:
        return on_status(s, &reply->u.status, e);
    }
}

static enum cm_err fail_interrupted(const struct search *s, struct cm_error *e)
{
    return cm_fail(e, CM_EBUSY, "interrupted at query %" PRIu64 " of %" PRIu64, s->next_printed,
                   s->features->images);
}

static uint64_t ask_ns(const struct search *s)
{
    uint64_t tenth = s->a->deadline_ms / 10;
    return ms(tenth < ASK_MIN_MS ? ASK_MIN_MS : tenth > ASK_MAX_MS ? ASK_MAX_MS : tenth);
}

static enum cm_err on_silence(struct search *s, struct cm_error *e)
{
    struct cm_error unheard;
    uint64_t now = io_now_ns(), silent_ns = now - s->heard_ns;
    uint64_t patience_ms = s->a->deadline_ms > PATIENCE_MS ? s->a->deadline_ms : PATIENCE_MS;
    if (cli_interrupted())
        return fail_interrupted(s, e);
    if (silent_ns > ms(patience_ms))
        return cm_fail(e, CM_EUNAVAIL,
                       "the coordinator has been silent for %.1f s; gave up at query %" PRIu64
                       " of %" PRIu64,
                       (double)silent_ns / 1e9, s->next_printed, s->features->images);
    if (silent_ns > ask_ns(s) && now - s->asked_ns > ask_ns(s)) {
        s->asked_ns = now;
        if (cli_client_ask_status(s->client, &unheard))
            return CM_OK; /* it is away; its silence will tell for how long */
    }
    return CM_OK;
}

static enum cm_err receive(struct search *s, struct cm_error *e)
{
    struct cli_reply reply;
    enum cm_err rc = cli_client_receive(s->client, POLL_MS, &reply, e);
    if (rc == CM_ETIMEOUT)
        return on_silence(s, e);
    if (rc)
        return rc;
    rc = on_reply(s, &reply, e);
    cli_reply_fini(&reply);
    return rc;
}

static enum cm_err search_all(struct search *s, struct cm_error *e)
{
    enum cm_err rc = CM_OK;
    s->heard_ns = io_now_ns();
    while (!rc && s->next_printed < s->features->images) {
        rc = send_due(s, e);
        if (!rc)
            rc = fill_window(s, e);
        if (!rc)
            rc = receive(s, e);
        if (!rc)
            rc = print_ready(s, e);
    }
    /* Ctrl-C in a terminal ends our own coordinator too: then that is what failed here. */
    return rc && cli_interrupted() ? fail_interrupted(s, e) : rc;
}

/* --- set-up
 * -------------------------------------------------------------------------------------------- */

static enum cm_err check_cluster(struct search *s, const struct pr_status *status,
                                 struct cm_error *e)
{
    const struct pr_npy *n = s->features;
    uint64_t images = status->gallery.images;
    s->k = s->a->k ? (uint32_t)s->a->k : K_DEFAULT;
    if (!status->has_gallery)
        return CM_OK; /* a worker may be on its way: the coordinator answers with when to retry */
    enum cm_err rc = cm_geometry_check_map(&status->gallery.geometry, s->a->features, n->height,
                                           n->width, n->channels, e);
    if (!rc && s->a->k > images)
        rc = cm_fail(e, CM_EUSAGE, "-k is %" PRIu64 ", but the gallery has %" PRIu64 " images",
                     s->a->k, images);
    if (s->k > images)
        s->k = (uint32_t)images;
    return rc;
}

/* Reads the labels through once, so that a mistake in them shows before any work is done. */
static enum cm_err check_labels(const struct search *s, struct cm_error *e)
{
    struct pr_csv *csv;
    uint64_t rows = 0;
    enum cm_err rc = pr_csv_open(&csv, s->a->meta, PR_NAMES_CSV, e);
    for (bool end = false; !rc && !end; rows += !end) {
        struct cm_image_meta meta;
        rc = pr_csv_next(csv, &meta, &end, e);
        if (rc)
            break;
    }
    pr_csv_close(csv);
    if (!rc && rows != s->features->images)
        rc = cm_fail(e, CM_EMISMATCH, "%s has %" PRIu64 " rows, but %s has %" PRIu64 " queries",
                     s->a->meta, rows, s->a->features, s->features->images);
    return rc;
}

static enum cm_err open_inputs(struct search *s, struct cm_error *e)
{
    enum cm_err rc = pr_npy_open(&s->features, s->a->features, e);
    if (!rc && s->a->meta)
        rc = check_labels(s, e);
    if (!rc && s->a->meta)
        rc = pr_csv_open(&s->meta, s->a->meta, PR_NAMES_CSV, e);
    return rc;
}

static enum cm_err search_at(struct search *s, const char *endpoint, struct cm_error *e)
{
    struct pr_status status = {0};
    enum cm_err rc = cli_client_open(&s->client, endpoint, s->a->insecure, &status, e);
    if (!rc)
        rc = check_cluster(s, &status, e);
    pr_status_fini(&status);
    return rc ? rc : search_all(s, e);
}

static void print_summary(const struct search *s)
{
    if (s->a->json)
        return;
    printf("%" PRIu64 " queries, %" PRIu64 " of them partial\n", s->next_printed, s->partial);
    if (s->rank1.queries)
        printf("Rank-1 %.2f %% (%" PRIu64 " of %" PRIu64
               " queries; images of the query's own pid and camid, and of pid -1, do not count)\n",
               100.0 * (double)s->rank1.right / (double)s->rank1.queries, s->rank1.right,
               s->rank1.queries);
}

static enum cm_err run(struct search *s, struct cm_error *e)
{
    const struct search_args *a = s->a;
    struct cli_local local = {0};
    if (!a->gallery == !a->connect)
        return cm_fail(e, CM_EUSAGE, "give either --gallery DIR or --connect ENDPOINT");
    if (a->connect && a->workers)
        return cm_fail(e, CM_EUSAGE, "--workers goes with --gallery");
    enum cm_err rc = open_inputs(s, e);
    struct cli_local_options o = {
        .gallery = a->gallery, .workers = a->workers, .threads = a->threads};
    if (!rc && a->gallery) {
        cli_block_signals();
        rc = cli_local_start(&local, &o, e);
    }
    if (!rc)
        rc = search_at(s, a->gallery ? local.endpoint : a->connect, e);
    if (!rc)
        print_summary(s);
    for (size_t i = 0; i < WINDOW; i++)
        clear_flight(&s->ring[i]);
    cli_client_close(s->client);
    cli_local_stop(&local);
    pr_csv_close(s->meta);
    pr_npy_close(s->features);
    return rc;
}

int cli_search(int argc, char **argv)
{
    struct search_args a = {.deadline_ms = 30000};
    const struct cm_option options[] = {
        {"gallery", 'g', CM_OPTION_TEXT, false, "DIR",
         "search this gallery with a cluster of its own on this machine", 0, 0, &a.gallery},
        {"workers", 'w', CM_OPTION_COUNT, false, "N",
         "its workers (default: one for each CPU, at most one for each shard)", 1, CM_MEMBERS_MAX,
         &a.workers},
        {"threads", 't', CM_OPTION_COUNT, false, "N",
         "compute threads of each (default: the CPUs divided among them)", 1, 1024, &a.threads},
        {"connect", 'c', CM_OPTION_TEXT, false, "ENDPOINT", "search a running cluster", 0, 0,
         &a.connect},
        {"features", 'f', CM_OPTION_TEXT, true, "FILE",
         "query maps, .npy [q,h,w,c], float16 or float32", 0, 0, &a.features},
        {"meta", 'm', CM_OPTION_TEXT, false, "FILE",
         "the queries' labels, CSV: name,pid,camid[,timestamp]; marks right hits and\n"
         "prints Rank-1",
         0, 0, &a.meta},
        {"k", 'k', CM_OPTION_COUNT, false, "K", "hits a query (default 20, or all there are)", 1,
         CM_K_MAX, &a.k},
        {"deadline-ms", 'd', CM_OPTION_COUNT, false, "MS",
         "for each query, waiting counted in (default 30000); what is scored by then\n"
         "is the answer",
         1, CM_DEADLINE_MS_MAX, &a.deadline_ms},
        {"min-coverage", 0, CM_OPTION_FRACTION, false, "F",
         "ask again until the deadline, then exit 1, if a query saw less than this part\n"
         "of the images (default 0)",
         0, 0, &a.min_coverage},
        {"insecure", 0, CM_OPTION_FLAG, false, NULL,
         "a coordinator on another machine is fine, although nobody is authenticated", 0, 0,
         &a.insecure},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON a query", 0, 0, &a.json},
    };
    const struct cm_command command = {
        .name = "vitrine search",
        .usage = "(--gallery DIR [--workers N] | --connect ENDPOINT) --features Q.npy",
        .about =
            "Scores every query against every image of a gallery and prints the k best of each.\n"
            "Text: '+' right, '-' wrong, 'o' the query's own camera and identity. A partial\n"
            "answer says so and exits 0, unless --min-coverage asks for more.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
        .exits = "  1   an answer covers less than --min-coverage\n",
    };
    int exit_code;
    struct cm_error e;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct search s = {.a = &a};
    if (run(&s, &e))
        return cm_command_fail(&command, &e);
    return (int)s.verdict;
}
