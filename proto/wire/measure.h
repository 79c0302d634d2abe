/* measure.h: MEASURE, the first round of an evaluation: the coordinator asks a worker to score some
 * of its shards against one labelled query, keep the scores, and tell those of the right images.
 * Frame 1 is the query's feature map. Answered by one POSITIVES for each shard; then come COUNT or
 * CANCEL.
 *
 * An image is junk to a query if its pid is -1, or if both pid and camid are the query's; junk is
 * dropped. Of the others, the valid ones, those of the query's pid are its positives. Pure; any
 * thread. */
#ifndef PR_MEASURE_H
#define PR_MEASURE_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

#include <stdbool.h>
#include <stddef.h>

struct pr_measure {
    struct cm_query_id id; /* the coordinator's number; all that follows repeats it */
    uint64_t epoch;
    int64_t pid;             /* of the query; neither 0 nor -1 */
    int32_t camid;           /* of the query */
    bool want_scores;        /* each shard's scores are sent too, as SCORES, before its POSITIVES */
    enum cm_dtype dtype;     /* of frame 1, which has the gallery's geometry */
    uint32_t payload_crc32c; /* of frame 1 */
    /* At least one, strictly ascending, below CM_SHARDS_MAX. Unpacking allocates them; a sender may
     * point where it likes. */
    struct cm_shard_id *shards;
    size_t shards_count;
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_measure_pack(const struct pr_measure *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_measure_unpack(struct cm_bytes header, struct pr_measure *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_measure_fini(struct pr_measure *m);

/* Does frame 1 hold what an unpacked MEASURE says of it? `g` is the gallery's.
 * Errors: CM_EFORMAT (its size), CM_ECORRUPT (its checksum). */
enum cm_err pr_measure_check_payload(const struct pr_measure *m, const struct cm_geometry *g,
                                     struct cm_bytes payload, struct cm_error *e);

#endif
