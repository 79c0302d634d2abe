/* admission.c: who may wait, in which order, and until when.
 *
 * Clients take turns: a waiting query's turn is the one after its client's last, or after the turn
 * that is being dispatched, and the list is in the order of turns. So a client's next query comes
 * before another's hundredth, and its place in the list is how many go before it.
 *
 * A client may have no more waiting than there is room left: one alone fills half of the queue, and
 * whoever comes next finds room. What would wait longer than half of its deadline
 * at the recent pace is refused at once: the other half is for the work, and for those whose turn
 * comes before its own and who are not here yet. */
#include "coordinator/core.h"

#include <inttypes.h>
#include <stdio.h>

/* A worker is told to stop a little before the client's deadline, so that what it finished by then
 * still arrives in time: a tenth of the deadline, at most 50 ms. */
#define MARGIN_MAX_NS UINT64_C(50000000)

enum {
    PACE_SAMPLES = 32,    /* answers that the pace is the mean of: four passes' worth */
    PACE_LEAST = 4,       /* answers without which it is not known */
    RETRY_MIN_MS = 10,    /* a refused client comes again after this, */
    RETRY_MAX_MS = 60000, /* or this: no pace is trusted for longer */
};

uint64_t co_pace_ns(const struct co_core *c)
{
    return c->flow.samples < PACE_LEAST ? 0 : c->flow.mean_ns;
}

/* What waits, and what of it is one client's. */
struct share {
    uint32_t all, own;
    uint64_t all_bytes, own_bytes;
};

static void add_share(const struct co_list *list, const struct cm_peer *client, struct share *s)
{
    for (const struct co_gather *g = list->head; g; g = g->next) {
        uint64_t bytes = cm_blob_size(g->payload);
        bool own = cm_peer_equal(&g->client, client);
        s->all++;
        s->own += own;
        s->all_bytes += bytes;
        s->own_bytes += own ? bytes : 0;
    }
}

static struct share share_of(const struct co_core *c, const struct cm_peer *client)
{
    struct share s = {0};
    add_share(&c->waiting, client, &s);
    add_share(&c->evaluations, client, &s);
    return s;
}

static uint32_t retry_ms(const struct co_core *c, uint64_t after_ns)
{
    uint64_t after_ms = after_ns / 1000000;
    if (co_pace_ns(c) == 0)
        return CO_RETRY_MS;
    return after_ms < RETRY_MIN_MS   ? RETRY_MIN_MS
           : after_ms > RETRY_MAX_MS ? RETRY_MAX_MS
                                     : (uint32_t)after_ms;
}

static void refuse(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                   uint64_t after_ns, const char *text)
{
    uint64_t missed;
    uint32_t after_ms = retry_ms(c, after_ns);
    co_send_error(c, from, id, PR_ERROR_BUSY, after_ms, text);
    if (cm_log_rate_pass(&c->busy_rate, co_now(c), CO_LOG_PERIOD_NS, &missed))
        cm_log(c->log, CM_LOG_WARN, "busy",
               "msg=\"%s\" pace_ms=%.1f retry_after_ms=%u unreported=%" PRIu64, text,
               (double)co_pace_ns(c) / 1e6, after_ms, missed);
}

bool co_refuse_greedy(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                      const struct cm_blob *map)
{
    char text[CM_TEXT_BYTES_MAX];
    struct share s = share_of(c, from);
    uint64_t bytes = map ? cm_blob_size(map) : 0;
    if (s.own < CM_QUERIES_QUEUED - s.all &&
        s.own_bytes + bytes <= CM_QUEUED_BYTES_MAX - s.all_bytes)
        return false;
    snprintf(text, sizeof text, "%u queries wait, %u of them this client's: as many as it may have",
             s.all, s.own);
    refuse(c, from, id, co_pace_ns(c) * s.all / 2, text); /* then half of them are dispatched */
    return true;
}

/* The turn of a client's next request in a list. */
static uint64_t next_turn(const struct co_list *list, const struct cm_peer *client)
{
    const struct co_gather *g = list->tail;
    while (g && !cm_peer_equal(&g->client, client))
        g = g->prev;
    return (g ? g->turn : list->turn) + 1;
}

bool co_refuse_late(struct co_core *c, const struct cm_peer *from, struct cm_query_id id,
                    uint32_t deadline_ms)
{
    char text[CM_TEXT_BYTES_MAX];
    uint64_t turn = next_turn(&c->waiting, from), half_ns = deadline_ms * UINT64_C(500000);
    uint32_t ahead = 0;
    for (const struct co_gather *g = c->waiting.head; g && g->turn <= turn; g = g->next)
        ahead++;
    uint64_t wait_ns = co_pace_ns(c) * ahead;
    if (ahead < 2 || wait_ns <= half_ns) /* one waits at any time, so that the pace stays true */
        return false;
    snprintf(text, sizeof text,
             "%u queries go before this one: it would wait %.1f s, over half of its deadline",
             ahead, (double)wait_ns / 1e9);
    /* What is too much, and some more: others come meanwhile. */
    refuse(c, from, id, wait_ns - half_ns + wait_ns / 8, text);
    return true;
}

void co_admit(struct co_core *c, struct co_gather *g)
{
    struct co_list *list = co_waiting_list(c, g);
    struct co_gather *before = list->tail;
    g->turn = next_turn(list, &g->client);
    if (!g->evaluation && !list->head)
        c->flow.full = false; /* until now nobody waited: what passed says nothing of the pace */
    while (before && before->turn > g->turn)
        before = before->prev;
    co_list_insert(list, before, g);
    c->counters.queries++;
    co_scatter_waiting(c);
}

/* Did something else than its workers end it: its deadline, or that there are none? */
static bool was_cut(const struct co_gather *g)
{
    for (uint32_t s = 0; s < g->slots_count; s++)
        if (!g->slots[s].closed ||
            (g->slots[s].reason != PR_REASON_NONE && g->slots[s].reason != PR_REASON_CORRUPT))
            return true;
    return false;
}

void co_note_answer(struct co_core *c, const struct co_gather *g)
{
    struct co_flow *p = &c->flow;
    uint64_t now = co_now(c), took_ns = now - p->last_ns;
    if (g->evaluation || was_cut(g))
        return;
    if (p->full) {
        p->samples += p->samples < PACE_SAMPLES;
        if (took_ns > p->mean_ns)
            p->mean_ns += (took_ns - p->mean_ns) / p->samples;
        else
            p->mean_ns -= (p->mean_ns - took_ns) / p->samples;
    }
    p->full = c->waiting.head != NULL;
    p->last_ns = now;
}

uint64_t co_stop_ns(const struct co_gather *g)
{
    uint64_t margin_ns = g->deadline_after_ns / 10;
    return g->deadline_ns - (margin_ns < MARGIN_MAX_NS ? margin_ns : MARGIN_MAX_NS);
}

/* The next one of the same client. */
static struct co_gather *next_own(const struct co_gather *g)
{
    struct co_gather *h = g->next;
    while (h && !cm_peer_equal(&h->client, &g->client))
        h = h->next;
    return h;
}

/* Takes one out whose turn has not come: its client's others move up, each into the place of the
 * one before. */
static void leave_queue(struct co_list *list, struct co_gather *g)
{
    for (struct co_gather *h; (h = next_own(g)) != NULL;) {
        struct co_gather *before = h->prev == g ? h : h->prev;
        uint64_t turn = h->turn;
        co_list_remove(list, h);
        co_list_insert(list, g->prev, h);
        co_list_remove(list, g);
        co_list_insert(list, before, g);
        h->turn = g->turn;
        g->turn = turn;
    }
    co_list_remove(list, g);
}

void co_expire(struct co_core *c, struct co_gather *g)
{
    struct cm_error e;
    c->counters.expired++;
    leave_queue(&c->waiting, g);
    if (co_open(c, g, &e)) {
        co_send_error(c, &g->client, g->client_id, PR_ERROR_INTERNAL, 0, e.text);
        co_gather_free(g);
        return;
    }
    for (uint32_t s = 0; s < g->slots_count; s++)
        co_gather_close_slot(g, s, PR_REASON_DEADLINE);
    co_list_append(&c->open, g);
    co_finish(c, g);
}

void co_expire_waiting(struct co_core *c)
{
    uint64_t now = co_now(c);
    struct co_gather *g = c->waiting.head;
    while (g) {
        bool over = now >= co_stop_ns(g);
        if (over)
            co_expire(c, g);
        g = over ? c->waiting.head : g->next; /* others have moved */
    }
}
