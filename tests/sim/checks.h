/* checks.h: what must hold, in a file each. The truth is worked out from scores and labels that the
 * simulator itself made up, and from what passed the doors of coordinator and workers; never from
 * what a core says of itself, but where the memory that it holds is measured.
 *
 * - An answer covers exactly what was scored for it, no image twice, and its ranking is the best k
 *   of that (check_ranking.c).
 * - An evaluation covers the gallery and its figures are the truth, or it has none
 *   (check_measured.c).
 * - One reply a request, in time, and with a reason for what it lacks; no epoch goes back
 *   (check_replies.c).
 * - Clients take turns, evaluations wait for queries, and who is refused hears it at once, and when
 *   to come again (check_turns.c).
 * - Memory stays within its pools (check_pools.c).
 * - Once the faults have stopped, everything becomes whole, and in the end nothing is left
 *   (check_whole.c). */
#ifndef SIM_CHECKS_H
#define SIM_CHECKS_H

#include "common/err.h"
#include "proto/wire/answer.h"
#include "proto/wire/measured.h"
#include "tests/sim/net.h"
#include "tests/sim/worker.h"

#include <stdbool.h>
#include <stddef.h>

struct sim_request;

/* A worker sends: a RESULT must be true; the images that it is about are noted in it. */
void sim_check_worker_sent(struct sim *sim, const struct sim_worker *w, struct sim_message *m);

/* The coordinator sends, and the network said `rc`. Hedges among what it asks of workers stay
 * within their budget. */
void sim_check_sent(struct sim *sim, const struct cm_peer *to, const struct sim_message *m,
                    enum cm_err rc);

/* Does an ANSWER say the truth about the request? */
void sim_check_answer(struct sim *sim, const struct sim_request *r, const struct pr_answer *a);
/* Likewise. */
void sim_check_measured(struct sim *sim, const struct sim_request *r, const struct pr_measured *m);
/* Is there an excuse for each shard that a reply lacks, and none where all must be whole? */
void sim_check_missing(struct sim *sim, const struct sim_request *r,
                       const struct pr_missing_shard *missing, size_t count);

/* A request is dispatched for the first time: was it its client's turn? */
void sim_check_turn(struct sim *sim, const struct sim_request *r);
/* A request is refused: at once, and for a while? */
struct pr_error;
void sim_check_refusal(struct sim *sim, const struct sim_request *r, const struct pr_error *error);

/* After every step. */
void sim_check_pools(struct sim *sim);
void sim_check_deadlines(struct sim *sim);

/* Is every worker a member that serves, and nobody else one? If not, *why says it. */
bool sim_is_whole(struct sim *sim, char *why, size_t size);
/* When all had its time to become whole; and at the end. */
void sim_check_quiet(struct sim *sim);
void sim_check_end(struct sim *sim);

#endif
