/* load.h: a client that keeps a number of queries under way at a coordinator of stand-ins, checks
 * each answer, and takes the time.
 *
 * Several sockets on one loop. Main thread. */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "common/err.h"
#include "common/types.h"

#include <stddef.h>
#include <stdint.h>

enum { CLI_LOAD_INFLIGHT_MAX = 256 };

struct cli_load;

struct cli_load_options {
    const char *endpoint; /* the coordinator's */
    struct cm_geometry geometry;
    uint32_t shards;   /* of the gallery of stand_ins.h */
    uint32_t k;        /* at most CLI_STAND_IN_K_MAX */
    uint32_t inflight; /* queries under way, 1..CLI_LOAD_INFLIGHT_MAX */
    enum cm_err (*check)(void *ctx,
                         struct cm_error *e); /* asked all the time; a failure ends a run */
    void *ctx;
};

/* What the runs did. */
struct cli_load_result {
    size_t queries;               /* answered, every one of them whole and right */
    double seconds;               /* from a run's first query to its last answer, all runs */
    double p50_ms, p99_ms;        /* that a query took */
    uint64_t bytes_out, bytes_in; /* of queries and of answers: headers and maps */
};

/* Connects. Errors: CM_EUNAVAIL (nobody is there), CM_ENOMEM, CM_EIO. */
enum cm_err cli_load_open(struct cli_load **out, const struct cli_load_options *o,
                          struct cm_error *e) __attribute__((warn_unused_result));

/* Sends queries for so long, each new one when an answer has come, then waits for the last answer.
 * At least `inflight` are asked. Errors: CM_EFORMAT (an answer that is partial, or not the ranking
 * that stand-ins make), CM_EREFUSED (an ERROR came), CM_ETIMEOUT (no answer), those of `check`. */
enum cm_err cli_load_run(struct cli_load *l, double seconds, struct cm_error *e)
    __attribute__((warn_unused_result));

/* What the runs did since this was last asked. */
struct cli_load_result cli_load_take(struct cli_load *l);

void cli_load_close(struct cli_load *l); /* NULL is fine */

#endif
