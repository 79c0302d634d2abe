/* test_books.c: what a gather says of its parts adds up to what its slots say, whatever comes. */
#include "coordinator/core.h"
#include "coordinator/evaluation.h"
#include "proto/wire/control.h"
#include "proto/wire/positives.h"
#include "tests/support/fake_co.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

enum { WORKERS = 5, CLIENTS = 2, STEPS = 3000, SEEDS = 20, PID = 4, CAMID = 2 };

/* A coordinator to which workers and clients that keep no rules talk. */
struct scene {
    struct fake_co f;
    struct test_random random;
    uint64_t query;
};

static uint64_t below(struct scene *s, uint64_t end)
{
    return test_random_below(&s->random, end);
}

static const char *any_of(struct scene *s, char *name, char kind, uint64_t count)
{
    snprintf(name, 3, "%c%c", kind, (char)('0' + below(s, count)));
    return name;
}

static void check_part(const struct co_gather *g, uint32_t part)
{
    uint64_t images = 0;
    uint32_t open = 0;
    for (uint32_t i = 0; i < g->slots_count; i++) {
        bool owed = !g->slots[i].closed && co_slot_is_of(&g->slots[i], part);
        open += owed;
        images += owed ? g->slots[i].images : 0;
    }
    const struct co_part *p = &g->parts[part];
    cr_assert_eq(p->images_left, images, "%lu images, and %lu", p->images_left, images);
    cr_assert(p->open == open || (g->evaluation && p->open <= open + 1 && p->open >= open));
    cr_assert(!p->gone || p->open == 0);
}

static void check(struct scene *s)
{
    const struct co_core *c = s->f.core;
    for (const struct co_gather *g = c->open.head; g; g = g->next) {
        uint32_t open = 0, homeless = 0;
        for (uint32_t i = 0; i < g->slots_count; i++) {
            open += !g->slots[i].closed;
            homeless += g->slots[i].homeless;
        }
        cr_assert_eq(g->slots_open, open);
        cr_assert_eq(g->homeless, homeless);
        for (uint32_t p = 0; p < g->parts_count; p++)
            check_part(g, p);
    }
    for (uint32_t m = 0; m < c->members.end; m++) {
        const struct co_speed *speed = &c->members.slots[m].speed;
        cr_assert(isfinite(speed->images) && speed->images >= 0);
        cr_assert(isfinite(speed->busy_ns) && speed->busy_ns >= 0);
    }
}

/* --- what comes ------------------------------------------------------------------------------- */

static void join(struct scene *s)
{
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    char node[3], from[3];
    uint32_t first = below(s, 4) ? 0 : (uint32_t)below(s, FAKE_SHARDS);
    uint32_t count = FAKE_SHARDS - first;
    count -= below(s, 3) ? 0 : (uint32_t)below(s, count);
    fake_hello(&hello, held, any_of(s, node, 'w', WORKERS), &s->f.gallery, first, count);
    hello.credits = 1 + (uint32_t)below(s, 6);
    hello.incarnation = 1 + below(s, 2);
    /* Sometimes from another's address. */
    fake_co_hello(&s->f, below(s, 8) ? node : any_of(s, from, 'w', WORKERS), &hello);
}

/* An id that some search has or may have had, now and then one that none has. */
static uint64_t any_id(struct scene *s, const struct co_gather **of)
{
    const struct co_gather *g = s->f.core->open.head;
    for (uint64_t skip = below(s, 4); g && g->next && skip > 0; skip--)
        g = g->next;
    *of = g;
    if (!g || below(s, 64) == 0)
        return s->f.core->next_id - below(s, 64);
    return g->id.v + (g->attempts ? below(s, g->attempts) : 0);
}

/* Who was asked for the shard, or anybody. */
static const char *asked(struct scene *s, const struct co_gather *g, uint32_t shard, char *name,
                         uint64_t *id)
{
    any_of(s, name, 'w', WORKERS);
    if (!g || below(s, 32) == 0)
        return name;
    const struct co_slot *slot = &g->slots[shard];
    uint32_t part = slot->second != CO_NO_PART && below(s, 2) ? slot->second : slot->part;
    if (part == CO_NO_PART)
        return name;
    const struct co_member *m = &s->f.core->members.slots[g->parts[part].member];
    *id = co_part_id(g, part).v;
    if (m->used)
        snprintf(name, 3, "%.*s", (int)m->peer.size, (const char *)m->peer.bytes);
    return name;
}

static void score(struct scene *s)
{
    struct pr_scored scored[FAKE_SHARDS];
    const struct co_gather *g;
    char node[3];
    uint64_t id = any_id(s, &g);
    static const enum pr_reason reasons[] = {PR_REASON_NONE,     PR_REASON_NONE,
                                             PR_REASON_DEADLINE, PR_REASON_OVERLOAD,
                                             PR_REASON_CORRUPT,  PR_REASON_INTERNAL};
    struct pr_result r = {.shards = scored, .reason = reasons[below(s, 3) ? 0 : below(s, 6)]};
    uint64_t chosen = 1 + below(s, (1 << FAKE_SHARDS) - 1);
    uint32_t shard = 0;
    while (!(chosen >> shard & 1))
        shard++;
    const char *from = asked(s, g, shard, node, &id);
    if (below(s, 2))
        chosen = UINT64_C(1) << shard;
    for (shard = 0; shard < FAKE_SHARDS; shard++)
        if (chosen >> shard & 1)
            scored[r.shards_count++] = (struct pr_scored){
                .shard = {shard},
                .images = r.reason && below(s, 4) == 0 ? 0 : FAKE_SHARD_IMAGES,
                .images_scored = r.reason ? 0 : FAKE_SHARD_IMAGES,
            };
    if (r.shards_count == 1 && r.reason && scored[0].images)
        scored[0].images_scored = below(s, FAKE_SHARD_IMAGES);
    r.id.v = id;
    fake_co_result(&s->f, from, &r);
}

static void tell(struct scene *s)
{
    struct cm_hit room[FAKE_SHARD_IMAGES];
    struct pr_buffer packed;
    const struct co_gather *g;
    char node[3];
    uint64_t id = any_id(s, &g);
    uint32_t shard = (uint32_t)below(s, FAKE_SHARDS);
    const char *from = asked(s, g, shard, node, &id);
    struct pr_positives_message m = {.id = {id}, .shard = {shard}, .images = FAKE_SHARD_IMAGES};
    if (below(s, 16) == 0)
        m.reason = below(s, 2) ? PR_REASON_OVERLOAD : PR_REASON_CORRUPT;
    else
        m.positives.count = fake_positives(7, PID, CAMID, shard * FAKE_SHARD_IMAGES,
                                           FAKE_SHARD_IMAGES, &m.census, room);
    m.positives.items = room;
    fake_co_get_packed(&s->f, from, pr_positives_pack(&m, &packed, NULL), &packed, NULL);
}

static void count(struct scene *s)
{
    struct pr_counts counts[FAKE_SHARDS * FAKE_SHARD_IMAGES] = {{.higher = below(s, 20)}};
    struct pr_buffer packed;
    const struct co_gather *g;
    char node[3];
    uint64_t id = any_id(s, &g);
    const char *from = asked(s, g, (uint32_t)below(s, FAKE_SHARDS), node, &id);
    size_t positives = g && g->evaluation ? g->evaluation->positives.count : 0;
    struct pr_counts_message m = {.id = {id}, .counts = {counts, positives ? positives : 1}};
    fake_co_get_packed(&s->f, from, pr_counts_pack(&m, &packed, NULL), &packed, NULL);
}

static void step(struct scene *s)
{
    char name[3];
    struct fake_co *f = &s->f;
    uint64_t what = below(s, 100);
    if (what < 4)
        join(s);
    else if (what < 5)
        fake_co_disconnect(f, any_of(s, name, 'w', WORKERS));
    else if (what < 6)
        fake_co_disconnect(f, any_of(s, name, 'c', CLIENTS));
    else if (below(s, 4) == 0 && what < 7)
        fake_co_control(f, any_of(s, name, 'w', WORKERS), PR_LEAVING, 0);
    else if (what < 8)
        f->deaf = below(s, 4) == 0 ? test_peer(any_of(s, name, 'w', WORKERS)) : (struct cm_peer){0};
    else if (what < 16)
        fake_co_query(f, any_of(s, name, 'c', CLIENTS), s->query++, 5,
                      20 + (unsigned)below(s, 2000));
    else if (what < 20)
        fake_co_evaluate(f, any_of(s, name, 'c', CLIENTS), s->query++, PID, CAMID,
                         below(s, 4) == 0);
    else if (what < 32)
        fake_co_sleep(f, below(s, 30) * FAKE_MS);
    else if (what < 37)
        fake_co_heartbeat(f, any_of(s, name, 'w', WORKERS));
    else if (what < 80)
        score(s);
    else if (what < 95)
        tell(s);
    else
        count(s);
    f->deaf_why = below(s, 2) ? CM_EUNAVAIL : CM_EBUSY;
    test_mailbox_clear(&f->sent);
}

Test(co_books, they_add_up_whatever_comes)
{
    struct pr_counters all = {0};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct scene s = {.random = {seed}};
        fake_co_init(&s.f);
        for (int i = 0; i < STEPS; i++) {
            step(&s);
            check(&s);
        }
        all.answers += s.f.core->counters.answers;
        all.partial += s.f.core->counters.partial;
        all.hedges += s.f.core->counters.hedges;
        all.hedges_won += s.f.core->counters.hedges_won;
        fake_co_fini(&s.f);
    }
    cr_assert(all.answers > all.partial && all.partial > 0 && all.hedges_won > 0,
              "%lu answers, %lu of them partial; %lu hedges, %lu won", all.answers, all.partial,
              all.hedges, all.hedges_won);
}
