/* speed.h: how many images a worker scores in a second, as far as its answers of late say.
 *
 * Counted are the images that it answers for, and the time in which it had some to answer for: its
 * queue does not count, as it does in latency.h, but the way there and back does. Who has the
 * smaller share seems a little slower for that, since a share takes some time however small it is.
 * Pure; loop thread only. */
#ifndef CO_SPEED_H
#define CO_SPEED_H

#include <stdbool.h>
#include <stdint.h>

/* Zero-initialise. */
struct co_speed {
    double images, busy_ns; /* of late: an answer that took a second halves what was before it */
    uint64_t since_ns;      /* since when it is at what it will answer next */
    uint64_t owing_ns;      /* since when it owes an answer, if it does */
    bool unanswered;        /* it was sent something, and has not answered for anything since */
};

/* It had nothing to do, and is sent something. */
void co_speed_begin(struct co_speed *s, uint64_t now_ns);
/* It answers for so many images. */
void co_speed_add(struct co_speed *s, uint64_t images, uint64_t now_ns);

/* Counts a worker in `all`, the sums over those who are to be compared. What it did a while ago
 * counts less. */
void co_speed_sum(struct co_speed *all, const struct co_speed *s, uint64_t now_ns);
/* What an image took it of late, in times of what one took at the mean speed of `all`. Counted in
 * is half of the time for which it has owed an answer, if it `owes` one still, or others gave all
 * that it was asked for: it may be about to, or stuck. Who answers for much at once so shows half
 * as much again as it takes at the most. INFINITY if it answered for nothing: nothing speaks for
 * it. */
double co_speed_shown(const struct co_speed *s, const struct co_speed *all, bool owes,
                      uint64_t now_ns);
/* What an image costs it, in times of what one costs at the mean speed of `all`. Near 1 as long as
 * it has not worked for long, or did so a while ago. Kept within CO_SPEED_MOST and one part of
 * that: everybody is to have a share that shows how fast he is, and who is slower by far is not to
 * be spared but found late (lateness.c). */
double co_speed_cost(const struct co_speed *s, const struct co_speed *all, uint64_t now_ns);
#define CO_SPEED_MOST (4.0 / 3)

#endif
