/* search.h: SEARCH, the coordinator asks a worker for the best k of some of its shards. Frame 1 is
 * the query's feature map. Answered by RESULTs, which are about one or several of them each. Pure;
 * any thread. */
#ifndef PR_SEARCH_H
#define PR_SEARCH_H

#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

struct pr_search {
    struct cm_query_id id; /* the coordinator's number; RESULT and CANCEL repeat it */
    uint64_t epoch;
    uint32_t k;              /* 1..CM_K_MAX */
    uint64_t time_left_us;   /* when sent; 1..CM_DEADLINE_MS_MAX * 1000 */
    enum cm_dtype dtype;     /* of frame 1, which has the gallery's geometry */
    uint32_t payload_crc32c; /* of frame 1 */
    /* At least one, strictly ascending, below CM_SHARDS_MAX. Unpacking allocates them; a sender may
     * point where it likes. */
    struct cm_shard_id *shards;
    size_t shards_count;
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_search_pack(const struct pr_search *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_search_unpack(struct cm_bytes header, struct pr_search *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_search_fini(struct pr_search *m);

/* Does frame 1 hold what an unpacked SEARCH says of it? `g` is the gallery's.
 * Errors: CM_EFORMAT (its size), CM_ECORRUPT (its checksum). */
enum cm_err pr_search_check_payload(const struct pr_search *m, const struct cm_geometry *g,
                                    struct cm_bytes payload, struct cm_error *e);

#endif
