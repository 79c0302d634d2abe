/* Command-line flags: every kind, every complaint, and what --help says. */
#include "common/options.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One flag of each kind, as a command would have them. */
struct values {
    const char *model;
    struct cm_text_list features;
    uint64_t k;
    double coverage;
    bool json;
    const char *dir;
};

static struct values v;
static struct cm_error e;

static const struct cm_option options[] = {
    {"model", 'm', CM_OPTION_TEXT, true, "FILE", "weights,\n.safetensors", 0, 0, &v.model},
    {"features", 'f', CM_OPTION_LIST, false, "FILE", "maps", 0, 0, &v.features},
    {"k-best", 'k', CM_OPTION_COUNT, false, "K", "how many", 1, 10000, &v.k},
    {"min-coverage", 0, CM_OPTION_FRACTION, false, "F", "least share", 0, 0, &v.coverage},
    {"json", 'j', CM_OPTION_FLAG, false, NULL, "for programs", 0, 0, &v.json},
};

static const struct cm_command command = {
    .name = "vitrine try",
    .usage = "--model FILE DIR",
    .about = "Tries things.",
    .options = options,
    .options_count = sizeof options / sizeof *options,
    .positional = "DIR",
    .positional_out = &v.dir,
    .exits = "  9   it rained\n",
};

enum { WORDS_MAX = 16 };

/* Parses the words of `line`, cut at single blanks; "''" is an empty word. */
static enum cm_parsed parse_for(const struct cm_command *c, const char *line)
{
    static char words[512];
    char *argv[WORDS_MAX + 2] = {(char *)"try"}, *rest = NULL;
    int argc = 1;
    snprintf(words, sizeof words, "%s", line);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        cr_assert(argc <= WORDS_MAX);
        argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
    }
    cm_options_free(&command);
    v = (struct values){.k = 10, .coverage = 0.5};
    e = (struct cm_error){CM_OK, ""};
    return cm_options_parse(c, argc, argv, &e);
}

static enum cm_parsed parse(const char *line)
{
    return parse_for(&command, line);
}

static void assert_refused(const char *line, const char *text)
{
    cr_assert_eq(parse(line), CM_PARSED_BAD, "%s", line);
    cr_assert_eq(e.code, CM_EUSAGE);
    cr_assert_str_eq(e.text, text, "%s: %s", line, e.text);
    cm_options_free(&command);
}

Test(options, reads_every_kind_in_long_form)
{
    cr_assert_eq(parse("--model m --features a --features=b --k-best 7 --min-coverage 0.25 --json "
                       "gallery"),
                 CM_PARSED_RUN, "%s", e.text);
    cr_assert_str_eq(v.model, "m");
    cr_assert_eq(v.features.count, 2);
    cr_assert_str_eq(v.features.items[0], "a");
    cr_assert_str_eq(v.features.items[1], "b");
    cr_assert_eq(v.k, 7);
    cr_assert(v.coverage == 0.25 && v.json);
    cr_assert_str_eq(v.dir, "gallery");
    cm_options_free(&command);
    cr_assert(v.features.items == NULL && v.features.count == 0);
}

Test(options, reads_letters_and_words_in_any_order)
{
    cr_assert_eq(parse("gallery -jk3 -f a -m m -f b"), CM_PARSED_RUN, "%s", e.text);
    cr_assert(v.k == 3 && v.json && v.features.count == 2);
    cr_assert_str_eq(v.dir, "gallery");
    cr_assert_eq(parse("-m m -- --json"), CM_PARSED_RUN, "%s", e.text);
    cr_assert_str_eq(v.dir, "--json");
    cr_assert(!v.json);
}

Test(options, leaves_the_default_where_a_flag_is_absent)
{
    cr_assert_eq(parse("-m m d"), CM_PARSED_RUN, "%s", e.text);
    cr_assert(v.k == 10 && v.coverage == 0.5 && !v.json && v.features.count == 0);
}

Test(options, counts_lie_within_their_bounds)
{
    cr_assert(parse("-m m d -k 1") == CM_PARSED_RUN && v.k == 1);
    cr_assert(parse("-m m d -k 10000") == CM_PARSED_RUN && v.k == 10000);
    static const char *const bad[] = {
        "0", "10001", "-1", "+1", "1.0", "1e3", "0x10", "1k", "k", "1,0", "18446744073709551617"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[64], text[160];
        snprintf(line, sizeof line, "-m m d --k-best=%s", bad[i]);
        snprintf(text, sizeof text, "--k-best is '%s'; it must be a whole number from 1 to 10000",
                 bad[i]);
        assert_refused(line, text);
    }
}

Test(options, fractions_lie_from_0_to_1)
{
    cr_assert(parse("-m m d --min-coverage 0") == CM_PARSED_RUN && v.coverage == 0);
    cr_assert(parse("-m m d --min-coverage 1") == CM_PARSED_RUN && v.coverage == 1);
    static const char *const bad[] = {"-0.1", "1.01", "nan", "inf", "half", "0.5x", "50%"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char line[64], text[160];
        snprintf(line, sizeof line, "-m m d --min-coverage %s", bad[i]);
        snprintf(text, sizeof text, "--min-coverage is '%s'; it must be a fraction from 0 to 1",
                 bad[i]);
        assert_refused(line, text);
    }
}

Test(options, says_what_is_missing_or_too_many)
{
    assert_refused("d", "--model FILE is missing; see 'vitrine try --help'");
    assert_refused("-m m", "DIR is missing; see 'vitrine try --help'");
    assert_refused("-m m d e", "'e' is one word too many; see 'vitrine try --help'");
    assert_refused("-m m d --model", "--model needs a value; see 'vitrine try --help'");
    assert_refused("d -m", "-m needs a value; see 'vitrine try --help'");
    assert_refused("--model= d", "--model is empty");
    assert_refused("-m '' d", "--model is empty");
    assert_refused("-m m d -f ''", "--features is empty");
    struct cm_command plain = command;
    plain.positional = NULL;
    cr_assert_eq(parse_for(&plain, "-m m"), CM_PARSED_RUN);
    cr_assert_eq(parse_for(&plain, "-m m word"), CM_PARSED_BAD);
    cr_assert_str_eq(e.text, "'word' is one word too many; see 'vitrine try --help'");
}

Test(options, says_which_flag_it_does_not_know)
{
    assert_refused("-m m d --nonsense", "--nonsense is no flag here; see 'vitrine try --help'");
    assert_refused("-m m d --nonsense=3", "--nonsense=3 is no flag here; see 'vitrine try --help'");
    assert_refused("-m m d -x", "-x is no flag here; see 'vitrine try --help'");
    assert_refused("-m m d -xj", "-x is no flag here; see 'vitrine try --help'");
    assert_refused("-m m d -jx", "-x is no flag here; see 'vitrine try --help'");
}

Test(options, bounds_a_repeated_list)
{
    enum { TOO_MANY = CM_TEXT_LIST_MAX + 1 };
    static char *argv[2 * TOO_MANY + 5];
    int argc = 0;
    argv[argc++] = (char *)"try";
    argv[argc++] = (char *)"-mm";
    argv[argc++] = (char *)"d";
    for (int i = 0; i < TOO_MANY; i++)
        argv[argc++] = (char *)"-fa";
    cr_assert_eq(cm_options_parse(&command, argc - 1, argv, &e), CM_PARSED_RUN, "%s", e.text);
    cr_assert_eq(v.features.count, CM_TEXT_LIST_MAX);
    cm_options_free(&command);
    cr_assert_eq(cm_options_parse(&command, argc, argv, &e), CM_PARSED_BAD);
    cr_assert_str_eq(e.text, "--features stands there more than 1024 times");
    cm_options_free(&command);
}

Test(options, a_parse_starts_afresh_whatever_came_before)
{
    cr_assert_eq(parse("-jx d"), CM_PARSED_BAD);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(parse("-m m d -j"), CM_PARSED_RUN, "%s", e.text);
        cr_assert(v.json);
        cr_assert_str_eq(v.dir, "d");
    }
}

Test(options, help_is_asked_with_either_form_and_needs_nothing_else)
{
    cr_redirect_stdout();
    cr_assert_eq(parse("--help"), CM_PARSED_HELP);
    cr_assert_eq(parse("-m m -h d"), CM_PARSED_HELP);
}

Test(options, help_names_every_flag_and_exit_code)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    cr_assert_not_null(out);
    cm_options_help(&command, out);
    fclose(out);
    static const char *const parts[] = {
        "usage: vitrine try --model FILE DIR\n\nTries things.\n",
        "  -m, --model FILE             weights,\n",
        "\n                               .safetensors (required)\n",
        "  -f, --features FILE          maps\n",
        "  -k, --k-best K               how many\n",
        "      --min-coverage F         least share\n",
        "  -j, --json                   for programs\n",
        "  -h, --help                   this text\n",
        "  9   it rained\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        cr_assert(strstr(text, parts[i]) != NULL, "expected \"%s\" in:\n%s", parts[i], text);
    for (int code = CM_OK; code <= CM_EREFUSED; code++) {
        char exit_code[16];
        snprintf(exit_code, sizeof exit_code, "  %d  ", cm_exit_of((enum cm_err)code));
        cr_assert(strstr(text, exit_code) != NULL, "exit code %s", exit_code);
    }
    free(text);
}

Test(options, every_failure_has_its_exit_code)
{
    static const struct {
        enum cm_err code;
        int exit_code;
    } rows[] = {
        {CM_OK, 0},        {CM_EUSAGE, 64},    {CM_EFORMAT, 65},  {CM_ECORRUPT, 65},
        {CM_EVERSION, 65}, {CM_EMISMATCH, 65}, {CM_ELIMIT, 65},   {CM_ENOENT, 66},
        {CM_EEXIST, 73},   {CM_ENOMEM, 70},    {CM_ENOSPC, 74},   {CM_EIO, 74},
        {CM_EBUSY, 75},    {CM_ETIMEOUT, 69},  {CM_EUNAVAIL, 69}, {CM_EREFUSED, 78},
    };
    cr_assert_eq(sizeof rows / sizeof *rows, CM_EREFUSED + 1, "every code stands here");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq(cm_exit_of(rows[i].code), rows[i].exit_code, "%s", cm_err_text(rows[i].code));
    cr_assert_eq(cm_exit_of((enum cm_err)999), 1);
}
