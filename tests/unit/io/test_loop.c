/* test_loop.c: timers, signals and wakes. */
#include "common/io/loop.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

enum { MS = 1000000 };

struct fixture {
    struct io_loop *loop;
    struct io_timer *timer;
    struct io_timer *other;
    struct io_signal *sig;
    struct io_wake *wake;
    uint64_t at_ns;
    uint64_t fired_ns;
    int fired;
    int signals;
    int signum;
    int woken;
    atomic_uint sent;
};

static void new_loop(struct fixture *f)
{
    struct cm_error e;
    *f = (struct fixture){0};
    cr_assert_eq(io_loop_new(&f->loop, &e), CM_OK, "%s", e.text);
}

static void new_timer(struct fixture *f, struct io_timer **out, void (*fire)(void *))
{
    cr_assert_eq(io_timer_new(out, f->loop, fire, f, NULL), CM_OK);
}

static void note_time(void *ctx)
{
    struct fixture *f = ctx;
    f->fired++;
    f->fired_ns = io_now_ns();
}

Test(io_loop, a_timer_is_never_early)
{
    struct fixture f;
    new_loop(&f);
    new_timer(&f, &f.timer, note_time);
    for (int i = 0; i < 40; i++) {
        uint64_t at_ns = io_now_ns() + (uint64_t)i * 97003; /* 0 to 3.8 ms, at odd fractions */
        io_timer_set(f.timer, at_ns);
        io_loop_run(f.loop);
        cr_assert_eq(f.fired, i + 1);
        cr_assert(f.fired_ns >= at_ns, "%lld ns early", (long long)(at_ns - f.fired_ns));
        cr_assert(f.fired_ns < at_ns + 500ull * MS);
    }
    io_loop_free(f.loop);
}

static void fire_three_times(void *ctx)
{
    struct fixture *f = ctx;
    if (++f->fired < 3)
        io_timer_set(f->timer, 0);
    else
        io_timer_close(f->timer);
}

Test(io_loop, a_timer_can_be_set_and_closed_in_its_callback)
{
    struct fixture f;
    new_loop(&f);
    new_timer(&f, &f.timer, fire_three_times);
    io_timer_set(f.timer, 0);
    io_loop_run(f.loop);
    cr_assert_eq(f.fired, 3);
    io_loop_free(f.loop);
}

static void set_past_again(void *ctx)
{
    struct fixture *f = ctx;
    f->fired++;
    io_timer_set(f->timer, 0);
}

static void stop(void *ctx)
{
    struct fixture *f = ctx;
    io_loop_stop(f->loop);
}

Test(io_loop, a_timer_always_due_starves_nobody)
{
    struct fixture f;
    new_loop(&f);
    new_timer(&f, &f.timer, set_past_again);
    new_timer(&f, &f.other, stop);
    io_timer_set(f.timer, 0);
    io_timer_set(f.other, io_now_ns() + 20 * MS);
    io_loop_run(f.loop);
    cr_assert(f.fired >= 2 && f.fired <= 30, "%d", f.fired);
    io_loop_free(f.loop);
}

Test(io_loop, a_cancelled_timer_stays_silent)
{
    struct fixture f;
    new_loop(&f);
    new_timer(&f, &f.timer, note_time);
    new_timer(&f, &f.other, stop);
    io_timer_set(f.timer, io_now_ns() + 2 * MS);
    io_timer_set(f.other, io_now_ns() + 10 * MS);
    io_timer_cancel(f.timer);
    io_loop_run(f.loop);
    cr_assert_eq(f.fired, 0);
    io_loop_free(f.loop);
}

static void on_signal(void *ctx, int signum)
{
    struct fixture *f = ctx;
    f->signals++;
    f->signum = signum;
    io_loop_stop(f->loop);
}

Test(io_loop, a_signal_is_an_event)
{
    struct fixture f;
    new_loop(&f);
    cr_assert_eq(io_signal_new(&f.sig, f.loop, SIGTERM, on_signal, &f, NULL), CM_OK);
    raise(SIGTERM);
    io_loop_run(f.loop);
    cr_assert_eq(f.signals, 1);
    cr_assert_eq(f.signum, SIGTERM);
    raise(SIGTERM);
    io_loop_run(f.loop);
    cr_assert_eq(f.signals, 2);
    io_signal_close(f.sig);
    io_loop_free(f.loop);
}

Test(io_loop, a_signal_that_cannot_be_caught)
{
    struct fixture f;
    struct cm_error e;
    new_loop(&f);
    cr_assert_eq(io_signal_new(&f.sig, f.loop, SIGKILL, on_signal, &f, &e), CM_EIO);
    cr_assert_str_eq(e.text, "cannot catch signal 9: Invalid argument");
    cr_assert(f.sig == NULL);
    io_loop_free(f.loop);
}

Test(io_loop, ignores_sigpipe)
{
    struct fixture f;
    new_loop(&f);
    raise(SIGPIPE);
    io_loop_free(f.loop);
}

enum { SENDS = 2000 };

static void *send_wakes(void *arg)
{
    struct fixture *f = arg;
    for (int i = 0; i < SENDS; i++) {
        atomic_fetch_add(&f->sent, 1);
        io_wake_send(f->wake);
    }
    return NULL;
}

static void on_wake(void *ctx)
{
    struct fixture *f = ctx;
    f->woken++;
    if (atomic_load(&f->sent) == 2 * SENDS)
        io_loop_stop(f->loop);
}

Test(io_loop, the_last_wake_arrives)
{
    struct fixture f;
    pthread_t threads[2];
    new_loop(&f);
    cr_assert_eq(io_wake_new(&f.wake, f.loop, on_wake, &f, NULL), CM_OK);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, send_wakes, &f), 0);
    io_loop_run(f.loop);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert(f.woken >= 1 && f.woken <= 2 * SENDS, "%d", f.woken);
    io_wake_close(f.wake);
    io_loop_free(f.loop);
}

Test(io_loop, free_closes_what_is_left)
{
    struct fixture f;
    new_loop(&f);
    new_timer(&f, &f.timer, note_time);
    io_timer_set(f.timer, io_now_ns() + 3600000ull * MS);
    cr_assert_eq(io_signal_new(&f.sig, f.loop, SIGUSR1, on_signal, &f, NULL), CM_OK);
    cr_assert_eq(io_wake_new(&f.wake, f.loop, on_wake, &f, NULL), CM_OK);
    io_wake_send(f.wake);
    io_timer_close(f.timer);
    io_loop_stop(f.loop);
    io_loop_free(f.loop);
    cr_assert_eq(f.fired + f.woken + f.signals, 0);
    io_loop_free(NULL);
}
