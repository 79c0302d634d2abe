/* gallery.h: a gallery's folder: its manifest, its weights, its shards. Any thread. */
#ifndef ST_GALLERY_H
#define ST_GALLERY_H

#include "common/err.h"
#include "proto/file/manifest.h"
#include "worker/score/model.h"

#include <stddef.h>

/* An open folder. */
struct st_gallery {
    char *dir;
    struct pr_manifest manifest;
};

/* Reads and checks the manifest in `dir`; no shard is opened. Release with st_gallery_close, also
 * after a failure. Errors, which name the file: CM_ENOENT (no gallery there), those of
 * pr_manifest_read, CM_EIO, CM_ENOMEM. */
enum cm_err st_gallery_open(struct st_gallery *g, const char *dir, struct cm_error *e)
    __attribute__((warn_unused_result));
/* The same from another file of the folder: a manifest that does not have its name yet. */
enum cm_err st_gallery_open_file(struct st_gallery *g, const char *dir, const char *file,
                                 struct cm_error *e) __attribute__((warn_unused_result));
void st_gallery_close(struct st_gallery *g); /* leaves it zeroed; a zeroed one is fine */

/* The model from the gallery's weights file, checked against the manifest. Free with sc_model_free.
 * Errors: CM_ECORRUPT, CM_EVERSION, CM_EMISMATCH, CM_ENOENT, CM_EIO, CM_ENOMEM. */
enum cm_err st_gallery_model(const struct st_gallery *g, struct sc_model **out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The same from another file of the folder. */
enum cm_err st_gallery_model_file(const struct st_gallery *g, const char *file,
                                  struct sc_model **out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* A model from trained weights (.safetensors) as users bring them. Free with sc_model_free. Errors,
 * which name the file: those of pr_safetensors_read and sc_model_fold. */
enum cm_err st_read_model(const char *path, struct sc_model **out, struct cm_error *e)
    __attribute__((warn_unused_result));

/* "<dir>/<file>" in *out, which the caller frees. Errors: CM_ENOMEM. */
enum cm_err st_path(char **out, const char *dir, const char *file, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The id of the first image of shard `index`. */
uint64_t st_first_image(const struct pr_manifest *m, uint32_t index);

#endif
