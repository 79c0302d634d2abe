/* loop.h: the event loop that a role's edge runs on, with its clock, timers, signals and wakes.
 *
 * One thread owns a loop and calls everything here on it; io_now_ns and io_wake_send alone may be
 * called on any thread. Callbacks run on the loop's thread, inside io_loop_run. Each X_close may be
 * called in any callback, X's own too: no callback of X comes after it, and its memory goes when
 * libuv has let go of it. io_loop_free closes whatever is still open. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include "common/err.h"

#include <stdint.h>

struct io_loop;
struct io_timer;
struct io_signal;
struct io_wake;

/* Nanoseconds on a clock that never goes back. Any thread. */
uint64_t io_now_ns(void);

/* Also makes the process ignore SIGPIPE: a peer that leaves is an error of a call, not the end.
 * Errors: CM_ENOMEM, CM_EIO. */
enum cm_err io_loop_new(struct io_loop **out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Closes what is left, waits until libuv has let go of it, and frees all. Not in a callback. NULL
 * is fine. */
void io_loop_free(struct io_loop *l);

/* Runs until io_loop_stop, or until nothing is open that could call back. May be run again. */
void io_loop_run(struct io_loop *l);

/* Makes io_loop_run return after the callback that runs now. */
void io_loop_stop(struct io_loop *l);

/* A one-shot timer, not armed yet. Errors: CM_ENOMEM. */
enum cm_err io_timer_new(struct io_timer **out, struct io_loop *l, void (*fire)(void *ctx),
                         void *ctx, struct cm_error *e) __attribute__((warn_unused_result));
/* Fires once at `at_ns` of io_now_ns or a few milliseconds later, never earlier; a time in the past
 * counts as one millisecond from now. Forgets an earlier setting. May be called in `fire`. */
void io_timer_set(struct io_timer *t, uint64_t at_ns);
/* Forgets the setting. Fine if there is none. */
void io_timer_cancel(struct io_timer *t);
void io_timer_close(struct io_timer *t); /* NULL is fine */

/* Calls got(ctx, signum) for each such signal from now on (several at once may count as one) in
 * place of its default action. Errors: CM_ENOMEM, CM_EIO (a signal that cannot be caught). */
enum cm_err io_signal_new(struct io_signal **out, struct io_loop *l, int signum,
                          void (*got)(void *ctx, int signum), void *ctx, struct cm_error *e)
    __attribute__((warn_unused_result));
void io_signal_close(struct io_signal *s); /* NULL is fine */

/* A way for other threads to call woken(ctx) on the loop. Errors: CM_ENOMEM, CM_EIO. */
enum cm_err io_wake_new(struct io_wake **out, struct io_loop *l, void (*woken)(void *ctx),
                        void *ctx, struct cm_error *e) __attribute__((warn_unused_result));
/* Any thread, never blocks. Many sends may become one call, and the last send is always followed by
 * one. Who sends must have finished before io_wake_close. */
void io_wake_send(struct io_wake *w);
void io_wake_close(struct io_wake *w); /* NULL is fine */

#endif
