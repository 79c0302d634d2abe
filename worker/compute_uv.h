/* compute_uv.h: what a worker's compute threads do with a job: project a query, or score a block.
 */
#ifndef WK_COMPUTE_UV_H
#define WK_COMPUTE_UV_H

#include "common/err.h"
#include "worker/score/scorer.h"
#include "worker/store/shard.h"
#include "worker/worker.h"

/* All that jobs need; shared by the threads and immutable but for each thread's own scratch, and
 * for the shards that no job is at. */
struct wk_compute {
    const struct sc_model *model;
    struct st_shard **shards;    /* by their numbers; NULL: not here */
    struct sc_scratch **scratch; /* [threads] */
    float **maps;                /* [threads] room for one raw map */
    unsigned threads;
};

/* Scratch for `threads` threads. Release with wk_compute_fini, also after a failure. `model` and
 * `shards` are borrowed. Errors: CM_ENOMEM. */
enum cm_err wk_compute_init(struct wk_compute *c, const struct sc_model *model,
                            struct st_shard **shards, unsigned threads, struct cm_error *e)
    __attribute__((warn_unused_result));
void wk_compute_fini(struct wk_compute *c); /* leaves it zeroed; a zeroed one is fine */

/* Does one job on thread `thread`, and fills in its outcome, time and scores. Any pool thread. */
void wk_compute_run(struct wk_compute *c, struct wk_job *job, unsigned thread,
                    const struct cm_log *log);

#endif
