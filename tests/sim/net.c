/* net.c: see net.h. */
#include "tests/sim/net.h"

#include "common/assert.h"
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdio.h>

/* As ZeroMQ is set up (common/io/socket.c). */
#define RECONNECT_NS     (100 * SIM_MS)
#define RECONNECT_MAX_NS (500 * SIM_MS)
#define CONNECT_NS       (5000 * SIM_MS) /* an attempt that nobody refuses, at most */
#define TIMEOUT_MIN_NS   (10000 * SIM_MS)
#define TIMEOUT_MAX_NS   (12000 * SIM_MS)

#define NOTICE_MAX_NS      (20 * SIM_MS) /* how soon a reset is seen */
#define NOTICE_LATE_MAX_NS (12000 * SIM_MS)
#define RETRANSMIT_MAX_NS  (1000 * SIM_MS) /* until what was held up flows again */

/* --- queues ----------------------------------------------------------------------------------- */

static struct sim_message *pop(struct sim_queue *q)
{
    struct sim_message *m = q->head;
    q->head = m->next;
    if (!q->head)
        q->tail = NULL;
    q->count--;
    m->next = NULL;
    return m;
}

static void clear(struct sim_queue *q)
{
    while (q->head)
        sim_message_free(pop(q));
}

/* Keeps the first `keep` of them. */
static void cut_short(struct sim_queue *q, uint64_t keep)
{
    struct sim_queue kept = {0};
    while (q->head && kept.count < keep) {
        struct sim_message *m = pop(q);
        *(kept.tail ? &kept.tail->next : &kept.head) = m;
        kept.tail = m;
        kept.count++;
    }
    clear(q);
    *q = kept;
}

/* In order of arrival, behind those that arrive at the same time. */
static void insert(struct sim_queue *q, struct sim_message *m)
{
    struct sim_message **at = &q->head;
    if (q->tail && q->tail->due_ns <= m->due_ns)
        at = &q->tail->next;
    while (*at && (*at)->due_ns <= m->due_ns)
        at = &(*at)->next;
    m->next = *at;
    *at = m;
    if (!m->next)
        q->tail = m;
    q->count++;
}

static uint64_t delay(struct sim *sim, const struct sim_host *h)
{
    uint64_t ns = 1 + sim_below(sim, sim->plan.delay_ns);
    return sim->now_ns < h->slow_until_ns ? 10 * ns : ns;
}

static void put(struct sim *sim, struct sim_conn *c, enum sim_way way, struct sim_message *m)
{
    struct sim_queue *q = &c->queue[way];
    m->due_ns = sim->now_ns + delay(sim, c->host);
    bool overtakes = sim_below(sim, 1000) < sim->plan.hostility.overtaken;
    if (!overtakes && q->tail && q->tail->due_ns > m->due_ns)
        m->due_ns = q->tail->due_ns;
    insert(q, m);
}

/* Hands a message to the network; it may be lost there. */
static void ship(struct sim *sim, struct sim_conn *c, enum sim_way way, struct sim_message *m)
{
    const struct sim_hostility *hostility = &sim->plan.hostility;
    bool hostile = !sim_plan_is_fair(&sim->plan) && sim->now_ns < sim->heal_ns;
    if (hostile && sim_below(sim, 1000) < hostility->twice)
        put(sim, c, way, sim_message_copy(m));
    if (c->ended || (hostile && sim_below(sim, 1000) < hostility->lost)) {
        sim_note(sim, "%s: %s %s is lost", c->host->name, way == SIM_UP ? "its" : "the",
                 pr_type_name(m->envelope.type));
        sim_message_free(m);
        return;
    }
    put(sim, c, way, m);
}

/* --- connections ------------------------------------------------------------------------------ */

static bool is_held_up(const struct sim_conn *c, enum sim_way way)
{
    return !c->ended && c->host->cut[way];
}

/* A connection is forgotten once nobody believes in it and nothing is on it. */
static void release(struct sim_conn *c)
{
    for (int way = SIM_UP; way <= SIM_DOWN; way++)
        if (c->ended && !c->open[way])
            clear(&c->queue[way]);
    if (c->ended && !c->open[SIM_UP] && !c->open[SIM_DOWN])
        c->used = false;
}

/* What still arrives of the messages on their way when a connection ends: none, the first few, all.
 */
enum keep { NONE, SOME, ALL };

static void end(struct sim *sim, struct sim_conn *c, enum keep keep)
{
    for (int way = SIM_UP; way <= SIM_DOWN && !c->ended; way++) {
        bool held_up = c->host->cut[way];
        uint32_t count = c->queue[way].count;
        if (keep == NONE || held_up)
            clear(&c->queue[way]);
        else if (keep == SOME)
            cut_short(&c->queue[way], sim_below(sim, count + 1));
        c->notice_ns[way] = sim->now_ns + sim_below(sim, NOTICE_MAX_NS);
        if (held_up)
            c->notice_ns[way] = sim->now_ns + sim_between(sim, TIMEOUT_MIN_NS, TIMEOUT_MAX_NS);
        if (held_up && c->timeout_ns[way] < c->notice_ns[way])
            c->notice_ns[way] = c->timeout_ns[way];
    }
    c->ended = true;
}

static void dial_in(struct sim *sim, struct sim_host *h, uint64_t ns)
{
    h->dialling = h->process != 0;
    h->dial_ns = sim->now_ns + ns;
}

/* The DEALER's side of a connection is over. It dials again by itself. */
static void close_dealer(struct sim *sim, struct sim_conn *c)
{
    c->open[SIM_DOWN] = false;
    if (c->host->conn == c) {
        c->host->conn = NULL;
        c->host->tries = 0;
        dial_in(sim, c->host, RECONNECT_NS / 2 + sim_below(sim, RECONNECT_NS));
    }
    release(c);
}

/* The ROUTER's side is over, and its owner is told. */
static void close_router(struct sim *sim, struct sim_conn *c)
{
    struct cm_peer who = c->peer;
    c->open[SIM_UP] = false;
    release(c);
    sim_coordinator_on_end(sim, &who);
}

struct sim_conn *sim_net_find(struct sim *sim, const struct cm_peer *address)
{
    struct sim_conn *found = NULL;
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *c = &sim->net.conns[i];
        if (c->used && c->open[SIM_UP] && cm_peer_equal(&c->peer, address) &&
            (!found || c->serial > found->serial))
            found = c;
    }
    return found;
}

/* A newcomer with the address of a connection that the ROUTER still has takes its place: what came
 * on that one and was not read is lost. */
static void hand_over(struct sim *sim, const struct cm_peer *address)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *c = &sim->net.conns[i];
        if (!c->used || !c->open[SIM_UP] || !cm_peer_equal(&c->peer, address))
            continue;
        end(sim, c, NONE);
        clear(&c->queue[SIM_UP]); /* it may have ended before */
    }
}

static void connect(struct sim *sim, void *arg)
{
    struct sim_host *h = arg;
    unsigned i = 0;
    bool reached = sim->co.core && sim->now_ns >= sim->co.frozen_until_ns && !h->cut[SIM_UP] &&
                   !h->cut[SIM_DOWN];
    if (!reached) {
        uint64_t backoff_ns = RECONNECT_NS << (h->tries < 4 ? h->tries : 4);
        uint64_t hangs_ns = h->cut[SIM_UP] || h->cut[SIM_DOWN] ? sim_below(sim, CONNECT_NS) : 0;
        h->tries++;
        dial_in(sim, h, hangs_ns + (backoff_ns < RECONNECT_MAX_NS ? backoff_ns : RECONNECT_MAX_NS));
        return;
    }
    if (h->is_client)
        snprintf(h->address, sizeof h->address, "%s-%" PRIu64 "-%u", h->name, h->process,
                 ++h->dials);
    struct cm_peer peer = sim_peer(h->address);
    hand_over(sim, &peer);
    while (i < SIM_CONNS_MAX && sim->net.conns[i].used)
        i++;
    CM_ASSERT(i < SIM_CONNS_MAX);
    struct sim_conn *c = h->conn = &sim->net.conns[i];
    *c = (struct sim_conn){.used = true,
                           .host = h,
                           .process = h->process,
                           .serial = ++sim->net.serial,
                           .peer = peer,
                           .open = {true, true},
                           .timeout_ns = {UINT64_MAX, UINT64_MAX}};
    h->dialling = false;
    h->tries = 0;
    sim_note(sim, "%s is connected as %s", h->name, h->address);
}

void sim_net_dial(struct sim *sim, struct sim_host *h)
{
    if (!h->is_client)
        snprintf(h->address, sizeof h->address, "%s-%" PRIu64 "-%u", h->name, h->process,
                 ++h->dials);
    h->tries = 0;
    dial_in(sim, h, SIM_MS + sim_below(sim, 3 * SIM_MS));
}

void sim_net_hang_up(struct sim *sim, struct sim_host *h, bool dies)
{
    struct sim_conn *c = h->conn;
    h->dialling = false;
    h->conn = NULL;
    if (!c)
        return;
    c->open[SIM_DOWN] = false;
    end(sim, c, dies ? SOME : ALL);
    release(c);
}

void sim_net_lose_router(struct sim *sim, bool dies)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *c = &sim->net.conns[i];
        if (!c->used)
            continue;
        c->open[SIM_UP] = false;
        end(sim, c, dies ? SOME : ALL);
        release(c);
    }
}

/* --- sending ---------------------------------------------------------------------------------- */

enum cm_err sim_net_send_up(struct sim *sim, struct sim_host *h, struct sim_message *m,
                            struct cm_error *e)
{
    if (!h->conn) {
        sim_message_free(m);
        return cm_fail(e, CM_EBUSY, "not connected");
    }
    ship(sim, h->conn, SIM_UP, m);
    return CM_OK;
}

enum cm_err sim_net_send_down(struct sim *sim, const struct cm_peer *to, struct sim_message *m,
                              struct cm_error *e)
{
    struct sim_conn *c = sim_net_find(sim, to);
    enum cm_err rc = CM_OK;
    if (!c)
        rc = cm_fail(e, CM_EUNAVAIL, "no such peer");
    else if (c->queue[SIM_DOWN].count >= c->host->room)
        rc = cm_fail(e, CM_EBUSY, "its queue is full");
    if (rc)
        sim_message_free(m);
    else
        ship(sim, c, SIM_DOWN, m);
    return rc;
}

/* --- faults ----------------------------------------------------------------------------------- */

void sim_net_reset(struct sim *sim, struct sim_conn *c, bool late)
{
    end(sim, c, SOME);
    if (late)
        c->notice_ns[SIM_UP] = sim->now_ns + sim_below(sim, NOTICE_LATE_MAX_NS);
}

static void begin_timeout(struct sim *sim, struct sim_conn *c, enum sim_way way)
{
    if (c->timeout_ns[way] == UINT64_MAX)
        c->timeout_ns[way] = sim->now_ns + sim_between(sim, TIMEOUT_MIN_NS, TIMEOUT_MAX_NS);
}

void sim_net_cut(struct sim *sim, struct sim_host *h, bool up, bool down, uint64_t until_ns)
{
    h->cut[SIM_UP] |= up;
    h->cut[SIM_DOWN] |= down;
    h->cut_until_ns = until_ns;
    for (int way = SIM_UP; way <= SIM_DOWN; way++)
        if (h->cut[way] && h->conn)
            begin_timeout(sim, h->conn, (enum sim_way)way);
}

/* What was held up comes, after a while, in order; and nobody has a reason to give up. */
static void flow_again(struct sim *sim, struct sim_conn *c, bool held_up)
{
    for (int way = SIM_UP; way <= SIM_DOWN; way++) {
        uint64_t from_ns = sim->now_ns + (held_up ? sim_below(sim, RETRANSMIT_MAX_NS) : 0);
        for (struct sim_message *m = c->queue[way].head; m; m = m->next)
            if (m->due_ns < from_ns)
                m->due_ns = from_ns;
        c->timeout_ns[way] = UINT64_MAX;
    }
}

void sim_net_mend(struct sim *sim, struct sim_host *h)
{
    bool was_cut = h->cut[SIM_UP] || h->cut[SIM_DOWN];
    h->cut[SIM_UP] = h->cut[SIM_DOWN] = false;
    if (h->conn && !h->conn->ended)
        flow_again(sim, h->conn, was_cut);
}

void sim_net_on_freeze(struct sim *sim, struct sim_host *h, uint64_t until_ns)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *c = &sim->net.conns[i];
        enum sim_way gives_up = h ? SIM_UP : SIM_DOWN;
        if (!c->used || c->ended || (h && c->host != h))
            continue;
        uint64_t at_ns = sim->now_ns + sim_between(sim, TIMEOUT_MIN_NS, TIMEOUT_MAX_NS);
        if (at_ns < until_ns && at_ns < c->timeout_ns[gives_up])
            c->timeout_ns[gives_up] = at_ns;
    }
}

/* --- events ----------------------------------------------------------------------------------- */

static void deliver_up(struct sim *sim, void *arg)
{
    struct sim_conn *c = arg;
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        struct sim_conn *former = &sim->net.conns[i];
        if (former->used && former->open[SIM_UP] && former->serial < c->serial &&
            cm_peer_equal(&former->peer, &c->peer))
            close_router(sim, former);
    }
    if (!sim->co.core)
        return; /* that was the last thing that it waited for */
    struct sim_message *m = pop(&c->queue[SIM_UP]);
    sim_coordinator_get(sim, c, m);
    sim_message_free(m);
}

static void deliver_down(struct sim *sim, void *arg)
{
    struct sim_conn *c = arg;
    struct sim_message *m = pop(&c->queue[SIM_DOWN]);
    sim_host_get(sim, c->host, m);
    sim_message_free(m);
}

static void notice_up(struct sim *sim, void *arg)
{
    close_router(sim, arg);
}

static void notice_down(struct sim *sim, void *arg)
{
    close_dealer(sim, arg);
}

/* One side has heard nothing for too long. */
static void give_up(struct sim *sim, struct sim_conn *c, enum sim_way way)
{
    sim_note(sim, "%s: %s gives the connection up", c->host->name,
             way == SIM_UP ? "the coordinator" : "it");
    c->timeout_ns[way] = UINT64_MAX;
    end(sim, c, SOME);
    c->notice_ns[way] = sim->now_ns;
}

static void give_up_up(struct sim *sim, void *arg)
{
    give_up(sim, arg, SIM_UP);
}

static void give_up_down(struct sim *sim, void *arg)
{
    give_up(sim, arg, SIM_DOWN);
}

static void offer_conn(struct sim *sim, struct sim_conn *c)
{
    static void (*const deliver[])(struct sim *, void *) = {deliver_up, deliver_down};
    static void (*const notice[])(struct sim *, void *) = {notice_up, notice_down};
    static void (*const expire[])(struct sim *, void *) = {give_up_up, give_up_down};
    const uint64_t awake_ns[] = {sim->co.frozen_until_ns, c->host->frozen_until_ns};
    for (int way = SIM_UP; way <= SIM_DOWN; way++) {
        const struct sim_message *head = c->queue[way].head;
        if (!c->open[way])
            continue;
        if (head && !is_held_up(c, (enum sim_way)way))
            sim_offer(sim, sim_later(head->due_ns, awake_ns[way]), deliver[way], c);
        if (c->ended && !head)
            sim_offer(sim, sim_later(c->notice_ns[way], awake_ns[way]), notice[way], c);
        if (!c->ended)
            sim_offer(sim, sim_later(c->timeout_ns[way], awake_ns[way]), expire[way], c);
    }
}

static void offer_host(struct sim *sim, struct sim_host *h)
{
    if (h->dialling)
        sim_offer(sim, sim_later(h->dial_ns, h->frozen_until_ns), connect, h);
}

void sim_net_offer(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++)
        if (sim->net.conns[i].used)
            offer_conn(sim, &sim->net.conns[i]);
    for (unsigned i = 0; i < SIM_HOSTS_MAX; i++)
        offer_host(sim, sim_host(sim, i));
}

bool sim_net_is_empty(const struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++) {
        const struct sim_conn *c = &sim->net.conns[i];
        if (c->used && (c->queue[SIM_UP].head || c->queue[SIM_DOWN].head))
            return false;
    }
    return true;
}

void sim_net_clear(struct sim *sim)
{
    for (unsigned i = 0; i < SIM_CONNS_MAX; i++)
        for (int way = SIM_UP; way <= SIM_DOWN; way++)
            clear(&sim->net.conns[i].queue[way]);
}
