/* import.h: from feature maps and labels on disk to a gallery: project, pack, cut, seal.
 *
 * The gallery appears whole or not at all: everything is written into "<out>.partial", synced, and
 * renamed last (partial.h). A kill leaves that folder behind; the next import into the same place
 * clears it and starts clean. Memory does not grow with the gallery: a few blocks for each thread,
 * and one shard's metadata. */
#ifndef ST_IMPORT_H
#define ST_IMPORT_H

#include "common/err.h"
#include "common/types.h"
#include "proto/file/manifest.h"
#include "proto/file/names.h"

#include <stddef.h>
#include <stdint.h>

struct st_import_options {
    const char *model;           /* .safetensors */
    const char *const *features; /* [files] .npy, in order: ids count over all of them; files or
                                    streams, see sources.h */
    const char *const *meta;     /* [files] .csv, one for each */
    enum pr_names names;         /* how they name images */
    size_t files;
    const char *out;  /* the folder to make; must not exist */
    uint64_t shards;  /* 0: chosen, see st_plan_shards */
    unsigned threads; /* that project and pack, at least 1 */
    enum cm_precision precision;
    void (*progress)(void *ctx, uint64_t images_done, uint64_t images, uint64_t bytes_read);
    void *progress_ctx; /* called on the importing thread now and then; may be NULL */
};

/* Makes the gallery; *made is its manifest, released with pr_manifest_fini after success. On
 * failure nothing is left on disk. Errors, each naming file and place: those of the readers;
 * CM_EMISMATCH (maps that are not the model's, labels that are not as many as maps); CM_EUSAGE
 * (more shards than images); those of partial.h. */
enum cm_err st_import(const struct st_import_options *o, struct pr_manifest *made,
                      struct cm_error *e) __attribute__((warn_unused_result));

/* How many shards to cut: as few as keep each within CM_SHARD_BYTES_GOAL, but CM_SHARDS_GOAL where
 * there is a block of CM_BLOCK_IMAGES_MIN images for each. */
uint32_t st_plan_shards(uint64_t images, uint64_t total_bytes);

#endif
