/* test_place.c: shards are placed on workers that come and go, drained, and remembered. */
#include "coordinator/core.h"
#include "proto/wire/heartbeat.h"
#include "proto/wire/join.h"
#include "proto/wire/operate.h"
#include "proto/wire/place.h"
#include "proto/wire/refuse.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cm_error e;

static struct pr_place take_place(struct fake_co *f, const char *node)
{
    struct pr_place place;
    struct test_message *m = test_mailbox_take(&f->sent, node, PR_PLACE);
    cr_assert_eq(pr_place_unpack(m->header, &place, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return place;
}

/* An order to get a shard, from `from` first. */
static uint32_t take_order(struct fake_co *f, const char *node, const char *from)
{
    struct pr_place place = take_place(f, node);
    cr_assert(place.sources.count > 0, "told to let go of shard %u", place.shard.v);
    cr_assert_str_eq(place.sources.endpoints[0], from);
    return place.shard.v;
}

static uint32_t take_drop(struct fake_co *f, const char *node)
{
    struct pr_place place = take_place(f, node);
    cr_assert_eq(place.sources.count, 0, "told to get shard %u", place.shard.v);
    return place.shard.v;
}

static void holds(struct fake_co *f, const char *node, uint32_t shard, bool held, const char *why)
{
    struct pr_holds message = {.shard = {shard}};
    struct pr_buffer packed;
    if (held) {
        message.first_image = (uint64_t)shard * FAKE_SHARD_IMAGES;
        message.images = FAKE_SHARD_IMAGES;
    }
    snprintf(message.text, sizeof message.text, "%s", why);
    enum cm_err rc = pr_holds_pack(&message, &packed, &e);
    fake_co_get_packed(f, node, rc, &packed, NULL);
}

static void heartbeat(struct fake_co *f, const char *node, uint32_t fetching)
{
    struct pr_heartbeat message = {.fetching = fetching, .memory_bytes = 77, .searches_queued = 3};
    struct pr_buffer packed;
    enum cm_err rc = pr_heartbeat_pack(&message, &packed, &e);
    fake_co_get_packed(f, node, rc, &packed, NULL);
    fake_co_take(f, node, PR_HEARTBEAT);
}

/* Time passes; the workers live, and do nothing of what they are told. */
static void idle(struct fake_co *f, uint64_t ns, const char *const *nodes)
{
    struct pr_heartbeat message = {.fetching = 1};
    for (uint64_t t = 0; t < ns; t += 1000 * FAKE_MS) {
        fake_co_sleep(f, 1000 * FAKE_MS);
        for (size_t i = 0; nodes[i]; i++) {
            struct pr_buffer packed;
            enum cm_err rc = pr_heartbeat_pack(&message, &packed, &e);
            fake_co_get_packed(f, nodes[i], rc, &packed, NULL);
        }
    }
    test_mailbox_clear(&f->sent);
}

static void drain(struct fake_co *f, const char *node, bool force)
{
    struct pr_drain message = {.id = {5}, .force = force};
    struct pr_buffer packed;
    snprintf(message.node, sizeof message.node, "%s", node);
    enum cm_err rc = pr_drain_pack(&message, &packed, &e);
    fake_co_get_packed(f, "operator", rc, &packed, NULL);
}

static void replicas(struct fake_co *f, uint32_t n)
{
    struct pr_replicas message = {.id = {6}, .replicas = n};
    struct pr_buffer packed;
    enum cm_err rc = pr_replicas_pack(&message, &packed, &e);
    fake_co_get_packed(f, "operator", rc, &packed, NULL);
}

static struct pr_placed take_placed(struct fake_co *f)
{
    struct pr_placed placed;
    struct test_message *m = test_mailbox_take(&f->sent, "operator", PR_PLACED);
    cr_assert_eq(pr_placed_unpack(m->header, &placed, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return placed;
}

static void expect_refused(struct fake_co *f, const char *text)
{
    struct pr_error error = fake_co_take_error(f, "operator");
    cr_assert_eq(error.code, PR_ERROR_REFUSED);
    cr_assert(strstr(error.text, text) != NULL, "\"%s\" does not say \"%s\"", error.text, text);
}

static struct pr_status status_of(struct fake_co *f)
{
    fake_co_control(f, "reader", PR_STATUS_REQUEST, 1);
    return fake_co_take_status(f, "reader");
}

/* State, shards held and assigned of a worker in STATUS. */
static void expect_member(struct fake_co *f, const char *node, enum pr_member_state state,
                          uint32_t shards, uint32_t assigned)
{
    struct pr_status status = status_of(f);
    const struct pr_member *found = NULL;
    for (size_t i = 0; i < status.members_count; i++)
        if (strcmp(status.members[i].node, node) == 0)
            found = &status.members[i];
    cr_assert(found != NULL, "no %s in the status", node);
    cr_assert_eq(found->state, state, "%s is %s", node, pr_member_state_name(found->state));
    cr_assert_eq(found->shards, shards, "%s holds %u", node, found->shards);
    cr_assert_eq(found->assigned, assigned, "%s is to hold %u", node, found->assigned);
    pr_status_fini(&status);
}

/* w0 came with all shards; then w1 without any, and it has got its half. */
static void init_two(struct fake_co *f, uint32_t wanted)
{
    fake_co_init_placing(f, wanted, NULL);
    fake_co_join_placed(f, "w0", 0, FAKE_SHARDS);
    fake_co_join_placed(f, "w1", 0, 0);
    for (uint32_t i = 0; i < FAKE_SHARDS * wanted / 2; i++) {
        uint32_t shard = take_order(f, "w1", "ipc://w0");
        holds(f, "w1", shard, true, "");
        if (wanted == 1) {
            cr_assert_eq(take_drop(f, "w0"), shard, "another shard was let go of");
            holds(f, "w0", shard, false, "");
        }
    }
    cr_assert_eq(f->sent.count, 0);
}

Test(co_place, a_newcomer_gets_its_share_one_by_one_and_the_giver_lets_go)
{
    struct fake_co f;
    init_two(&f, 1);
    expect_member(&f, "w0", PR_MEMBER_READY, 2, 2);
    expect_member(&f, "w1", PR_MEMBER_READY, 2, 2);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.replicas, 1);
    cr_assert_eq(status.shards_covered, FAKE_SHARDS);
    cr_assert_eq(status.shards_whole, FAKE_SHARDS);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

Test(co_place, a_shard_that_is_let_go_of_is_asked_of_its_new_home)
{
    struct fake_co f;
    init_two(&f, 1);
    fake_co_query(&f, "client", 1, 3, 5000);
    struct pr_search a = fake_co_take_search(&f, "w0"), b = fake_co_take_search(&f, "w1");
    cr_assert_eq(a.shards_count, 2);
    cr_assert_eq(b.shards_count, 2);
    pr_search_fini(&a);
    pr_search_fini(&b);
    fake_co_fini(&f);
}

Test(co_place, what_is_being_fetched_is_served_by_the_giver_meanwhile)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join_placed(&f, "w1", 0, 0);
    take_order(&f, "w1", "ipc://w0");
    fake_co_query(&f, "client", 1, 3, 5000);
    struct pr_search a = fake_co_take_search(&f, "w0");
    cr_assert_eq(a.shards_count, FAKE_SHARDS);
    pr_search_fini(&a);
    fake_co_fini(&f);
}

Test(co_place, an_order_that_was_lost_is_given_again_and_one_that_failed_after_a_second)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join_placed(&f, "w1", 0, 0);
    uint32_t shard = take_order(&f, "w1", "ipc://w0");
    heartbeat(&f, "w1", 0);
    fake_co_sleep(&f, 2500 * FAKE_MS);
    heartbeat(&f, "w1", 1);
    cr_assert_eq(f.sent.count, 0, "it is at it");
    heartbeat(&f, "w1", 0);
    cr_assert_eq(take_order(&f, "w1", "ipc://w0"), shard);
    holds(&f, "w1", shard, false, "the source is silent");
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(fake_co_logged(&f, "event=shard_failed shard=0 worker=w1 msg=\"the source"), 1);
    fake_co_sleep(&f, 999 * FAKE_MS);
    cr_assert_eq(f.sent.count, 0);
    fake_co_sleep(&f, FAKE_MS);
    cr_assert_eq(take_order(&f, "w1", "ipc://w0"), shard);
    fake_co_fini(&f);
}

Test(co_place, letting_go_is_said_until_it_is_done)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join_placed(&f, "w1", 0, 0);
    uint32_t shard = take_order(&f, "w1", "ipc://w0");
    holds(&f, "w1", shard, true, "");
    cr_assert_eq(take_drop(&f, "w0"), shard);
    take_order(&f, "w1", "ipc://w0");
    heartbeat(&f, "w0", 0);
    cr_assert_eq(take_drop(&f, "w0"), shard);
    holds(&f, "w0", shard, false, "");
    heartbeat(&f, "w0", 0);
    cr_assert_eq(f.sent.count, 0);
    fake_co_fini(&f);
}

Test(co_place, a_restart_remembers_and_moves_nothing)
{
    struct fake_co f, g;
    init_two(&f, 1);
    struct pr_status before = status_of(&f);
    fake_co_init_placing(&g, 3, f.saved);
    struct pr_status after = status_of(&g);
    cr_assert(after.epoch > before.epoch, "the epoch went from %llu to %llu",
              (unsigned long long)before.epoch, (unsigned long long)after.epoch);
    cr_assert_eq(after.replicas, 1, "the flag counts for a new map only");
    pr_status_fini(&before);
    pr_status_fini(&after);
    expect_member(&g, "w0", PR_MEMBER_AWAY, 0, 2);
    fake_co_join_placed(&g, "w0", 2, 2);
    fake_co_join_placed(&g, "w1", 0, 2);
    cr_assert_eq(g.sent.count, 0, "something moves");
    expect_member(&g, "w0", PR_MEMBER_READY, 2, 2);
    fake_co_fini(&f);
    fake_co_fini(&g);
}

Test(co_place, a_restart_refuses_another_gallery)
{
    struct fake_co f, g;
    init_two(&f, 1);
    fake_co_init_placing(&g, 1, f.saved);
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_hello(&hello, held, "w0", &g.gallery, 0, FAKE_SHARDS);
    hello.gallery.gallery.bytes[3] ^= 1;
    fake_co_hello(&g, "w0", &hello);
    fake_co_take(&g, "w0", PR_REFUSE);
    fake_co_fini(&f);
    fake_co_fini(&g);
}

Test(co_place, nothing_moves_while_the_map_cannot_be_saved)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    f.save_fails = CM_ENOSPC;
    fake_co_join_placed(&f, "w1", 0, 0);
    cr_assert_eq(f.sent.count, 0, "an order went out that a restart would not remember");
    fake_co_sleep(&f, 2500 * FAKE_MS);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(fake_co_logged(&f, "event=map_unsaved msg=\"the disk is full\""), 1);
    f.save_fails = CM_OK;
    fake_co_sleep(&f, 1000 * FAKE_MS);
    take_order(&f, "w1", "ipc://w0");
    cr_assert_eq(fake_co_logged(&f, "event=map_saved"), 1);
    fake_co_fini(&f);
}

Test(co_place, a_drained_node_hands_over_and_is_dismissed)
{
    struct fake_co f;
    init_two(&f, 1);
    drain(&f, "w1", false);
    struct pr_placed placed = take_placed(&f);
    cr_assert_eq(placed.nodes, 1);
    cr_assert_eq(placed.moves, 2);
    expect_member(&f, "w1", PR_MEMBER_DRAINING, 2, 0);
    for (int i = 0; i < 2; i++) {
        uint32_t shard = take_order(&f, "w0", "ipc://w1");
        holds(&f, "w0", shard, true, "");
        cr_assert_eq(take_drop(&f, "w1"), shard);
        holds(&f, "w1", shard, false, "");
    }
    fake_co_take(&f, "w1", PR_DISMISS);
    heartbeat(&f, "w1", 0);
    fake_co_take(&f, "w1", PR_DISMISS); /* again, until it goes */
    fake_co_control(&f, "w1", PR_LEAVING, 0);
    cr_assert_eq(fake_co_logged(&f, "event=node_drained node=w1"), 1);
    cr_assert_eq(f.sent.count, 0);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.members_count, 1);
    cr_assert_eq(status.shards_whole, FAKE_SHARDS);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

Test(co_place, a_drain_that_does_harm_is_refused)
{
    struct fake_co f;
    init_two(&f, 2);
    drain(&f, "w1", false);
    expect_refused(&f, "1 nodes for 2 replicas");
    drain(&f, "w7", false);
    expect_refused(&f, "no node is called w7");
    drain(&f, "w1", true);
    take_placed(&f);
    drain(&f, "w0", true);
    expect_refused(&f, "w0 is the last node");
    fake_co_fini(&f);
}

Test(co_place, a_worker_with_shards_of_its_own_is_left_alone)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    fake_co_join(&f, "fixed", 0, FAKE_SHARDS);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    fake_co_join_placed(&f, "w1", 0, 0);
    take_order(&f, "w1", "ipc://w0");
    drain(&f, "fixed", false);
    expect_refused(&f, "--shards");
    expect_member(&f, "fixed", PR_MEMBER_READY, FAKE_SHARDS, 0);
    fake_co_fini(&f);
}

Test(co_place, replicas_can_be_asked_for_before_there_are_nodes)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    replicas(&f, 2);
    struct pr_placed placed = take_placed(&f);
    cr_assert(placed.replicas == 2 && placed.nodes == 1 && placed.moves == 0);
    struct pr_status status = status_of(&f);
    cr_assert(status.shards_whole == 0 && status.shards_covered == FAKE_SHARDS);
    pr_status_fini(&status);
    fake_co_join_placed(&f, "w1", 0, 0);
    for (int i = 0; i < FAKE_SHARDS; i++)
        holds(&f, "w1", take_order(&f, "w1", "ipc://w0"), true, "");
    cr_assert_eq(f.sent.count, 0);
    status = status_of(&f);
    cr_assert_eq(status.shards_whole, FAKE_SHARDS);
    pr_status_fini(&status);
    replicas(&f, 1);
    take_placed(&f);
    for (int i = 0; i < FAKE_SHARDS; i++) {
        const char *node = test_mailbox_count(&f.sent, "w0", PR_PLACE) > 0 ? "w0" : "w1";
        cr_assert_leq(test_mailbox_count(&f.sent, node, PR_PLACE), 1, "one at a time");
        holds(&f, node, take_drop(&f, node), false, "");
    }
    cr_assert_eq(f.sent.count, 0, "each is let go once");
    fake_co_fini(&f);
}

Test(co_place, a_node_that_stays_away_is_replaced_if_others_have_its_shards)
{
    struct fake_co f;
    init_two(&f, 2);
    fake_co_join_placed(&f, "w2", 0, 0);
    uint32_t shard = take_order(&f, "w2", "ipc://w0");
    holds(&f, "w2", shard, true, "");
    while (test_mailbox_count(&f.sent, "w2", PR_PLACE))
        holds(&f, "w2", take_place(&f, "w2").shard.v, true, "");
    test_mailbox_clear(&f.sent);
    fake_co_disconnect(&f, "w1");
    expect_member(&f, "w1", PR_MEMBER_AWAY, 0, 3);
    idle(&f, FAKE_REPLACE_AFTER_NS - 1000 * FAKE_MS, (const char *const[]){"w0", "w2", NULL});
    cr_assert_eq(fake_co_logged(&f, "event=node_replaced"), 0);
    fake_co_sleep(&f, 1000 * FAKE_MS);
    cr_assert_eq(fake_co_logged(&f, "event=node_replaced node=w1 shards=3"), 1);
    cr_assert(test_mailbox_count(&f.sent, NULL, PR_PLACE) > 0, "nobody takes its shards");
    fake_co_fini(&f);
}

Test(co_place, a_node_that_alone_has_shards_is_waited_for)
{
    struct fake_co f;
    init_two(&f, 1);
    fake_co_disconnect(&f, "w1");
    idle(&f, 2 * FAKE_REPLACE_AFTER_NS, (const char *const[]){"w0", NULL});
    cr_assert_eq(fake_co_logged(&f, "event=node_replaced"), 0);
    expect_member(&f, "w1", PR_MEMBER_AWAY, 0, 2);
    drain(&f, "w1", false);
    expect_refused(&f, "alone has some of its shards");
    fake_co_fini(&f);
}

/* A search of a shard that its worker cannot read is answered by the other that has it, and the
 * worker gets it again from there; with one holder there is nobody to get it from. */
Test(co_place, a_shard_that_cannot_be_read_is_got_again)
{
    for (uint32_t wanted = 1; wanted <= 2; wanted++) {
        struct fake_co f;
        init_two(&f, wanted);
        fake_co_query(&f, "client", 1, 3, 5000);
        struct pr_search search = fake_co_take_search(&f, "w0");
        struct pr_scored scored = {
            .shard = search.shards[0], .images_scored = 4, .images = FAKE_SHARD_IMAGES};
        struct pr_result bad = {
            .id = search.id, .reason = PR_REASON_CORRUPT, .shards = &scored, .shards_count = 1};
        fake_co_result(&f, "w0", &bad);
        cr_assert_eq(test_mailbox_count(&f.sent, "w0", PR_PLACE), wanted - 1);
        cr_assert_eq(fake_co_logged(&f, "event=shard_corrupt"), wanted - 1);
        if (wanted == 2) {
            cr_assert_eq(take_drop(&f, "w0"), scored.shard.v);
            holds(&f, "w0", scored.shard.v, false, "");
            cr_assert_eq(take_order(&f, "w0", "ipc://w1"), scored.shard.v);
        }
        pr_search_fini(&search);
        fake_co_fini(&f);
    }
}

/* So does one that shows it in the answer to a probe; the query whose map that was is not touched.
 */
Test(co_place, a_probe_that_finds_a_shard_corrupt)
{
    struct fake_co f;
    init_two(&f, 2);
    f.core->members.slots[0].late = true;
    fake_co_query(&f, "client", 1, 3, 5000);
    struct pr_search search = fake_co_take_search(&f, "w1");
    struct pr_search probe = fake_co_take_search(&f, "w0");
    cr_assert_eq(search.shards_count, FAKE_SHARDS);
    struct pr_scored scored = {
        .shard = probe.shards[0], .images_scored = 4, .images = FAKE_SHARD_IMAGES};
    struct pr_result bad = {
        .id = probe.id, .reason = PR_REASON_CORRUPT, .shards = &scored, .shards_count = 1};
    fake_co_result(&f, "w0", &bad);
    cr_assert_eq(fake_co_logged(&f, "event=shard_corrupt"), 1);
    cr_assert_eq(take_drop(&f, "w0"), scored.shard.v);
    cr_assert_eq(f.sent.count, 0, "nobody else is asked, and nothing is answered");
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, "w1", search.id.v, s, 1, 3);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, 0);
    pr_answer_fini(&answer);
    pr_search_fini(&search);
    pr_search_fini(&probe);
    fake_co_fini(&f);
}

static void say_join(struct fake_co *f, const char *node)
{
    struct pr_join join;
    struct pr_buffer packed;
    snprintf(join.node, sizeof join.node, "%s", node);
    enum cm_err rc = pr_join_pack(&join, &packed, &e);
    fake_co_get_packed(f, node, rc, &packed, NULL);
}

static struct pr_givers take_givers(struct fake_co *f, const char *node)
{
    struct pr_givers givers;
    struct test_message *m = test_mailbox_take(&f->sent, node, PR_GIVERS);
    cr_assert_eq(pr_givers_unpack(m->header, &givers, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return givers;
}

Test(co_place, who_comes_with_nothing_is_told_where_to_begin)
{
    struct fake_co f;
    fake_co_init_placing(&f, 1, NULL);
    say_join(&f, "new");
    cr_assert_eq(take_givers(&f, "new").sources.count, 0);
    fake_co_join_placed(&f, "w0", 0, FAKE_SHARDS);
    say_join(&f, "new");
    struct pr_givers givers = take_givers(&f, "new");
    cr_assert_eq(givers.sources.count, 1);
    cr_assert_str_eq(givers.sources.endpoints[0], "ipc://w0");
    cr_assert_eq(memcmp(&givers.gallery, &f.gallery.gallery, sizeof givers.gallery), 0);
    fake_co_fini(&f);
}

Test(co_place, without_a_map_nobody_joins_with_nothing)
{
    struct fake_co f;
    fake_co_init(&f);
    say_join(&f, "new");
    struct test_message *m = test_mailbox_take(&f.sent, "new", PR_REFUSE);
    struct pr_refuse refuse;
    cr_assert_eq(pr_refuse_unpack(m->header, &refuse, &e), CM_OK);
    cr_assert_eq(refuse.reason, PR_REFUSAL_NOT_PLACING);
    cr_assert(strstr(refuse.text, "--state FILE") != NULL);
    test_message_free(m);
    drain(&f, "w0", false);
    expect_refused(&f, "--state FILE");
    replicas(&f, 2);
    expect_refused(&f, "--state FILE");
    fake_co_fini(&f);
}

Test(co_place, news_that_cannot_be_is_garbage)
{
    struct fake_co f;
    init_two(&f, 1);
    holds(&f, "w1", FAKE_SHARDS, false, "");
    struct pr_holds lie = {.shard = {3}, .first_image = 29, .images = 10};
    struct pr_buffer packed;
    enum cm_err rc = pr_holds_pack(&lie, &packed, &e);
    fake_co_get_packed(&f, "w1", rc, &packed, NULL);
    lie.first_image = 35;
    rc = pr_holds_pack(&lie, &packed, &e);
    fake_co_get_packed(&f, "w1", rc, &packed, NULL);
    struct pr_status status = status_of(&f);
    cr_assert_eq(status.counters.garbage, 3);
    pr_status_fini(&status);
    expect_member(&f, "w1", PR_MEMBER_READY, 2, 2);
    fake_co_fini(&f);
}
