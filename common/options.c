/* options.c: see options.h. */
#include "common/options.h"

#include "common/assert.h"
#include "common/mem.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, HELP_VALUE = 1000 };

static const char common_exits[] =
    "  0   success\n"
    "  64  a flag or argument is wrong        65  an input is malformed or corrupt\n"
    "  66  an input file is missing           69  nobody answers, or nothing was scored\n"
    "  70  out of memory                      73  the output is in the way\n"
    "  74  reading or writing failed          75  busy, try again later\n"
    "  78  refused: another gallery or version\n";

void cm_options_help(const struct cm_command *c, FILE *out)
{
    fprintf(out, "usage: %s %s\n\n%s\n", c->name, c->usage, c->about);
    fprintf(out, "\noptions:\n");
    for (size_t i = 0; i < c->options_count; i++) {
        const struct cm_option *o = &c->options[i];
        char flag[80];
        snprintf(flag, sizeof flag, "%s%c%s--%s%s%s", o->letter ? "-" : " ",
                 o->letter ? o->letter : ' ', o->letter ? ", " : "  ", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        fprintf(out, "  %-28s ", flag);
        for (const char *p = o->help; *p; p++) {
            fputc(*p, out);
            if (*p == '\n')
                fprintf(out, "%31s", "");
        }
        fprintf(out, "%s\n", o->required ? " (required)" : "");
    }
    fprintf(out, "  %-28s %s\n", "-h, --help", "this text");
    fprintf(out, "\nexit codes:\n%s%s", common_exits, c->exits ? c->exits : "");
}

/* A whole decimal number without sign or blanks. */
static bool parse_count(const char *text, uint64_t *out)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static enum cm_err set_count(const struct cm_option *o, const char *text, struct cm_error *e)
{
    uint64_t value;
    if (!parse_count(text, &value) || value < o->least || value > o->most)
        return cm_fail(e, CM_EUSAGE,
                       "--%s is '%s'; it must be a whole number from %" PRIu64 " to %" PRIu64,
                       o->name, text, o->least, o->most);
    *(uint64_t *)o->out = value;
    return CM_OK;
}

static enum cm_err set_fraction(const struct cm_option *o, const char *text, struct cm_error *e)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= 0 && value <= 1))
        return cm_fail(e, CM_EUSAGE, "--%s is '%s'; it must be a fraction from 0 to 1", o->name,
                       text);
    *(double *)o->out = value;
    return CM_OK;
}

static enum cm_err add_to_list(const struct cm_option *o, const char *text, struct cm_error *e)
{
    struct cm_text_list *list = o->out;
    if (!list->items) {
        void *p;
        enum cm_err rc = cm_new(&p, CM_TEXT_LIST_MAX, sizeof *list->items, e);
        list->items = p;
        if (rc)
            return rc;
    }
    if (list->count == CM_TEXT_LIST_MAX)
        return cm_fail(e, CM_EUSAGE, "--%s stands there more than %d times", o->name,
                       CM_TEXT_LIST_MAX);
    list->items[list->count++] = text;
    return CM_OK;
}

static enum cm_err set(const struct cm_option *o, const char *text, struct cm_error *e)
{
    if (o->kind != CM_OPTION_FLAG && *text == '\0')
        return cm_fail(e, CM_EUSAGE, "--%s is empty", o->name);
    switch (o->kind) {
    case CM_OPTION_FLAG:
        *(bool *)o->out = true;
        return CM_OK;
    case CM_OPTION_TEXT:
        *(const char **)o->out = text;
        return CM_OK;
    case CM_OPTION_LIST:
        return add_to_list(o, text, e);
    case CM_OPTION_COUNT:
        return set_count(o, text, e);
    case CM_OPTION_FRACTION:
        return set_fraction(o, text, e);
    }
    return CM_OK;
}

/* getopt's two tables, from ours. The letters begin with ':' so that getopt tells "no value" apart.
 */
static void make_tables(const struct cm_command *c, struct option *longs, char *letters)
{
    *letters++ = ':';
    *letters++ = 'h';
    for (size_t i = 0; i < c->options_count; i++) {
        const struct cm_option *o = &c->options[i];
        bool takes = o->kind != CM_OPTION_FLAG;
        longs[i] =
            (struct option){o->name, takes ? required_argument : no_argument, NULL, (int)i + 1};
        if (o->letter) {
            *letters++ = o->letter;
            if (takes)
                *letters++ = ':';
        }
    }
    *letters = '\0';
    longs[c->options_count] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    longs[c->options_count + 1] = (struct option){0};
}

/* The option that getopt's return value stands for; NULL for none. */
static const struct cm_option *option_of(const struct cm_command *c, int got)
{
    if (got >= 1 && (size_t)got <= c->options_count)
        return &c->options[got - 1];
    for (size_t i = 0; i < c->options_count; i++)
        if (c->options[i].letter && c->options[i].letter == got)
            return &c->options[i];
    return NULL;
}

/* The flag that getopt_long just refused. A letter stands in optopt; argv would give the wrong word
 * where letters are joined (-xj). */
static void refused_flag(char **argv, char *out, size_t room)
{
    if (optopt > OPTIONS_MAX && optopt < HELP_VALUE)
        snprintf(out, room, "-%c", optopt);
    else
        snprintf(out, room, "%s", argv[optind - 1]);
}

static enum cm_err check_rest(const struct cm_command *c, const bool *seen, int argc, char **argv,
                              struct cm_error *e)
{
    for (size_t i = 0; i < c->options_count; i++)
        if (c->options[i].required && !seen[i])
            return cm_fail(e, CM_EUSAGE, "--%s %s is missing; see '%s --help'", c->options[i].name,
                           c->options[i].value, c->name);
    int words = argc - optind;
    if (c->positional && words == 0)
        return cm_fail(e, CM_EUSAGE, "%s is missing; see '%s --help'", c->positional, c->name);
    if (words > (c->positional ? 1 : 0))
        return cm_fail(e, CM_EUSAGE, "'%s' is one word too many; see '%s --help'",
                       argv[optind + (c->positional ? 1 : 0)], c->name);
    if (c->positional)
        *c->positional_out = argv[optind];
    return CM_OK;
}

enum cm_parsed cm_options_parse(const struct cm_command *c, int argc, char **argv,
                                struct cm_error *e)
{
    struct option longs[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 3];
    bool seen[OPTIONS_MAX] = {false};
    CM_ASSERT(c->options_count <= OPTIONS_MAX);
    make_tables(c, longs, letters);
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    enum cm_err rc = CM_OK;
    for (int got; !rc && (got = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        const struct cm_option *o = option_of(c, got);
        if (got == 'h' || got == HELP_VALUE) {
            cm_options_help(c, stdout);
            return CM_PARSED_HELP;
        }
        if (o) {
            seen[o - c->options] = true;
            rc = set(o, optarg ? optarg : "", e);
        } else {
            char flag[CM_ERROR_TEXT_BYTES];
            refused_flag(argv, flag, sizeof flag);
            rc = cm_fail(e, CM_EUSAGE,
                         got == ':' ? "%s needs a value; see '%s --help'"
                                    : "%s is no flag here; see '%s --help'",
                         flag, c->name);
        }
    }
    if (!rc)
        rc = check_rest(c, seen, argc, argv, e);
    return rc ? CM_PARSED_BAD : CM_PARSED_RUN;
}

void cm_options_free(const struct cm_command *c)
{
    for (size_t i = 0; i < c->options_count; i++)
        if (c->options[i].kind == CM_OPTION_LIST) {
            struct cm_text_list *list = c->options[i].out;
            free(list->items);
            *list = (struct cm_text_list){0};
        }
}

int cm_exit_of(enum cm_err code)
{
    switch (code) {
    case CM_OK:
        return CM_EXIT_OK;
    case CM_EUSAGE:
        return CM_EXIT_USAGE;
    case CM_EFORMAT:
    case CM_ECORRUPT:
    case CM_EVERSION:
    case CM_EMISMATCH:
    case CM_ELIMIT:
        return CM_EXIT_DATA;
    case CM_ENOENT:
        return CM_EXIT_NOINPUT;
    case CM_EEXIST:
        return CM_EXIT_CANTCREATE;
    case CM_ENOMEM:
        return CM_EXIT_SOFTWARE;
    case CM_ENOSPC:
    case CM_EIO:
        return CM_EXIT_IO;
    case CM_EBUSY:
        return CM_EXIT_BUSY;
    case CM_ETIMEOUT:
    case CM_EUNAVAIL:
        return CM_EXIT_UNAVAILABLE;
    case CM_EREFUSED:
        return CM_EXIT_REFUSED;
    }
    return CM_EXIT_FAILED;
}

int cm_command_fail(const struct cm_command *c, const struct cm_error *e)
{
    fprintf(stderr, "%s: %s\n", c->name, e->text);
    return cm_exit_of(e->code);
}

bool cm_command_begin(const struct cm_command *c, int argc, char **argv, int *exit_code)
{
    struct cm_error e;
    switch (cm_options_parse(c, argc, argv, &e)) {
    case CM_PARSED_RUN:
        return true;
    case CM_PARSED_HELP:
        *exit_code = CM_EXIT_OK;
        break;
    case CM_PARSED_BAD:
        *exit_code = cm_command_fail(c, &e);
        break;
    }
    cm_options_free(c);
    return false;
}
