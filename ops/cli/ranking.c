/* ranking.c: see ranking.h. */
#include "ops/cli/ranking.h"

#include "ops/cli/json.h"
#include "proto/wire/reason.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

bool cli_is_junk(const struct cli_query_label *q, const struct pr_hit *h)
{
    bool own = h->meta.pid == q->meta.pid && h->meta.camid == q->meta.camid;
    return q->known && (own || h->meta.pid == -1);
}

void cli_rank1_add(struct cli_rank1 *r, const struct cli_query_label *q, const struct pr_answer *a)
{
    for (size_t i = 0; i < a->hits.count; i++) {
        if (cli_is_junk(q, &a->hits.items[i]))
            continue;
        r->queries++;
        r->right += a->hits.items[i].meta.pid == q->meta.pid;
        return;
    }
}

static char mark(const struct cli_query_label *q, const struct pr_hit *h)
{
    if (!q->known)
        return ' ';
    if (cli_is_junk(q, h))
        return 'o';
    return h->meta.pid == q->meta.pid ? '+' : '-';
}

void cli_missing_text(const struct pr_answer *a, char *out, size_t room)
{
    size_t n = 0;
    *out = '\0';
    for (size_t i = 0; i < a->missing_count && n < room; i++) {
        int more = snprintf(out + n, room - n, "%s%u (%s)", i ? ", " : "", a->missing[i].shard.v,
                            pr_reason_name(a->missing[i].reason));
        n += more > 0 ? (size_t)more : 0;
    }
}

void cli_ranking_print(const struct cli_query_label *q, const struct pr_answer *a, FILE *out)
{
    fprintf(out, "query %" PRIu64, q->index);
    if (q->known)
        fprintf(out, "  %s  pid %" PRId64 " camid %" PRId32, q->meta.name, q->meta.pid,
                q->meta.camid);
    fprintf(out, "  (%" PRIu64 "/%" PRIu64 " images, %.1f ms)\n", a->images_scored, a->images,
            (double)a->timings.total_us / 1000);
    for (size_t i = 0; i < a->hits.count; i++) {
        const struct pr_hit *h = &a->hits.items[i];
        fprintf(out, "%c %4zu  %10.5f  id %-8" PRIu64 " pid %-6" PRId64 " camid %-4" PRId32 " %s\n",
                mark(q, h), i + 1, (double)h->hit.score, h->hit.image, h->meta.pid, h->meta.camid,
                h->meta.name);
    }
}

static json_t *hits_json(const struct pr_answer *a)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->hits.count; i++) {
        const struct pr_hit *h = &a->hits.items[i];
        /* JSON has no infinity: a score that overflowed is null. */
        json_t *score = isfinite(h->hit.score) ? json_real((double)h->hit.score) : json_null();
        json_array_append_new(list, json_pack("{s:I, s:I, s:s, s:I, s:I, s:o}", "rank",
                                              (json_int_t)i + 1, "id", (json_int_t)h->hit.image,
                                              "name", h->meta.name, "pid", (json_int_t)h->meta.pid,
                                              "camid", (json_int_t)h->meta.camid, "score", score));
    }
    return list;
}

/* Why the answer is not all that it could be: each reason once. */
static json_t *degraded_json(const struct pr_answer *a)
{
    json_t *list = json_array();
    uint32_t seen = 0;
    for (size_t i = 0; i < a->missing_count; i++) {
        uint32_t bit = UINT32_C(1) << a->missing[i].reason;
        if (!(seen & bit))
            json_array_append_new(list, json_string(pr_reason_name(a->missing[i].reason)));
        seen |= bit;
    }
    if (a->mixed)
        json_array_append_new(list, json_string("mixed_classes"));
    if (a->overflowed)
        json_array_append_new(list, json_string("overflow"));
    return list;
}

static json_t *missing_json(const struct pr_answer *a)
{
    json_t *list = json_array();
    for (size_t i = 0; i < a->missing_count; i++) {
        const struct pr_missing_shard *m = &a->missing[i];
        json_array_append_new(list, json_pack("{s:i, s:s, s:I, s:I}", "shard", (int)m->shard.v,
                                              "reason", pr_reason_name(m->reason), "images_scored",
                                              (json_int_t)m->images_scored, "images",
                                              (json_int_t)m->images));
    }
    return list;
}

static json_t *timings_json(const struct pr_answer_timings *t)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "queue", (double)t->queue_us / 1000,
                     "scatter", (double)t->scatter_us / 1000, "project",
                     (double)t->project_us / 1000, "score", (double)t->score_us / 1000, "gather",
                     (double)t->gather_us / 1000, "merge", (double)t->merge_us / 1000, "total",
                     (double)t->total_us / 1000);
}

enum cm_err cli_ranking_print_json(const struct cli_query_label *q, const struct pr_answer *a,
                                   struct cm_error *e)
{
    json_t *root =
        json_pack("{s:I, s:s?, s:o, s:{s:I, s:I, s:i, s:i}, s:o, s:o, s:I, s:o}", "query",
                  (json_int_t)q->index, "name", q->known ? q->meta.name : NULL, "hits",
                  hits_json(a), "coverage", "images", (json_int_t)a->images_scored, "images_total",
                  (json_int_t)a->images, "shards", (int)a->shards_scored, "shards_total",
                  (int)a->shards, "degraded", degraded_json(a), "missing", missing_json(a),
                  "overflowed", (json_int_t)a->overflowed, "timings_ms", timings_json(&a->timings));
    return cli_print_json(root, e);
}
