/* verify.h: reads every byte of a gallery and holds it against its checksums. */
#ifndef ST_VERIFY_H
#define ST_VERIFY_H

#include "common/err.h"

#include <stdint.h>

struct st_shard;

struct st_verify_options {
    /* Called for each thing found wrong: one line that names the file and block. */
    void (*fault)(void *ctx, const char *text);
    /* Called now and then; may be NULL. */
    void (*progress)(void *ctx, uint64_t bytes_done, uint64_t bytes);
    void *ctx;
};

/* What was looked at. */
struct st_verified {
    uint64_t files;
    uint64_t blocks;
    uint64_t bytes;
    uint64_t faults;
};

/* Verifies the gallery in `dir`: the manifest, the weights, and each shard's header, metadata,
 * table, blocks and fingerprint. CM_OK means that all of it could be looked at; faults are counted
 * and told. Errors: CM_ENOENT (no manifest), CM_ENOMEM, CM_EIO; a bad manifest is an error of its
 * own kind, since nothing else can be judged without it. */
enum cm_err st_verify(const char *dir, const struct st_verify_options *o, struct st_verified *out,
                      struct cm_error *e) __attribute__((warn_unused_result));

/* Verifies the blocks and the fingerprint of one shard, the rest of which was checked when it was
 * opened. Errors: CM_ECORRUPT (the first thing found wrong), CM_ENOMEM. */
enum cm_err st_verify_shard(struct st_shard *s, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
