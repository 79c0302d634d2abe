/* test_place.c: shards come to a worker and go, as the coordinator says. */
#include "proto/wire/heartbeat.h"
#include "tests/support/fake_wk.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS UINT64_C(1000000)

enum { LONG_US = 60000000 };

/* Shards 0 and 1 of four are here, and it was welcomed. */
static void ready(struct fake_wk *f)
{
    struct fake_wk_options o = fake_wk_defaults();
    o.placed = true;
    o.shards = 2;
    fake_wk_init_ready(f, &o);
}

/* HOLDS of a shard that is here, and nothing else. */
static void expect_held(struct fake_wk *f, uint32_t shard)
{
    struct pr_holds holds = fake_wk_take_holds(f);
    cr_assert_eq(holds.shard.v, shard);
    cr_assert_eq(holds.images, FAKE_SHARD_IMAGES);
    cr_assert_eq(holds.first_image, shard * FAKE_SHARD_IMAGES);
    cr_assert_str_eq(holds.text, "");
    cr_assert_eq(f->sent.count, 0);
}

/* HOLDS of one that is not, and nothing else. */
static void expect_lacking(struct fake_wk *f, uint32_t shard, const char *text)
{
    struct pr_holds holds = fake_wk_take_holds(f);
    cr_assert_eq(holds.shard.v, shard);
    cr_assert_eq(holds.images, 0);
    cr_assert_eq(holds.first_image, 0);
    cr_assert_str_eq(holds.text, text);
    cr_assert_eq(f->sent.count, 0);
}

/* Takes a HELLO, which must list the shards whose bits are set. */
static void expect_hello(struct fake_wk *f, unsigned bits)
{
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_HELLO);
    struct pr_hello hello;
    struct cm_error e;
    unsigned listed = 0;
    cr_assert_eq(pr_hello_unpack(m->header, &hello, &e), CM_OK, "%s", e.text);
    cr_assert_str_eq(hello.endpoint, FAKE_WK_ENDPOINT);
    cr_assert(hello.placed);
    for (size_t i = 0; i < hello.held_count; i++) {
        listed |= 1u << hello.held[i].shard.v;
        cr_assert_eq(hello.held[i].first_image, hello.held[i].shard.v * FAKE_SHARD_IMAGES);
        cr_assert_eq(hello.held[i].images, FAKE_SHARD_IMAGES);
    }
    cr_assert_eq(listed, bits, "%x are listed, not %x", listed, bits);
    pr_hello_fini(&hello);
    test_message_free(m);
}

/* A search of one shard is answered in full, or declined. */
static void expect_search(struct fake_wk *f, uint64_t query, uint32_t shard, bool served)
{
    fake_wk_search(f, query, 5, LONG_US, shard, 1);
    fake_wk_finish_all(f);
    struct pr_result r = fake_wk_take_result(f);
    cr_assert_eq(r.shards[0].shard.v, shard);
    cr_assert_eq(r.shards[0].images_scored, served ? FAKE_SHARD_IMAGES : 0);
    cr_assert_eq(r.shards[0].images, served ? FAKE_SHARD_IMAGES : 0,
                 "one that is not here has no images");
    cr_assert_eq(r.reason, served ? PR_REASON_NONE : PR_REASON_INTERNAL);
    cr_assert_eq(r.hits.count, served ? 5 : 0);
    for (size_t i = 0; i < r.hits.count; i++)
        cr_assert_eq(r.hits.items[i].hit.image / FAKE_SHARD_IMAGES, shard);
    pr_result_fini(&r);
    cr_assert_eq(f->sent.count, 0);
}

static struct pr_heartbeat take_heartbeat(struct fake_wk *f)
{
    struct pr_heartbeat heartbeat;
    struct cm_error e;
    fake_wk_sleep(f, 1000 * MS);
    struct test_message *m = test_mailbox_take(&f->sent, "", PR_HEARTBEAT);
    cr_assert_eq(pr_heartbeat_unpack(m->header, &heartbeat, &e), CM_OK, "%s", e.text);
    test_message_free(m);
    return heartbeat;
}

/* --- a shard comes ---------------------------------------------------------------------------- */

Test(wk_place, gets_a_shard_and_serves_it)
{
    struct fake_wk f;
    ready(&f);
    expect_search(&f, 1, 2, false);
    fake_wk_place(&f, 4, 2, 3);
    cr_assert(f.fetching);
    cr_assert_eq(f.fetching_shard, 2);
    cr_assert_eq(f.sources.count, 3);
    cr_assert_str_eq(f.sources.endpoints[2], "ipc://source-2");
    cr_assert_eq(f.sent.count, 0, "nothing is said before it is here");
    expect_search(&f, 2, 2, false);
    fake_wk_fetched(&f);
    expect_held(&f, 2);
    expect_search(&f, 3, 2, true);
    expect_search(&f, 4, 0, true);
    cr_assert_eq(f.fetches, 1);
    fake_wk_fini(&f);
}

Test(wk_place, has_it_already)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 1, 1);
    expect_held(&f, 1);
    cr_assert_eq(f.fetches, 0);
    fake_wk_fini(&f);
}

/* One at a time; an order that is repeated while it is carried out changes nothing. */
Test(wk_place, is_busy_with_another)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_place(&f, 4, 3, 1);
    expect_lacking(&f, 3, "busy getting shard 2");
    fake_wk_place(&f, 4, 2, 2);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(f.fetches, 1);
    fake_wk_fetched(&f);
    expect_held(&f, 2);
    fake_wk_place(&f, 4, 3, 1);
    cr_assert_eq(f.fetches, 2);
    fake_wk_fetched(&f);
    expect_held(&f, 3);
    fake_wk_fini(&f);
}

Test(wk_place, cannot_get_it_and_says_why)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_fetch_failed(&f, "ipc://source-0: not a word for 5 s");
    expect_lacking(&f, 2, "ipc://source-0: not a word for 5 s");
    cr_assert_eq(take_heartbeat(&f).fetching, 0);
    fake_wk_place(&f, 4, 2, 1);
    cr_assert_eq(f.fetches, 2, "it is tried again when it is told again");
    fake_wk_fetched(&f);
    expect_held(&f, 2);
    fake_wk_fini(&f);
}

/* --- a shard goes ----------------------------------------------------------------------------- */

Test(wk_place, lets_go_at_rest)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 1, 0);
    cr_assert_eq(f.releases, 1);
    cr_assert_eq(f.released[0], 1);
    expect_lacking(&f, 1, "");
    expect_search(&f, 1, 1, false);
    expect_search(&f, 2, 0, true);
    fake_wk_place(&f, 4, 1, 0); /* said again: the HOLDS was lost */
    expect_lacking(&f, 1, "");
    fake_wk_place(&f, 4, 3, 0); /* of one that was never here */
    expect_lacking(&f, 3, "");
    cr_assert_eq(f.releases, 1);
    fake_wk_fini(&f);
}

/* The search that has begun ends as if nothing had been; none begins any more. */
Test(wk_place, lets_go_under_a_search)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 2);
    fake_wk_finish_projection(&f);
    fake_wk_finish_block(&f, 0, 0);
    fake_wk_place(&f, 4, 0, 0);
    fake_wk_place(&f, 4, 0, 0);
    cr_assert_eq(f.releases, 0);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_search(&f, 2, 5, LONG_US, 0, 1);
    struct pr_result declined = fake_wk_take_result(&f);
    cr_assert_eq(declined.id.v, 2);
    cr_assert_eq(declined.shards[0].images, 0);
    pr_result_fini(&declined);
    fake_wk_finish_all(&f);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.id.v, 1);
    cr_assert_eq(r.shards[0].shard.v, 0);
    cr_assert_eq(r.shards[0].images_scored, FAKE_SHARD_IMAGES);
    cr_assert_eq(r.hits.count, 5);
    pr_result_fini(&r);
    cr_assert_eq(f.releases, 1);
    struct pr_holds holds = fake_wk_take_holds(&f);
    cr_assert_eq(holds.shard.v, 0);
    cr_assert_eq(holds.images, 0);
    r = fake_wk_take_result(&f);
    cr_assert_eq(r.shards[0].shard.v, 1);
    cr_assert_eq(r.shards[0].images_scored, FAKE_SHARD_IMAGES);
    pr_result_fini(&r);
    fake_wk_fini(&f);
}

/* A job reads the shard even when nobody waits for it any more: fake_wk's release looks. */
Test(wk_place, lets_go_under_a_job_of_a_search_that_was_cancelled)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_finish_projection(&f);
    cr_assert_gt(f.jobs_out, 0);
    fake_wk_place(&f, 4, 0, 0);
    fake_wk_control(&f, PR_CANCEL, 1);
    cr_assert_eq(f.releases, 0);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.releases, 1);
    expect_lacking(&f, 0, "");
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* Likewise when a search runs out of time. */
Test(wk_place, lets_go_after_a_deadline)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, 500000, 0, 1);
    fake_wk_place(&f, 4, 0, 0);
    fake_wk_sleep(&f, 500 * MS);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.reason, PR_REASON_DEADLINE);
    cr_assert_eq(r.shards[0].images, FAKE_SHARD_IMAGES);
    pr_result_fini(&r);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.releases, 1);
    expect_lacking(&f, 0, "");
    fake_wk_fini(&f);
}

/* The scores that an evaluation keeps for its second round outlast the shard. */
Test(wk_place, lets_go_under_an_evaluation)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_measure(&f, 7, 4, 2, false, 0, 2);
    fake_wk_place(&f, 4, 0, 0);
    fake_wk_place(&f, 4, 1, 0);
    cr_assert_eq(f.releases, 0);
    fake_wk_finish_all(&f);
    struct cm_hit all[2 * FAKE_SHARD_IMAGES];
    struct pr_census census;
    size_t count = fake_positives(7, 4, 2, 0, 2 * FAKE_SHARD_IMAGES, &census, all);
    for (uint32_t shard = 0; shard < 2; shard++) {
        struct pr_positives_message m = fake_wk_take_positives(&f);
        cr_assert_eq(m.reason, PR_REASON_NONE);
        cr_assert_eq(m.images, FAKE_SHARD_IMAGES);
        pr_positives_message_fini(&m);
        cr_assert_eq(fake_wk_take_holds(&f).shard.v, shard);
    }
    cr_assert_eq(f.releases, 2);
    cr_assert(!wk_idle(f.core));
    fake_wk_count(&f, 7, &(struct pr_positives){.items = all, .count = count});
    struct pr_counts_message m = fake_wk_take_counts(&f);
    for (size_t i = 0; i < count; i++) {
        struct pr_counts c = fake_counts(7, 4, 2, 0, 2 * FAKE_SHARD_IMAGES, &all[i]);
        cr_assert_eq(memcmp(&m.counts.items[i], &c, sizeof c), 0, "positive %zu", i);
    }
    pr_counts_fini(&m);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

/* --- changes of mind -------------------------------------------------------------------------- */

/* On its way out, and wanted again: it was never away. */
Test(wk_place, revives_what_is_on_its_way_out)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_place(&f, 4, 0, 0);
    fake_wk_place(&f, 5, 0, 1);
    expect_held(&f, 0);
    cr_assert_eq(f.fetches, 0);
    fake_wk_finish_all(&f);
    cr_assert_eq(f.releases, 0);
    struct pr_result r = fake_wk_take_result(&f);
    cr_assert_eq(r.shards[0].images_scored, FAKE_SHARD_IMAGES);
    pr_result_fini(&r);
    expect_search(&f, 2, 0, true);
    fake_wk_fini(&f);
}

Test(wk_place, a_fetch_is_called_off)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_place(&f, 5, 2, 0);
    cr_assert(!f.fetching);
    cr_assert_eq(f.abandoned, 1);
    cr_assert_eq(f.forgotten, 1, "it is not wanted: nothing is kept of it");
    expect_lacking(&f, 2, "");
    fake_wk_place(&f, 6, 3, 1); /* and another can be got */
    cr_assert_eq(f.fetching_shard, 3);
    fake_wk_place(&f, 6, 2, 0); /* which this has nothing to do with */
    expect_lacking(&f, 2, "");
    cr_assert(f.fetching);
    fake_wk_fetched(&f);
    expect_held(&f, 3);
    fake_wk_fini(&f);
}

Test(wk_place, gets_again_what_it_let_go)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 0, 0);
    expect_lacking(&f, 0, "");
    fake_wk_place(&f, 5, 0, 1);
    cr_assert_eq(f.fetches, 1);
    fake_wk_fetched(&f);
    expect_held(&f, 0);
    expect_search(&f, 1, 0, true);
    fake_wk_fini(&f);
}

/* --- orders that are not obeyed --------------------------------------------------------------- */

Test(wk_place, passes_over_a_stale_order)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 7, 2, 1);
    fake_wk_fetched(&f);
    expect_held(&f, 2);
    fake_wk_place(&f, 6, 2, 0); /* of a coordinator that was there before */
    fake_wk_place(&f, 6, 3, 1);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(f.fetches, 1);
    cr_assert_eq(f.releases, 0);
    fake_wk_place(&f, 7, 2, 0); /* not lower is not stale */
    expect_lacking(&f, 2, "");
    fake_wk_fini(&f);
}

/* Started with --shards it keeps what it has. */
Test(wk_place, is_not_placed)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.shards = 2;
    fake_wk_init_ready(&f, &o);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_place(&f, 4, 0, 0);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(f.fetches, 0);
    cr_assert_eq(f.releases, 0);
    expect_search(&f, 1, 0, true);
    fake_wk_fini(&f);
}

Test(wk_place, a_shard_that_the_gallery_has_not)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, FAKE_SHARDS, 1);
    fake_wk_place(&f, 4, FAKE_SHARDS, 0);
    fake_wk_place(&f, 4, CM_SHARDS_MAX - 1, 1);
    cr_assert_eq(f.sent.count, 0);
    cr_assert_eq(f.fetches, 0);
    fake_wk_place(&f, 3, 2, 1);
    cr_assert_eq(f.fetches, 1, "the epoch of nonsense counts for nothing");
    fake_wk_fini(&f);
}

/* A PLACE that is cut anywhere. */
Test(wk_place, a_broken_order)
{
    struct fake_wk f;
    ready(&f);
    struct pr_place place = {.epoch = 9, .shard = {0}};
    struct pr_buffer packed;
    cr_assert_eq(pr_place_pack(&place, &packed, NULL), CM_OK);
    for (size_t cut = 1; cut < packed.size; cut++)
        wk_on_message(f.core, (struct cm_bytes){packed.data, cut}, NULL);
    pr_buffer_fini(&packed);
    cr_assert_eq(f.releases, 0);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_fini(&f);
}

/* --- out of touch ----------------------------------------------------------------------------- */

/* HELLO lists what is here when it is said; what changed behind it is told once it is welcomed. */
Test(wk_place, tells_what_changed_while_it_was_not_welcome)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_control(&f, PR_REHELLO, 0);
    expect_hello(&f, 3);
    fake_wk_fetched(&f);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_place(&f, 4, 0, 0); /* from a coordinator that has not heard it: HELLO says what is */
    cr_assert_eq(f.releases, 0);
    fake_wk_sleep(&f, 250 * MS);
    expect_hello(&f, 7);
    fake_wk_welcome(&f, 1000, 5000);
    expect_held(&f, 2);
    fake_wk_welcome(&f, 1000, 5000); /* the answer to the second HELLO */
    cr_assert_eq(f.sent.count, 0);
    fake_wk_fini(&f);
}

/* A shard on its way out goes with the searches that are dropped, and is not in the HELLO. */
Test(wk_place, what_was_on_its_way_out_goes_with_the_coordinator)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 2);
    fake_wk_finish_projection(&f); /* a job is at shard 0 */
    fake_wk_place(&f, 4, 0, 0);
    fake_wk_place(&f, 4, 1, 0);
    fake_wk_sleep(&f, 5000 * MS);
    cr_assert_eq(f.reconnects, 1);
    while (test_mailbox_count(&f.sent, "", PR_HEARTBEAT) > 0)
        fake_wk_take(&f, PR_HEARTBEAT);
    expect_hello(&f, 0);
    cr_assert_eq(f.releases, 1, "nothing is at shard 1 any more");
    fake_wk_welcome(&f, 1000, 5000);
    expect_lacking(&f, 1, "");
    fake_wk_finish_all(&f);
    cr_assert_eq(f.releases, 2);
    expect_lacking(&f, 0, "");
    fake_wk_fini(&f);
}

/* A HOLDS that cannot be sent waits as well. */
Test(wk_place, tells_again_what_could_not_be_sent)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    f.send_fails = CM_EBUSY;
    fake_wk_fetched(&f);
    fake_wk_place(&f, 4, 1, 0);
    f.send_fails = CM_OK;
    fake_wk_control(&f, PR_REHELLO, 0);
    expect_hello(&f, 5);
    fake_wk_welcome(&f, 1000, 5000);
    cr_assert_eq(fake_wk_take_holds(&f).shard.v, 1);
    expect_held(&f, 2);
    fake_wk_fini(&f);
}

/* Whoever asked is gone, and asks anew. */
Test(wk_place, fails_while_it_is_not_welcome)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_control(&f, PR_REHELLO, 0);
    expect_hello(&f, 3);
    fake_wk_fetch_failed(&f, "no source");
    fake_wk_welcome(&f, 1000, 5000);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_place(&f, 4, 2, 1);
    cr_assert_eq(f.fetches, 2);
    fake_wk_fini(&f);
}

/* A fetch goes on while the coordinator is away, and is no other's business. */
Test(wk_place, gets_on_without_the_coordinator)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_sleep(&f, 60000 * MS);
    cr_assert(f.reconnects > 0);
    cr_assert_eq(f.abandoned, 0);
    fake_wk_fetched(&f);
    test_mailbox_clear(&f.sent);
    fake_wk_welcome(&f, 1000, 5000);
    expect_held(&f, 2);
    fake_wk_fini(&f);
}

/* --- heartbeat, farewell ---------------------------------------------------------------------- */

Test(wk_place, a_heartbeat_says_that_it_is_getting_one)
{
    struct fake_wk f;
    ready(&f);
    struct pr_heartbeat heartbeat = take_heartbeat(&f);
    cr_assert_eq(heartbeat.fetching, 0);
    cr_assert_eq(heartbeat.memory_bytes, FAKE_WK_MEMORY_BYTES);
    fake_wk_place(&f, 4, 2, 1);
    cr_assert_eq(take_heartbeat(&f).fetching, 1);
    fake_wk_fetched(&f);
    expect_held(&f, 2);
    cr_assert_eq(take_heartbeat(&f).fetching, 0);
    fake_wk_fini(&f);
}

/* Others have everything: it finishes what it has, tells, and goes. */
Test(wk_place, is_dismissed)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_search(&f, 1, 5, LONG_US, 0, 1);
    fake_wk_place(&f, 4, 2, 1);
    fake_wk_control(&f, PR_DISMISS, 0);
    cr_assert_eq(f.dismissals, 1);
    cr_assert_eq(f.abandoned, 1);
    cr_assert_eq(f.forgotten, 0);
    fake_wk_take(&f, PR_LEAVING);
    fake_wk_control(&f, PR_DISMISS, 0); /* said again with each heartbeat */
    fake_wk_place(&f, 5, 3, 1);
    fake_wk_place(&f, 5, 1, 0);
    cr_assert_eq(f.dismissals, 1);
    cr_assert_eq(f.fetches, 1);
    cr_assert_eq(f.releases, 0);
    cr_assert_eq(f.sent.count, 0);
    cr_assert(!wk_idle(f.core));
    fake_wk_finish_all(&f);
    struct pr_result r = fake_wk_take_result(&f);
    pr_result_fini(&r);
    fake_wk_control(&f, PR_REHELLO, 0);
    cr_assert(wk_idle(f.core));
    fake_wk_fini(&f);
}

Test(wk_place, is_not_dismissed_by_whom_it_has_not_met)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.placed = true;
    fake_wk_init(&f, &o, NULL);
    fake_wk_control(&f, PR_DISMISS, 0);
    cr_assert_eq(f.dismissals, 0);
    cr_assert_eq(f.sent.count, 0);
    fake_wk_fini(&f);
}

/* What came of a fetch is kept for the next time by a worker that is stopped. */
Test(wk_place, leaves_a_fetch_where_it_is)
{
    struct fake_wk f;
    ready(&f);
    fake_wk_place(&f, 4, 2, 1);
    wk_leave(f.core);
    cr_assert_eq(f.abandoned, 1);
    cr_assert_eq(f.forgotten, 0);
    fake_wk_take(&f, PR_LEAVING);
    fake_wk_fini(&f);
}

/* A worker without any shard: it says so, is welcomed, and gets its first. */
Test(wk_place, begins_with_nothing)
{
    struct fake_wk f;
    struct fake_wk_options o = fake_wk_defaults();
    o.placed = true;
    o.shards = 0;
    fake_wk_init(&f, &o, NULL);
    wk_on_tick(f.core);
    expect_hello(&f, 0);
    fake_wk_welcome(&f, 1000, 5000);
    expect_search(&f, 1, 0, false);
    fake_wk_place(&f, 1, 0, 8);
    fake_wk_fetched(&f);
    expect_held(&f, 0);
    expect_search(&f, 2, 0, true);
    fake_wk_fini(&f);
}
