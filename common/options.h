/* options.h: command-line flags from one table: parsing, checking, and the --help that teaches.
 *
 * getopt_long does the splitting. Every value is checked against its kind and bounds, and an error
 * says what was typed and what is asked. Main thread. */
#ifndef CM_OPTIONS_H
#define CM_OPTIONS_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum cm_option_kind {
    CM_OPTION_FLAG,     /* out: bool, set when the flag stands there */
    CM_OPTION_TEXT,     /* out: const char *, borrowed from argv; not empty */
    CM_OPTION_LIST,     /* out: struct cm_text_list; the flag may be repeated */
    CM_OPTION_COUNT,    /* out: uint64_t within [least, most] */
    CM_OPTION_FRACTION, /* out: double within [0, 1] */
};

enum { CM_TEXT_LIST_MAX = 1024 };

/* The values of a repeated flag, in order, borrowed from argv. */
struct cm_text_list {
    const char **items;
    size_t count;
};

struct cm_option {
    const char *name; /* long, without dashes */
    char letter;      /* one-letter form, or 0 */
    enum cm_option_kind kind;
    bool required;
    const char *value;    /* what stands for the value in --help: "FILE" */
    const char *help;     /* may hold newlines; unit and default are said here */
    uint64_t least, most; /* CM_OPTION_COUNT */
    void *out;            /* holds the default before parsing */
};

/* One command's manual page and flags. */
struct cm_command {
    const char *name;  /* "vitrine search" */
    const char *usage; /* what follows the name; several lines for several forms */
    const char *about; /* a paragraph or two */
    const struct cm_option *options;
    size_t options_count;
    const char *positional; /* "DIR": exactly one word beside the flags; NULL for none */
    const char **positional_out;
    const char *exits; /* the command's own exit codes beside the common ones, or NULL */
};

enum cm_parsed {
    CM_PARSED_RUN,  /* go on */
    CM_PARSED_HELP, /* --help was asked and printed: exit 0 */
    CM_PARSED_BAD,  /* *e says why: exit CM_EXIT_USAGE */
};

/* Reads argv[1..argc). LIST values' storage is freed with cm_options_free, after any outcome. */
enum cm_parsed cm_options_parse(const struct cm_command *c, int argc, char **argv,
                                struct cm_error *e);
/* Frees the items of all LIST values, and leaves the lists empty. */
void cm_options_free(const struct cm_command *c);

/* Writes what --help prints. */
void cm_options_help(const struct cm_command *c, FILE *out);

/* What a main does with its flags: parses them, and prints the help or the error. True if the
 * command should run; else *exit_code is the process's, and nothing is left to free. */
bool cm_command_begin(const struct cm_command *c, int argc, char **argv, int *exit_code);

/* Prints "<name>: <text>" on stderr; returns the exit code that goes with the failure. */
int cm_command_fail(const struct cm_command *c, const struct cm_error *e);

/* Exit codes, after <sysexits.h>, which service managers know. */
enum cm_exit {
    CM_EXIT_OK = 0,
    CM_EXIT_FAILED = 1,       /* the command ran and the answer is no */
    CM_EXIT_USAGE = 64,       /* a flag or argument was wrong */
    CM_EXIT_DATA = 65,        /* an input file is not what it must be, or is corrupt */
    CM_EXIT_NOINPUT = 66,     /* an input file is not there */
    CM_EXIT_UNAVAILABLE = 69, /* no coordinator answers, or nothing could be scored */
    CM_EXIT_SOFTWARE = 70,    /* out of memory, or a failure of ours */
    CM_EXIT_CANTCREATE = 73,  /* the output is in the way */
    CM_EXIT_IO = 74,          /* reading or writing failed, or the disk is full */
    CM_EXIT_BUSY = 75,        /* the cluster refused for now; try again */
    CM_EXIT_REFUSED = 78,     /* the cluster refused for good: another gallery or version */
};

/* The exit code for a failure that ends a command. */
int cm_exit_of(enum cm_err code);

#endif
