/* census.h: the images of one or more shards by what they are to a query (measure.h). Pure; any
 * thread. */
#ifndef PR_CENSUS_H
#define PR_CENSUS_H

#include "common/err.h"

#include <stdint.h>

struct pr_census {
    uint64_t valid;       /* neither of the two below; positives and distractors counted in */
    uint64_t same_camera; /* of the query's pid and camid: junk to this query */
    uint64_t junk;        /* of pid -1: junk to every query */
    uint64_t distractors; /* of pid 0: valid, and right for no query */
};

/* --- for the messages of this folder --- */

struct pr_fields;
struct pr_writer;

/* A census takes so many keys, one after another. */
enum { PR_CENSUS_KEYS = 4 };

/* CM_OK if valid + same_camera + junk = images, and distractors and the `positives` together are at
 * most valid. `images` is at most CM_IMAGES_MAX; 0 where none were looked at. Errors: CM_EFORMAT,
 * CM_ELIMIT. */
enum cm_err pr_census_check(const struct pr_census *c, uint64_t images, uint64_t positives,
                            struct cm_error *e);

/* Writes its fields, from `key` on. */
void pr_census_write(struct pr_writer *w, uint32_t key, const struct pr_census *c);

/* Reads its fields, from `key` on. */
void pr_census_read(struct pr_fields *f, unsigned key, struct pr_census *c);

#endif
