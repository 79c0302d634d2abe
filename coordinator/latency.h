/* latency.h: how long a worker's answers take, as far as its last few hundred say.
 *
 * Two questions are asked of it. When is one answer late? By its p95: a histogram whose older half
 * counts half. Is the worker late as a whole, set against others? By moving averages: of the time
 * that its share of a query takes, and of that time per image of the share. A worker with a small
 * share has a short time, one with a large share a short time per image; only one that is slow has
 * neither.
 *
 * Times run from when a SEARCH is sent, so they hold the way there, the worker's queue and the way
 * back: what a query waits for. An answer that was not waited for counts with the time at which it
 * had not come, since leaving it out would make the slow look fast. Pure; loop thread only. */
#ifndef CO_LATENCY_H
#define CO_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CO_LATENCY_BUCKETS = 240, /* eight a doubling, of microseconds, up to 71 minutes */
    CO_LATENCY_LEAST = 20,    /* answers without which there is no p95 */
    CO_PACE_LEAST = 8,        /* shares without which nobody is late */
};

/* Zero-initialise. */
struct co_latency {
    uint16_t counts[CO_LATENCY_BUCKETS];
    uint32_t total;
    uint64_t p95_ns;
};

/* Zero-initialise. */
struct co_pace {
    double share_ns; /* a share of a query */
    double image_ns; /* an image of it */
    uint32_t shares; /* so far; stops counting at CO_PACE_LEAST */
};

/* One shard's answer took so long. */
void co_latency_add(struct co_latency *l, uint64_t ns);

/* The time within which 95 of 100 came, at most an eighth too long; UINT64_MAX: too few to tell. */
uint64_t co_latency_p95_ns(const struct co_latency *l);

/* A share of so many images took so long; or, if `at_least`, that and more, which says something
 * only where it is more than the average. `weight` (0 to 1) is what it counts against all before.
 */
void co_pace_add(struct co_pace *p, double share_ns, double image_ns, double weight, bool at_least);

/* Are there enough to be judged by? */
static inline bool co_pace_known(const struct co_pace *p)
{
    return p->shares >= CO_PACE_LEAST;
}

#endif
