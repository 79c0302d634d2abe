/* net.h: the network between the coordinator's ROUTER and everybody's DEALER, as ZeroMQ gives it.
 *
 * A connection carries messages in order, both ways, each after a while. It ends when a process
 * dies or hangs up, when it is reset, or when one side has heard nothing for ten seconds; then of
 * the messages on their way the first few still arrive and the rest are lost, and each side learns
 * of the end in its own time. Until then it sends into the void. A DEALER dials again by itself: a
 * worker's under the same address, a client's under a new one. The ROUTER tells its owner of each
 * end, after all that came on that connection and before anything that comes on a later one from
 * the same address (common/io/links.h).
 *
 * Where the plan is hostile, messages are lost, doubled and overtaken besides. */
#ifndef SIM_NET_H
#define SIM_NET_H

#include "common/blob.h"
#include "common/err.h"
#include "common/types.h"
#include "proto/wire/envelope.h"

#include <stdbool.h>
#include <stdint.h>

struct sim;

/* Which way a message goes; the side that receives on it bears the same name. */
enum sim_way {
    SIM_UP,   /* to the coordinator */
    SIM_DOWN, /* to a worker or client */
};

/* One message on its way, with bytes of its own. */
struct sim_message {
    struct sim_message *next;
    struct pr_envelope envelope;
    struct cm_bytes header;
    struct cm_blob *payload; /* a reference, or NULL */
    uint64_t due_ns;
    uint64_t scored; /* of a RESULT: the images scored of its first shard, a bit each */
};

/* Messages in order of arrival. */
struct sim_queue {
    struct sim_message *head, *tail;
    uint32_t count;
};

enum { SIM_ADDRESS_BYTES = 24 };

/* A machine with one process and its DEALER. Whoever lives there embeds it. */
struct sim_host {
    char name[8];     /* "w0", "c1" */
    uint64_t process; /* a number of its own for each process; 0 where none lives */
    bool is_client;
    char address[SIM_ADDRESS_BYTES]; /* of its DEALER */
    uint32_t room;                   /* messages that the coordinator may have on their way to it */
    unsigned dials;
    struct sim_conn *conn; /* the one that it believes in, or NULL */
    bool dialling;
    uint64_t dial_ns; /* when it tries next */
    unsigned tries;
    uint64_t frozen_until_ns;
    bool cut[2]; /* nothing gets through this way ... */
    uint64_t cut_until_ns;
    uint64_t slow_until_ns;  /* messages take ten times as long */
    uint64_t flaky_until_ns; /* its connection is reset again and again, ... */
    uint64_t reset_ns;       /* next at this moment */
};

struct sim_conn {
    bool used;
    struct sim_host *host;
    uint64_t process;    /* whose DEALER it was */
    uint64_t serial;     /* later ones have higher numbers */
    struct cm_peer peer; /* the address */
    struct sim_queue queue[2];
    bool ended;             /* nothing new arrives any more */
    bool open[2];           /* what the receiver of that way believes */
    uint64_t notice_ns[2];  /* once ended: when it finds out */
    uint64_t timeout_ns[2]; /* before: when it gives up, having heard nothing; or UINT64_MAX */
};

enum { SIM_CONNS_MAX = 96 };

/* All connections. */
struct sim_net {
    struct sim_conn conns[SIM_CONNS_MAX];
    uint64_t serial;
};

/* A message; the payload (may be NULL) is borrowed. */
struct sim_message *sim_message_new(struct cm_bytes header, struct cm_blob *payload);
struct sim_message *sim_message_copy(const struct sim_message *m);
void sim_message_free(struct sim_message *m); /* NULL is fine */
/* Puts another header in place of a message's: packed bytes, which it takes over. */
void sim_message_repack(struct sim_message *m, void *data, size_t size);

/* An address that reads as `text`. */
struct cm_peer sim_peer(const char *text);

/* A process opens its DEALER, in place of whatever the host had: under a fresh address. */
void sim_net_dial(struct sim *sim, struct sim_host *h);
/* It closes it, or dies. What it sent still arrives, if it hung up; else some of it. */
void sim_net_hang_up(struct sim *sim, struct sim_host *h, bool dies);
/* The coordinator's process ends. */
void sim_net_lose_router(struct sim *sim, bool dies);

/* Sends; consumes the message in every case. Errors: as io_send. */
enum cm_err sim_net_send_up(struct sim *sim, struct sim_host *h, struct sim_message *m,
                            struct cm_error *e);
enum cm_err sim_net_send_down(struct sim *sim, const struct cm_peer *to, struct sim_message *m,
                              struct cm_error *e);

/* The connection that the ROUTER would send on to this address; NULL if none. */
struct sim_conn *sim_net_find(struct sim *sim, const struct cm_peer *address);

/* Faults. A reset ends a connection; if `late`, the ROUTER finds out within seconds only. */
void sim_net_reset(struct sim *sim, struct sim_conn *c, bool late);
/* Nothing gets through until then. */
void sim_net_cut(struct sim *sim, struct sim_host *h, bool up, bool down, uint64_t until_ns);
void sim_net_mend(struct sim *sim, struct sim_host *h);
/* The other side of whom a process that stands still talks to may give it up. NULL: the
 * coordinator stands still. */
void sim_net_on_freeze(struct sim *sim, struct sim_host *h, uint64_t until_ns);

/* Offers what is due next on the network to the agenda. */
void sim_net_offer(struct sim *sim);

/* Is anything on its way? */
bool sim_net_is_empty(const struct sim *sim);
void sim_net_clear(struct sim *sim);

#endif
