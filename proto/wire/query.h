/* query.h: QUERY, a client asks for the best k of the whole gallery. Frame 1 is the feature map.
 * Answered by ANSWER or ERROR. Pure; any thread. */
#ifndef PR_QUERY_H
#define PR_QUERY_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

struct pr_query {
    struct cm_query_id id; /* the client's own number; the reply repeats it */
    uint64_t epoch;
    uint32_t k;           /* 1..CM_K_MAX */
    uint32_t deadline_ms; /* time left when it arrives; 1..CM_DEADLINE_MS_MAX */
    enum cm_dtype dtype;  /* of frame 1 */
    /* Of frame 1, [height][width][channels]: channels of all layers together. Within limits.h, and
     * so is their product. */
    uint32_t height;
    uint32_t width;
    uint32_t channels;
    uint32_t payload_crc32c; /* of frame 1 */
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_query_pack(const struct pr_query *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_query_unpack(struct cm_bytes header, struct pr_query *out, struct cm_error *e);

/* Does frame 1 hold what an unpacked QUERY says of it?
 * Errors: CM_EFORMAT (its size), CM_ECORRUPT (its checksum). */
enum cm_err pr_query_check_payload(const struct pr_query *m, struct cm_bytes payload,
                                   struct cm_error *e);

#endif
