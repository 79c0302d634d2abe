/* manifest.h: the gallery's table of contents, a JSON file that checks itself. FORMAT.md shows one.
 *
 * Pure: text and struct, no file is touched here. */
#ifndef PR_MANIFEST_H
#define PR_MANIFEST_H

#include "common/err.h"
#include "common/types.h"

#include <stddef.h>
#include <stdint.h>

#define PR_MANIFEST_FILE "manifest.json"
#define PR_WEIGHTS_FILE  "weights.vtw"

enum { PR_SHARD_FILE_BYTES = 24 };

/* One shard as the manifest lists it. */
struct pr_manifest_shard {
    uint64_t images;
    uint64_t bytes;                /* of the whole file */
    struct cm_fingerprint content; /* as in the shard's header */
};

struct pr_manifest {
    struct cm_geometry geometry;
    enum cm_precision precision;
    uint32_t images_per_block;
    uint32_t shards_count;
    uint64_t images;
    struct cm_fingerprint model;
    struct cm_fingerprint gallery; /* pr_manifest_fingerprint of the rest */
    struct pr_manifest_shard *shards;
};

/* "shard-00012.vts" into `out`; returns it. */
const char *pr_shard_file(uint32_t index, char out[PR_SHARD_FILE_BYTES]);

/* The gallery's fingerprint: XXH3-128 over model, precision, and each shard's images and content.
 * Two galleries with equal fingerprints answer every query alike. Errors: CM_ENOMEM. */
enum cm_err pr_manifest_fingerprint(const struct pr_manifest *m, struct cm_fingerprint *out,
                                    struct cm_error *e) __attribute__((warn_unused_result));

/* The file's text in *text (NUL-terminated, caller frees). Errors: CM_ENOMEM. */
enum cm_err pr_manifest_write(const struct pr_manifest *m, char **text, struct cm_error *e)
    __attribute__((warn_unused_result));

/* Reads and checks a manifest: its checksum, every field, that the shards add up, and that the
 * fingerprint is theirs. Release with pr_manifest_fini, also after a failure.
 * Errors: CM_EFORMAT, CM_EVERSION, CM_ECORRUPT, CM_ENOMEM. */
enum cm_err pr_manifest_read(struct pr_manifest *m, const char *text, size_t size,
                             struct cm_error *e) __attribute__((warn_unused_result));
void pr_manifest_fini(struct pr_manifest *m); /* leaves it zeroed; a zeroed one is fine */

#endif
