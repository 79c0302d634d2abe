/* tally.h: one shard of an evaluation at one worker: the scores of one labelled query, kept until
 * they are counted.
 *
 * After the last block wk_tally_seal drops what is junk to the query and finds its positives (the
 * words are measure.h's); then wk_tally_count, for all shards of the query one after the other,
 * says how many of the images left stand before each positive of the whole gallery. Memory: four
 * bytes an image of the shard, and sixteen a positive. Pure; loop thread only. */
#ifndef WK_TALLY_H
#define WK_TALLY_H

#include "common/err.h"
#include "common/types.h"
#include "proto/wire/positives.h"
#include "proto/wire/ranks.h"

#include <stddef.h>
#include <stdint.h>

struct wk_tally {
    uint64_t images;
    uint64_t first_image;      /* id of the first */
    float *scores;             /* [images]; -INFINITY for one that was not finite; sealed: NaN for
                                  an image that was dropped */
    struct pr_census census;   /* once sealed */
    struct pr_positives found; /* likewise: best first, owned */
};

/* Labels of image number `i` of the shard. */
struct wk_labels {
    struct cm_image_meta (*at)(void *ctx, uint32_t shard, uint64_t i);
    void *ctx;
    uint32_t shard;
};

/* Room for a shard's scores. Errors: CM_ENOMEM. */
enum cm_err wk_tally_init(struct wk_tally *t, uint64_t first_image, uint64_t images,
                          struct cm_error *e) __attribute__((warn_unused_result));
void wk_tally_fini(struct wk_tally *t); /* a zeroed one is fine */

/* The scores of images first .. first + count - 1 of the shard. */
void wk_tally_add(struct wk_tally *t, const float *scores, size_t count, uint64_t first);

/* All blocks are in: drops, finds, takes the census. Errors: CM_ENOMEM; CM_ELIMIT (more than
 * CM_POSITIVES_MAX positives). */
enum cm_err wk_tally_seal(struct wk_tally *t, int64_t pid, int32_t camid,
                          const struct wk_labels *labels, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Adds this shard's images to the counts, which are differences until wk_tally_sum: counts has one
 * element more than there are positives, all zero before the first shard. `positives` is merged
 * over the gallery and not empty. O(images * log positives). */
void wk_tally_count(const struct wk_tally *t, const struct pr_positives *positives,
                    struct pr_counts *counts);

/* From differences to counts[0 .. count). */
void wk_tally_sum(struct pr_counts *counts, size_t count);

#endif
