/* safetensors_meta.h: a model's sizes from the __metadata__ of a safetensors header. Private to
 * safetensors.c. */
#ifndef PR_SAFETENSORS_META_H
#define PR_SAFETENSORS_META_H

#include "common/err.h"
#include "common/weights.h"

#include <jansson.h>

/* Fills w->geometry, checked, and w->bn_eps from `metadata`, which may be NULL or anything. Pure.
 * Errors, which name the key: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_safetensors_meta(struct cm_weights *w, const json_t *metadata, struct cm_error *e)
    __attribute__((warn_unused_result));

#endif
