/* shard.h: one shard, mapped and served as it lies on disk.
 *
 * Opening reads the header and the metadata; feature blocks are touched when they are scored, and a
 * block's checksum is verified the first time. The file may be truncated or fail to read at any
 * moment: then the block is corrupt, and the process lives (common/io/mapped.h). */
#ifndef ST_SHARD_H
#define ST_SHARD_H

#include "common/err.h"
#include "proto/file/shard_format.h"
#include "worker/store/gallery.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct st_shard;

/* A block's packed images. Borrowed from the shard. */
struct st_block {
    const void *images; /* the first; CM_ALIGN-aligned */
    size_t stride;      /* bytes from one to the next */
    size_t count;
    uint64_t first_image; /* id of the first */
};

/* Maps shard `index` and checks header and metadata against the manifest. Errors, which name the
 * file: CM_ENOENT, CM_EFORMAT, CM_EVERSION, CM_ECORRUPT, CM_EMISMATCH (another gallery's shard),
 * CM_EIO, CM_ENOMEM. */
enum cm_err st_shard_open(struct st_shard **out, const struct st_gallery *g, uint32_t index,
                          struct cm_error *e) __attribute__((warn_unused_result));
/* The same of another file of the folder: a shard that does not have its name yet. It may get it
 * while it is open. */
enum cm_err st_shard_open_file(struct st_shard **out, const struct st_gallery *g, uint32_t index,
                               const char *file, struct cm_error *e)
    __attribute__((warn_unused_result));
void st_shard_close(struct st_shard *s); /* NULL is fine; no thread may be in a block */

/* Its header, checked. Any thread. */
const struct pr_shard_header *st_shard_header(const struct st_shard *s);

/* Image number `i` of the shard (not its id). The name is borrowed from the shard. Any thread. */
struct cm_image_meta st_shard_meta(const struct st_shard *s, uint64_t i);

/* Block `b`, verified. Any thread; two that come first may both verify. Errors: CM_ECORRUPT, again
 * each time: a block that was bad once stays so. */
enum cm_err st_shard_block(struct st_shard *s, uint64_t b, struct st_block *out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Asked after computing from block `b`: false if its bytes went away meanwhile, so that what was
 * computed must be thrown away; the block is then corrupt. Any thread. */
bool st_shard_block_held(struct st_shard *s, uint64_t b);

/* The fingerprint of block `b` as it is now, for verification; reads all of it. */
struct cm_fingerprint st_shard_block_fingerprint(const struct st_shard *s, uint64_t b);
/* And of the metadata section as it was read. */
struct cm_fingerprint st_shard_meta_fingerprint(const struct st_shard *s);

#endif
