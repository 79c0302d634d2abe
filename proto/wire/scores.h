/* scores.h: SCORES, the scores of some images of a shard, for who wants the whole matrix. Worker to
 * coordinator, which passes it on to the client under the client's id. Frame 1 is `count` float32,
 * little-endian, each finite or -INFINITY. Pure; any thread. */
#ifndef PR_SCORES_H
#define PR_SCORES_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

#include <stdint.h>

struct pr_scores {
    struct cm_query_id id; /* the MEASURE's; to the client, the EVALUATE's */
    uint64_t epoch;
    struct cm_shard_id shard;
    uint64_t first_image;    /* id of the first; first_image + count <= CM_IMAGES_MAX */
    uint32_t count;          /* 1..CM_SCORES_MAX */
    uint32_t payload_crc32c; /* of frame 1 */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_scores_pack(const struct pr_scores *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_scores_unpack(struct cm_bytes header, struct pr_scores *out, struct cm_error *e);

/* Does frame 1 hold what an unpacked SCORES says of it? Errors: CM_EFORMAT (its size, or a score
 * that is none), CM_ECORRUPT (its checksum). */
enum cm_err pr_scores_check_payload(const struct pr_scores *m, struct cm_bytes payload,
                                    struct cm_error *e);

#endif
