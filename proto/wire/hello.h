/* hello.h: HELLO, a worker's first word to the coordinator, and its answer to REHELLO: who it is
 * and which shards it holds. Answered by WELCOME or REFUSE. Pure; any thread. */
#ifndef PR_HELLO_H
#define PR_HELLO_H

#include "common/limits.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"
#include "proto/wire/gallery_info.h"

#include <stdbool.h>

/* A shard that the worker holds, and its place among the gallery's images. */
struct pr_held_shard {
    struct cm_shard_id shard;
    uint64_t first_image;
    uint64_t images; /* at least 1 */
};

struct pr_hello {
    struct cm_query_id id; /* counts the HELLOs of this process */
    uint64_t epoch;
    char node[CM_NODE_BYTES_MAX + 1]; /* A-Z a-z 0-9 . _ - */
    uint64_t incarnation;             /* another number each time the process starts */
    uint32_t version_min;             /* protocol versions that it speaks, 1 <= min <= max */
    uint32_t version_max;
    struct pr_gallery_info gallery;
    char numeric_class[CM_CLASS_BYTES_MAX + 1]; /* printable ASCII, no space, no quote */
    uint32_t threads;                           /* at least 1 */
    uint32_t credits;                           /* searches it takes at a time, at least 1 */
    bool placed; /* the coordinator says which shards it holds; false: just those below, always */
    char endpoint[CM_ENDPOINT_BYTES_MAX + 1]; /* where others READ its files; "": nowhere */
    /* At least one unless placed, strictly ascending by shard, inside the gallery. Unpacking
     * allocates them; a sender may point where it likes. */
    struct pr_held_shard *held;
    size_t held_count;
};

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_hello_pack(const struct pr_hello *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. *out is empty then. */
enum cm_err pr_hello_unpack(struct cm_bytes header, struct pr_hello *out, struct cm_error *e);

/* Frees what unpacking allocated. */
void pr_hello_fini(struct pr_hello *m);

#endif
