/* gallery_info.h: which gallery a worker or a cluster serves. Pure; any thread. */
#ifndef PR_GALLERY_INFO_H
#define PR_GALLERY_INFO_H

#include "common/err.h"
#include "common/types.h"

#include <stdint.h>

struct pr_gallery_info {
    struct cm_fingerprint gallery; /* of its manifest */
    struct cm_fingerprint model;   /* of the folded weights in it */
    struct cm_geometry geometry;
    enum cm_precision precision;
    uint64_t images; /* 1..CM_IMAGES_MAX */
    uint32_t shards; /* 1..CM_SHARDS_MAX */
};

/* --- for the messages of this folder --- */

struct pr_fields;
struct pr_writer;

/* Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_gallery_info_check(const struct pr_gallery_info *g, struct cm_error *e);

/* Writes it as a map; its key was written. */
void pr_gallery_info_write(struct pr_writer *w, const struct pr_gallery_info *g);

/* Reads field `key`, unchecked. */
void pr_gallery_info_read(struct pr_fields *f, unsigned key, struct pr_gallery_info *g);

#endif
