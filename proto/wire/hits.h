/* hits.h: a ranking on the wire: scores, image ids, and what is known of each image.
 * Pure; any thread. */
#ifndef PR_HITS_H
#define PR_HITS_H

#include "common/err.h"
#include "common/topk.h"
#include "common/types.h"

#include <stddef.h>

struct pr_hit {
    struct cm_hit hit;         /* score finite or -INFINITY */
    struct cm_image_meta meta; /* name: 1..CM_NAME_BYTES_MAX bytes of printable UTF-8 */
};

/* At most CM_K_MAX hits, best first (cm_hit_before), no two the same. Unpacking allocates `items`
 * and `names`, into which the items' names point; a sender may point `items` wherever it likes. */
struct pr_hits {
    struct pr_hit *items;
    size_t count;
    char *names;
};

/* Frees what unpacking allocated. */
void pr_hits_fini(struct pr_hits *h);

/* --- for the messages of this folder --- */

struct pr_fields;
struct pr_writer;

/* The rules above. Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_hits_check(const struct pr_hits *h, struct cm_error *e);

/* Writes the array; its key was written. */
void pr_hits_write(struct pr_writer *w, const struct pr_hits *h);

/* Reads field `key` into *h, which pr_hits_fini frees, also after a failure. */
void pr_hits_read(struct pr_fields *f, unsigned key, struct pr_hits *h);

#endif
