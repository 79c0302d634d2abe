/* cli.h: the commands of `vitrine`, one file each. Main thread only. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include "common/options.h"

/* Each runs one command with argv[0] its name, and returns the process's exit code. Errors have
 * been printed by then, one line on stderr. */
int cli_import(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_verify(int argc, char **argv);
int cli_search(int argc, char **argv);
int cli_eval(int argc, char **argv);
int cli_score(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_drain(int argc, char **argv);
int cli_replicas(int argc, char **argv);
int cli_up(int argc, char **argv);
int cli_bench(int argc, char **argv);

#endif
