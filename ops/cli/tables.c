/* tables.c: see tables.h. */
#include "ops/cli/tables.h"

#include "ops/cli/textfile.h"

#include <inttypes.h>
#include <string.h>

enum { NAME_BYTES = 512, CELL_BYTES = 32, COLUMNS_MAX = 12 };

const char *cli_definitions(bool trapezoid)
{
    return trapezoid
               ? "CMC: same pid and same camid dropped, pid -1 dropped, first match, equal scores "
                 "by lower id; mAP: finite sum over thresholds (scikit-learn's "
                 "average_precision_score); mAP_trapezoid: as in the Market-1501 evaluation code; "
                 "mINP: positives / rank of the hardest one"
               : "CMC: same pid and same camid dropped, pid -1 dropped, first match, equal scores "
                 "by lower id; mAP: finite sum over thresholds (scikit-learn's "
                 "average_precision_score); mINP: positives / rank of the hardest one";
}

char *cli_evaluation_name(const struct cli_evaluation *v, char *out, size_t room)
{
    if (v->train && v->test)
        snprintf(out, room, "%s -> %s", v->train, v->test);
    else
        snprintf(out, room, "%s", v->test ? v->test : v->train ? v->train : "-");
    return out;
}

/* --- the table ----------------------------------------------------------------------------------
 */

/* A table of one row. The first cell is the name's. */
struct table {
    size_t columns;
    const char *heads[COLUMNS_MAX];
    char cells[COLUMNS_MAX][CELL_BYTES];
};

/* A bar would end the cell; what is no text is none here either. */
static void put_name(const char *name, FILE *out)
{
    for (const char *p = name; *p; p++) {
        if (*p == '|')
            fputc('\\', out);
        fputc((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, out);
    }
}

/* Columns that it takes on a terminal, roughly: one for each character. */
static int width_of(const char *text)
{
    int width = 0;
    for (const char *p = text; *p; p++)
        width += ((unsigned char)*p & 0xc0) != 0x80 ? 1 + (*p == '|') : 0;
    return width;
}

static void put_repeated(char c, int count, FILE *out)
{
    while (count-- > 0)
        fputc(c, out);
}

static int larger(int a, int b)
{
    return a > b ? a : b;
}

static int column_width(const struct table *t, size_t i)
{
    return larger((int)strlen(t->heads[i]), (int)strlen(t->cells[i]));
}

static void print_table(const struct table *t, const char *name, FILE *out)
{
    const char *head = "Dataset";
    int first = larger(width_of(name), width_of(head));
    fprintf(out, "| %-*s |", first, head);
    for (size_t i = 0; i < t->columns; i++)
        fprintf(out, " %*s |", column_width(t, i), t->heads[i]);
    fputs("\n|:", out);
    put_repeated('-', first + 1, out);
    fputc('|', out);
    for (size_t i = 0; i < t->columns; i++) {
        put_repeated('-', column_width(t, i) + 1, out);
        fputs(":|", out);
    }
    fputs("\n| ", out);
    put_name(name, out);
    put_repeated(' ', first - width_of(name), out);
    fputs(" |", out);
    for (size_t i = 0; i < t->columns; i++)
        fprintf(out, " %*s |", column_width(t, i), t->cells[i]);
    fputc('\n', out);
}

static char *next_cell(struct table *t, const char *head)
{
    t->heads[t->columns] = head;
    return t->cells[t->columns++];
}

static void add_percent(struct table *t, const char *head, double part)
{
    snprintf(next_cell(t, head), CELL_BYTES, "%.2f", part * 100);
}

static void add_count(struct table *t, const char *head, uint64_t count)
{
    snprintf(next_cell(t, head), CELL_BYTES, "%" PRIu64, count);
}

static void print_notes(const struct cli_evaluation *v, FILE *out)
{
    const struct cli_summary *s = v->summary;
    fprintf(out, "%" PRIu64 " of %" PRIu64 " queries have a right image and count.",
            s->valid_queries, s->queries);
    if (s->junk_pairs)
        fprintf(out,
                " Dropped: %" PRIu64 " images of a query's own pid and camid (queries with such "
                "images: %" PRIu64 ").",
                s->junk_pairs, s->queries_with_junk);
    if (s->pid_minus1_dropped)
        fprintf(out, " Dropped from the gallery: %" PRIu64 " images of pid -1.",
                s->pid_minus1_dropped);
    if (s->distractors_pid0)
        fprintf(out, " Distractors (pid 0): %" PRIu64 ".", s->distractors_pid0);
    fprintf(out, "\n%s\n", cli_definitions(v->trapezoid));
}

void cli_table_print(const struct cli_evaluation *v, FILE *out)
{
    struct table t = {0};
    char name[NAME_BYTES];
    const struct cli_summary *s = v->summary;
    add_percent(&t, "Rank-1", s->cmc[0]);
    add_percent(&t, "Rank-5", s->cmc[4]);
    add_percent(&t, "Rank-10", s->cmc[9]);
    add_percent(&t, "Rank-20", s->cmc[19]);
    add_percent(&t, "mAP", s->map);
    if (v->trapezoid)
        add_percent(&t, "mAP_trapezoid", s->map_trapezoid);
    add_percent(&t, "mINP", s->minp);
    add_count(&t, "Queries", s->valid_queries);
    add_count(&t, "Gallery", s->gallery);
    if (v->ms_per_query >= 0)
        snprintf(next_cell(&t, "ms/query"), CELL_BYTES, "%.1f", v->ms_per_query);
    print_table(&t, cli_evaluation_name(v, name, sizeof name), out);
    print_notes(v, out);
}

/* --- a row a query ------------------------------------------------------------------------------
 */

/* A text field: in quotes where it must be. */
static void put_field(const char *text, FILE *out)
{
    size_t size = strlen(text);
    bool plain = size && !strpbrk(text, ",\"\r\n") && text[0] != ' ' && text[size - 1] != ' ';
    if (plain) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (const char *p = text; *p; p++) {
        if (*p == '"')
            fputc('"', out);
        fputc(*p, out);
    }
    fputc('"', out);
}

static void put_query(const struct cli_evaluation *v, size_t query, FILE *out)
{
    const struct cm_image_meta *label = &v->labels[query];
    const struct cli_query_figures *f = &v->figures[query];
    fprintf(out, "%zu,", query);
    put_field(label->name, out);
    fprintf(out, ",%" PRId64 ",%" PRId32 ",", label->pid, label->camid);
    if (!f->positives) {
        fputs(v->trapezoid ? ",,,0,\n" : ",,0,\n", out);
        return;
    }
    fprintf(out, "%.17g,", f->ap);
    if (v->trapezoid)
        fprintf(out, "%.17g,", f->ap_trapezoid);
    fprintf(out, "%" PRIu64 ",%" PRIu64 ",%.17g\n", f->first_rank, f->positives, f->inp);
}

enum cm_err cli_queries_csv(const struct cli_evaluation *v, const char *path, struct cm_error *e)
{
    struct cli_textfile t = {0};
    enum cm_err rc = cli_textfile_open(&t, e);
    if (rc)
        return rc;
    fprintf(t.file, "query,name,pid,camid,ap,%sfirst_hit,positives,inp\n",
            v->trapezoid ? "ap_trapezoid," : "");
    for (size_t i = 0; i < v->summary->queries; i++)
        put_query(v, i, t.file);
    rc = cli_textfile_save(&t, path, e);
    cli_textfile_close(&t);
    return rc;
}

/* --- JSON ---------------------------------------------------------------------------------------
 */

json_t *cli_summary_json(const struct cli_summary *s, bool trapezoid)
{
    json_t *root = json_pack("{s:f, s:f, s:f, s:f, s:f}", "rank1", s->cmc[0], "rank5", s->cmc[4],
                             "rank10", s->cmc[9], "rank20", s->cmc[19], "mAP", s->map);
    json_t *rest =
        json_pack("{s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s}", "mINP", s->minp, "queries",
                  (json_int_t)s->queries, "valid_queries", (json_int_t)s->valid_queries, "gallery",
                  (json_int_t)s->gallery, "junk_pairs", (json_int_t)s->junk_pairs,
                  "queries_with_junk", (json_int_t)s->queries_with_junk, "pid_minus1_dropped",
                  (json_int_t)s->pid_minus1_dropped, "distractors_pid0",
                  (json_int_t)s->distractors_pid0, "definitions", cli_definitions(trapezoid));
    int failed = !root || !rest;
    if (!failed && trapezoid)
        failed = json_object_set_new(root, "mAP_trapezoid", json_real(s->map_trapezoid));
    if (!failed)
        failed = json_object_update(root, rest);
    json_decref(rest);
    if (!failed)
        return root;
    json_decref(root);
    return NULL;
}
