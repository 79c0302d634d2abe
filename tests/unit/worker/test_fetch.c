/* test_fetch.c: a file on its way from another worker that does what it should: what is asked for,
 * in what order, from where on, and how fast. */
#include "tests/unit/worker/fetch_world.h"

/* --- a source that does what it should -------------------------------------------------------- */

Test(wk_fetch, asks_in_order_and_no_more_than_the_window)
{
    struct world w;
    uint64_t file_bytes = 9 * MIB + 5;
    begin_plain(&w, file_bytes, 1);
    cr_assert_str_eq(w.dialled, "ipc://s0");
    cr_assert_eq(w.reads_count, 4);
    for (size_t i = 0; i < 4; i++) {
        cr_assert_eq(w.reads[i].offset, i * MIB);
        cr_assert_eq(w.reads[i].bytes, MIB);
        cr_assert_eq(w.reads[i].file, PR_FILE_SHARD);
        cr_assert_eq(w.reads[i].shard.v, SHARD);
        cr_assert_eq(w.reads[i].gallery.bytes[2], 3);
        cr_assert_eq(w.reads[i].id.v, w.reads[0].id.v + i);
    }
    answer(&w);
    answer(&w);
    cr_assert_eq(w.reads_count, 2, "what is not written counts");
    write_one(&w);
    cr_assert_eq(w.reads_count, 3);
    cr_assert_eq(w.reads[2].offset, 4 * MIB);
    give_all(&w);
    cr_assert_eq(w.asked_bytes, file_bytes, "nothing twice");
    cr_assert_eq(w.dials, 1);
    expect_done(&w);
}

Test(wk_fetch, small_files_of_every_edge)
{
    static const uint64_t sizes[] = {1, 4096, MIB - 1, MIB, MIB + 1, 4 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct world w;
        begin_plain(&w, sizes[i], 1);
        give_all(&w);
        cr_assert_eq(w.asked_bytes, sizes[i]);
        expect_done(&w);
    }
}

/* Whole blocks of what is there are kept: the last one may be torn. */
Test(wk_fetch, goes_on_where_a_partial_file_ends)
{
    static const struct {
        uint64_t have, from;
    } cases[] = {
        {0, 0},           {MIB - 1, 0}, {MIB, MIB}, {3 * MIB + 70, 3 * MIB}, {5 * MIB + 9, 5 * MIB},
        {5 * MIB + 10, 0}}; /* more than the file has: it is another one */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        struct wk_fetch_plan plan = plan_of(5 * MIB + 9, 1);
        plan.have_bytes = cases[i].have;
        begin(&w, &plan, 5 * MIB + 9);
        cr_assert_eq(w.reads[0].offset, cases[i].from, "case %zu", i);
        give_all(&w);
        cr_assert_eq(w.asked_bytes, 5 * MIB + 9 - cases[i].from);
        expect_done(&w);
    }
}

/* It was killed between the last byte and the check: nobody has to be asked. */
Test(wk_fetch, checks_what_is_all_there)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(3 * MIB, 1);
    plan.have_bytes = 3 * MIB;
    begin(&w, &plan, 3 * MIB);
    cr_assert_eq(w.seals, 1);
    cr_assert_eq(w.dials, 0);
    sealed(&w, CM_ECORRUPT, "block 0"); /* and if it is bad: all of it from a source */
    cr_assert_eq(w.dials, 1);
    cr_assert_str_eq(w.dialled, "ipc://s0");
    cr_assert_eq(w.reads[0].offset, 0);
    w.seals = 0;
    give_all(&w);
    expect_done(&w);
}

/* The manifest: the source says how big it is. */
Test(wk_fetch, learns_the_size)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(0, 1);
    plan.most_bytes = 3 * MIB;
    plan.have_bytes = MIB; /* of whatever: not gone on with */
    w.file_bytes = 2 * MIB + 3;
    begin(&w, &plan, 2 * MIB + 3);
    cr_assert_eq(w.reads_count, 1, "one, until the size is known");
    cr_assert_eq(w.reads[0].offset, 0);
    answer(&w);
    cr_assert_eq(w.reads_count, 2);
    give_all(&w);
    cr_assert_eq(w.reads_count, 0);
    expect_done(&w);
    begin(&w, &plan, 1000);
    give_all(&w);
    expect_done(&w);
    begin(&w, &plan, 3 * MIB + 1); /* too much: an attack on the disk */
    answer(&w);
    cr_assert_eq(w.outcome, CM_EUNAVAIL);
    cr_assert_eq(w.taken, 0);
    cr_assert(strstr(w.why, "3145729 bytes there; 3145728 at most"), "%s", w.why);
    over(&w);
}

/* --- the disk --------------------------------------------------------------------------------- */

Test(wk_fetch, a_full_disk_is_the_end)
{
    struct world w;
    begin_plain(&w, 9 * MIB, 2);
    answer(&w);
    answer(&w);
    wk_fetch_on_written(w.fetch, MIB, CM_ENOSPC, "No space left on device");
    cr_assert_eq(w.outcome, CM_ENOSPC);
    cr_assert_str_eq(w.why, "No space left on device");
    wk_fetch_on_written(w.fetch, MIB, CM_ENOSPC, "No space left on device");
    answer(&w);
    cr_assert_eq(w.dials, 1);
    over(&w);
}

Test(wk_fetch, a_check_that_cannot_be_done_is_the_end)
{
    struct world w;
    begin_plain(&w, 2 * MIB, 2);
    give_all(&w);
    wk_fetch_on_sealed(w.fetch, CM_EIO, "the disk is broken");
    cr_assert_eq(w.outcome, CM_EIO);
    cr_assert_str_eq(w.why, "the disk is broken");
    over(&w);
}

/* --- the rate --------------------------------------------------------------------------------- */

/* A minute with an instant source and disk: bytes asked for are the rate's, within 2 %. */
static void expect_rate(uint64_t bytes_per_s)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(UINT64_C(1) << 40, 1);
    uint64_t due = 60 * bytes_per_s;
    plan.bytes_per_s = bytes_per_s;
    begin(&w, &plan, UINT64_C(1) << 40);
    for (uint64_t end_ns = w.now_ns + 60 * SEC; w.now_ns < end_ns;) {
        give_all(&w);
        uint64_t next = wk_fetch_wakeup_ns(w.fetch);
        pass_time(&w, next > end_ns ? end_ns - w.now_ns : next - w.now_ns);
    }
    uint64_t off = w.asked_bytes > due ? w.asked_bytes - due : due - w.asked_bytes;
    cr_assert(off <= due / 50 || off <= MIB, "%" PRIu64 " bytes of %" PRIu64, w.asked_bytes, due);
    cr_assert_eq(w.dials, 1);
    over(&w);
}

Test(wk_fetch, keeps_to_its_rate)
{
    expect_rate(1000000);
    expect_rate(10000000);
    expect_rate(50000000);
}

/* What was not used while nothing could be asked for is not caught up on. */
Test(wk_fetch, does_not_save_up_its_rate)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(UINT64_C(1) << 30, 1);
    plan.bytes_per_s = 10 * MIB;
    begin(&w, &plan, UINT64_C(1) << 30);
    while (w.reads_count > 0) {
        answer(&w);
        pass_time(&w, 200 * MS);
    }
    cr_assert_eq(w.taken, 4 * MIB);
    pass_time(&w, 100 * SEC); /* the disk hangs */
    uint64_t before = w.asked_bytes;
    for (unsigned i = 0; i < 10; i++) {
        give_all(&w);
        pass_time(&w, 100 * MS);
    }
    cr_assert_leq(w.asked_bytes - before, 12 * MIB);
    over(&w);
}

/* A rate of less than a block in the time that counts as silence. */
Test(wk_fetch, a_slow_rate_is_no_silence)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(5 * MIB, 1);
    plan.bytes_per_s = MIB / 20;
    begin(&w, &plan, 5 * MIB);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(w.reads_count, 1, "block %u", i);
        give_all(&w);
        if (i < 4)
            pass_time(&w, 21 * SEC);
    }
    cr_assert_eq(w.dials, 1);
    expect_done(&w);
}
