/* sealed.h: JSON text that checks itself. Pure: no file is touched here.
 *
 * The last bytes are always `,"crc32c":"XXXXXXXX"}` and a newline: the checksum of all bytes before
 * that tail. So the file stays plain JSON and yet no bit of it can flip unseen. */
#ifndef PR_SEALED_H
#define PR_SEALED_H

#include "common/err.h"
#include "common/types.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/* The text of an object (NULL counts as out of memory), which is dropped; *text is NUL-terminated
 * and the caller's. Errors: CM_ENOMEM. */
enum cm_err pr_sealed_write(json_t *root, char **text, struct cm_error *e)
    __attribute__((warn_unused_result));

/* The object in a text; drop it with json_decref. Errors: CM_ECORRUPT (the checksum), CM_EFORMAT.
 */
enum cm_err pr_sealed_read(const char *text, size_t size, json_t **root, struct cm_error *e)
    __attribute__((warn_unused_result));

/* A field of an object: a whole number from `min` to `max`, a text (borrowed), a fingerprint.
 * Errors: CM_EFORMAT. */
enum cm_err pr_json_count(const json_t *object, const char *key, uint64_t min, uint64_t max,
                          uint64_t *out, struct cm_error *e);
enum cm_err pr_json_text(const json_t *object, const char *key, const char **out,
                         struct cm_error *e);
enum cm_err pr_json_fingerprint(const json_t *object, const char *key, struct cm_fingerprint *out,
                                struct cm_error *e);

#endif
