/* topk.h: the k best hits of a stream, under the one order that vitrine knows.
 *
 * Order is total: higher score first, then lower image id. A score that is not finite counts as
 * minus infinity, so it ranks after every finite one. Because the order is total, the k kept do not
 * depend on the order in which hits arrive: shards, blocks and threads may come as they like.
 * Pure; one thread at a time. */
#ifndef CM_TOPK_H
#define CM_TOPK_H

#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cm_hit {
    float score;    /* never NaN once it went through cm_topk_push */
    uint64_t image; /* the image's id in the whole gallery */
};

/* True if `a` ranks before `b`. Neither score is NaN. */
static inline bool cm_hit_before(const struct cm_hit *a, const struct cm_hit *b)
{
    return a->score > b->score || (a->score == b->score && a->image < b->image);
}

struct cm_topk {
    size_t k;
    size_t count;        /* hits held, at most k */
    struct cm_hit *hits; /* a heap with the worst on top, until cm_topk_sort */
};

/* Room for k >= 1 hits. Errors: CM_ENOMEM. */
enum cm_err cm_topk_init(struct cm_topk *t, size_t k, struct cm_error *e)
    __attribute__((warn_unused_result));
void cm_topk_fini(struct cm_topk *t); /* leaves it zeroed; a zeroed one is fine */

/* Offers one hit. O(log k) when it is kept, O(1) when it is not. */
void cm_topk_push(struct cm_topk *t, struct cm_hit hit);

/* Orders any hits best first. */
void cm_hits_sort(struct cm_hit *hits, size_t count);

/* Orders hits[0..count) best first. After it the set takes no more pushes. */
void cm_topk_sort(struct cm_topk *t);

#endif
