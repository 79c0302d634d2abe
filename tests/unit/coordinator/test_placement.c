/* test_placement.c: what placement.h promises, over thousands of random histories of nodes. */
#include "coordinator/placement.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

static struct co_placement *new_placement(uint32_t shards, uint32_t replicas)
{
    struct co_placement *p = calloc(1, sizeof *p);
    cr_assert(p != NULL);
    cr_assert_eq(co_placement_init(p, shards, &e), CM_OK);
    p->replicas = replicas;
    return p;
}

static void free_placement(struct co_placement *p)
{
    co_placement_fini(p);
    free(p);
}

static uint32_t add(struct co_placement *p, const char *name)
{
    uint32_t node;
    cr_assert_eq(co_placement_add(p, name, &node, &e), CM_OK, "%s", e.text);
    return node;
}

/* Holds a settled placement against the three promises; counts loads anew. */
static void check_promises(const struct co_placement *p)
{
    uint32_t load[CM_MEMBERS_MAX] = {0}, nodes = 0, low = UINT32_MAX, high = 0;
    for (uint32_t n = 0; n < p->end; n++)
        nodes += p->nodes[n].used && !p->nodes[n].draining;
    uint32_t replicas = nodes < p->replicas ? nodes : p->replicas;
    if (nodes == 0)
        return;
    for (uint32_t s = 0; s < p->shards_count; s++) {
        const struct co_homes *h = &p->homes[s];
        cr_assert_eq(h->count, replicas, "shard %u is on %u nodes, not %u", s, h->count, replicas);
        for (uint32_t i = 0; i < h->count; i++) {
            uint32_t n = h->nodes[i];
            cr_assert(p->nodes[n].used && !p->nodes[n].draining);
            for (uint32_t j = 0; j < i; j++)
                cr_assert_neq(h->nodes[j], n, "shard %u is on a node twice", s);
            load[n]++;
        }
    }
    for (uint32_t n = 0; n < p->end; n++) {
        if (!p->nodes[n].used || p->nodes[n].draining)
            continue;
        cr_assert_eq(p->nodes[n].load, load[n]);
        low = load[n] < low ? load[n] : low;
        high = load[n] > high ? load[n] : high;
    }
    cr_assert(high - low <= 1, "loads go from %u to %u", low, high);
}

/* Replicas that `after` has and `before` had not; `*to` is the node of the last one, and each must
 * be on it. */
static uint32_t moved_to(const struct co_homes *before, const struct co_placement *after,
                         uint32_t to)
{
    uint32_t moves = 0;
    for (uint32_t s = 0; s < after->shards_count; s++)
        for (uint32_t i = 0; i < after->homes[s].count; i++) {
            bool old = false;
            for (uint32_t j = 0; j < before[s].count; j++)
                old |= before[s].nodes[j] == after->homes[s].nodes[i];
            if (old)
                continue;
            cr_assert_eq(after->homes[s].nodes[i], to, "a shard moved between the others");
            moves++;
        }
    return moves;
}

Test(placement, a_newcomer_takes_its_share_and_nothing_else_moves)
{
    for (uint32_t replicas = 1; replicas <= 3; replicas++) {
        struct co_placement *p = new_placement(53, replicas);
        struct co_homes before[53];
        for (uint32_t n = 0; n < 9; n++) {
            char name[16];
            snprintf(name, sizeof name, "w%u", n);
            memcpy(before, p->homes, sizeof before);
            uint32_t node = add(p, name);
            co_placement_settle(p, NULL, NULL);
            check_promises(p);
            uint32_t moves = moved_to(before, p, node);
            cr_assert_eq(moves, p->nodes[node].load);
        }
        free_placement(p);
    }
}

/* Everything is on the disk of node 0, and the odd shards on that of node 1. */
static bool odd_has(const void *ctx, uint32_t shard, uint32_t node)
{
    (void)ctx;
    return node == 0 || (node == 1 && shard % 2 == 1);
}

Test(placement, what_lies_there_already_is_used)
{
    struct co_placement *p = new_placement(16, 1);
    add(p, "a");
    co_placement_settle(p, odd_has, NULL);
    add(p, "b");
    co_placement_settle(p, odd_has, NULL);
    check_promises(p);
    for (uint32_t s = 0; s < 16; s++)
        cr_assert_eq(p->homes[s].nodes[0], s % 2, "shard %u", s);
    free_placement(p);
}

Test(placement, without_a_node_that_stays_nothing_changes)
{
    struct co_placement *p = new_placement(4, 2);
    uint32_t a = add(p, "a");
    co_placement_settle(p, NULL, NULL);
    p->nodes[a].draining = true;
    co_placement_settle(p, NULL, NULL);
    cr_assert_eq(p->nodes[a].load, 4);
    co_placement_remove(p, a);
    cr_assert_eq(p->end, 0);
    cr_assert_eq(p->homes[0].count, 0);
    free_placement(p);
}

Test(placement, a_full_table_says_so)
{
    struct co_placement *p = new_placement(1, 1);
    char name[16];
    uint32_t node;
    for (uint32_t n = 0; n < CM_MEMBERS_MAX; n++) {
        snprintf(name, sizeof name, "w%u", n);
        add(p, name);
    }
    cr_assert_eq(co_placement_add(p, "x", &node, &e), CM_ELIMIT);
    cr_assert_eq(co_placement_find(p, "w1023"), 1023);
    cr_assert_eq(co_placement_find(p, "x"), CO_NO_NODE);
    free_placement(p);
}

static void step(struct co_placement *p, struct test_random *seed, unsigned i)
{
    uint32_t node = (uint32_t)test_random_below(seed, 12);
    bool used = node < p->end && p->nodes[node].used;
    char name[16];
    switch (test_random_below(seed, 5)) {
    case 0:
    case 1:
        snprintf(name, sizeof name, "n%u", i);
        add(p, name);
        break;
    case 2:
        if (used)
            p->nodes[node].draining = !p->nodes[node].draining;
        break;
    case 3:
        if (used)
            co_placement_remove(p, node);
        break;
    default:
        p->replicas = 1 + (uint32_t)test_random_below(seed, 4);
    }
}

Test(placement, every_history_keeps_the_promises)
{
    struct test_random seed = {20261126};
    for (unsigned history = 0; history < 300; history++) {
        struct co_placement *p = new_placement(1 + (uint32_t)test_random_below(&seed, 40), 1);
        for (unsigned i = 0; i < 30; i++) {
            step(p, &seed, i);
            co_placement_settle(p, NULL, NULL);
            check_promises(p);
        }
        free_placement(p);
    }
}
