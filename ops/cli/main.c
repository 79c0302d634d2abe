/* main.c: vitrine: finds the command and runs it. */
#include "ops/cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A command by its name. */
struct entry {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
};

static const struct entry entries[] = {
    {"import", "make a gallery from feature maps and labels", cli_import},
    {"inspect", "what a gallery holds", cli_inspect},
    {"verify", "hold every byte of a gallery against its checksums", cli_verify},
    {"search", "rank a gallery for each query", cli_search},
    {"eval", "Rank-k, mAP and mINP of labelled queries over a gallery", cli_eval},
    {"up", "run a coordinator and workers on this machine", cli_up},
    {"status", "who is in a cluster, and how it does", cli_status},
    {"drain", "have a node hand its shards over and leave the cluster", cli_drain},
    {"replicas", "say how often a cluster holds each shard", cli_replicas},
    {"score", "score every query against every gallery image: the whole matrix", cli_score},
    {"bench", "how near this machine's scoring comes to its peak", cli_bench},
};

static void print_help(FILE *out)
{
    fprintf(out,
            "usage: vitrine COMMAND [flags]\n\n"
            "Searches large galleries of images with a learned pairwise matcher (TransMatcher,\n"
            "QAConv), exactly, over as many workers as you start.\n\ncommands:\n");
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
        fprintf(out, "  %-10s %s\n", entries[i].name, entries[i].summary);
    fprintf(out, "\n'vitrine COMMAND --help' explains one command.\n");
}

/* A result that nobody got is no success: a full disk shows when the last of it is written out. */
static int finish(const char *name, int exit_code)
{
    bool failed = ferror(stdout) != 0;
    if ((fflush(stdout) == 0 && !failed) || exit_code != CM_EXIT_OK)
        return exit_code;
    fprintf(stderr, "vitrine %s: cannot write to stdout: %s\n", name, strerror(errno));
    return CM_EXIT_IO;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE,
           SIG_IGN); /* a reader that goes away is an error to clean up after, no sudden end */
    signal(SIGXFSZ, SIG_IGN); /* so is a file over the limit of ulimit -f */
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help(stdout);
        return finish("--help", CM_EXIT_OK);
    }
    for (size_t i = 0; argc >= 2 && i < sizeof entries / sizeof *entries; i++)
        if (strcmp(argv[1], entries[i].name) == 0)
            return finish(argv[1], entries[i].run(argc - 1, argv + 1));
    if (argc >= 2)
        fprintf(stderr, "vitrine: '%s' is no command; see 'vitrine --help'\n", argv[1]);
    else
        print_help(stderr);
    return CM_EXIT_USAGE;
}
