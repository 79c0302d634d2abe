/* local.h: a whole cluster on this machine: the coordinator and workers as real processes on
 * ipc://.
 *
 * What `vitrine up` runs, and what `search --gallery` runs for itself: the same programs, the same
 * wire. */
#ifndef CLI_LOCAL_H
#define CLI_LOCAL_H

#include "common/err.h"
#include "common/io/process.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct cli_local_options {
    const char *gallery;
    uint64_t workers;   /* 0: one for each CPU, at most one for each shard */
    uint64_t threads;   /* of each worker; 0: the CPUs divided among them */
    const char *listen; /* endpoint; NULL: an ipc path of its own */
    bool insecure;
    bool logs_to_stderr; /* else into files beside the socket, quoted when a process fails */
};

struct cli_local {
    char *dir;                 /* private folder: socket and logs */
    char *endpoint;            /* where the coordinator listens */
    struct io_child *children; /* [0] the coordinator, then the workers */
    uint32_t children_count;
    uint32_t workers;
};

/* Starts it all and waits until every shard is served. SIGINT or SIGTERM (which the caller has
 * blocked) ends the wait with CM_EBUSY. On failure nothing runs any more and nothing is left on
 * disk. Errors: CM_EUSAGE (more workers than shards), those of opening the gallery, CM_EUNAVAIL (a
 * process ended: its last words are in the text). */
enum cm_err cli_local_start(struct cli_local *l, const struct cli_local_options *o,
                            struct cm_error *e) __attribute__((warn_unused_result));

/* Starts a coordinator alone, listening at `listen`: with tcp port 0 at any free one, and
 * l->endpoint says which. It has no worker yet. Interrupts and failures as above. Errors:
 * CM_ETIMEOUT (it does not listen), CM_EUNAVAIL (it ended: its last words are in the text), those
 * of cm_fail_errno. */
enum cm_err cli_local_start_coordinator(struct cli_local *l, const char *listen, struct cm_error *e)
    __attribute__((warn_unused_result));

/* CM_OK while all of them live. Errors: CM_EUNAVAIL (one ended: its last words are in the text). */
enum cm_err cli_local_check(struct cli_local *l, struct cm_error *e);

/* Ends the processes (SIGTERM, then SIGKILL after 10 s) and removes the folder. */
void cli_local_stop(struct cli_local *l);

/* The signals that end a command: Ctrl-C, SIGTERM, and a terminal that goes away, unless
 * nohup says otherwise. */
void cli_end_signals(sigset_t *set);

/* Blocks those, so that a command can end its children and clean up. Call before any thread starts.
 */
void cli_block_signals(void);

/* True once one of those is blocked and waiting. */
bool cli_interrupted(void);

#endif
