/* bench.c: `vitrine bench`: what this machine can do, and how near the kernels come. */
#include "ops/cli/bench.h"

#include "common/geometry.h"
#include "ops/cli/cli.h"
#include "ops/cli/json.h"
#include "worker/score/kernels/table.h"

#include <stdio.h>
#include <string.h>

enum { ROUNDS_DEFAULT = 15, ROUNDS_MOST = 1000 };

static bool is_chosen(const struct sc_kernel *k)
{
    return sc_kernel_default(k->precision) == k;
}

static enum cm_err list_json(struct cm_error *e)
{
    json_t *list = json_array();
    for (size_t i = 0; sc_kernel_at(i); i++) {
        const struct sc_kernel *k = sc_kernel_at(i);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:s, s:b, s:b}", "kernel", k->name, "precision",
                                        cm_precision_name(k->precision), "class", k->numeric_class,
                                        "supported", k->supported(), "chosen", is_chosen(k)));
    }
    return cli_print_json(json_pack("{s:o}", "kernels", list), e);
}

enum cm_err cli_bench_list(bool json, struct cm_error *e)
{
    if (json)
        return list_json(e);
    printf("%-11s %-9s %-10s %s\n", "kernel", "precision", "class", "here");
    for (size_t i = 0; sc_kernel_at(i); i++) {
        const struct sc_kernel *k = sc_kernel_at(i);
        const char *here = k->supported() ? "runs" : "no";
        printf("%-11s %-9s %-10s %s\n", k->name, cm_precision_name(k->precision), k->numeric_class,
               is_chosen(k) ? "chosen" : here);
    }
    return CM_OK;
}

int cli_bench(int argc, char **argv)
{
    const char *what = NULL;
    bool json = false, list = false;
    uint64_t rounds = ROUNDS_DEFAULT;
    if (argc >= 2 && strcmp(argv[1], "accuracy") == 0)
        return cli_bench_accuracy(argc - 1, argv + 1);
    if (argc >= 2 && strcmp(argv[1], "cluster") == 0)
        return cli_bench_cluster(argc - 1, argv + 1);
    const struct cm_option options[] = {
        {"list", 0, CM_OPTION_FLAG, false, NULL, "only say which kernels there are", 0, 0, &list},
        {"rounds", 0, CM_OPTION_COUNT, false, "N",
         "samples of which the median counts (default 15)", 1, ROUNDS_MOST, &rounds},
        {"json", 0, CM_OPTION_FLAG, false, NULL, "print one line of JSON", 0, 0, &json},
    };
    const struct cm_command command = {
        .name = "vitrine bench",
        .usage =
            "kernel [--rounds N] [--json]\nkernel --list [--json]\naccuracy --help\ncluster --help",
        .about =
            "Measures the scoring kernels on one thread, in seconds of its own processor time:\n"
            "the token product with mask and maxima, and whole pairs with the head, for three\n"
            "model sizes and each precision, images coming from memory. Before and after each\n"
            "sample it measures the processor's peak in registers, and gives the ratio; only\n"
            "operations that a score needs are counted. VITRINE_KERNEL forces a kernel; a\n"
            "precision that has none of that name is left out.",
        .options = options,
        .options_count = sizeof options / sizeof *options,
        .positional = "kernel",
        .positional_out = &what,
    };
    int exit_code;
    if (!cm_command_begin(&command, argc, argv, &exit_code))
        return exit_code;
    struct cm_error e;
    enum cm_err rc = CM_OK;
    if (strcmp(what, "kernel") != 0)
        rc = cm_fail(&e, CM_EUSAGE,
                     "there is no bench '%s'; there are 'kernel', 'accuracy' and 'cluster'", what);
    else if (list)
        rc = cli_bench_list(json, &e);
    else
        rc = cli_bench_kernel((uint32_t)rounds, json, &e);
    return rc ? cm_command_fail(&command, &e) : CM_EXIT_OK;
}
