/* writer.h: makes one shard file. Blocks may come in any order and from several threads; metadata
 * comes in order from one. */
#ifndef ST_WRITER_H
#define ST_WRITER_H

#include "common/err.h"
#include "common/types.h"
#include "proto/file/manifest.h"
#include "proto/file/shard_format.h"

#include <stddef.h>
#include <stdint.h>

struct st_writer;

/* Creates `path`, which must not exist, and reserves the room for its blocks, so that a full disk
 * shows now. shape->names_bytes is ignored: names are counted as they come.
 * Errors: CM_EEXIST, CM_ENOSPC, CM_EIO, CM_ENOMEM. */
enum cm_err st_writer_open(struct st_writer **out, const char *path,
                           const struct pr_shard_shape *shape, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The header so far: sizes and offsets of blocks are final. */
const struct pr_shard_header *st_writer_header(const struct st_writer *w);

/* Writes block `b`: pr_block_bytes of packed images at their stride, padding zeroed by the caller.
 * Each block once. Any thread. Errors: CM_ENOSPC, CM_EIO. */
enum cm_err st_writer_block(struct st_writer *w, uint64_t b, const void *data, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Appends the next image's metadata. Errors: CM_ENOMEM. */
enum cm_err st_writer_meta(struct st_writer *w, const struct cm_image_meta *meta,
                           struct cm_error *e) __attribute__((warn_unused_result));

/* Once every block and every image's metadata is in: writes the rest, seals and syncs the file, and
 * says what the manifest should list. Errors: CM_ENOSPC, CM_EIO, CM_ENOMEM. */
enum cm_err st_writer_commit(struct st_writer *w, const struct cm_fingerprint *model,
                             struct pr_manifest_shard *listed, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Closes and frees; the file stays as it is. NULL is fine. */
void st_writer_close(struct st_writer *w);

#endif
