/* bugs.h: bugs that are planted, one at a time, to prove that the checks find them. They sit where
 * messages pass the doors of the cores, and in the cores' memory; the cores' own code has no trace
 * of them. */
#ifndef SIM_BUGS_H
#define SIM_BUGS_H

#include "tests/sim/net.h"
#include "tests/sim/worker.h"

#include <stdbool.h>

struct sim_bug;

/* Bug number `i`, or NULL; by its name, or NULL. */
const struct sim_bug *sim_bug_at(unsigned i);
const struct sim_bug *sim_bug_named(const char *name);
const char *sim_bug_name(const struct sim_bug *bug);
const char *sim_bug_what(const struct sim_bug *bug);

/* Where the simulator asks. Without a bug nothing happens. A message may be changed; how often it
 * is then handed on is returned: 1, if there is no bug. */
unsigned sim_bug_into_coordinator(struct sim *sim, const struct sim_conn *from,
                                  struct sim_message *m);
unsigned sim_bug_leaving_coordinator(struct sim *sim, struct cm_peer *to, struct sim_message *m);
unsigned sim_bug_leaving_worker(struct sim *sim, struct sim_worker *w, struct sim_message *m);
/* Is the end of this connection kept from the coordinator? */
bool sim_bug_swallows_end(struct sim *sim, const struct cm_peer *who);
/* A job is done. */
void sim_bug_job(struct sim *sim, struct sim_worker *w, struct wk_job *job);
/* Before each step. */
void sim_bug_step(struct sim *sim);

/* Does the coordinator forget its map, and a worker take what is half there for whole? */
bool sim_bug_forgets_map(const struct sim *sim);
bool sim_bug_trusts_parts(const struct sim *sim);

#endif
