/* bench.h: what `vitrine bench` measures, a file each. Main thread. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "common/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Prints the kernels: name, precision, numeric class, whether this processor has them and which it
 * would use. Errors: CM_ENOMEM, CM_EIO. */
enum cm_err cli_bench_list(bool json, struct cm_error *e);

/* Measures token product and whole pair for each model size and precision against the processor's
 * peak, `rounds` times each, and prints the medians. Pins the calling thread to its processor.
 * Errors: CM_EUSAGE (VITRINE_KERNEL), CM_ENOMEM, CM_EIO. */
enum cm_err cli_bench_kernel(uint32_t rounds, bool json, struct cm_error *e);

/* `vitrine bench accuracy`: a command of its own flags, like those of cli.h. */
int cli_bench_accuracy(int argc, char **argv);

/* `vitrine bench cluster`: likewise. */
int cli_bench_cluster(int argc, char **argv);

#endif
