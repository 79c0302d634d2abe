/* latency.c: see latency.h. */
#include "coordinator/latency.h"

/* Buckets a doubling; what an answer counts, so that it can be halved; answers after which all are.
 */
enum { SUB = 8, ONE = 16, FULL = 512 };

static uint32_t bucket_of(uint64_t us)
{
    uint32_t shift = 0;
    if (us > UINT32_MAX)
        us = UINT32_MAX;
    while (us >> shift >= 2 * SUB)
        shift++;
    return shift * SUB + (uint32_t)(us >> shift);
}

/* The least that is too large for a bucket. */
static uint64_t end_of_us(uint32_t bucket)
{
    if (bucket < 2 * SUB)
        return bucket + 1;
    uint32_t shift = bucket / SUB - 1;
    return (uint64_t)(bucket % SUB + SUB + 1) << shift;
}

static void halve(struct co_latency *l)
{
    l->total = 0;
    for (uint32_t b = 0; b < CO_LATENCY_BUCKETS; b++) {
        l->counts[b] /= 2;
        l->total += l->counts[b];
    }
}

void co_latency_add(struct co_latency *l, uint64_t ns)
{
    uint32_t b = CO_LATENCY_BUCKETS, above = 0;
    l->counts[bucket_of(ns / 1000)] += ONE;
    l->total += ONE;
    if (l->total >= FULL * ONE)
        halve(l);
    while (b > 0 && 20 * (above + l->counts[b - 1]) <= l->total)
        above += l->counts[--b];
    l->p95_ns = b > 0 ? end_of_us(b - 1) * 1000 : 0;
}

uint64_t co_latency_p95_ns(const struct co_latency *l)
{
    return l->total >= CO_LATENCY_LEAST * ONE ? l->p95_ns : UINT64_MAX;
}

void co_pace_add(struct co_pace *p, double share_ns, double image_ns, double weight, bool at_least)
{
    if (at_least && (p->shares == 0 || share_ns <= p->share_ns))
        return; /* it says nothing */
    if (p->shares < CO_PACE_LEAST)
        weight = 1.0 / ++p->shares; /* a plain average, while there are few */
    if (!at_least || share_ns > p->share_ns)
        p->share_ns += weight * (share_ns - p->share_ns);
    if (!at_least || image_ns > p->image_ns)
        p->image_ns += weight * (image_ns - p->image_ns);
}
