/* sources.h: the workers from whom a file can be had, a field of PLACE and GIVERS. Pure; any
 * thread.
 */
#ifndef PR_SOURCES_H
#define PR_SOURCES_H

#include "common/err.h"
#include "common/limits.h"

#include <stdint.h>

struct pr_fields;
struct pr_writer;

/* Endpoints to dial, the best first. They are checked as text only: whoever dials one checks it. */
struct pr_sources {
    uint32_t count;                                            /* at most CM_SOURCES_MAX */
    char endpoints[CM_SOURCES_MAX][CM_ENDPOINT_BYTES_MAX + 1]; /* each 1..CM_ENDPOINT_BYTES_MAX */
};

/* --- for the messages of this folder --- */

/* Errors: CM_ELIMIT. */
enum cm_err pr_sources_check(const struct pr_sources *s, struct cm_error *e);
void pr_sources_write(struct pr_writer *w, uint32_t key, const struct pr_sources *s);
void pr_sources_read(struct pr_fields *f, unsigned key, struct pr_sources *s);

#endif
