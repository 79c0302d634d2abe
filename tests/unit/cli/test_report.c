/* The page of an evaluation: that it stands by itself, that names stay text, which pictures are in.
 */
#include "ops/cli/charts.h"
#include "ops/cli/html.h"
#include "ops/cli/report.h"
#include "ops/cli/textfile.h"
#include "tests/support/files.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { QUERIES = 3, HITS = 16 };

/* A small evaluation with a ranking, and a folder for its page and its images. */
struct sample {
    struct test_folder folder;
    char dir[TEST_PATH_BYTES], images[TEST_PATH_BYTES];
    struct cli_query_figures figures[QUERIES];
    struct cm_image_meta labels[QUERIES];
    struct cli_summary sum;
    struct pr_hit items[HITS];
    struct pr_hits hits;
    struct cli_report_ranking ranking;
    struct cli_report report;
    struct cli_thumbnail_counts counts;
};

/* The first query's hits: of its own camera, of pid -1, right, a distractor, and wrong ones. */
static void fill_hits(struct sample *s)
{
    static const struct cli_label known[] = {{7, 1}, {-1, 2}, {7, 2}, {0, 1}};
    for (size_t i = 0; i < HITS; i++) {
        struct cli_label l = i < 4 ? known[i] : (struct cli_label){100 + (int64_t)i, 2};
        s->items[i] =
            (struct pr_hit){{-(float)i, i}, {.name = "hit.png", .pid = l.pid, .camid = l.camid}};
    }
    s->items[HITS - 1].hit.score = -INFINITY;
    s->hits = (struct pr_hits){s->items, HITS, NULL};
}

static void begin(struct sample *s)
{
    struct pr_counts a[] = {{0, 0, 1}, {9, 0, 1}}, b[] = {{3, 0, 1}};
    struct cm_error e;
    *s = (struct sample){.labels = {{.name = "q/first.png", .pid = 7, .camid = 1},
                                    {.name = "second.png", .pid = 9, .camid = 1},
                                    {.name = "third.png", .pid = 8, .camid = 3}}};
    test_folder_init(&s->folder);
    test_path(&s->folder, "report", s->dir);
    test_path(&s->folder, "pictures of #1", s->images);
    cr_assert_eq(mkdir(s->images, 0755), 0);
    cr_assert_eq(cli_figures_of(&(struct pr_census){12, 1, 1, 1}, &(struct pr_counts_list){a, 2},
                                &s->figures[0], &e),
                 CM_OK);
    cr_assert_eq(cli_figures_of(&(struct pr_census){13, 0, 1, 1}, &(struct pr_counts_list){b, 1},
                                &s->figures[2], &e),
                 CM_OK);
    cr_assert_eq(cli_summary_of(s->figures, QUERIES, &s->sum, &e), CM_OK, "%s", e.text);
    fill_hits(s);
    s->ranking = (struct cli_report_ranking){0, &s->hits};
    s->report = (struct cli_report){.evaluation = {.test = "market1501",
                                                   .summary = &s->sum,
                                                   .figures = s->figures,
                                                   .labels = s->labels,
                                                   .ms_per_query = 14.83},
                                    .rankings = &s->ranking,
                                    .rankings_count = 1};
}

static void end(struct sample *s)
{
    test_folder_fini(&s->folder);
}

/* Writes the page and reads it; the caller frees it. */
static char *page_of(struct sample *s)
{
    struct cm_error e;
    struct test_folder dir;
    char path[TEST_PATH_BYTES];
    size_t size;
    cr_assert_eq(cli_report_write(&s->report, s->dir, &s->counts, &e), CM_OK, "%s", e.text);
    snprintf(dir.path, sizeof dir.path, "%s", s->dir);
    cr_assert_eq(test_folder_count(&dir), 1, "more than the page is there");
    return test_read(test_path(&dir, "index.html", path), &size);
}

static size_t count_of(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, part)) != NULL; p += strlen(part))
        n++;
    return n;
}

/* --- the page as HTML ---------------------------------------------------------------------------
 */

/* The tag that begins at `p`, without attributes, in `name`; returns its end. */
static const char *read_tag(const char *p, char name[16], bool *closes_itself)
{
    size_t n = strcspn(p + 1, " />\n");
    bool quoted = false;
    n += p[1] == '/' ? 1 + strcspn(p + 2, ">") : 0;
    cr_assert(n < 16, "%.40s", p);
    memcpy(name, p + 1, n);
    name[n] = '\0';
    const char *q = p + 1;
    for (; *q && (quoted || *q != '>'); q++) {
        quoted ^= *q == '"';
        cr_assert(*q != '<', "a tag within a tag: %.60s", p);
    }
    cr_assert(*q == '>', "no end: %.60s", p);
    *closes_itself = q[-1] == '/';
    return q + 1;
}

/* Every tag that is opened is closed, in order, and text holds no bare '<'. */
static void assert_balanced(const char *page)
{
    char open[64][16], name[16];
    size_t depth = 0;
    bool closes_itself;
    for (const char *p = strstr(page, "<html") ? strstr(page, "<html") : page; p;
         p = strchr(p, '<')) {
        p = read_tag(p, name, &closes_itself);
        if (name[0] == '/') {
            cr_assert(depth > 0 && strcmp(open[depth - 1], name + 1) == 0, "%s closes %s", name,
                      depth ? open[depth - 1] : "nothing");
            depth--;
        } else if (!closes_itself && strcmp(name, "meta") != 0 && strcmp(name, "img") != 0) {
            cr_assert(depth < 64);
            memcpy(open[depth++], name, sizeof name);
        }
    }
    cr_assert_eq(depth, 0, "%s is never closed", depth ? open[depth - 1] : "");
}

/* It loads nothing and runs nothing. */
static void assert_alone(const char *page)
{
    cr_assert(strncmp(page, "<!DOCTYPE html>\n", 16) == 0);
    cr_assert(strstr(page, "default-src 'none'; img-src data:; style-src 'unsafe-inline'"));
    cr_assert(!strstr(page, "http://") && !strstr(page, "https://") && !strstr(page, "<script"));
    cr_assert(!strstr(page, "url(") && !strstr(page, "@import") && !strstr(page, "<link"));
    cr_assert_eq(count_of(page, " src="), count_of(page, " src=\"data:image/"));
    cr_assert(!strstr(page, "nan") && !strstr(page, ",inf") && !strstr(page, "\"inf"));
    assert_balanced(page);
}

Test(report, says_it_all)
{
    struct sample s;
    begin(&s);
    s.report.subtitle = "TransMatcher, int8";
    char *page = page_of(&s);
    assert_alone(page);
    cr_assert(strstr(page, "<title>market1501</title>") && strstr(page, "<h1>market1501</h1>"));
    cr_assert(strstr(page, "<p class=\"muted\">TransMatcher, int8</p>"));
    /* AP: (1 + 2/10) / 2 and 1/4; INP: 2/10 and 1/4 */
    cr_assert(strstr(page, "<td data-name=\"mAP (finite sum)\">42.50</td>"), "%s", page);
    cr_assert(strstr(page, "<td data-name=\"mINP\">22.50</td>"));
    cr_assert(strstr(page, "<td data-name=\"Rank-1\">50.00</td>"));
    cr_assert(strstr(page, "<td data-name=\"Rank-5\">100.00</td>"));
    cr_assert(strstr(page, "data-name=\"Gallery\">13<") &&
              strstr(page, "data-name=\"Queries\">2<"));
    cr_assert(strstr(page, "data-name=\"Skipped\">1<") && strstr(page, "\"ms / query\">14.8<"));
    cr_assert(!strstr(page, "mAP (trapezoid)"));
    cr_assert(strstr(page, "AP 60.00, first hit at rank 1, 2 positives"));
    cr_assert(strstr(page, "</bdi></td><td>8</td><td class=\"more\">3</td><td>25.00</td><td>4</td>"
                           "<td class=\"more\">1</td>"));
    free(page);
    s.report.evaluation.trapezoid = true;
    s.report.evaluation.ms_per_query = -1;
    s.report.rankings_count = 0;
    page = page_of(&s); /* in place of the first */
    assert_alone(page);
    cr_assert(strstr(page, "data-name=\"mAP (trapezoid)\">") && !strstr(page, "ms / query"));
    cr_assert(!strstr(page, "Rankings"));
    free(page);
    end(&s);
}

/* Names from outside: tags, quotes, entities, a right-to-left override, bytes that are no UTF-8. */
Test(report, names_are_text)
{
    static const char evil[] = "\"><script>alert('&amp;')</script>\xe2\x80\xae<b>/x<i>";
    struct sample s;
    begin(&s);
    s.labels[0].name = s.labels[2].name = evil;
    s.report.evaluation.train = "</title><script>";
    s.report.evaluation.test = "caf\xe9\x1b[31m\n";
    s.report.subtitle = "<img onerror=alert(1)>";
    for (size_t i = 0; i < HITS; i++)
        s.items[i].meta.name = evil;
    for (int images = 0; images < 2; images++) {
        s.report.images = images ? s.images : NULL;
        char *page = page_of(&s);
        assert_alone(page);
        cr_assert(strstr(page, "<h1>&lt;/title&gt;&lt;script&gt; &rarr; caf??[31m?</h1>"));
        cr_assert(
            strstr(page, "&quot;&gt;&lt;script&gt;alert(&#39;&amp;amp;&#39;)&lt;/script&gt;"));
        cr_assert_eq(count_of(page, "<bdi>"), count_of(page, "</bdi>"));
        cr_assert(strstr(page, "<bdi>x&lt;i&gt;</bdi></span>"), "the box has the last component");
        free(page);
    }
    cr_assert_eq(s.counts.missing, 11);
    end(&s);
}

/* --- rankings -----------------------------------------------------------------------------------
 */

Test(report, rankings_pass_over_what_is_dropped)
{
    struct sample s;
    begin(&s);
    char *page = page_of(&s);
    cr_assert_eq(count_of(page, "<li class=\"query\""), 1);
    cr_assert_eq(count_of(page, "<li class=\"right\""), 1);
    cr_assert_eq(count_of(page, "<li class=\"wrong\""), CLI_REPORT_TOP - 1);
    cr_assert(strstr(page, "<b>&#10003;&nbsp;1</b> &middot; -2.000</p><p>pid 7, cam 2</p>"));
    cr_assert(strstr(page, "<b>&#10007;&nbsp;2</b> &middot; -3.000</p><p>pid 0, cam 1</p>"));
    cr_assert(strstr(page, "&nbsp;10</b> &middot; -11.000</p>"));
    cr_assert(!strstr(page, "&nbsp;11</b>"));
    cr_assert_eq(s.counts.missing + s.counts.linked + s.counts.embedded, 0, "no folder, no count");
    free(page);
    s.hits.count = 2;
    page = page_of(&s);
    cr_assert_eq(count_of(page, "<li class=\"right\"") + count_of(page, "<li class=\"wrong\""), 0);
    free(page);
    s.hits = (struct pr_hits){s.items + 8, 8, NULL};
    page = page_of(&s);
    cr_assert(strstr(page, "&nbsp;8</b> &middot; -inf</p>"), "a score that overflowed");
    free(page);
    end(&s);
}

Test(report, hardest_queries)
{
    struct cli_query_figures f[6] = {{.positives = 1, .ap = 0.5}, {.ap = 0},
                                     {.positives = 1, .ap = 0.1}, {.positives = 1, .ap = 0.5},
                                     {.positives = 1, .ap = 0.1}, {.positives = 1, .ap = 0.9}};
    static const uint64_t right[] = {2, 4, 0, 3, 5};
    uint64_t out[8];
    cr_assert_eq(cli_hardest_queries(f, 6, 8, out), 5);
    cr_assert_eq(memcmp(out, right, sizeof right), 0);
    for (size_t count = 0; count < 5; count++) {
        out[count] = 77;
        cr_assert_eq(cli_hardest_queries(f, 6, count, out), count);
        cr_assert_eq(memcmp(out, right, count * sizeof *right), 0);
        cr_assert_eq(out[count], 77, "one too many");
    }
    cr_assert_eq(cli_hardest_queries(f, 0, 8, out), 0);
}

/* --- pictures -----------------------------------------------------------------------------------
 */

static const unsigned char png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n', 0, 0xff};
#define PNG_TEXT "<img alt=\"\" src=\"data:image/png;base64,iVBORw0KGgoA/w==\">"

static void put(const struct sample *s, const char *name, const void *data, size_t size)
{
    char path[2 * TEST_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", s->images, name);
    test_write(path, data, size);
}

Test(report, pictures_are_embedded_linked_or_missing)
{
    struct sample s;
    char sub[2 * TEST_PATH_BYTES];
    unsigned char *large = calloc(1, CLI_THUMBNAIL_BYTES_MAX + 1);
    begin(&s);
    snprintf(sub, sizeof sub, "%s/q", s.images);
    cr_assert_eq(mkdir(sub, 0755), 0);
    memcpy(large, png, sizeof png);
    put(&s, "q/first.png", png, sizeof png);
    put(&s, "hit.png", large, CLI_THUMBNAIL_BYTES_MAX);
    put(&s, "100% \"large\".jpg", large, CLI_THUMBNAIL_BYTES_MAX + 1);
    put(&s, "text.png", "no image", 8);
    put(&s, "empty.png", "", 0);
    test_write(test_path(&s.folder, "outside.png", sub), png, sizeof png);
    s.report.images = s.images;
    static const char *const names[] = {
        "100% \"large\".jpg",  "text.png", "empty.png",        "none.png", "../outside.png",
        "q/../../outside.png", "q",        "q/../q/first.png", ".."};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        s.items[3 + i].meta.name = names[i]; /* 2 .. 11 are shown */
    char *page = page_of(&s);
    assert_alone(page);
    cr_assert(strstr(page, "title=\"q/first.png\">" PNG_TEXT));
    cr_assert_eq(count_of(page, "<img"), 2, "the query's and hit.png");
    cr_assert(strstr(page, "<a class=\"box\" href=\"../pictures%20of%20%231/"
                           "100%25%20%22large%22.jpg\"><bdi>100% &quot;large&quot;.jpg</bdi></a>"));
    cr_assert_eq(s.counts.embedded, 2);
    cr_assert_eq(s.counts.linked, 1);
    cr_assert_eq(s.counts.missing, 8);
    cr_assert(strstr(page, "2 embedded; 1 too large for this page, linked instead; 8 without"));
    free(page);
    free(large);
    end(&s);
}

Test(report, pictures_of_every_kind_and_no_other)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *type;
    } cases[] = {
        {"\xff\xd8\xff\xe0", 4, "image/jpeg"},
        {"GIF89a..", 8, "image/gif"},
        {"GIF87a..", 8, "image/gif"},
        {"BM......", 8, "image/bmp"},
        {"RIFF....WEBP", 12, "image/webp"},
        {"RIFF....WAVE", 12, NULL},
        {"RIFF....WEB", 11, NULL},
        {"<svg xmlns", 10, NULL},
        {"\x89PN", 3, NULL},
    };
    struct sample s;
    struct cli_thumbnails t;
    struct cm_error e;
    begin(&s);
    cr_assert_eq(cli_thumbnails_open(&t, s.images, s.folder.path, &e), CM_OK, "%s", e.text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cli_textfile text;
        put(&s, "a.jpg", cases[i].bytes, cases[i].size);
        cr_assert_eq(cli_textfile_open(&text, &e), CM_OK);
        cli_thumbnail_put(&t, "a.jpg", text.file);
        cr_assert_eq(cli_textfile_end(&text, &e), CM_OK);
        cr_assert_eq(strstr(text.data, "<img") != NULL, cases[i].type != NULL, "case %zu", i);
        cr_assert(!cases[i].type || strstr(text.data, cases[i].type), "%s", text.data);
        cli_textfile_close(&text);
    }
    cli_thumbnails_close(&t);
    end(&s);
}

/* 24 MiB hold 48 files of 512 KiB. */
Test(report, pictures_stop_at_their_total)
{
    struct sample s;
    struct cli_thumbnails t;
    struct cli_textfile text;
    struct cm_error e;
    unsigned char *large = calloc(1, CLI_THUMBNAIL_BYTES_MAX);
    begin(&s);
    memcpy(large, png, sizeof png);
    put(&s, "a.png", large, CLI_THUMBNAIL_BYTES_MAX);
    cr_assert_eq(cli_thumbnails_open(&t, s.images, s.folder.path, &e), CM_OK, "%s", e.text);
    cr_assert_eq(cli_textfile_open(&text, &e), CM_OK);
    for (int i = 0; i < 50; i++)
        cli_thumbnail_put(&t, "a.png", text.file);
    cr_assert_eq(cli_textfile_end(&text, &e), CM_OK);
    cr_assert(t.counts.embedded == 48 && t.counts.linked == 2 && t.counts.missing == 0);
    cr_assert_eq(count_of(text.data, "href=\"pictures%20of%20%231/a.png\""), 2);
    cli_textfile_close(&text);
    cli_thumbnails_close(&t);
    free(large);
    end(&s);
}

Test(report, refuses_bad_places)
{
    struct sample s;
    struct cm_error e;
    char path[TEST_PATH_BYTES];
    begin(&s);
    s.report.images = test_path(&s.folder, "no-images", path);
    cr_assert_eq(cli_report_write(&s.report, s.dir, &s.counts, &e), CM_ENOENT);
    cr_assert(strstr(e.text, "no-images"), "%s", e.text);
    s.report.images = NULL;
    cr_assert_eq(
        cli_report_write(&s.report, test_path(&s.folder, "none/report", path), &s.counts, &e),
        CM_ENOENT);
    cr_assert(strstr(e.text, "none/report"), "%s", e.text);
    test_write(test_path(&s.folder, "file", path), "x", 1);
    cr_assert_eq(cli_report_write(&s.report, path, &s.counts, &e), CM_EUSAGE);
    cr_assert(strstr(e.text, "is no folder"), "%s", e.text);
    end(&s);
}

/* --- pieces -------------------------------------------------------------------------------------
 */

static void assert_text(struct cli_textfile *t, const char *right)
{
    struct cm_error e;
    cr_assert_eq(cli_textfile_end(t, &e), CM_OK);
    cr_assert_str_eq(t->data, right);
    cli_textfile_close(t);
}

Test(html, text_urls_and_base64)
{
    static const char *const vectors[] = {"",     "f",    "fo",   "foo",      "foob",    "fooba",
                                          "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE="};
    struct cli_textfile t;
    struct cm_error e;
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(cli_textfile_open(&t, &e), CM_OK);
        cli_html_base64((const unsigned char *)vectors[i], strlen(vectors[i]), t.file);
        assert_text(&t, i ? vectors[i + 5] : "");
    }
    cr_assert_eq(cli_textfile_open(&t, &e), CM_OK);
    cli_html_base64((const unsigned char *)"\xfb\xff\xbf", 3, t.file);
    assert_text(&t, "+/+/");
    cr_assert_eq(cli_textfile_open(&t, &e), CM_OK);
    cli_html_text("a<b>&\"'\x7f\t\xc3\xbc", t.file);
    cli_html_text("\xc3", t.file);
    assert_text(&t, "a&lt;b&gt;&amp;&quot;&#39;??\xc3\xbc?");
    cr_assert_eq(cli_textfile_open(&t, &e), CM_OK);
    cli_html_url("../a b/\xc3\xbc?#%:\"x-._~9", t.file);
    assert_text(&t, "../a%20b/%C3%BC%3F%23%25%3A%22x-._~9");
}

static char *chart(bool cmc, const struct cli_summary *s, const struct cli_query_figures *f)
{
    struct cli_textfile t;
    struct cm_error e;
    cr_assert_eq(cli_textfile_open(&t, &e), CM_OK);
    if (cmc)
        cli_chart_cmc(s, t.file);
    else
        cli_chart_ap(s, f, t.file);
    cr_assert_eq(cli_textfile_end(&t, &e), CM_OK);
    return t.data;
}

/* All curves stay within the picture: from bottom (226) to top (24). */
Test(charts, cmc)
{
    static const double firsts[] = {0, 0.001, 0.3, 0.5, 0.7999, 0.8, 0.95, 0.9999, 1};
    struct cli_summary s = {.valid_queries = 1};
    for (size_t i = 0; i < sizeof firsts / sizeof *firsts; i++) {
        for (int r = 0; r < CLI_CMC_RANKS; r++)
            s.cmc[r] = firsts[i] + (1 - firsts[i]) * r / (CLI_CMC_RANKS - 1);
        char *svg = chart(true, &s, NULL);
        assert_balanced(svg);
        const char *p = strstr(svg, "points=\"") + 8;
        double x, y, last = 1e9;
        int n = 0, used;
        for (; sscanf(p, "%lf,%lf%n", &x, &y, &used) == 2; p += used, n++) {
            cr_assert(x >= 46 && x <= 410 && y >= 24 && y <= 226 && y <= last, "%g: %g,%g",
                      firsts[i], x, y);
            last = y;
        }
        cr_assert_eq(n, CLI_CMC_RANKS);
        cr_assert(fabs(last - 24) < 0.1, "100 %% is at the top");
        cr_assert_eq(count_of(svg, "<circle"), 4);
        cr_assert(!strstr(svg, ">-"), "no rate is negative: %s", svg);
        free(svg);
    }
}

Test(charts, ap)
{
    struct cli_query_figures f[] = {{.positives = 1, .ap = 1},
                                    {.positives = 1, .ap = 0.96},
                                    {.positives = 1, .ap = 0.0499},
                                    {.positives = 0},
                                    {.positives = 1, .ap = 0.5}};
    struct cli_summary s = {.queries = 5, .valid_queries = 4, .map = 0.6275};
    char *svg = chart(false, &s, f);
    assert_balanced(svg);
    cr_assert_eq(count_of(svg, "<rect"), 3, "empty ones are left out");
    cr_assert(strstr(svg, "<title>AP 0.95 to 1.00: 2</title>"), "%s", svg);
    cr_assert(strstr(svg, "<title>AP 0.00 to 0.05: 1</title>"));
    cr_assert(strstr(svg, "<title>AP 0.50 to 0.55: 1</title>"));
    cr_assert(strstr(svg, ">mAP 62.75</text>"));
    free(svg);
}
