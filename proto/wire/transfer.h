/* transfer.h: READ, a worker asks another for some bytes of a gallery's file, and BLOCK, the
 * answer. Pure; any thread. */
#ifndef PR_TRANSFER_H
#define PR_TRANSFER_H

#include "common/limits.h"
#include "common/types.h"
#include "proto/wire/buffer.h"
#include "proto/wire/envelope.h"

/* Numbers of the wire: never used again for something else. */
enum pr_file {
    PR_FILE_MANIFEST = 1,
    PR_FILE_WEIGHTS = 2,
    PR_FILE_SHARD = 3,
};

struct pr_read {
    struct cm_query_id id;         /* the asker's; BLOCK repeats it */
    struct cm_fingerprint gallery; /* of another one nothing is given */
    enum pr_file file;
    struct cm_shard_id shard; /* 0 where the file is no shard */
    uint64_t offset;
    uint32_t bytes; /* 1..CM_TRANSFER_BYTES_MAX; fewer come at the file's end */
};

struct pr_block {
    struct cm_query_id id;
    uint64_t offset;
    uint64_t file_bytes;              /* of the whole file; 0: there is none, text says why */
    uint32_t payload_crc32c;          /* of the bytes, which are the payload; none at the end */
    char text[CM_TEXT_BYTES_MAX + 1]; /* "" if all is well */
};

/* Errors: as for the last two of this file. */
enum cm_err pr_read_pack(const struct pr_read *m, struct pr_buffer *out, struct cm_error *e);
/* Likewise. */
enum cm_err pr_read_unpack(struct cm_bytes header, struct pr_read *out, struct cm_error *e);

/* Errors: CM_EFORMAT or CM_ELIMIT (a field that breaks the rules above), CM_ENOMEM. *out is empty
 * then. */
enum cm_err pr_block_pack(const struct pr_block *m, struct pr_buffer *out, struct cm_error *e);

/* Errors: CM_EFORMAT, CM_EVERSION, CM_ELIMIT, CM_ENOMEM. */
enum cm_err pr_block_unpack(struct cm_bytes header, struct pr_block *out, struct cm_error *e);

#endif
