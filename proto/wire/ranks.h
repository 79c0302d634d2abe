/* ranks.h: the positives of one query on the wire: which images, their scores, and how many others
 * stand before them. Pure; any thread. */
#ifndef PR_RANKS_H
#define PR_RANKS_H

#include "common/err.h"
#include "common/topk.h"

#include <stddef.h>

/* How many valid images (measure.h) stand where, compared with one positive. */
struct pr_counts {
    uint64_t higher;      /* of a higher score */
    uint64_t equal_lower; /* of the same score and a lower id */
    uint64_t equal;       /* of the same score, itself and those of equal_lower counted in */
};

/* Positives, best first (cm_hit_before), no two the same; scores finite or -INFINITY. At most
 * CM_POSITIVES_MAX. Unpacking allocates them; a sender may point where it likes. */
struct pr_positives {
    struct cm_hit *items;
    size_t count;
};

/* One for each positive, in their order. */
struct pr_counts_list {
    struct pr_counts *items;
    size_t count;
};

/* Frees what unpacking allocated. */
void pr_positives_fini(struct pr_positives *p);
void pr_counts_list_fini(struct pr_counts_list *l);

/* --- for the messages of this folder --- */

struct pr_fields;
struct pr_writer;

/* The rules above; of counts: equal_lower <= equal, each at most CM_IMAGES_MAX. Errors: CM_EFORMAT,
 * CM_ELIMIT. */
enum cm_err pr_positives_check(const struct pr_positives *p, struct cm_error *e);
enum cm_err pr_counts_list_check(const struct pr_counts_list *l, struct cm_error *e);

/* Write the array; its key was written. */
void pr_positives_write(struct pr_writer *w, const struct pr_positives *p);
void pr_counts_list_write(struct pr_writer *w, const struct pr_counts_list *l);

/* Read field `key`; free the result also after a failure. */
void pr_positives_read(struct pr_fields *f, unsigned key, struct pr_positives *p);
void pr_counts_list_read(struct pr_fields *f, unsigned key, struct pr_counts_list *l);

#endif
