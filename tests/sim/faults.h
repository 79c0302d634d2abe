/* faults.h: what goes wrong, a table of it. Each strikes now and sees to its own end: what is
 * frozen thaws, what is cut is mended, what died starts again. A new kind (a transfer, a
 * half-written file) is a row more. */
#ifndef SIM_FAULTS_H
#define SIM_FAULTS_H

#include <stdint.h>

struct sim;

/* How many kinds there are: bits of sim_plan.faults. */
unsigned sim_faults_count(void);
/* Those that excuse no reply: bits in the order of the table. */
uint64_t sim_faults_gentle(void);
/* One of those that the plan has strikes, if it can. */
void sim_faults_strike(struct sim *sim);
/* Makes good all that is broken. */
void sim_faults_heal(struct sim *sim);
/* Offers the ends of faults that have one. */
void sim_faults_offer(struct sim *sim);

#endif
