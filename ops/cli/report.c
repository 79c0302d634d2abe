/* report.c: see report.h. */
#include "ops/cli/report.h"

#include "ops/cli/charts.h"
#include "ops/cli/html.h"
#include "ops/cli/report_style.h"
#include "ops/cli/textfile.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES = 512 };

/* A page that is being printed. */
struct page {
    const struct cli_report *r;
    struct cli_thumbnails thumbnails;
    FILE *out;
};

static void put_title(const struct cli_evaluation *v, FILE *out)
{
    if (v->train) {
        cli_html_text(v->train, out);
        fputs(" &rarr; ", out);
    }
    cli_html_text(v->test ? v->test : "evaluation", out);
}

static void put_head(const struct page *p)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
          "img-src data:; style-src 'unsafe-inline'\">\n<title>",
          p->out);
    put_title(&p->r->evaluation, p->out);
    fprintf(p->out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>",
            cli_report_style());
    put_title(&p->r->evaluation, p->out);
    fputs("</h1>\n", p->out);
    if (p->r->subtitle) {
        fputs("<p class=\"muted\">", p->out);
        cli_html_text(p->r->subtitle, p->out);
        fputs("</p>\n", p->out);
    }
}

/* --- figures ------------------------------------------------------------------------------------
 */

/* The table's head, or its one row: the same cells in the same order. */
static void put_result(bool head, const char *name, bool plain, const char *value, FILE *out)
{
    if (head)
        fprintf(out, "<th>%s</th>", name);
    else
        fprintf(out, "<td%s data-name=\"%s\">%s</td>", plain ? " class=\"plain\"" : "", name,
                value);
}

static void put_percent(bool head, const char *name, double part, FILE *out)
{
    char value[32];
    snprintf(value, sizeof value, "%.2f", part * 100);
    put_result(head, name, false, value, out);
}

static void put_count(bool head, const char *name, uint64_t count, FILE *out)
{
    char value[32];
    snprintf(value, sizeof value, "%" PRIu64, count);
    put_result(head, name, true, value, out);
}

static void put_results_row(const struct cli_evaluation *v, bool head, FILE *out)
{
    const struct cli_summary *s = v->summary;
    char time[32];
    fputs("<tr>", out);
    put_percent(head, "Rank-1", s->cmc[0], out);
    put_percent(head, "Rank-5", s->cmc[4], out);
    put_percent(head, "Rank-10", s->cmc[9], out);
    put_percent(head, "Rank-20", s->cmc[19], out);
    put_percent(head, "mAP (finite sum)", s->map, out);
    if (v->trapezoid)
        put_percent(head, "mAP (trapezoid)", s->map_trapezoid, out);
    put_percent(head, "mINP", s->minp, out);
    put_count(head, "Gallery", s->gallery, out);
    put_count(head, "Queries", s->valid_queries, out);
    put_count(head, "Skipped", s->queries - s->valid_queries, out);
    snprintf(time, sizeof time, "%.1f", v->ms_per_query);
    if (v->ms_per_query >= 0)
        put_result(head, "ms / query", true, time, out);
    fputs("</tr>\n", out);
}

static void put_results(const struct page *p)
{
    const struct cli_evaluation *v = &p->r->evaluation;
    fputs("<table class=\"results\">\n<thead>", p->out);
    put_results_row(v, true, p->out);
    fputs("</thead>\n<tbody>", p->out);
    put_results_row(v, false, p->out);
    fputs("</tbody>\n</table>\n", p->out);
}

static void put_charts(const struct page *p)
{
    const struct cli_evaluation *v = &p->r->evaluation;
    fputs("<div class=\"charts\">\n<section>\n<h2>CMC</h2>\n", p->out);
    cli_chart_cmc(v->summary, p->out);
    fputs("</section>\n<section>\n<h2>Average precision by query</h2>\n", p->out);
    cli_chart_ap(v->summary, v->figures, p->out);
    fputs("</section>\n</div>\n", p->out);
}

/* --- the hardest queries ------------------------------------------------------------------------
 */

size_t cli_hardest_queries(const struct cli_query_figures *figures, size_t queries, size_t count,
                           uint64_t *out)
{
    size_t found = 0;
    for (size_t i = 0; i < queries; i++) {
        if (!figures[i].positives || !count)
            continue;
        size_t at = found < count ? found++ : count;
        for (; at > 0 && figures[i].ap < figures[out[at - 1]].ap; at--)
            if (at < count)
                out[at] = out[at - 1];
        if (at < count)
            out[at] = i;
    }
    return found;
}

/* A path, so that its folder can be left out where there is no room. */
static void put_name(const char *name, FILE *out)
{
    const char *slash = strrchr(name, '/');
    char folder[NAME_BYTES];
    fputs("<bdi>", out);
    if (slash && slash[1] && (size_t)(slash + 1 - name) < sizeof folder) {
        memcpy(folder, name, (size_t)(slash + 1 - name));
        folder[slash + 1 - name] = '\0';
        fputs("<span class=\"folder muted\">", out);
        cli_html_text(folder, out);
        fputs("</span>", out);
        name = slash + 1;
    }
    cli_html_text(name, out);
    fputs("</bdi>", out);
}

static void put_hardest(const struct page *p)
{
    const struct cli_evaluation *v = &p->r->evaluation;
    uint64_t hardest[CLI_REPORT_HARDEST];
    size_t count =
        cli_hardest_queries(v->figures, v->summary->queries, CLI_REPORT_HARDEST, hardest);
    fputs("<h2>Hardest queries</h2>\n<table class=\"hardest\">\n<thead><tr><th class=\"name\">Query"
          "</th><th>pid</th><th class=\"more\">camid</th><th>AP</th><th>First hit</th>"
          "<th class=\"more\">Positives</th></tr></thead>\n<tbody>\n",
          p->out);
    for (size_t i = 0; i < count; i++) {
        const struct cli_query_figures *f = &v->figures[hardest[i]];
        const struct cm_image_meta *label = &v->labels[hardest[i]];
        fputs("<tr><td class=\"name\">", p->out);
        put_name(label->name, p->out);
        fprintf(p->out,
                "</td><td>%" PRId64 "</td><td class=\"more\">%" PRId32
                "</td><td>%.2f</td><td>%" PRIu64 "</td><td class=\"more\">%" PRIu64 "</td></tr>\n",
                label->pid, label->camid, f->ap * 100, f->first_rank, f->positives);
    }
    fputs("</tbody>\n</table>\n", p->out);
}

/* --- rankings -----------------------------------------------------------------------------------
 */

/* A picture in the border of its class, and a line under it. */
static void begin_tile(struct page *p, const char *kind, const char *name)
{
    fprintf(p->out, "<li class=\"%s\" title=\"", kind);
    cli_html_text(name, p->out);
    fputs("\">", p->out);
    cli_thumbnail_put(&p->thumbnails, name, p->out);
}

static void put_hit(struct page *p, const struct pr_hit *h, bool right, size_t rank)
{
    begin_tile(p, right ? "right" : "wrong", h->meta.name);
    fprintf(p->out,
            "<p><b>%s&nbsp;%zu</b> &middot; %.3f</p><p>pid %" PRId64 ", cam %" PRId32 "</p></li>\n",
            right ? "&#10003;" : "&#10007;", rank, (double)h->hit.score, h->meta.pid,
            h->meta.camid);
}

static void put_hits(struct page *p, const struct cm_image_meta *query, const struct pr_hits *hits)
{
    const struct cli_label label = {query->pid, query->camid};
    size_t rank = 0;
    for (size_t i = 0; i < hits->count && rank < CLI_REPORT_TOP; i++) {
        const struct pr_hit *h = &hits->items[i];
        enum cli_relation relation =
            cli_relation_of(&label, &(struct cli_label){h->meta.pid, h->meta.camid});
        if (relation == CLI_RIGHT || relation == CLI_WRONG)
            put_hit(p, h, relation == CLI_RIGHT, ++rank);
    }
}

static void put_ranking(struct page *p, const struct cli_report_ranking *ranking)
{
    const struct cli_evaluation *v = &p->r->evaluation;
    const struct cm_image_meta *label = &v->labels[ranking->query];
    const struct cli_query_figures *f = &v->figures[ranking->query];
    fputs("<div class=\"ranking\">\n<h3>", p->out);
    put_name(label->name, p->out);
    fprintf(p->out, "</h3>\n<p class=\"muted\">Query %" PRIu64 ", pid %" PRId64 ", camid %" PRId32,
            ranking->query, label->pid, label->camid);
    if (f->positives)
        fprintf(p->out, ": AP %.2f, first hit at rank %" PRIu64 ", %" PRIu64 " positives",
                f->ap * 100, f->first_rank, f->positives);
    fputs("</p>\n<ol class=\"tiles\">\n", p->out);
    begin_tile(p, "query", label->name);
    fputs("<p><b>Query</b></p></li>\n", p->out);
    put_hits(p, label, ranking->hits);
    fputs("</ol>\n</div>\n", p->out);
}

static void put_rankings(struct page *p)
{
    if (!p->r->rankings_count)
        return;
    fputs("<h2>Rankings</h2>\n<p class=\"muted\">A green border and &#10003; mark a right image, a "
          "red one and &#10007; a wrong one. Images of the query's own pid and camid, and of pid "
          "&minus;1, are left out.</p>\n",
          p->out);
    for (size_t i = 0; i < p->r->rankings_count; i++)
        put_ranking(p, &p->r->rankings[i]);
}

/* --- the page -----------------------------------------------------------------------------------
 */

static void put_foot(const struct page *p)
{
    const struct cli_evaluation *v = &p->r->evaluation;
    const struct cli_summary *s = v->summary;
    const struct cli_thumbnail_counts *c = &p->thumbnails.counts;
    fprintf(p->out,
            "<footer>\n<p>%" PRIu64 " of %" PRIu64
            " queries have a right image and count. Dropped: %" PRIu64
            " images of a query's own pid and camid (in %" PRIu64 " queries), %" PRIu64
            " of pid &minus;1. Distractors (pid 0): %" PRIu64 ".</p>\n<p>",
            s->valid_queries, s->queries, s->junk_pairs, s->queries_with_junk,
            s->pid_minus1_dropped, s->distractors_pid0);
    cli_html_text(cli_definitions(v->trapezoid), p->out);
    fputs(".</p>\n", p->out);
    if (c->missing || c->linked)
        fprintf(p->out,
                "<p>Pictures: %" PRIu64 " embedded; %" PRIu64 " too large for this page, linked "
                "instead; %" PRIu64 " without an image file.</p>\n",
                c->embedded, c->linked, c->missing);
    fputs("</footer>\n</main>\n</body>\n</html>\n", p->out);
}

static enum cm_err make_folder(const char *dir, struct cm_error *e)
{
    struct stat st;
    if (mkdir(dir, 0777) == 0)
        return CM_OK;
    if (errno != EEXIST)
        return cm_fail_errno(e, errno, "%s", dir);
    if (stat(dir, &st) != 0)
        return cm_fail_errno(e, errno, "%s", dir);
    return S_ISDIR(st.st_mode) ? CM_OK : cm_fail(e, CM_EUSAGE, "%s: is no folder", dir);
}

static void print(struct page *p)
{
    put_head(p);
    put_results(p);
    put_charts(p);
    put_hardest(p);
    put_rankings(p);
    put_foot(p);
}

static enum cm_err save(struct cli_textfile *text, const char *dir, struct cm_error *e)
{
    char *path;
    if (asprintf(&path, "%s/index.html", dir) < 0)
        return cm_fail(e, CM_ENOMEM, "%s: no memory for a path", dir);
    enum cm_err rc = cli_textfile_save(text, path, e);
    free(path);
    return rc;
}

enum cm_err cli_report_write(const struct cli_report *r, const char *dir,
                             struct cli_thumbnail_counts *counts, struct cm_error *e)
{
    struct page p = {.r = r};
    struct cli_textfile text = {0};
    *counts = (struct cli_thumbnail_counts){0};
    enum cm_err rc = make_folder(dir, e);
    if (!rc)
        rc = cli_thumbnails_open(&p.thumbnails, r->images, dir, e);
    if (!rc)
        rc = cli_textfile_open(&text, e);
    if (!rc) {
        p.out = text.file;
        print(&p);
        rc = save(&text, dir, e);
        *counts = p.thumbnails.counts;
    }
    cli_textfile_close(&text);
    cli_thumbnails_close(&p.thumbnails);
    return rc;
}
