/* plan.c: see plan.h. */
#include "tests/sim/plan.h"

#include "tests/support/fake_gallery.h"

/* A whole number in [least, most]. */
static uint64_t between(struct test_random *r, uint64_t least, uint64_t most)
{
    return least + test_random_below(r, most - least + 1);
}

static uint64_t one_of(struct test_random *r, const uint64_t *choices, unsigned count)
{
    return choices[test_random_below(r, count)];
}

#define ONE_OF(r, ...)                           \
    one_of((r), (const uint64_t[]){__VA_ARGS__}, \
           sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void draw_gallery(struct sim_plan *p, struct test_random *r)
{
    uint32_t count = (uint32_t)between(r, 1, SIM_SHARDS_MAX);
    uint64_t most = ONE_OF(r, 4, 15, SIM_SHARD_IMAGES_MAX), images = 0;
    for (uint32_t s = 0; s < count; s++) {
        struct wk_held *shard = &p->shards[s];
        *shard = (struct wk_held){.shard = s, .first_image = images};
        shard->images = between(r, 1, most);
        shard->images_per_block = (uint32_t)between(r, 1, 12);
        shard->blocks = (shard->images + shard->images_per_block - 1) / shard->images_per_block;
        images += shard->images;
    }
    p->gallery = fake_gallery(count, 1);
    p->gallery.images = images;
}

/* Every shard has a holder, most have two or three. */
static void draw_places(struct sim_plan *p, struct test_random *r)
{
    p->places_count = (uint32_t)between(r, 1, SIM_PLACES_MAX);
    for (uint32_t i = 0; i < p->places_count; i++) {
        struct sim_place *place = &p->places[i];
        *place = (struct sim_place){
            .shards = 1u << test_random_below(r, p->gallery.shards),
            .credits = (uint32_t)ONE_OF(r, 1, 2, 3, 5, CM_WORKER_CREDITS),
            .jobs = (uint32_t)between(r, 1, 4),
            .job_ns = ONE_OF(r, 1, 4, 15) * SIM_MS,
            .result_every_ns = ONE_OF(r, 0, 5, 50) * SIM_MS,
            .start_ns = test_random_below(r, 4) ? 0 : between(r, 0, 10000) * SIM_MS,
        };
    }
    uint64_t copies = between(r, 1, 3);
    for (uint32_t s = 0; s < p->gallery.shards; s++)
        for (uint64_t c = 0; c < copies; c++)
            p->places[test_random_below(r, p->places_count)].shards |= 1u << s;
}

static void draw_network(struct sim_plan *p, struct test_random *r)
{
    p->delay_ns = ONE_OF(r, 1, 5, 30, 120) * SIM_MS;
    p->tight_queues = test_random_below(r, 4) == 0;
    p->heartbeat_ns = ONE_OF(r, 300, 1000) * SIM_MS;
    p->dead_after_ns = p->heartbeat_ns * ONE_OF(r, 2, 4);
    p->settle_ns = p->dead_after_ns * ONE_OF(r, 0, 1, 1, 2);
    if (test_random_below(r, 5) == 0)
        p->hostility = (struct sim_hostility){
            .lost = (uint32_t)ONE_OF(r, 0, 10, 50),
            .twice = (uint32_t)ONE_OF(r, 0, 30, 150),
            .overtaken = (uint32_t)ONE_OF(r, 1, 30, 200),
        };
}

/* No fault at all, one kind, the gentle ones, a few, or all. */
static void draw_faults(struct sim_plan *p, struct test_random *r, unsigned faults_count,
                        uint64_t gentle)
{
    uint64_t all = (UINT64_C(1) << faults_count) - 1;
    switch (test_random_below(r, 8)) {
    case 0:
        p->faults = 0;
        break;
    case 1:
        p->faults = UINT64_C(1) << test_random_below(r, faults_count);
        break;
    case 2:
        p->faults = all;
        break;
    case 3:
        p->faults = gentle;
        break;
    default:
        p->faults = test_random_bits(r) & all;
    }
    p->gap_ns = ONE_OF(r, 300, 1000, 4000) * SIM_MS;
    p->chaos_ns = between(r, 8000, 30000) * SIM_MS;
}

/* In two worlds of five the coordinator places shards. One worker begins with all of them, the
 * others with none or with what they were dealt. Drawn last: the other worlds are as they were. */
static void draw_placing(struct sim_plan *p, struct test_random *r)
{
    p->places_shards = test_random_below(r, 5) < 2;
    p->replicas = (uint32_t)between(r, 1, 3);
    p->replace_after_ns = ONE_OF(r, 1000, 5000, 60000) * SIM_MS;
    p->fetch_ns = ONE_OF(r, 20, 200, 1500) * SIM_MS;
    bool empty = test_random_below(r, 3) > 0;
    for (uint32_t i = 1; p->places_shards && empty && i < p->places_count; i++)
        p->places[i].shards = 0;
    if (p->places_shards) {
        p->places[0].shards = (1u << p->gallery.shards) - 1;
        p->places[0].start_ns = 0;
    }
}

/* Drawn after all else, likewise. */
static void draw_hedging(struct sim_plan *p, struct test_random *r)
{
    p->hedge_percent = (uint32_t)ONE_OF(r, 0, 5, 5, 30);
    p->demotes_late = test_random_below(r, 4) > 0;
}

void sim_plan_draw(struct sim_plan *p, struct test_random *r, unsigned faults_count,
                   uint64_t gentle)
{
    *p = (struct sim_plan){
        .clients_count = (uint32_t)between(r, 1, SIM_CLIENTS_MAX),
        .evaluations = (uint32_t)ONE_OF(r, 0, 35, 35, 100),
        .pace_ns = ONE_OF(r, 100, 400, 1500) * SIM_MS,
    };
    draw_gallery(p, r);
    draw_places(p, r);
    draw_network(p, r);
    draw_faults(p, r, faults_count, gentle);
    draw_placing(p, r);
    draw_hedging(p, r);
}
