/* test_link.c: a worker and its coordinator, searches aside. */
#include "proto/wire/heartbeat.h"
#include "proto/wire/refuse.h"
#include "proto/wire/welcome.h"
#include "tests/support/fake_wk.h"
#include "tests/support/random.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define MS UINT64_C(1000000)

static void ready(struct fake_wk *f)
{
    struct fake_wk_options o = fake_wk_defaults();
    fake_wk_init_ready(f, &o);
}

Test(wk_link, greets_until_it_is_welcomed)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    fake_wk_init(&f, &o, NULL);
    wk_on_tick(f.core);
    struct test_message *m = test_mailbox_take(&f.sent, "", PR_HELLO);
    struct pr_hello hello;
    struct cm_error e;
    cr_assert_eq(pr_hello_unpack(m->header, &hello, &e), CM_OK, "%s", e.text);
    cr_assert_str_eq(hello.node, "w0");
    cr_assert_str_eq(hello.numeric_class, "f32/fake");
    cr_assert_eq(hello.credits, CM_WORKER_CREDITS);
    cr_assert_eq(hello.held_count, FAKE_SHARDS);
    cr_assert_eq(hello.held[3].first_image, 30);
    cr_assert_eq(hello.held[3].images, 10);
    pr_hello_fini(&hello);
    test_message_free(m);
    fake_wk_sleep(&f, 1000 * MS);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_HELLO), 4);
    test_mailbox_clear(&f.sent);
    fake_wk_welcome(&f, 500, 2000);
    fake_wk_sleep(&f, 499 * MS);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_sleep(&f, 1 * MS);
    fake_wk_take(&f, PR_HEARTBEAT);
    fake_wk_fini(&f);
}

Test(wk_link, beats_as_welcome_says)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    fake_wk_init(&f, &o, NULL);
    fake_wk_welcome(&f, 300, 60000);
    fake_wk_sleep(&f, 3000 * MS);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_HEARTBEAT), 10);
    fake_wk_fini(&f);
}

Test(wk_link, a_heartbeat_says_what_was_done)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 60000000, 0, 2);
    fake_wk_finish_all(&f);
    fake_wk_search(&f, 2, 5, 60000000, 0, 1);
    test_mailbox_clear(&f.sent);
    fake_wk_sleep(&f, 1000 * MS);
    struct test_message *m = test_mailbox_take(&f.sent, "", PR_HEARTBEAT);
    struct pr_heartbeat heartbeat;
    struct cm_error e;
    cr_assert_eq(pr_heartbeat_unpack(m->header, &heartbeat, &e), CM_OK, "%s", e.text);
    cr_assert_eq(heartbeat.searches_queued, 1);
    cr_assert_eq(heartbeat.searches_done, 1);
    cr_assert_eq(heartbeat.pairs_scored, 20);
    test_message_free(m);
    fake_wk_finish_all(&f);
    fake_wk_fini(&f);
}

Test(wk_link, dials_again_when_the_coordinator_is_silent)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 60000000, 0, FAKE_SHARDS);
    fake_wk_sleep(&f, 4000 * MS);
    fake_wk_heartbeat(&f);
    fake_wk_sleep(&f, 5000 * MS - 1);
    cr_assert_eq(f.reconnects, 0);
    test_mailbox_clear(&f.sent);
    fake_wk_sleep(&f, 1);
    cr_assert_eq(f.reconnects, 1);
    fake_wk_take(&f, PR_HELLO);
    fake_wk_finish_all(&f); /* the dropped search's job comes back */
    cr_assert(wk_idle(f.core));
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 0);
    fake_wk_sleep(&f, 5000 * MS);
    cr_assert_eq(f.reconnects, 2, "it tries again and again");
    fake_wk_welcome(&f, 1000, 5000);
    fake_wk_search(&f, 2, 5, 60000000, 0, 1);
    fake_wk_finish_all(&f);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 1);
    fake_wk_fini(&f);
}

/* Stopped for a while itself, it looks before it has read what came meanwhile. */
Test(wk_link, its_own_absence_is_not_the_coordinators_silence)
{
    struct fake_wk f;
    ready(&f);
    f.own_ns += 20000 * MS;
    wk_on_tick(f.core);
    fake_wk_heartbeat(&f); /* which had waited */
    fake_wk_sleep(&f, 1000 * MS);
    cr_assert_eq(f.reconnects, 0);
    fake_wk_sleep(&f, 4000 * MS);
    cr_assert_eq(f.reconnects, 1);
    fake_wk_fini(&f);
}

static void welcome_for(struct fake_wk *f, uint64_t hello)
{
    struct pr_welcome welcome = {.id = {hello}, .heartbeat_ms = 1000, .dead_after_ms = 5000};
    struct pr_buffer packed;
    cr_assert_eq(pr_welcome_pack(&welcome, &packed, NULL), CM_OK);
    wk_on_message(f->core, pr_buffer_bytes(&packed), NULL);
    pr_buffer_fini(&packed);
}

/* Several HELLOs were under way; the coordinator forgot the worker between two of them. */
Test(wk_link, another_membership_ends_what_was_asked_in_the_first)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    fake_wk_init(&f, &o, NULL);
    fake_wk_sleep(&f, 250 * MS); /* it says HELLO twice */
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_HELLO), 2);
    welcome_for(&f, 1);
    fake_wk_measure(&f, 7, 3, 0, false, 0, FAKE_SHARDS);
    fake_wk_finish_all(&f);
    welcome_for(&f, 1);
    cr_assert(!wk_idle(f.core), "it is the same membership");
    welcome_for(&f, 2);
    cr_assert(wk_idle(f.core), "nobody will ever count that");
    fake_wk_fini(&f);
}

Test(wk_link, counts_its_hellos)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    fake_wk_init(&f, &o, NULL);
    fake_wk_sleep(&f, 250 * MS);
    cr_assert_eq(fake_wk_take(&f, PR_HELLO).id.v, 1);
    cr_assert_eq(fake_wk_take(&f, PR_HELLO).id.v, 2);
    fake_wk_fini(&f);
}

Test(wk_link, introduces_itself_again_when_asked)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 60000000, 0, FAKE_SHARDS);
    fake_wk_control(&f, PR_REHELLO, 0);
    fake_wk_take(&f, PR_HELLO);
    fake_wk_control(&f, PR_REHELLO, 0); /* the answer to the heartbeat after */
    cr_assert_eq(f.sent.count, 0);
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core), "whoever asked does not know us");
    cr_assert_eq(f.reconnects, 0);
    fake_wk_welcome(&f, 1000, 5000);
    fake_wk_sleep(&f, 1000 * MS);
    fake_wk_take(&f, PR_HEARTBEAT);
    fake_wk_fini(&f);
}

Test(wk_link, ends_when_it_is_refused)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 60000000, 0, 1);
    struct pr_refuse refuse = {.reason = PR_REFUSAL_GALLERY};
    struct pr_buffer packed;
    snprintf(refuse.text, sizeof refuse.text, "another gallery");
    cr_assert_eq(pr_refuse_pack(&refuse, &packed, NULL), CM_OK);
    wk_on_message(f.core, pr_buffer_bytes(&packed), NULL);
    pr_buffer_fini(&packed);
    cr_assert_eq(f.refusals, 1);
    cr_assert_eq(f.refusal, PR_REFUSAL_GALLERY);
    cr_assert_eq(wk_next_wakeup_ns(f.core), UINT64_MAX);
    wk_on_tick(f.core);
    fake_wk_welcome(&f, 1000, 5000);
    fake_wk_control(&f, PR_REHELLO, 0);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_link, leaves_when_its_searches_are_done)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 60000000, 0, 2);
    wk_leave(f.core);
    fake_wk_take(&f, PR_LEAVING);
    wk_leave(f.core);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(!wk_idle(f.core));
    fake_wk_finish_all(&f);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_RESULT), 2);
    cr_assert(!wk_idle(f.core));
    fake_wk_control(&f, PR_REHELLO, 0);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_HELLO), 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* The coordinator went first, and a search takes its time: the worker beats on, and sleeps between.
 */
Test(wk_link, leaves_a_coordinator_that_is_gone)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 60000000, 0, 1);
    wk_leave(f.core);
    fake_wk_sleep(&f, 8000 * MS);
    cr_assert(wk_next_wakeup_ns(f.core) > f.own_ns);
    cr_assert_eq(f.reconnects, 0);
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_link, survives_noise)
{
    struct fake_wk f;
    ready(&f);
    struct test_random seed = {11};
    for (int i = 0; i < 2000; i++) {
        unsigned char noise[40];
        size_t size = 1 + test_random_below(&seed, sizeof noise);
        for (size_t b = 0; b < size; b++)
            noise[b] = (unsigned char)test_random_below(&seed, 256);
        wk_on_message(f.core, (struct cm_bytes){noise, size}, NULL);
    }
    fake_wk_control(&f, PR_STATUS_REQUEST, 1);
    wk_on_garbage(f.core, "nine frames");
    cr_assert_eq(f.sent.count, 0);
    fake_wk_sleep(&f, 5000 * MS);
    cr_assert_eq(f.reconnects, 1, "noise is no sign of life");
    fake_wk_fini(&f);
}

Test(wk_link, lives_with_a_full_queue)
{
    struct fake_wk f;
    ready(&f);
    f.send_fails = CM_EBUSY;
    fake_wk_search(&f, 1, 5, 60000000, 0, 1);
    fake_wk_finish_all(&f);
    cr_assert(wk_idle(f.core));
    fake_wk_sleep(&f, 2000 * MS);
    f.send_fails = CM_OK;
    fake_wk_sleep(&f, 1000 * MS);
    fake_wk_take(&f, PR_HEARTBEAT);
    fake_wk_fini(&f);
}

/* Its HELLO may be on the way: the coordinator must not send searches to a process that ends. */
Test(wk_link, leaves_also_before_it_is_welcomed)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    fake_wk_init(&f, &o, NULL);
    wk_on_tick(f.core);
    fake_wk_take(&f, PR_HELLO);
    wk_leave(f.core);
    fake_wk_take(&f, PR_LEAVING);
    fake_wk_welcome(&f, 1000, 5000);
    fake_wk_sleep(&f, 900 * MS);
    cr_assert_eq(test_mailbox_count(&f.sent, NULL, PR_HELLO), 0);
    fake_wk_fini(&f);
}
