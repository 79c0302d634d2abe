/* evaluate.h: EVALUATE, a client asks where one labelled query's right images rank in the whole
 * gallery. Frame 1 is the feature map. Answered by MEASURED or ERROR; with want_scores, SCORES that
 * together cover the gallery come before. It has no deadline: it ends when every shard is counted,
 * or as soon as one cannot be. Pure; any thread. */
#ifndef PR_EVALUATE_H
#define PR_EVALUATE_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

#include <stdbool.h>

struct pr_evaluate {
    struct cm_query_id id; /* the client's own number; the reply repeats it */
    uint64_t epoch;
    int64_t pid; /* neither 0 (a distractor) nor -1 (junk) */
    int32_t camid;
    bool want_scores;
    enum cm_dtype dtype; /* of frame 1 */
    /* Of frame 1, [height][width][channels]: channels of all layers together. Within limits.h, and
     * so is their product. */
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t payload_crc32c; /* of frame 1 */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_evaluate_pack(const struct pr_evaluate *m, struct pr_buffer *out,
                             struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_evaluate_unpack(struct cm_bytes header, struct pr_evaluate *out, struct cm_error *e);

/* Does frame 1 hold what an unpacked EVALUATE says of it?
 * Errors: CM_EFORMAT (its size), CM_ECORRUPT (its checksum). */
enum cm_err pr_evaluate_check_payload(const struct pr_evaluate *m, struct cm_bytes payload,
                                      struct cm_error *e);

#endif
