/* geometry.h: names and sanity of a model's sizes. Pure; any thread. */
#ifndef CM_GEOMETRY_H
#define CM_GEOMETRY_H

#include "common/err.h"
#include "common/types.h"

#include <stdbool.h>

/* CM_OK if every size is at least 1 and within limits.h, and they fit the matcher. Everything that
 * comes from a file or a peer passes through here before a product of sizes is computed.
 * Errors: CM_EFORMAT (unknown matcher, a zero, a QAConv with layers), CM_ELIMIT. */
enum cm_err cm_geometry_check(const struct cm_geometry *g, struct cm_error *e);

/* True if matcher and every size are the same. */
/* CM_OK if raw maps of these sizes are what the model takes; `what` names them ("Q.npy"). Errors:
 * CM_EMISMATCH, with both sizes. */
enum cm_err cm_geometry_check_map(const struct cm_geometry *g, const char *what, uint32_t height,
                                  uint32_t width, uint32_t channels, struct cm_error *e);

/* The same sizes and matcher? */
bool cm_geometry_equal(const struct cm_geometry *a, const struct cm_geometry *b);

/* "transmatcher", "qaconv"; "f32", "bf16", "int8"; "float16", "float32". NULL for a value that is
 * none. */
const char *cm_matcher_name(enum cm_matcher m);
const char *cm_precision_name(enum cm_precision p);
const char *cm_dtype_name(enum cm_dtype t);

/* One token's channels as a gallery stores them: their number, padded as the precision wants it (to
 * 2 for bf16, to 4 for int8), and their bytes. */
size_t cm_padded_depth(size_t channels, enum cm_precision p);
size_t cm_token_bytes(size_t channels, enum cm_precision p);

/* Bytes of one layer of a stored image: its tokens, and for int8 a float of scale for each. */
size_t cm_layer_bytes(const struct cm_geometry *g, enum cm_precision p);

/* The value of a name, or 0 for a name that is none. */
enum cm_matcher cm_matcher_of_name(const char *name);
enum cm_precision cm_precision_of_name(const char *name);

/* Bytes of one element; 0 for a value that is none. */
size_t cm_dtype_bytes(enum cm_dtype t);

/* Lower-case hex, 32 digits and a NUL. Returns `out`. */
char *cm_fingerprint_text(const struct cm_fingerprint *f, char out[CM_FINGERPRINT_TEXT_BYTES]);
/* The inverse. False if `text` is not 32 hex digits. */
bool cm_fingerprint_of_text(const char *text, struct cm_fingerprint *out);
bool cm_fingerprint_equal(const struct cm_fingerprint *a, const struct cm_fingerprint *b);

#endif
