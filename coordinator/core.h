/* core.h: what the files of the coordinator's core share. Not for anybody else. */
#ifndef CO_CORE_H
#define CO_CORE_H

#include "coordinator/coordinator.h"
#include "coordinator/gather.h"
#include "coordinator/members.h"
#include "coordinator/placement.h"
#include "coordinator/shardmap.h"
#include "proto/wire/error.h"
#include "proto/wire/refuse.h"
#include "proto/wire/sources.h"
#include "proto/wire/status.h"

/* A list of gathers; those that wait in order of their turns, those dispatched as they were. */
struct co_list {
    struct co_gather *head, *tail;
    uint32_t count;
    uint64_t turn; /* of those that wait: that of the last one dispatched */
};

/* How fast queries are answered while others wait for it, which is as fast as it goes. Those that
 * were cut off at their deadline are no answers here: too many of them, and fewer are let in. */
struct co_flow {
    uint64_t mean_ns; /* from one answer to the next, of the last few */
    uint32_t samples; /* that it is the mean of */
    uint64_t last_ns; /* when the last answer went out */
    bool full;        /* some query has waited at each moment since */
};

struct co_core {
    struct co_config config;
    struct co_io io;
    const struct cm_log *log;
    uint64_t started_ns;
    uint64_t next_id;
    uint64_t
        epoch; /* goes up when the set of members or the placement changes; lasts if it places */
    bool closed;
    bool settled; /* every shard was served once, or the time to wait for that is over */
    bool has_gallery;
    struct pr_gallery_info gallery;     /* of the first worker that ever joined; before the first of
                                           this life no more than the map says: not its geometry */
    struct co_placement placement;      /* empty unless config.places */
    uint32_t member_of[CM_MEMBERS_MAX]; /* [node] the worker that is it now, or CO_NO_MEMBER */
    uint64_t away_ns[CM_MEMBERS_MAX];   /* [node] since when there is none */
    bool unsaved;                       /* the last map was not saved: no order may be given */
    uint64_t save_again_ns;
    struct co_shardmap map;
    struct co_list waiting;     /* queries admitted, not yet dispatched */
    struct co_list evaluations; /* the same; they are dispatched when no query waits */
    struct co_list open;        /* dispatched, of both kinds */
    struct pr_counters counters;
    uint64_t hedge_room;   /* what may be spent on hedges; one costs CO_HEDGE_COST */
    uint64_t judged_ns;    /* when members were last set against each other */
    double usual_share_ns; /* what came out: the median of their pace; 0 before the first time */
    double usual_image_ns;
    struct co_flow flow;
    struct cm_log_rate garbage_rate;
    struct cm_log_rate late_rate;
    struct cm_log_rate disconnect_rate;
    struct cm_log_rate partial_rate;
    struct cm_log_rate busy_rate;
    struct co_members members;
};

/* The io's clock. */
static inline uint64_t co_now(const struct co_core *c)
{
    return c->io.now_ns(c->io.ctx);
}

/* A list never holds a gather twice, and a gather is in one list at a time. */
void co_list_append(struct co_list *list, struct co_gather *g);
/* Behind `before`; NULL: at the head. */
void co_list_insert(struct co_list *list, struct co_gather *before, struct co_gather *g);
void co_list_remove(struct co_list *list, struct co_gather *g);

/* At most one line a second for what a peer can cause. */
#define CO_LOG_PERIOD_NS UINT64_C(1000000000)
/* And a minute for what every client does in the end. */
#define CO_LOG_SELDOM_NS UINT64_C(60000000000)

/* Sends a packed message and releases it. Errors: those of co_io.send. */
enum cm_err co_send(struct co_core *c, const struct cm_peer *to, struct pr_buffer *packed,
                    struct cm_blob *payload, struct cm_error *e);

/* The same for a message whose loss the protocol makes good by itself (heartbeats, deadlines): a
 * failure, also to pack it (`packing`), is only logged. */
void co_tell(struct co_core *c, const struct cm_peer *to, enum cm_err packing,
             struct pr_buffer *packed, struct cm_error *e);

/* Tells a client why there is no answer. */
void co_send_error(struct co_core *c, const struct cm_peer *to, struct cm_query_id id,
                   enum pr_error_code code, uint32_t retry_after_ms, const char *text);

/* scatter.c: finds members for homeless slots of open gathers, then second ones for late slots, and
 * then dispatches waiting ones in their order, while workers have credit. Whoever loses a member,
 * or orphans a slot, calls it. */
void co_scatter_waiting(struct co_core *c);
/* A member declines a slot. It is asked of another one, if there is one: true then. */
bool co_retry_elsewhere(struct co_core *c, struct co_gather *g, uint32_t shard, uint32_t member,
                        enum pr_reason reason);

/* What one hedge costs in hedge_room; a shard request earns config.hedge_percent. */
enum { CO_HEDGE_COST = 100 };

/* hedge.c: a query was dispatched: each of its shards is a request. */
void co_pay_for_hedges(struct co_core *c, const struct co_gather *g);
/* When a shard's answer is, or was, late enough to ask another member too; UINT64_MAX for never. */
uint64_t co_slot_due_ns(const struct co_core *c, const struct co_gather *g, uint32_t shard);
/* Would asking another one be a hedge? If not, it moves the shard off a demoted member. Of a shard
 * that somebody is asked for. */
bool co_is_hedge(const struct co_core *c, const struct co_gather *g, uint32_t shard);
/* Sets g->look_ns anew; `looked`: what is late now has just been tried, and gets more time. */
void co_schedule_look(const struct co_core *c, struct co_gather *g, bool looked);

/* lateness.c: something came from a member. True if it had been silent. */
bool co_hear(struct co_core *c, uint32_t member);
/* Two of its heartbeats are missing. */
void co_fall_silent(struct co_core *c, uint32_t member);
/* What it owes queries is looked at soon: it is demoted. */
void co_look_at_member(struct co_core *c, uint32_t member);
/* A shard of a part has its answer, the part's own or (`answered` false) another's, or it is not
 * waited for any more. `over`: it owes nothing else. Nothing happens for an evaluation. */
void co_time_part(struct co_core *c, const struct co_gather *g, uint32_t part, bool answered,
                  bool over);
/* Takes a result that answers a member's probe: true then, and it is for nothing else. */
bool co_take_probe(struct co_core *c, uint32_t member, const struct pr_result *result);
/* How often a demoted member is probed. */
#define CO_PROBE_NS UINT64_C(1000000000)
/* When a probe that is sent now, with this query's map, is given up. */
uint64_t co_probe_end_ns(const struct co_core *c, const struct co_gather *g);
/* Gives up the probes whose time is over. */
void co_end_probes(struct co_core *c);
/* Demotes members by what their answers have taken so far. Call now and then, and when more come,
 * before they are counted. */
void co_judge(struct co_core *c);
/* The speeds that a member's is set against: of all but those that are late, who are no measure. */
struct co_speed co_all_speeds(const struct co_core *c, uint64_t now_ns);
/* Gives a waiting gather its id and its slots. Errors: CM_ENOMEM (it waits on). */
enum cm_err co_open(struct co_core *c, struct co_gather *g, struct cm_error *e);

/* What a client is told that comes too early, where nothing says when it should come again. */
enum { CO_RETRY_MS = 250 };

/* admission.c: refuses a request as BUSY because its client has as many waiting as it may; or, of a
 * query, because it would wait too long for its deadline. True if it did. */
bool co_refuse_greedy(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                      const struct cm_blob *map);
bool co_refuse_late(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                    uint32_t deadline_ms);
/* Lets it wait for its turn, and dispatches what can be. */
void co_admit(struct co_core *c, struct co_gather *g);
/* From one answer to the next, while others wait; 0: too few came to tell. */
uint64_t co_pace_ns(const struct co_core *c);
/* A query is being answered: takes note of the pace, if its workers finished it. */
void co_note_answer(struct co_core *c, const struct co_gather *g);
/* When workers are told to stop, and until when a query may wait; UINT64_MAX of an evaluation. */
uint64_t co_stop_ns(const struct co_gather *g);
/* A query that waits has no time left: it is answered with nothing. Then the same for all such. */
void co_expire(struct co_core *c, struct co_gather *g);
void co_expire_waiting(struct co_core *c);

/* The list in which a gather of its kind waits. */
struct co_list *co_waiting_list(struct co_core *c, const struct co_gather *g);

/* finish.c: answers a gather if nothing of it is open any more; frees it then. */
void co_finish_if_complete(struct co_core *c, struct co_gather *g);
/* Answers it as it stands, cancels what is still running, frees it. */
void co_finish(struct co_core *c, struct co_gather *g);
/* The same without an answer: for a client that is gone, or was told. Open gathers only. */
void co_abandon(struct co_core *c, struct co_gather *g);
/* Tells a worker to stop a search; its part's worker. Errors: those of co_send, logged. */
enum cm_err co_cancel(struct co_core *c, const struct cm_peer *to, struct cm_query_id id);
void co_cancel_part(struct co_core *c, const struct co_gather *g, uint32_t part);

/* The open gather to which a search's id belongs, or NULL. */
struct co_gather *co_find_open(struct co_core *c, struct cm_query_id id);

/* on_worker.c: a worker is refused, and told why; its messages: HELLO of whoever is or is not a
 * member yet, and HEARTBEAT and LEAVING of one that is. */
void co_refuse(struct co_core *c, const struct cm_peer *to, const char *node,
               enum pr_refusal reason, const char *text);
void co_on_hello(struct co_core *c, const struct cm_peer *from, struct cm_bytes header);
void co_on_heartbeat(struct co_core *c, uint32_t member, struct cm_bytes header);
void co_on_leaving(struct co_core *c, uint32_t member);

/* on_result.c: what a worker has scored of a query. */
void co_on_result(struct co_core *c, uint32_t member, struct cm_bytes header);

/* reconcile.c: gives the orders that bring what workers hold closer to the placement; whoever
 * changes either calls it. */
void co_reconcile(struct co_core *c);
/* The same for one member alone: it spoke, so an order that was lost can be given again. */
void co_reconcile_member(struct co_core *c, uint32_t member);
/* A member could not read all of a shard. It lets go of it if another one has it: then it gets it
 * again from there, if it is to have it. */
void co_distrust(struct co_core *c, uint32_t member, uint32_t shard);
/* Shard replicas that are to be, and are not yet. */
uint32_t co_moves_left(const struct co_core *c);
/* Does another member than `node`'s, one that does not leave, hold all that `node` is to hold? */
bool co_is_spare(const struct co_core *c, uint32_t node);

/* placed.c: nodes come and go, and the map that lasts. */
enum cm_err co_restore(struct co_core *c, const struct pr_map *map, struct cm_error *e);
/* A worker that was taken in becomes a node of the placement, if it lets shards be placed on it. */
enum cm_err co_enter_node(struct co_core *c, uint32_t member, struct cm_error *e);
/* A member is gone. Its node keeps its shards, unless it was drained. */
void co_leave_node(struct co_core *c, uint32_t member);
/* The placement is settled anew after a change of it. */
void co_settle_placement(struct co_core *c);
/* Another epoch begins; it is saved before anybody can see it. */
void co_next_epoch(struct co_core *c);
/* Nodes that have been away too long lose their shards to others; saves that failed come again. */
void co_placement_tick(struct co_core *c);
uint64_t co_placement_wakeup_ns(const struct co_core *c);

/* on_place.c: who has which shard, and what operators ask. */
void co_on_join(struct co_core *c, const struct cm_peer *from, struct cm_bytes header);
void co_on_holds(struct co_core *c, uint32_t member, struct cm_bytes header);
void co_on_drain(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                 struct cm_bytes header);
void co_on_replicas(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                    struct cm_bytes header);
/* Picks who can give: members with an endpoint that hold `shard` (any, for CO_NO_SHARD), those who
 * give the least first; never `except`. Returns the first of them, or CO_NO_MEMBER. */
uint32_t co_pick_sources(const struct co_core *c, uint32_t shard, uint32_t except,
                         struct pr_sources *out);

/* on_evaluation.c: a worker's messages about an evaluation. */
void co_on_positives(struct co_core *c, uint32_t member, struct cm_bytes header);
void co_on_counts(struct co_core *c, uint32_t member, struct cm_bytes header);
void co_on_scores(struct co_core *c, uint32_t member, struct cm_bytes header,
                  struct cm_blob *payload);
/* Begins an evaluation's second round if the first is over. May fail it; frees nothing. */
void co_advance(struct co_core *c, struct co_gather *g);
/* Is there something that it has not answered, of a query or an evaluation that goes on? */
bool co_owes(const struct co_core *c, uint32_t member);
/* Forgets a member that is leaving once it owes nothing any more. */
void co_release_leaver(struct co_core *c, uint32_t member);
/* Forgets a member; what it was asked and did not answer is lost. `why` goes to the log. */
void co_lose_member(struct co_core *c, uint32_t member, const char *why);

/* on_client.c: a client's messages. */
void co_on_query(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                 struct cm_bytes header, struct cm_blob *payload);
void co_on_evaluate(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                    struct cm_bytes header, struct cm_blob *payload);
/* Tells a client that we are shutting down, and to come again. */
void co_turn_away(struct co_core *c, const struct cm_peer *to, struct cm_query_id id);
void co_on_status_request(struct co_core *c, const struct cm_peer *from, struct cm_query_id id);
/* Drops all that a client asked and waits for. Returns how many queries those were. */
uint32_t co_forget_client(struct co_core *c, const struct cm_peer *client);

#endif
