/* test_fetch_faults.c: a file on its way from workers that lie, fall silent, or have a bad one. */
#include "tests/unit/worker/fetch_world.h"

/* --- a source that does not ------------------------------------------------------------------- */

/* What is wrong with an answer. */
enum lie {
    BAD_CRC,
    WRONG_OFFSET,
    WRONG_ID,
    OLD_ID,
    WRONG_SIZE,
    SIZE_OF_NOTHING,
    SAYS_NO,
    SHORTER,
    LONGER,
    NO_PAYLOAD,
    EMPTY_PAYLOAD,
    ANOTHER_MESSAGE,
    NOISE,
    GARBAGE,
    LIES,
};

static const char *const lie_texts[LIES] = {
    [BAD_CRC] = "do not match their checksum",
    [WRONG_OFFSET] = "were asked for",
    [WRONG_ID] = "not asked for",
    [OLD_ID] = "not asked for",
    [WRONG_SIZE] = "bytes there",
    [SIZE_OF_NOTHING] = "it does not give the file",
    [SAYS_NO] = "the gallery has no such shard",
    [SHORTER] = "were asked for",
    [LONGER] = "were asked for",
    [NO_PAYLOAD] = "were asked for",
    [EMPTY_PAYLOAD] = "were asked for",
    [ANOTHER_MESSAGE] = "",
    [NOISE] = "",
    [GARBAGE] = "nine frames",
};

/* A READ comes back to whom it came from, or bytes that are no message. */
static void say_other(struct world *w, enum lie lie, const struct pr_read *read)
{
    struct pr_buffer packed;
    struct cm_error e;
    if (lie == GARBAGE) {
        wk_fetch_on_garbage(w->fetch, "nine frames");
        return;
    }
    if (lie == NOISE) {
        wk_fetch_on_message(w->fetch, (struct cm_bytes){"\xc1\xc1 noise", 8}, NULL);
        return;
    }
    cr_assert_eq(pr_read_pack(read, &packed, &e), CM_OK, "%s", e.text);
    wk_fetch_on_message(w->fetch, pr_buffer_bytes(&packed), NULL);
    pr_buffer_fini(&packed);
}

static void tell_lie(struct world *w, enum lie lie)
{
    struct cm_blob *payload;
    struct pr_read read = take_read(w);
    struct pr_block block = truth(w, &read, &payload);
    uint64_t bytes = cm_blob_size(payload);
    if (lie == ANOTHER_MESSAGE || lie == NOISE || lie == GARBAGE) {
        say_other(w, lie, &read);
        cm_blob_unref(&payload);
        return;
    }
    if (lie == SHORTER || lie == LONGER || lie == EMPTY_PAYLOAD) {
        cm_blob_unref(&payload);
        bytes = lie == LONGER ? 2 * MIB : lie == SHORTER ? bytes - 1 : 0;
        payload = bytes_of(read.offset, bytes);
        block.payload_crc32c = cm_crc32c(0, cm_blob_data(payload), bytes);
    }
    block.payload_crc32c ^= lie == BAD_CRC;
    block.offset += lie == WRONG_OFFSET ? MIB : 0;
    block.id.v += lie == WRONG_ID ? 1 : lie == OLD_ID ? UINT64_MAX : 0;
    block.file_bytes += lie == WRONG_SIZE;
    if (lie == SIZE_OF_NOTHING || lie == SAYS_NO)
        block.file_bytes = 0;
    if (lie == SAYS_NO)
        snprintf(block.text, sizeof block.text, "the gallery has no such shard");
    say(w, &block, lie == NO_PAYLOAD ? NULL : payload);
    cm_blob_unref(&payload);
}

/* Each lie, told at once and later, is believed by nobody: the next source goes on, from there. */
Test(wk_fetch, leaves_a_source_that_lies)
{
    for (enum lie lie = 0; lie < LIES; lie++)
        for (unsigned before = 0; before < 3; before += 2) {
            struct world w;
            begin_plain(&w, 6 * MIB, 2);
            for (unsigned i = 0; i < before; i++)
                answer(&w);
            tell_lie(&w, lie);
            cr_assert_eq(w.dials, 2, "lie %d is believed", (int)lie);
            cr_assert_str_eq(w.dialled, "ipc://s1");
            cr_assert_eq(w.taken, before * MIB);
            cr_assert_eq(w.reads[0].offset, before * MIB, "it goes on where it was");
            give_all(&w);
            expect_done(&w);
        }
}

Test(wk_fetch, fails_when_no_source_is_left_and_says_why)
{
    for (enum lie lie = 0; lie < LIES; lie++) {
        struct world w;
        begin_plain(&w, 6 * MIB, 1);
        tell_lie(&w, lie);
        cr_assert_eq(w.ends, 1);
        cr_assert_eq(w.outcome, CM_EUNAVAIL);
        cr_assert(strstr(w.why, "ipc://s0: ") == w.why, "%s", w.why);
        cr_assert(strstr(w.why, lie_texts[lie]) != NULL, "lie %d: %s", (int)lie, w.why);
        cr_assert_eq(wk_fetch_wakeup_ns(w.fetch), UINT64_MAX);
        wk_fetch_on_tick(w.fetch); /* all of it comes too late */
        wk_fetch_on_garbage(w.fetch, "noise");
        wk_fetch_on_written(w.fetch, MIB, CM_OK, "");
        wk_fetch_on_sealed(w.fetch, CM_OK, "");
        cr_assert_eq(w.ends, 1);
        over(&w);
    }
}

/* A source that answers what was not asked, before it was asked for anything. */
Test(wk_fetch, an_answer_to_nothing)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(2 * MIB, 1);
    struct pr_block block = {.id = {1}, .file_bytes = 2 * MIB};
    begin(&w, &plan, 2 * MIB);
    answer(&w);
    answer(&w);
    cr_assert_eq(w.reads_count, 0);
    block.offset = 2 * MIB;
    block.id.v = 3;
    say(&w, &block, NULL); /* while the disk is at it: all is here, nobody else is needed */
    cr_assert_eq(w.ends, 0, "%s", w.why);
    pass_time(&w, 60 * SEC);
    write_one(&w);
    write_one(&w);
    expect_done(&w);
}

/* The longest text that a source can send is cut, not written beyond its room. */
Test(wk_fetch, a_long_reason)
{
    struct world w;
    begin_plain(&w, MIB, 1);
    struct pr_block block = {.id = take_read(&w).id};
    memset(block.text, 'x', CM_TEXT_BYTES_MAX);
    say(&w, &block, NULL);
    cr_assert_eq(w.outcome, CM_EUNAVAIL);
    cr_assert_eq(strlen(w.why), CM_TEXT_BYTES_MAX);
    over(&w);
}

Test(wk_fetch, passes_over_sources_that_cannot_be_dialled)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(2 * MIB, 3);
    const struct wk_fetch_io io = {&w, dial, send, write_bytes, seal, end, now_ns};
    for (unsigned bad = 1; bad <= 3; bad++) {
        struct cm_error e;
        w = (struct world){.now_ns = 5, .file_bytes = 2 * MIB, .dials_that_fail = bad};
        cr_assert_eq(wk_fetch_new(&w.fetch, &plan, &io, NULL, &e), CM_OK);
        cr_assert_eq(w.dials, 0, "not before the first tick");
        cr_assert_leq(wk_fetch_wakeup_ns(w.fetch), w.now_ns);
        wk_fetch_on_tick(w.fetch);
        if (bad < 3) {
            give_all(&w);
            cr_assert_eq(w.dials, bad + 1);
            expect_done(&w);
        } else {
            cr_assert_eq(w.outcome, CM_EUNAVAIL);
            cr_assert(strstr(w.why, "ipc://s2 is no endpoint") != NULL, "%s", w.why);
            over(&w);
        }
    }
}

/* --- silence ---------------------------------------------------------------------------------- */

Test(wk_fetch, leaves_a_silent_source)
{
    struct world w;
    begin_plain(&w, 9 * MIB, 2);
    pass_time(&w, 4999 * MS);
    answer(&w); /* a sign of life */
    pass_time(&w, 4999 * MS);
    cr_assert_eq(w.dials, 1);
    pass_time(&w, 1 * MS);
    cr_assert_eq(w.dials, 2);
    cr_assert_eq(w.reads[0].offset, MIB);
    pass_time(&w, 5000 * MS);
    cr_assert_eq(w.outcome, CM_EUNAVAIL);
    cr_assert_str_eq(w.why, "ipc://s1: not a word for 5 s");
    over(&w);
}

Test(wk_fetch, waits_for_a_connection_but_not_for_ever)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(2 * MIB, 2);
    begin(&w, &plan, 2 * MIB);
    over(&w);
    const struct wk_fetch_io io = {&w, dial, send, write_bytes, seal, end, now_ns};
    struct cm_error e;
    w = (struct world){.now_ns = 5, .file_bytes = 2 * MIB, .send_fails = CM_EBUSY};
    cr_assert_eq(wk_fetch_new(&w.fetch, &plan, &io, NULL, &e), CM_OK);
    wk_fetch_on_tick(w.fetch);
    pass_time(&w, 4900 * MS);
    cr_assert_eq(w.dials, 1);
    pass_time(&w, 100 * MS);
    cr_assert_eq(w.dials, 2);
    pass_time(&w, 3000 * MS);
    w.send_fails = CM_OK;
    pass_time(&w, 20 * MS);
    cr_assert_eq(w.reads_count, 2, "tried again soon");
    give_all(&w);
    cr_assert_eq(w.dials, 2);
    expect_done(&w);
}

/* A source dies when it owes nothing: the next READ finds no connection. */
Test(wk_fetch, leaves_a_source_that_goes_between_two_answers)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(20 * MIB, 2);
    plan.bytes_per_s = MIB; /* so one is asked for a second, and answered long before the next */
    begin(&w, &plan, 20 * MIB);
    for (unsigned s = 0; s < 10; s++) {
        give_all(&w);
        pass_time(&w, SEC);
    }
    give_all(&w);
    cr_assert_eq(w.dials, 1);
    w.send_fails = CM_EBUSY;
    pass_time(&w, 5 * SEC);
    cr_assert_eq(w.dials, 1, "given the time that a connection may take");
    pass_time(&w, 1100 * MS);
    cr_assert_eq(w.dials, 2);
    w.send_fails = CM_OK;
    while (!w.seals) {
        pass_time(&w, SEC);
        give_all(&w);
    }
    cr_assert_eq(w.asked_bytes, 20 * MIB);
    expect_done(&w);
}

/* Any other error of a send is that source's end. */
Test(wk_fetch, leaves_a_source_that_cannot_be_sent_to)
{
    struct world w;
    begin_plain(&w, 9 * MIB, 2);
    answer(&w);
    w.send_fails = CM_EIO;
    write_one(&w);
    cr_assert_eq(w.ends, 1, "the second cannot be sent to either");
    cr_assert_eq(w.outcome, CM_EUNAVAIL);
    cr_assert_str_eq(w.why, "ipc://s1: cannot be sent");
    over(&w);
}

/* A slow disk is nobody's silence. */
Test(wk_fetch, a_slow_disk_is_waited_for)
{
    struct world w;
    begin_plain(&w, 9 * MIB, 1);
    for (unsigned i = 0; i < 4; i++)
        answer(&w);
    pass_time(&w, 600 * SEC);
    cr_assert_eq(w.dials, 1);
    cr_assert_eq(w.ends, 0);
    give_all(&w);
    pass_time(&w, 600 * SEC); /* nor is a slow check */
    expect_done(&w);
}

/* --- a whole that is bad ---------------------------------------------------------------------- */

/* All of it from one source, each block right by its checksum: the source has a bad file. */
Test(wk_fetch, a_bad_file_of_one_source_is_got_from_the_next)
{
    static const enum cm_err bad[] = {CM_ECORRUPT, CM_EFORMAT, CM_EVERSION, CM_EMISMATCH};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct world w;
        begin_plain(&w, 5 * MIB, 2);
        give_all(&w);
        sealed(&w, bad[i], "block 7 does not match its checksum");
        cr_assert_eq(w.dials, 2);
        cr_assert_str_eq(w.dialled, "ipc://s1");
        cr_assert_eq(w.reads[0].offset, 0);
        give_all(&w);
        cr_assert_eq(w.seals, 2);
        sealed(&w, bad[i], "block 7 does not match its checksum");
        cr_assert_eq(w.outcome, CM_EUNAVAIL);
        cr_assert_str_eq(w.why, "ipc://s1: block 7 does not match its checksum");
        over(&w);
    }
}

/* Of a mixture it cannot be said whose the bad bytes were. */
Test(wk_fetch, a_bad_mixture_is_got_again_from_the_same_source)
{
    struct world w;
    struct wk_fetch_plan plan = plan_of(5 * MIB, 2);
    plan.have_bytes = 2 * MIB;
    begin(&w, &plan, 5 * MIB);
    give_all(&w);
    sealed(&w, CM_ECORRUPT, "block 0");
    cr_assert_str_eq(w.dialled, "ipc://s0");
    cr_assert_eq(w.reads[0].offset, 0);
    give_all(&w);
    sealed(&w, CM_ECORRUPT, "block 0"); /* all of it is that source's now */
    cr_assert_str_eq(w.dialled, "ipc://s1");
    answer(&w);
    give_all(&w);
    w.seals = 1;
    expect_done(&w);
}

Test(wk_fetch, a_bad_mixture_of_two_sources)
{
    struct world w;
    begin_plain(&w, 5 * MIB, 2);
    answer(&w);
    tell_lie(&w, BAD_CRC);
    give_all(&w);
    sealed(&w, CM_ECORRUPT, "block 0");
    cr_assert_str_eq(w.dialled, "ipc://s1");
    cr_assert_eq(w.reads[0].offset, 0);
    give_all(&w);
    w.seals = 1;
    expect_done(&w);
}
