/* client_get.h: between the two files of a client: what it sends and when (client.c), and what it
 * makes of replies (client_get.c). */
#ifndef SIM_CLIENT_GET_H
#define SIM_CLIENT_GET_H

#include "tests/sim/client.h"

/* Takes in a message. The client may be gone after it. */
void sim_client_read(struct sim_client *c, const struct sim_message *m);

/* The coordinator has `known` requests of its: if those that were out when it asked for the status
 * are more, it sends them again. */
void sim_client_compare(struct sim_client *c, uint32_t known);

/* The command fails: its process ends. */
void sim_client_give_up(struct sim_client *c, const char *why);

#endif
