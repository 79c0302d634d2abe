/* eval_run.h: the long part of `vitrine eval`: every query measured over the whole gallery, however
 * often that has to be tried.
 *
 * Some queries are in flight at a time. One that cannot be counted, because a shard is not served
 * or a worker was lost, rests and is asked again; so the figures are always over the whole gallery.
 * What is done goes to the journal at once. Main thread only. */
#ifndef CLI_EVAL_RUN_H
#define CLI_EVAL_RUN_H

#include "common/err.h"
#include "ops/cli/client.h"
#include "ops/cli/journal.h"
#include "ops/cli/local.h"
#include "ops/cli/metrics.h"
#include "proto/file/npy.h"
#include "proto/file/npy_writer.h"

#include <stdbool.h>
#include <stdint.h>

/* What is evaluated, and what came of it so far. */
struct cli_eval {
    const struct pr_npy *features;
    const struct cm_image_meta *labels; /* [queries] */
    uint64_t queries;
    struct cm_fingerprint gallery; /* the cluster's, when it began; no other will do */
    uint64_t images;               /* in it */
    struct cli_client *client;
    struct cli_local *local; /* the cluster is a local one of ours; else NULL */
    struct cli_journal *journal;
    struct pr_npy_writer *scores; /* the matrix [queries][images]; NULL: not wanted */
    bool progress_json;           /* progress as lines of JSON on stderr */

    struct cli_query_figures *figures; /* [queries]; all zero before a query is done */
    uint64_t done;                     /* queries */
    uint64_t overflowed;               /* scores that were not finite */
    uint64_t worker_bytes;             /* of headers that came from workers */
    bool mixed;                        /* workers of different numeric classes took part */
    uint64_t pairs;                    /* scored in this run, not before */
    double seconds;                    /* that this run took */
};

/* Is a query done? */
bool cli_eval_is_done(const struct cli_eval *v, uint64_t query);

/* Takes one query's result, from the wire or from the journal. Errors: CM_EMISMATCH (no such query,
 * or twice), those of cli_figures_of. */
enum cm_err cli_eval_take(struct cli_eval *v, uint64_t query, const struct pr_measured *m,
                          struct cm_error *e) __attribute__((warn_unused_result));

/* Measures what is not done. Errors: CM_EBUSY (Ctrl-C), CM_EUNAVAIL (the coordinator is gone for a
 * minute, or a process of our own has ended), CM_EMISMATCH (the cluster serves another gallery
 * now), CM_ECORRUPT and CM_EREFUSED (a shard can not be counted, however often), those of reading
 * queries and writing results. */
enum cm_err cli_eval_run(struct cli_eval *v, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
