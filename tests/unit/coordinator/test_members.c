/* test_members.c: workers join, are refused, fall silent, leave and start again. */
#include "proto/wire/refuse.h"
#include "proto/wire/welcome.h"
#include "tests/support/fake_co.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct pr_refuse take_refusal(struct fake_co *f, const char *node)
{
    struct test_message *m = test_mailbox_take(&f->sent, node, PR_REFUSE);
    struct pr_refuse refuse;
    struct cm_error e;
    cr_assert_eq(pr_refuse_unpack(m->header, &refuse, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return refuse;
}

/* A HELLO of "stranger", which holds shards 2 and 3, after "w0" has joined with all of them. */
struct stranger {
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
};

static void stranger_init(struct stranger *s)
{
    fake_co_init(&s->f);
    fake_co_join(&s->f, "w0", 0, FAKE_SHARDS);
    fake_hello(&s->hello, s->held, "stranger", &s->f.gallery, 2, 2);
}

static void expect_refused(struct stranger *s, enum pr_refusal reason, const char *const *words)
{
    fake_co_hello(&s->f, "stranger", &s->hello);
    struct pr_refuse refuse = take_refusal(&s->f, "stranger");
    cr_assert_eq(refuse.reason, reason, "%s", refuse.text);
    for (; *words; words++)
        cr_assert(strstr(refuse.text, *words) != NULL, "\"%s\" has no \"%s\"", refuse.text, *words);
    cr_assert_eq(fake_co_logged(&s->f, "event=worker_refused worker=stranger"), 1);
    fake_co_control(&s->f, "client", PR_STATUS_REQUEST, 1);
    struct pr_status status = fake_co_take_status(&s->f, "client");
    cr_assert_eq(status.members_count, 1);
    cr_assert_eq(status.counters.refused, 1);
    pr_status_fini(&status);
    cr_assert_eq(s->f.sent.count, 0);
    fake_co_fini(&s->f);
}

Test(co_members, welcomes_a_worker_and_tells_it_the_beat)
{
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init(&f);
    fake_hello(&hello, held, "w0", &f.gallery, 0, 2);
    fake_co_hello(&f, "w0", &hello);
    struct test_message *m = test_mailbox_take(&f.sent, "w0", PR_WELCOME);
    struct pr_welcome welcome;
    struct cm_error e;
    cr_assert_eq(pr_welcome_unpack(m->header, &welcome, &e), CM_OK, "%s", e.text);
    cr_assert_eq(welcome.heartbeat_ms, 1000);
    cr_assert_eq(welcome.dead_after_ms, 5000);
    test_message_free(m);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(fake_co_logged(&f, "event=worker_joined worker=w0 shards=2 images=20"), 1);
    fake_co_fini(&f);
}

static uint64_t take_welcome(struct fake_co *f, const char *name)
{
    struct test_message *m = test_mailbox_take(&f->sent, name, PR_WELCOME);
    uint64_t id = m->envelope.id.v;
    test_message_free(m);
    return id;
}

static void say_hello(struct fake_co *f, const char *from, uint64_t id)
{
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_hello(&hello, held, "w0", &f->gallery, 0, FAKE_SHARDS);
    hello.id.v = id;
    fake_co_hello(f, from, &hello);
}

/* WELCOME says with which HELLO the worker became a member, so that it knows whether it was
 * forgotten in between. */
Test(co_members, a_welcome_names_the_hello_that_counts)
{
    struct fake_co f;
    fake_co_init(&f);
    say_hello(&f, "w0", 1);
    cr_assert_eq(take_welcome(&f, "w0"), 1);
    say_hello(&f, "w0", 2);
    cr_assert_eq(take_welcome(&f, "w0"), 1);
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS);
    say_hello(&f, "w0", 3);
    cr_assert_eq(take_welcome(&f, "w0"), 3);
    fake_co_fini(&f);
}

Test(co_members, who_cannot_be_told_is_no_member)
{
    struct fake_co f;
    fake_co_init(&f);
    f.deaf = test_peer("w0");
    f.deaf_why = CM_EBUSY;
    say_hello(&f, "w0", 1);
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 1);
    struct pr_status status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.members_count, 0);
    pr_status_fini(&status);
    f.deaf = test_peer("nobody");
    say_hello(&f, "w0", 2);
    cr_assert_eq(take_welcome(&f, "w0"), 2);
    f.deaf = test_peer("w0");
    say_hello(&f, "w0", 3); /* a member it stays */
    fake_co_control(&f, "client", PR_STATUS_REQUEST, 2);
    status = fake_co_take_status(&f, "client");
    cr_assert_eq(status.members_count, 1);
    pr_status_fini(&status);
    fake_co_fini(&f);
}

Test(co_members, refuses_another_gallery_and_names_both)
{
    struct stranger s;
    stranger_init(&s);
    s.hello.gallery.gallery.bytes[15] = 0xff;
    expect_refused(&s, PR_REFUSAL_GALLERY,
                   (const char *const[]){"6a000000000000000000000000000000",
                                         "6a0000000000000000000000000000ff", NULL});
}

Test(co_members, refuses_another_model_and_names_both)
{
    struct stranger s;
    stranger_init(&s);
    s.hello.gallery.model.bytes[0] = 0x3c;
    expect_refused(&s, PR_REFUSAL_MODEL,
                   (const char *const[]){"3b000000000000000000000000000000",
                                         "3c000000000000000000000000000000", NULL});
}

Test(co_members, refuses_a_gallery_of_another_size)
{
    struct stranger s;
    stranger_init(&s);
    s.hello.gallery.images++;
    expect_refused(&s, PR_REFUSAL_GALLERY,
                   (const char *const[]){"(40 images, 4 shards)", "(41 images, 4 shards)", NULL});
}

Test(co_members, refuses_shards_that_lie_elsewhere)
{
    struct stranger s;
    stranger_init(&s);
    s.held[1].first_image = 29;
    expect_refused(&s, PR_REFUSAL_SHARDS,
                   (const char *const[]){"shard 3", "30 to 39", "29 to 38", NULL});
}

Test(co_members, refuses_another_numeric_class)
{
    struct stranger s;
    stranger_init(&s);
    snprintf(s.hello.numeric_class, sizeof s.hello.numeric_class, "f32/other");
    expect_refused(&s, PR_REFUSAL_CLASS,
                   (const char *const[]){"f32/fake", "f32/other", "--allow-mixed", NULL});
}

Test(co_members, refuses_another_protocol)
{
    struct stranger s;
    stranger_init(&s);
    s.hello.version_min = PR_VERSION + 1;
    s.hello.version_max = PR_VERSION + 2;
    expect_refused(&s, PR_REFUSAL_VERSION, (const char *const[]){"2 to 3", "this is 1", NULL});
}

Test(co_members, refuses_one_worker_too_many)
{
    struct fake_co f;
    fake_co_init(&f);
    for (unsigned i = 0; i < CM_MEMBERS_MAX; i++) {
        char node[16];
        snprintf(node, sizeof node, "w%u", i);
        fake_co_join(&f, node, i % FAKE_SHARDS, 1);
    }
    struct pr_hello hello;
    struct pr_held_shard held[1];
    fake_hello(&hello, held, "late", &f.gallery, 0, 1);
    fake_co_hello(&f, "late", &hello);
    cr_assert_eq(take_refusal(&f, "late").reason, PR_REFUSAL_FULL);
    fake_hello(&hello, held, "w7", &f.gallery, 3, 1);
    hello.incarnation = 2;
    fake_co_hello(&f, "w7-again", &hello);
    fake_co_take(&f, "w7-again", PR_WELCOME);
    fake_co_fini(&f);
}

Test(co_members, admits_another_class_when_told_and_answers_say_so)
{
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init_mixed(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_hello(&hello, held, "w1", &f.gallery, 2, 2);
    snprintf(hello.numeric_class, sizeof hello.numeric_class, "f32/other");
    fake_co_hello(&f, "w1", &hello);
    fake_co_take(&f, "w1", PR_WELCOME);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search a = fake_co_take_search(&f, "w0"), b = fake_co_take_search(&f, "w1");
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, s < 2 ? "w0" : "w1", a.id.v, s, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert(answer.mixed);
    pr_answer_fini(&answer);
    pr_search_fini(&a);
    pr_search_fini(&b);
    fake_co_fini(&f);
}

Test(co_members, answers_a_heartbeat)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_heartbeat(&f, "w0");
    fake_co_take(&f, "w0", PR_HEARTBEAT);
    cr_assert_eq(f.sent.count, 0);
    fake_co_fini(&f);
}

Test(co_members, loses_a_silent_worker_at_dead_after_and_not_before)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    f.now_ns += 1000 * FAKE_MS;
    fake_co_heartbeat(&f, "w0");
    fake_co_take(&f, "w0", PR_HEARTBEAT);
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS - 1);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost"), 0);
    cr_assert_eq(co_next_wakeup_ns(f.core), f.now_ns + 1);
    fake_co_sleep(&f, 1);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost worker=w0 why=\"silent\""), 1);
    cr_assert_eq(co_next_wakeup_ns(f.core), UINT64_MAX);
    fake_co_fini(&f);
}

/* Stopped for a while ourselves, we look before we have read what came meanwhile: nobody is lost
 * for that, and whoever is silent all the same is lost a moment later. */
Test(co_members, our_own_absence_is_nobodys_silence)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 2);
    f.now_ns += 2 * FAKE_DEAD_AFTER_NS;
    co_on_tick(f.core);
    fake_co_heartbeat(&f, "w0"); /* which had waited */
    fake_co_take(&f, "w0", PR_HEARTBEAT);
    fake_co_sleep(&f, FAKE_HEARTBEAT_NS);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost worker=w0"), 0);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost worker=w1"), 1);
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost worker=w0"), 1);
    fake_co_fini(&f);
}

Test(co_members, any_message_is_a_sign_of_life)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS - 1);
    fake_co_score(&f, "w0", 12345, 0, 1, 3); /* a late result, which is dropped */
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS - 1);
    cr_assert_eq(fake_co_logged(&f, "event=worker_lost"), 0);
    fake_co_fini(&f);
}

Test(co_members, asks_strangers_to_say_hello)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_heartbeat(&f, "ghost");
    fake_co_take(&f, "ghost", PR_REHELLO);
    fake_co_control(&f, "ghost", PR_LEAVING, 0);
    fake_co_take(&f, "ghost", PR_REHELLO);
    fake_co_score(&f, "ghost", 1, 0, 1, 3);
    fake_co_take(&f, "ghost", PR_REHELLO);
    cr_assert_eq(f.sent.count, 0);
    fake_co_fini(&f);
}

Test(co_members, gives_a_leaving_worker_nothing_more_and_takes_what_it_owes)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search search = fake_co_take_search(&f, "w0");
    fake_co_control(&f, "w0", PR_LEAVING, 0);
    fake_co_query(&f, "client", 2, 5, 1000);
    cr_assert_eq(test_mailbox_count(&f.sent, "w0", 0), 0);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.id.v, 2);
    cr_assert_eq(answer.missing_count, FAKE_SHARDS);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_NO_WORKER);
    cr_assert_eq(answer.missing[0].images, FAKE_SHARD_IMAGES, "known from the one who held it");
    pr_answer_fini(&answer);
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, "w0", search.id.v, s, 1, 5);
    answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.id.v, 1);
    cr_assert_eq(answer.shards_scored, FAKE_SHARDS);
    cr_assert_eq(fake_co_logged(&f, "event=worker_left worker=w0 why=\"finished\""), 1);
    pr_answer_fini(&answer);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

Test(co_members, forgets_an_idle_worker_that_leaves_at_once)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_control(&f, "w0", PR_LEAVING, 0);
    cr_assert_eq(fake_co_logged(&f, "event=worker_left"), 1);
    cr_assert_eq(co_next_wakeup_ns(f.core), UINT64_MAX);
    fake_co_fini(&f);
}

/* Its query ran out of time, so that no RESULT will come: the next heartbeat lets it go. */
Test(co_members, forgets_a_worker_that_leaves_and_owes_nothing_any_more)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 1000);
    fake_co_take(&f, "w0", PR_SEARCH);
    fake_co_control(&f, "w0", PR_LEAVING, 0);
    fake_co_sleep(&f, 1000 * FAKE_MS);
    fake_co_take(&f, "w0", PR_CANCEL);
    fake_co_heartbeat(&f, "w0");
    fake_co_take(&f, "w0", PR_REHELLO);
    cr_assert_eq(fake_co_logged(&f, "event=worker_left worker=w0 why=\"finished\""), 1);
    fake_co_fini(&f);
}

Test(co_members, a_worker_started_again_replaces_its_former_self)
{
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 60000);
    uint64_t former = fake_co_take(&f, "w0", PR_SEARCH).id.v;
    fake_hello(&hello, held, "w0", &f.gallery, 0, FAKE_SHARDS);
    hello.incarnation = 2;
    fake_co_hello(&f, "new-address", &hello);
    fake_co_take(&f, "new-address", PR_WELCOME);
    uint64_t again = fake_co_take(&f, "new-address", PR_SEARCH).id.v; /* what it was asked before */
    cr_assert_neq(again, former);
    cr_assert_eq(f.sent.count, 0);
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, "new-address", again, s, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.missing_count, 0);
    pr_answer_fini(&answer);
    fake_co_fini(&f);
}

Test(co_members, a_member_that_takes_a_dead_ones_slot_inherits_nothing)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, 2);
    fake_co_join(&f, "w1", 2, 2);
    fake_co_query(&f, "client", 1, 5, 60000);
    struct pr_search search = fake_co_take_search(&f, "w0");
    fake_co_take(&f, "w1", PR_SEARCH);
    fake_co_sleep(&f, FAKE_DEAD_AFTER_NS - 1);
    fake_co_heartbeat(&f, "w1");
    fake_co_take(&f, "w1", PR_HEARTBEAT);
    fake_co_sleep(&f, 1); /* w0 is gone */
    fake_co_join(&f, "w2", 0, 2);
    fake_co_score(&f, "w2", search.id.v, 0, 1, 5); /* never asked */
    fake_co_score(&f, "w1", search.id.v, 2, 1, 5);
    fake_co_score(&f, "w1", search.id.v, 3, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.images_scored, 20);
    cr_assert_eq(answer.missing_count, 2);
    cr_assert_eq(answer.missing[0].reason, PR_REASON_WORKER_LOST);
    pr_answer_fini(&answer);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

/* A slow coordinator finds several HELLOs of one worker in its queue. */
Test(co_members, a_hello_said_twice_costs_no_search)
{
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_co_query(&f, "client", 1, 5, 1000);
    struct pr_search search = fake_co_take_search(&f, "w0");
    fake_hello(&hello, held, "w0", &f.gallery, 0, FAKE_SHARDS);
    fake_co_hello(&f, "w0", &hello);
    fake_co_take(&f, "w0", PR_WELCOME);
    cr_assert_eq(f.sent.count, 0);
    for (uint32_t s = 0; s < FAKE_SHARDS; s++)
        fake_co_score(&f, "w0", search.id.v, s, 1, 5);
    struct pr_answer answer = fake_co_take_answer(&f, "client");
    cr_assert_eq(answer.shards_scored, FAKE_SHARDS);
    cr_assert_eq(fake_co_logged(&f, "event=worker_joined"), 1);
    pr_answer_fini(&answer);
    pr_search_fini(&search);
    fake_co_fini(&f);
}

/* With all its credits used the leaver holds up the queue; its replica has room. */
Test(co_members, a_worker_that_leaves_lets_waiting_queries_go_to_its_replica)
{
    struct fake_co f;
    fake_co_init(&f);
    fake_co_join_with_credits(&f, "w0", 0, FAKE_SHARDS, 1);
    fake_co_query(&f, "client", 1, 5, 1000);
    fake_co_take(&f, "w0", PR_SEARCH);
    fake_co_query(&f, "client", 2, 5, 1000);
    fake_co_control(&f, "w0", PR_LEAVING, 0);
    cr_assert_eq(fake_co_take(&f, "client", PR_ANSWER).id.v, 2, "it need not wait for a leaver");
    fake_co_fini(&f);
}

/* Two processes under one name: the later one stays, or both would push each other out for ever. */
Test(co_members, a_process_that_was_replaced_does_not_come_back)
{
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init(&f);
    fake_co_join(&f, "w0", 0, FAKE_SHARDS);
    fake_hello(&hello, held, "w0", &f.gallery, 0, FAKE_SHARDS);
    hello.incarnation = 2;
    fake_co_hello(&f, "b", &hello);
    fake_co_take(&f, "b", PR_WELCOME);
    hello.incarnation = 1;
    fake_co_hello(&f, "a", &hello);
    struct pr_refuse refuse = take_refusal(&f, "a");
    cr_assert_eq(refuse.reason, PR_REFUSAL_NAME, "%s", refuse.text);
    cr_assert(strstr(refuse.text, "w0") != NULL, "%s", refuse.text);
    hello.incarnation = 2;
    fake_co_hello(&f, "b-after-a-reconnect", &hello);
    fake_co_take(&f, "b-after-a-reconnect", PR_WELCOME);
    hello.incarnation = 3;
    fake_co_hello(&f, "c", &hello);
    fake_co_take(&f, "c", PR_WELCOME);
    cr_assert_eq(f.sent.count, 0);
    fake_co_fini(&f);
}

Test(co_members, refuses_shards_that_overlap)
{
    struct fake_co f;
    struct pr_hello hello;
    struct pr_held_shard held[FAKE_SHARDS];
    fake_co_init(&f);
    fake_hello(&hello, held, "first", &f.gallery, 0, 2);
    held[1].first_image = 9; /* image 9 would count twice */
    fake_co_hello(&f, "first", &hello);
    struct pr_refuse refuse = take_refusal(&f, "first");
    cr_assert_eq(refuse.reason, PR_REFUSAL_SHARDS, "%s", refuse.text);
    fake_co_join(&f, "w1", 1, 1);
    fake_hello(&hello, held, "second", &f.gallery, 2, 1);
    held[0].first_image = 19;
    fake_co_hello(&f, "second", &hello);
    cr_assert_eq(take_refusal(&f, "second").reason, PR_REFUSAL_SHARDS);
    fake_co_fini(&f);
}
