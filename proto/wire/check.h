/* check.h: the rules that several messages share. Each message runs its rules when it is packed and
 * when it is unpacked, so that what goes out is what would be let in. Pure; any thread. */
#ifndef PR_CHECK_H
#define PR_CHECK_H

#include "common/err.h"
#include "common/topk.h"
#include "common/types.h"

#include <stdint.h>

/* CM_OK if min <= v <= max. Errors: CM_EFORMAT below, CM_ELIMIT above, with `name` in the text. */
enum cm_err pr_check_range(const char *name, uint64_t v, uint64_t min, uint64_t max,
                           struct cm_error *e);

/* Errors: CM_EFORMAT. */
enum cm_err pr_check_dtype(enum cm_dtype dtype, struct cm_error *e);
enum cm_err pr_check_node(const char *node, struct cm_error *e);
enum cm_err pr_check_class(const char *numeric_class, struct cm_error *e);

/* CM_OK if the score is finite or -INFINITY, the image an id, and the hit ranks after `before`
 * (NULL: it is the first). Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_check_hit(const struct cm_hit *hit, const struct cm_hit *before, struct cm_error *e);

/* CM_OK if a feature map may have this shape: each size, and all together in bytes.
 * Errors: CM_EFORMAT, CM_ELIMIT. */
enum cm_err pr_check_map(enum cm_dtype dtype, uint32_t height, uint32_t width, uint32_t channels,
                         struct cm_error *e);

/* CM_OK if a query with this pid has right answers: neither 0 (a distractor) nor -1 (junk).
 * Errors: CM_EFORMAT. */
enum cm_err pr_check_query_pid(int64_t pid, struct cm_error *e);

/* CM_OK if the payload frame, `name` in the text, has `floats` elements of `dtype` and the stated
 * checksum. Errors: CM_EFORMAT (its size), CM_ECORRUPT (its checksum). */
enum cm_err pr_check_payload(const char *name, struct cm_bytes payload, uint64_t floats,
                             enum cm_dtype dtype, uint32_t crc32c, struct cm_error *e);

#endif
